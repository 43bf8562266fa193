"""One sample, one answer: whatever unit and pipeline its profile came through.

The corpus holds some samples more than once: in another unit, or quantified by another pipeline.
Every pair of genome-wide test profiles of one sample is compared.
"""

from __future__ import annotations

from itertools import combinations
from typing import Any

import numpy as np

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
    by_sample: dict[tuple[str, str], list[int]] = {}
    for row in corpus.select("test"):
        label = corpus.labels[row]
        if label.patient:
            # TCGA barcodes differ in length between sources; the first 15 characters name the
            # sample (patient and sample type).
            by_sample.setdefault((label.patient, label.barcode[:15]), []).append(row)
    pairs = [pair for rows in by_sample.values() for pair in combinations(rows, 2)]
    if not pairs:
        return {"pairs": 0}
    patients = [corpus.labels[i].patient for i, _ in pairs]
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
