"""Which cancer type? The shipped predictor, probes of the embedding, and the baselines beside them.

All are judged on the same genome-wide test tumours of the types the release knows. Colon and
rectum are one disease to the transcriptome, so every method is also judged with the two merged.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np

from specformer_encoder.embedder import Embedder
from specformer_encoder.evaluate.baselines import Baselines
from specformer_encoder.evaluate.embedded import EmbeddedCorpus as EmbeddedCorpus
from specformer_encoder.evaluate.methods import Method, Probabilities, Shipped
from specformer_encoder.evaluate.metrics import (
    Estimate,
    IntArray,
    MacroAUC,
    bootstrap,
    bootstrap_mean,
    count_pairs,
    of_confusion,
)

SHIPPED = "SpecFormer predictor (shipped)"
MERGED_SUFFIX = ", COAD/READ merged"
_MERGED = {"TCGA-COAD": "TCGA-COAD/READ", "TCGA-READ": "TCGA-COAD/READ"}
AUC = "macro AUC"
METRICS = ("accuracy", "balanced accuracy", "macro-F1", AUC)


def fit_methods(
    corpus: EmbeddedCorpus, embedder: Embedder, baselines: Baselines
) -> dict[str, Method]:
    """The shipped predictor and, fitted on all training patients, every other method."""
    types = corpus.judged_types
    train, valid = (
        [i for i, label in enumerate(corpus.labels) if label.split == split]
        for split in ("train", "valid")
    )
    return {SHIPPED: Shipped(embedder), **baselines.methods(train, valid, types=types)}


def classification(
    corpus: EmbeddedCorpus,
    embedder: Embedder,
    *,
    baselines: Baselines | None = None,
    methods: dict[str, Method] | None = None,
) -> dict[str, Any]:
    """Judge every method on the genome-wide test tumours.

    Parameters
    ----------
    corpus
        The corpus with its embeddings.
    embedder
        The release.
    baselines
        Made by `Baselines.of`; made here if not given.
    methods
        Made by `fit_methods`; fitted here if not given.

    Returns
    -------
    A dictionary with

    `types`, `judged`, `profiles`, `patients`
        K names that the release knows, those of them that are judged on, and two counts.
    `methods`
        Method → metric → `Estimate`: ``accuracy``, ``balanced accuracy``, ``macro-F1`` and ``macro
        AUC`` (one type against the rest), then each once more with ``, COAD/READ merged``.
    `confusion`
        Method → K lists of K + 1 counts, true type by named type in the order of `types`; the last
        counts names that are none of them.
    """
    types = embedder.release.heads.types
    if baselines is None:
        baselines = Baselines.of(corpus, embedder)
    if methods is None:
        methods = fit_methods(corpus, embedder, baselines)
    test = corpus.known("test", corpus.judged_types)
    patients = corpus.people(test)
    true = [corpus.labels[i].study for i in test]
    views = baselines.views.take(test)
    scores, tables = {}, {}
    for name, method in methods.items():
        probabilities = aligned(method.of(views), method.types, types)
        scores[name] = judge(probabilities, true, types=types, patients=patients)
        numbers = np.array([types.index(study) for study in true], np.int64)
        tables[name] = count_pairs(numbers, probabilities.argmax(axis=1), len(types)).tolist()
    return {
        "types": types,
        "judged": corpus.judged_types,
        "profiles": len(test),
        "patients": len(set(patients)),
        "methods": scores,
        "confusion": tables,
    }


def merged(study: str) -> str:
    """The type with colon and rectum as one.

    Examples
    --------
    >>> merged("TCGA-READ"), merged("TCGA-LUAD")
    ('TCGA-COAD/READ', 'TCGA-LUAD')
    """
    return _MERGED.get(study, study)


def aligned(probabilities: Probabilities, names: list[str], types: list[str]) -> Probabilities:
    """(n, K) probabilities of `types` out of those of `names`; 0 for a type not among them."""
    place = {name: k for k, name in enumerate(names)}
    result = np.zeros((len(probabilities), len(types)))
    for k, name in enumerate(types):
        if name in place:
            result[:, k] = probabilities[:, place[name]]
    return result


def judge(
    probabilities: Probabilities,
    true: list[str],
    *,
    types: list[str],
    patients: list[str],
    metrics: tuple[str, ...] = METRICS,
) -> dict[str, Estimate]:
    """Metrics on the types as they are, then with colon and rectum merged.

    Parameters
    ----------
    probabilities
        (n, K).
    true
        n names among `types`.
    types
        K names.
    patients
        n names.
    metrics
        Which of `METRICS`.
    """
    scores: dict[str, Estimate] = {}
    for suffix, names in (("", {}), (MERGED_SUFFIX, _MERGED)):
        called = [names.get(name, name) for name in types]
        kinds = sorted(set(called))
        column = np.array([kinds.index(name) for name in called])
        truth = np.array([kinds.index(names.get(name, name)) for name in true], np.int64)
        # A merged type is called when either of its parts is the most probable, as a reader of the
        # unmerged answer would take it; its probability is the sum of theirs.
        guess = column[probabilities.argmax(axis=1)]
        summed = np.stack([probabilities[:, column == k].sum(axis=1) for k in range(len(kinds))], 1)
        for metric in metrics:
            if metric == "accuracy":
                scores[metric + suffix] = bootstrap_mean(truth == guess, patients)
                continue
            statistic = (
                MacroAUC(truth, summed)
                if metric == AUC
                else partial(_metric, metric, truth, guess, len(kinds))
            )
            scores[metric + suffix] = bootstrap(statistic, patients)
    return scores


def _metric(metric: str, truth: IntArray, guess: IntArray, types: int, rows: IntArray) -> float:
    return of_confusion(count_pairs(truth[rows], guess[rows], types))[metric]
