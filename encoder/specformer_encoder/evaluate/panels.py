"""How much is lost when only some genes were measured.

Genome-wide test tumours with all but a random share of their genes taken out, and the real gene
panels of the test patients.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from specformer_encoder.embedder import Embedder, FloatArray
from specformer_encoder.evaluate.classification import EmbeddedCorpus
from specformer_encoder.evaluate.metrics import accuracy, bootstrap

SHARES = (0.5, 0.3, 0.1, 0.05)


def panels(corpus: EmbeddedCorpus, embedder: Embedder) -> dict[str, Any]:
    """Accuracy, coverage of the prediction set and share flagged of the shipped predictor.

    Returns
    -------
    Name of the group → `profiles` and estimates.
    """
    types = embedder.release.heads.types
    wide, real = corpus.known("test", types), corpus.known("test", types, panel=True)
    groups = {}
    for share in SHARES:
        values = take_out(corpus.values(wide), share, np.random.default_rng(0))
        groups[f"{share:.0%} of the genes"] = wide, embedder.embed(values)
    groups["real panels"] = real, corpus.vectors[real]
    return {
        name: _score(corpus, embedder, rows, vectors)
        for name, (rows, vectors) in groups.items()
        if rows
    }


def take_out(values: FloatArray, share: float, draw: np.random.Generator) -> FloatArray:
    """(N, V) profiles in which all but a random share of the genes, new in each, is unmeasured."""
    kept = draw.random(values.shape, dtype=np.float32) < share
    return np.where(kept, values, np.float32(np.nan))


def _score(
    corpus: EmbeddedCorpus, embedder: Embedder, rows: list[int], vectors: FloatArray
) -> dict[str, Any]:
    truth = np.array([corpus.labels[i].study for i in rows])
    predictions = embedder.predict(vectors)
    guess = np.array([p.top_type for p in predictions])
    pairs = zip(predictions, truth, strict=True)
    inside = np.array([study in p.prediction_set for p, study in pairs])
    flags = np.array([p.out_of_distribution for p in predictions])
    people = corpus.people(rows)
    return {
        "profiles": len(rows),
        "accuracy": bootstrap(lambda r: accuracy(truth[r], guess[r]), people),
        "coverage": bootstrap(lambda r: inside[r].mean(), people),
        "flagged": bootstrap(lambda r: flags[r].mean(), people),
    }
