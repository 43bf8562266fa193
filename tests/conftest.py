"""Fixtures that several test modules share."""

from __future__ import annotations

import logging
import os
from dataclasses import dataclass
from pathlib import Path

# Two cores and several processes: waiting threads must sleep, not spin. Read when torch loads.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from places import EXAMPLES, SHARED

from specformer_encoder.corpus import Corpus
from specformer_encoder.corpus.build import build_corpus
from specformer_encoder.genes import vocabulary
from specformer_encoder.packed import LABELS, PackedCorpus
from specformer_encoder.profiles import load_profiles


@pytest.fixture(autouse=True)
def warnings_are_heard() -> None:
    """OpenVINO, when it fails to convert a network, silences warnings of the whole process."""
    logging.getLogger().setLevel(logging.WARNING)


@pytest.fixture(scope="session")
def shared_corpus() -> Path:
    """The real labelled corpus, which is not part of the repository."""
    corpus = SHARED / "corpus"
    if not corpus.is_dir():
        pytest.skip("needs ../shared/corpus, which is not there")
    return corpus


@dataclass(frozen=True)
class SmallCorpus:
    """A corpus that fits a test.

    Attributes
    ----------
    labelled
        The folder of labelled matrices that it was built from.
    folder, corpus, packed
        What was built: its folder, opened, and what pretraining reads of it.
    """

    labelled: Path
    folder: Path
    corpus: Corpus
    packed: PackedCorpus


@pytest.fixture(scope="session")
def small_corpus(tmp_path_factory: pytest.TempPathFactory) -> SmallCorpus:
    """Simulated patients around the real example samples: each gene times log-normal noise.

    Enough to drive every step of training, release and evaluation; no number that comes out of it
    says anything about biology.
    """
    folder = tmp_path_factory.mktemp("labelled")
    (folder / "expression").mkdir()
    draw = np.random.default_rng(7)
    colon = load_profiles(EXAMPLES / "coadread_tumors.csv.gz")
    lung = load_profiles(EXAMPLES / "luad_tumor.tsv.gz")
    normal = load_profiles(EXAMPLES / "luad_normal.tsv.gz")
    parents = [
        ("TCGA-COAD", "tumor", colon.values[0], 24),
        ("TCGA-LUAD", "tumor", lung.values[0], 24),
        ("TCGA-LUAD", "normal", normal.values[0], 12),
    ]
    measured = ~np.isnan(colon.values[0] + lung.values[0])
    columns: dict[str, object] = {"ensembl_id": np.array(vocabulary().ensembl_ids)[measured]}
    # The test patients once more in TPM, so that pairs of one tumour can be compared.
    again = {"ensembl_id": columns["ensembl_id"]}
    rows = []
    for study, kind, parent, patients in parents:
        for number in range(patients):
            name = f"{study}-{kind}-{number}"
            noise = np.exp(draw.normal(0, 0.5, measured.sum()))
            # Reads fall on long transcripts, so counts are drawn in proportion to length.
            expected = parent[measured] * noise * vocabulary().lengths[measured] / 1000
            columns[name] = draw.poisson(expected).astype(np.float32)
            split = ("train", "train", "train", "valid", "test")[number % 5]
            label = dict.fromkeys(LABELS, "") | {
                "sample_id": f"simulated:{name}",
                "source": "simulated",
                "unit": "counts",
                "barcode": name,
                "patient": name,
                "study": study,
                "sample_type": kind,
                "split": split,
            }
            rows.append(label)
            if split == "test":
                again[name] = (columns[name] / vocabulary().lengths[measured]).astype(np.float32)
                rows.append(label | {"unit": "tpm"})
    for values in list(again.values())[1:]:
        values *= np.float32(1e6) / values.sum()
    pq.write_table(pa.table(columns), folder / "expression" / "simulated.counts.parquet")
    pq.write_table(pa.table(again), folder / "expression" / "simulated.tpm.parquet")
    lines = ["\t".join(LABELS)] + ["\t".join(row[name] for name in LABELS) for row in rows]
    (folder / "samples.tsv").write_text("\n".join(lines) + "\n")
    out = tmp_path_factory.mktemp("built") / "corpus"
    build_corpus([folder], out)
    corpus = Corpus.open(out)
    return SmallCorpus(folder, out, corpus, corpus.packed())
