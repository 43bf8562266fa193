"""Which cancer type? The shipped predictor, kNN on the embedding, and the baselines beside them.

All are judged on the same genome-wide test tumours of the types the release knows. Colon and
rectum are one disease to the transcriptome, so every method is also judged with the two merged.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any

import numpy as np
import numpy.typing as npt

from specformer_encoder.corpus import Corpus
from specformer_encoder.corpus.labels import SampleLabel
from specformer_encoder.embedder import Embedder, FloatArray
from specformer_encoder.errors import CorpusError
from specformer_encoder.evaluate.baselines import Predictions, knn, rank_baselines
from specformer_encoder.evaluate.metrics import (
    Estimate,
    accuracy,
    balanced_accuracy,
    bootstrap,
    calibration_error,
    macro_f1,
)
from specformer_encoder.packed import GENOME_WIDE

Metric = Callable[[npt.NDArray[np.str_], npt.NDArray[np.str_]], float]

MERGED = {"TCGA-COAD": "TCGA-COAD/READ", "TCGA-READ": "TCGA-COAD/READ"}


@dataclass(frozen=True)
class EmbeddedCorpus:
    """The corpus with its embeddings, computed once for all questions.

    Attributes
    ----------
    corpus
        N profiles.
    vectors
        (N, E) embeddings.
    """

    corpus: Corpus
    vectors: FloatArray

    @property
    def labels(self) -> list[SampleLabel]:
        """N labels."""
        return self.corpus.labels

    def values(self, rows: list[int]) -> FloatArray:
        """(n, V) linear expression of some rows, NaN where not measured."""
        return self.corpus.values(rows)

    @cached_property
    def genome_wide(self) -> npt.NDArray[np.bool_]:
        """(N,) which profiles are no panels."""
        return self.corpus.genes_measured() >= GENOME_WIDE

    def select(self, split: str, *, tumor: bool = True, panel: bool = False) -> list[int]:
        """Rows of one split: tumours or normals, genome-wide profiles or panels."""
        return [
            i
            for i, label in enumerate(self.labels)
            if label.split == split
            and (label.sample_type == "tumor") == tumor
            and self.genome_wide[i] != panel
        ]

    def known(self, split: str, types: list[str], *, panel: bool = False) -> list[int]:
        """Rows of the tumours of these types.

        Raises
        ------
        CorpusError
            If there are none and they are not panels.
        """
        rows = [i for i in self.select(split, panel=panel) if self.labels[i].study in types]
        if not rows and not panel:
            raise CorpusError(
                f"The corpus has no genome-wide {split} tumour of the release's types.",
                "Evaluate on a corpus that has some.",
            )
        return rows

    def people(self, rows: list[int]) -> list[str]:
        """Patient of each row."""
        return [self.labels[i].person for i in rows]


def classification(corpus: EmbeddedCorpus, embedder: Embedder) -> dict[str, Any]:
    """Accuracy, balanced accuracy and macro-F1 of every method, with intervals.

    Returns
    -------
    A dictionary with `types`, `patients`, `profiles` and `methods`: method → metric → estimate.
    """
    types = embedder.release.heads.types
    train, valid, test = (corpus.known(split, types) for split in ("train", "valid", "test"))
    y, valid_y, true = ([corpus.labels[i].study for i in rows] for rows in (train, valid, test))
    truth, patients = np.array(true), corpus.people(test)
    shipped = [p.top_type for p in embedder.predict(corpus.vectors[test])]
    methods = [
        Predictions("SpecFormer predictor (shipped)", shipped),
        Predictions(
            "SpecFormer embedding + kNN", knn(corpus.vectors[train], y, corpus.vectors[test])
        ),
        *rank_baselines(
            corpus.values(train),
            y,
            corpus.values(test),
            valid=corpus.values(valid),
            valid_y=valid_y,
        ),
    ]
    return {
        "types": types,
        "profiles": len(test),
        "patients": len(set(patients)),
        "methods": {
            method.method: _score(truth, np.array(method.types), patients) for method in methods
        },
    }


def _score(
    truth: npt.NDArray[np.str_], guess: npt.NDArray[np.str_], patients: list[str]
) -> dict[str, Estimate]:
    """Every metric on the names as they are, then with colon and rectum merged."""
    metrics = {"accuracy": accuracy, "balanced accuracy": balanced_accuracy, "macro-F1": macro_f1}
    scores = {}
    for suffix, names in (("", {}), (", COAD/READ merged", MERGED)):
        t, g = (np.array([names.get(name, name) for name in side]) for side in (truth, guess))
        for name, metric in metrics.items():
            scores[name + suffix] = bootstrap(partial(_on_rows, metric, t, g), patients)
    return scores


def _on_rows(
    metric: Metric,
    truth: npt.NDArray[np.str_],
    guess: npt.NDArray[np.str_],
    rows: npt.NDArray[np.int64],
) -> float:
    return metric(truth[rows], guess[rows])


def doubt(corpus: EmbeddedCorpus, embedder: Embedder) -> dict[str, Any]:
    """Calibration, conformal coverage and what is flagged as unlike the training tumours.

    Returns
    -------
    A dictionary with `expected calibration error`, `coverage of the prediction set`, `types in
    the prediction set` (mean) and `flagged`: group of test profiles → share flagged.
    """
    types = embedder.release.heads.types
    test = corpus.known("test", types)
    patients = corpus.people(test)
    predictions = embedder.predict(corpus.vectors[test])
    truth = [corpus.labels[i].study for i in test]
    confidence = np.array([next(iter(p.probabilities.values())) for p in predictions])
    right = np.array([p.top_type == t for p, t in zip(predictions, truth, strict=True)])
    inside = np.array([t in p.prediction_set for p, t in zip(predictions, truth, strict=True)])
    size = np.array([len(p.prediction_set) for p in predictions])
    other = [i for i in corpus.select("test") if corpus.labels[i].study not in types]
    groups = {
        "known tumour types": test,
        "tumour types the release does not know": other,
        "normal tissue": corpus.select("test", tumor=False),
    }
    return {
        "expected calibration error": bootstrap(
            lambda r: calibration_error(confidence[r], right[r]), patients
        ),
        "coverage of the prediction set": bootstrap(lambda r: inside[r].mean(), patients),
        "types in the prediction set": bootstrap(lambda r: size[r].mean(), patients),
        "flagged": {name: _flagged(corpus, embedder, rows) for name, rows in groups.items()},
    }


def _flagged(corpus: EmbeddedCorpus, embedder: Embedder, rows: list[int]) -> dict[str, Any]:
    if not rows:
        return {"profiles": 0}
    flags = np.array([p.out_of_distribution for p in embedder.predict(corpus.vectors[rows])])
    share = bootstrap(lambda r: flags[r].mean(), corpus.people(rows))
    return {"profiles": len(rows), "share": share}
