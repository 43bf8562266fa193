"""A labelled corpus: expression matrices with a table of samples → a packed training corpus.

The documented form of a labelled corpus is a folder with `samples.tsv` (the columns of
`packed.LABELS`; one row a profile, unique by sample_id and unit) and
`expression/<source>.<unit>.parquet` (genes × samples; the first column holds the gene
identifiers, the others are named by barcode). Splits are by patient: a patient who stands in two
splits is an error. Every statistic is fitted on the split `train`.
"""

from __future__ import annotations

import csv
import dataclasses
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from specformer_encoder.errors import CorpusError
from specformer_encoder.genes import vocabulary
from specformer_encoder.ordering import (
    gene_sequence,
    information_weight,
    quantile_values,
    rank_quantiles,
)
from specformer_encoder.packed import (
    DEPTH,
    END,
    GENOME_WIDE,
    LABELS,
    GeneStatistics,
    schema,
    write_packed,
)
from specformer_encoder.profiles import ProfileSet, load_profiles

SPLITS = ("train", "valid", "test")
_FORM = (
    "A corpus is a folder with samples.tsv (columns "
    f"{', '.join(LABELS)}) and expression/<source>.<unit>.parquet."
)


@dataclass(frozen=True, slots=True)
class SampleLabel:
    """One row of `samples.tsv`; every field is a string, empty where nothing is known."""

    sample_id: str
    source: str
    unit: str
    barcode: str
    patient: str
    study: str
    tissue: str
    sample_type: str
    split: str
    subtype: str

    @property
    def person(self) -> str:
        """The patient; where it is not known, the sample stands for itself."""
        return self.patient or self.sample_id


def cohort_of(label: SampleLabel) -> str:
    """The cohort that a profile belongs to.

    Examples
    --------
    >>> luad = SampleLabel("s", "x", "tpm", "b", "p", "TCGA-LUAD", "", "tumor", "train", "")
    >>> cohort_of(luad)
    'TCGA-LUAD tumor'
    """
    if label.study == "GTEX":
        return f"GTEX-{label.tissue}"
    return f"{label.study} {label.sample_type}"


def read_labels(corpus: Path) -> list[SampleLabel]:
    """Read and check `samples.tsv`.

    Raises
    ------
    CorpusError
        If it is missing, lacks a column, names an unknown split, or has one patient in two splits.
    """
    path = corpus / "samples.tsv"
    if not path.is_file():
        raise CorpusError(f"{corpus} has no samples.tsv.", _FORM)
    with path.open(newline="", encoding="utf-8") as handle:
        reader = csv.DictReader(handle, delimiter="\t")
        missing = [name for name in LABELS if name not in (reader.fieldnames or [])]
        if missing:
            raise CorpusError(f"{path} lacks the columns {', '.join(missing)}.", _FORM)
        labels = [SampleLabel(**{name: row[name] for name in LABELS}) for row in reader]
    split_of: dict[str, str] = {}
    for label in labels:
        if label.split not in SPLITS:
            raise CorpusError(
                f"{path}: sample {label.sample_id} has split {label.split!r}.",
                f"Use one of {', '.join(SPLITS)}.",
            )
        if split_of.setdefault(label.person, label.split) != label.split:
            raise CorpusError(
                f"{path}: patient {label.person} is in {split_of[label.person]} and in "
                f"{label.split}.",
                "Give all profiles of a patient the same split, or the evaluation is worthless.",
            )
    return labels


