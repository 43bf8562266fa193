"""Corpora of labels alone, for questions whose answer was planted in the vectors."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa

from specformer_encoder.corpus import Corpus
from specformer_encoder.corpus.labels import SampleLabel
from specformer_encoder.evaluate.classification import EmbeddedCorpus
from specformer_encoder.packed import GENOME_WIDE, LABELS, MappedRows


def label(**fields: str) -> SampleLabel:
    """A label, empty but for what is given; the patient stands for the sample too."""
    given = {"source": "s", "unit": "tpm", "sample_type": "tumor"} | fields
    name = given.get("patient", "")
    given = {"sample_id": name, "barcode": name} | given
    return SampleLabel(**(dict.fromkeys(LABELS, "") | given))


def planted(labels: Sequence[SampleLabel], vectors: np.ndarray) -> EmbeddedCorpus:
    """An embedded corpus of these labels; every profile is genome-wide, one gene is kept."""
    table = pa.table({"genes_measured": pa.array([GENOME_WIDE] * len(labels), pa.int32())})
    values = pa.FixedSizeListArray.from_arrays(pa.array(np.ones(len(labels), np.float32)), 1)
    corpus = Corpus(Path(), {}, list(labels), table, MappedRows(pa.chunked_array([values])))
    return EmbeddedCorpus(corpus, vectors.astype(np.float32))
