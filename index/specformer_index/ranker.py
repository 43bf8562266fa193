"""Rank the cohorts of an open index for one query."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from specformer_index.members import Members
from specformer_index.ranking import among_themselves, percentile, to_cohort
from specformer_index.results import CohortMatch
from specformer_index.vectors import FloatArray, Vectors, largest

SMALLEST_COHORT = 3
SUPPORT_DEPTH = 50
FAR = 1.0
"""Percentile of a cohort's members below which a query is not near the cohort."""


class CohortRanker:
    """The cohorts of an index, and how near their members lie to each other.

    Parameters
    ----------
    members, vectors
        Labels and vectors of the N real profiles.
    cohorts
        Cohort id → its row of the cohort table.
    """

    def __init__(
        self, members: Members, vectors: Vectors, cohorts: Mapping[str, dict[str, Any]]
    ) -> None:
        self._members = members
        self._vectors = vectors
        self._cohorts = cohorts
        self._among: dict[str, FloatArray] = {}
        self._filling = threading.Lock()
        # Where the rows of each patient of each cohort begin, and each cohort's patients.
        first = np.diff(members.people, prepend=-1) != 0
        slices = [members.rows(number) for number in range(len(members.names))]
        first[[where.start for where in slices]] = True
        self._starts = np.flatnonzero(first)
        bounds = np.searchsorted(self._starts, [where.start for where in slices] + [len(members)])
        self._patients = [slice(*pair) for pair in itertools.pairwise(bounds.tolist())]

    def rank(self, similarity: FloatArray, k: int) -> tuple[list[CohortMatch], list[CohortMatch]]:
        """Return the `k` nearest cohorts, and those too small to be ranked that are as near.

        Parameters
        ----------
        similarity
            (N,) of every profile to the query; -inf where a profile does not count.
        k
            Number of cohorts.
        """
        nearest = largest(similarity, SUPPORT_DEPTH, mask=similarity > -np.inf)
        order = sorted(
            self._nearness(similarity), key=lambda one: (-one[1], self._members.names[one[0]])
        )
        large = [one for one in order if one[2] >= SMALLEST_COHORT][:k]
        floor = large[-1][1] if large else -1.0
        small = [one for one in order if one[2] < SMALLEST_COHORT and one[1] >= floor]
        return (
            [self._match(*one, similarity, nearest) for one in large],
            [self._match(*one, similarity, nearest) for one in small],
        )

    def similarities(self, similarity: FloatArray) -> dict[str, float]:
        """Return the similarity to every cohort of at least `SMALLEST_COHORT` patients."""
        return {
            self._members.names[number]: mean
            for number, mean, n_patients in self._nearness(similarity)
            if n_patients >= SMALLEST_COHORT
        }

    def _nearness(self, similarity: FloatArray) -> Iterator[tuple[int, float, int]]:
        """Cohort, similarity to it, patients that count; of every cohort that has any."""
        best = np.maximum.reduceat(similarity, self._starts)
        for number, patients in enumerate(self._patients):
            mean, n_patients = to_cohort(best[patients])
            if n_patients:
                yield number, mean, n_patients

    def _match(
        self,
        number: int,
        mean: float,
        n_patients: int,
        similarity: FloatArray,
        nearest: npt.NDArray[np.intp],
    ) -> CohortMatch:
        where = self._members.rows(number)
        name = self._members.names[number]
        rows = where.start + np.flatnonzero(similarity[where] > -np.inf)
        row = self._cohorts[name]
        return CohortMatch(
            cohort=name,
            name=str(row["name"]),
            sample_type=str(row["sample_type"]),
            similarity=mean,
            percentile=percentile(mean, self._among_themselves(number)),
            support=int(np.count_nonzero((nearest >= where.start) & (nearest < where.stop))),
            n_profiles=rows.size,
            n_patients=n_patients,
            n_sources=self._members.n_distinct("source", rows),
        )

    def _among_themselves(self, number: int) -> FloatArray:
        """Similarities of a cohort's members to the others, computed when first needed."""
        name = self._members.names[number]
        with self._filling:
            if name not in self._among:
                where = self._members.rows(number)
                vectors = self._vectors.rows(np.arange(where.start, where.stop))
                self._among[name] = among_themselves(vectors, self._members.people[where])
            return self._among[name]


def nothing_near(matches: list[CohortMatch]) -> str | None:
    """Say that even the nearest cohort is far, if it is."""
    if not matches:
        return "No cohort of at least three patients passes the filters."
    first = matches[0]
    if first.percentile is None or first.percentile >= FAR:
        return None
    return (
        f"Nothing is near: even the nearest cohort, {first.cohort}, is farther from this sample "
        f"(similarity {first.similarity:.3f}) than from 99 % of its own members."
    )
