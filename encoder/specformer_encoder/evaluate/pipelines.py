"""One sample, one answer: whatever unit and pipeline its profile came through.

The corpus holds some samples more than once: in another unit, or quantified by another pipeline.
Every pair of genome-wide test profiles of one tumour from two sources or in two units is compared.
"""

from __future__ import annotations

from itertools import combinations
from typing import Any

import numpy as np

from specformer_encoder.corpus.labels import SampleLabel
from specformer_encoder.embedder import Embedder
from specformer_encoder.evaluate.classification import EmbeddedCorpus
from specformer_encoder.evaluate.metrics import bootstrap


def same_sample(corpus: EmbeddedCorpus, embedder: Embedder) -> dict[str, Any]:
    """Compare the profiles of one tumour with each other.

    Returns
    -------
    A dictionary with `pairs`, `patients`, `same top type` and `cosine` (mean over pairs, of the
    embeddings), the last two with intervals; only `pairs` where there are none.
    """
    by_patient: dict[str, list[int]] = {}
    for row in corpus.select("test"):
        if corpus.labels[row].patient:
            by_patient.setdefault(corpus.labels[row].patient, []).append(row)
    pairs = [
        (i, j)
        for rows in by_patient.values()
        for i, j in combinations(rows, 2)
        if _same_tumor(corpus.labels[i], corpus.labels[j])
    ]
    if not pairs:
        return {"pairs": 0}
    patients = corpus.people([i for i, _ in pairs])
    first, second = (np.array(side) for side in zip(*pairs, strict=True))
    cosine = (corpus.vectors[first] * corpus.vectors[second]).sum(axis=1)
    rows = np.unique(np.concatenate([first, second]))
    types = dict(zip(rows, embedder.predict(corpus.vectors[rows]), strict=True))
    same = np.array([types[i].top_type == types[j].top_type for i, j in pairs])
    return {
        "pairs": len(pairs),
        "patients": len(set(patients)),
        "same top type": bootstrap(lambda r: same[r].mean(), patients),
        "cosine": bootstrap(lambda r: cosine[r].mean(), patients),
    }


def _same_tumor(one: SampleLabel, other: SampleLabel) -> bool:
    """Whether two profiles of a patient are of one tumour, quantified twice."""
    # Characters 14 and 15 of a TCGA barcode tell a primary from a metastasis; shorter barcodes
    # leave it out, and then the patient has to do.
    kinds = {label.barcode[13:15] for label in (one, other)} - {""}
    return len(kinds) <= 1 and (one.source, one.unit) != (other.source, other.unit)