def iter_labelled(corpus: Path) -> Iterator[tuple[list[SampleLabel], ProfileSet]]:
    """Labelled profiles, one source and unit at a time, in the order of the file names.

    Parameters
    ----------
    corpus
        Folder of the documented form.

    Yields
    ------
    labels, profiles
        Aligned: label i belongs to profile i.
    """
    wanted: dict[tuple[str, str], dict[str, SampleLabel]] = {}
    for label in read_labels(corpus):
        by_barcode = wanted.setdefault((label.source, label.unit), {})
        if by_barcode.setdefault(label.barcode, label) is not label:
            raise CorpusError(
                f"samples.tsv has {label.barcode} of {label.source}.{label.unit} twice.",
                "Keep one row a profile.",
            )
    for (source, unit), by_barcode in sorted(wanted.items()):
        path = corpus / "expression" / f"{source}.{unit}.parquet"
        if not path.is_file():
            raise CorpusError(f"samples.tsv names {path.name}, which is not there.", _FORM)
        profiles = load_profiles(path, unit=unit)
        keep = [i for i, sample in enumerate(profiles.samples) if sample in by_barcode]
        absent = set(by_barcode) - set(profiles.samples)
        if absent:
            raise CorpusError(
                f"{path.name} lacks {len(absent)} samples of samples.tsv, {min(absent)} first.",
                "Name the columns by the barcodes of samples.tsv.",
            )
        yield (
            [by_barcode[profiles.samples[i]] for i in keep],
            dataclasses.replace(
                profiles,
                samples=[profiles.samples[i] for i in keep],
                values=profiles.values[keep],
            ),
        )


def load_labelled(corpus: Path) -> tuple[list[SampleLabel], npt.NDArray[np.float32]]:
    """The whole corpus at once: N labels and (N, V) values; for corpora that fit in memory."""
    labels: list[SampleLabel] = []
    values = []
    for some, profiles in iter_labelled(corpus):
        labels += some
        values.append(profiles.values)
    return labels, np.concatenate(values)


def build(corpus: Path, out: Path) -> dict[str, int]:
    """Fit the gene statistics on the training patients and pack train and valid.

    Parameters
    ----------
    corpus
        Folder of the documented form.
    out
        The Arrow file to write; it appears whole or not at all.

    Returns
    -------
    Profiles packed, by split. Test profiles are left out: nothing that trains can read them.
    """
    labels, values = load_labelled(corpus)
    split = np.array([label.split for label in labels])
    measured = (~np.isnan(values)).sum(axis=1)
    fit = np.flatnonzero((split == "train") & (measured >= GENOME_WIDE))
    if len(fit) < 2 or not (split == "valid").any():
        raise CorpusError(
            f"{corpus} has {len(fit)} training profiles of at least {GENOME_WIDE:,} genes and "
            f"{(split == 'valid').sum()} validation profiles; two and one are the least.",
            _FORM,
        )
    idf = information_weight(values[fit])
    quantiles = np.stack([rank_quantiles(row) for row in values])
    known = quantile_values(quantiles[fit])
    seen = (~np.isnan(known)).any(axis=0)
    mean = np.zeros(values.shape[1], np.float32)
    spread = np.zeros(values.shape[1], np.float32)
    mean[seen] = np.nanmean(known[:, seen], axis=0)
    spread[seen] = np.nanstd(known[:, seen], axis=0)

    ensembl_ids = vocabulary().ensembl_ids
    layout = schema(ensembl_ids, GeneStatistics(idf, mean, spread))
    rows = np.flatnonzero(split != "test")

    def batches(size: int = 256) -> Iterator[pa.RecordBatch]:
        for start in range(0, len(rows), size):
            block = rows[start : start + size]
            sequences = np.full((len(block), DEPTH), END, np.uint16)
            for i, row in enumerate(block):
                sequence = gene_sequence(values[row], idf, DEPTH)
                sequences[i, : len(sequence)] = sequence
            texts = [asdict(labels[row]) for row in block]
            columns = [pa.array([text[name] for text in texts], pa.string()) for name in LABELS]
            columns.append(pa.array(measured[block], pa.int32()))
            columns.append(pa.FixedSizeListArray.from_arrays(pa.array(sequences.ravel()), DEPTH))
            flat = pa.array(quantiles[block].ravel())
            columns.append(pa.FixedSizeListArray.from_arrays(flat, values.shape[1]))
            yield pa.record_batch(columns, schema=layout)

    write_packed(out, layout, batches())
    return {name: int((split[rows] == name).sum()) for name in SPLITS[:2]}
