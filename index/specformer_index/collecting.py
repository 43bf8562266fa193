"""Rows, vectors and pathway sums of profiles that pass by, a batch at a time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from specformer_encoder.embedder import Embedder
from specformer_encoder.gene_sets import GeneSets
from specformer_encoder.packed import GENOME_WIDE
from specformer_encoder.ssgsea import ssgsea
from specformer_index.cohorts import CohortPathwayMoments
from specformer_index.schema import PROFILE

FloatArray = npt.NDArray[np.float32]

BATCH = 64
"""Profiles embedded and scored at once: 64 × 19k genes are 5 MB."""


class Collector:
    """What becomes of profiles on their way into an index.

    Attributes
    ----------
    rows
        Rows of the `profiles` table, without the vector.
    pathways
        Pathway scores of the genome-wide real profiles, summed by cohort.
    """

    def __init__(self, embedder: Embedder, gene_sets: GeneSets) -> None:
        self._embedder = embedder
        self._gene_sets = gene_sets
        self._vectors: list[FloatArray] = []
        self.rows: list[dict[str, Any]] = []
        self.pathways = CohortPathwayMoments(gene_sets.names, gene_sets.collections)

    def add(self, rows: Sequence[dict[str, Any]], values: FloatArray) -> None:
        """Take S profiles: their rows, and their (S, V) linear expression over the vocabulary."""
        self.rows += rows
        for start in range(0, len(values), BATCH):
            batch, labels = values[start : start + BATCH], rows[start : start + BATCH]
            self._vectors.append(np.asarray(self._embedder.embed(batch), dtype=np.float32))
            scored = [
                place
                for place, row in enumerate(labels)
                if row["kind"] == PROFILE and row["genes_measured"] >= GENOME_WIDE
            ]
            if scored:
                for place, scores in zip(
                    scored, ssgsea(batch[scored], self._gene_sets), strict=True
                ):
                    self.pathways.add(labels[place]["cohort"], scores)

    def matrix(self) -> FloatArray:
        """(N, D) vectors of all rows."""
        return np.concatenate(self._vectors)
