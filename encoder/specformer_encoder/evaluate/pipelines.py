"""One sample, one answer: whatever unit and pipeline its profile came through.

The corpus holds some samples more than once: in another unit, or quantified by another pipeline.
Every pair of genome-wide test profiles of one tumour from two sources or in two units is compared,
step by step along the way to the answer: the orderings, the embeddings, the type named.

Orderings are compared by Kendall's τ-b over the genes that both profiles express, of their places
in the two TF-IDF sequences (1: the same order, 0: no relation), and by how many of the first T
genes, which are all that the encoder reads, the two have in common.
"""

from __future__ import annotations

from collections import defaultdict
from itertools import combinations
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.stats import kendalltau  # type: ignore[import-untyped]

from specformer_encoder.corpus.labels import SampleLabel
from specformer_encoder.embedder import Embedder
from specformer_encoder.evaluate.classification import MERGED_SUFFIX, merged
from specformer_encoder.evaluate.embedded import EmbeddedCorpus
from specformer_encoder.evaluate.metrics import bootstrap_mean
from specformer_encoder.evaluate.paired_shift import vial
from specformer_encoder.ordering import gene_sequence

FloatArray = npt.NDArray[np.float32]


def same_sample(corpus: EmbeddedCorpus, embedder: Embedder) -> dict[str, Any]:
    """Compare the profiles of one tumour with each other.

    Returns
    -------
    A dictionary with `pairs`, `patients` and, with intervals, the means over pairs of `same top
    type` (share; also with ``, COAD/READ merged``), `cosine` (of the embeddings), `Kendall's tau`
    and `first genes in common` (share of T); then `by units`: pair of units, e.g. ``counts,
    rsem_normalized`` → the same for its pairs. Only `pairs` where there are none.
    """
    pairs = _pairs(corpus)
    if not pairs:
        return {"pairs": 0}
    rows = sorted({i for pair in pairs for i in pair})
    types = dict(zip(rows, embedder.predict(corpus.reading.rows(rows)), strict=True))
    length = embedder.config.length
    found = []
    for i, j in pairs:
        one, other = (gene_sequence(values, embedder.idf) for values in corpus.values([i, j]))
        found.append(
            (
                float(types[i].top_type == types[j].top_type),
                float(merged(types[i].top_type) == merged(types[j].top_type)),
                float(corpus.vectors[i] @ corpus.vectors[j]),
                tau(one, other),
                common(one, other, length),
            )
        )
    measured = np.array(found)
    people = corpus.people([i for i, _ in pairs])
    by_units: dict[str, list[int]] = defaultdict(list)
    for place, pair in enumerate(pairs):
        by_units[", ".join(sorted(corpus.labels[i].unit for i in pair))].append(place)
    return _means(measured, people) | {
        "by units": {
            units: _means(measured[places], [people[place] for place in places])
            for units, places in sorted(by_units.items())
        }
    }


def tau(one: npt.NDArray[np.uint16], other: npt.NDArray[np.uint16]) -> float:
    """Kendall's τ-b between two gene sequences, over the genes in both; NaN with fewer than two.

    Examples
    --------
    >>> tau(np.array([4, 2, 9, 7], np.uint16), np.array([2, 4, 9, 1], np.uint16))
    0.33333333333333337
    """
    _, first, second = np.intersect1d(one, other, assume_unique=True, return_indices=True)
    return float(kendalltau(first, second).statistic) if len(first) > 1 else float("nan")


def common(one: npt.NDArray[np.uint16], other: npt.NDArray[np.uint16], length: int) -> float:
    """Share of the first `length` genes that two sequences have in common."""
    return len(np.intersect1d(one[:length], other[:length], assume_unique=True)) / length


def _means(measured: npt.NDArray[np.float64], people: list[str]) -> dict[str, Any]:
    names = (
        "same top type",
        "same top type" + MERGED_SUFFIX,
        "cosine",
        "Kendall's tau",
        "first genes in common",
    )
    return {
        "pairs": len(people),
        "patients": len(set(people)),
        **{
            name: bootstrap_mean(column, people)
            for name, column in zip(names, measured.T, strict=True)
        },
    }


def _pairs(corpus: EmbeddedCorpus) -> list[tuple[int, int]]:
    by_patient: dict[str, list[int]] = defaultdict(list)
    for row in corpus.select("test"):
        if corpus.labels[row].patient:
            by_patient[corpus.labels[row].patient].append(row)
    return [
        (i, j)
        for rows in by_patient.values()
        for i, j in combinations(rows, 2)
        if _same_tumor(corpus.labels[i], corpus.labels[j])
    ]


def _same_tumor(one: SampleLabel, other: SampleLabel) -> bool:
    """Whether two profiles of a patient are of one tumour, quantified twice."""
    kinds = {vial(label) for label in (one, other)} - {""}
    return len(kinds) <= 1 and (one.source, one.unit) != (other.source, other.unit)
