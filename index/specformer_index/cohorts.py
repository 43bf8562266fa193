"""The two tables beside the vectors: what a cohort holds, and how its pathways usually score.

"Stands out" is meant against a cohort: the mean and the standard deviation of the direct ssGSEA
score over the cohort's genome-wide profiles. Panels of few genes are left out, for ssGSEA scores
depend on how many genes are ranked. The sums are kept by Welford's method in float64, one pass, so
that a corpus never has to be held in memory.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa


@dataclass(slots=True)
class _Moments:
    """Running count, mean and sum of squared deviations, each (P,)."""

    n: npt.NDArray[np.int64]
    mean: npt.NDArray[np.float64]
    m2: npt.NDArray[np.float64]


class CohortPathwayMoments:
    """Accumulate mean and standard deviation of pathway scores by cohort."""

    def __init__(self, names: Sequence[str], collections: Sequence[str]) -> None:
        self._names = list(names)
        self._collections = list(collections)
        self._moments: dict[str, _Moments] = {}

    def add(self, cohort: str, scores: npt.NDArray[np.float32]) -> None:
        """Add one profile's scores (P,); a NaN is a set that could not be scored."""
        size = len(self._names)
        moments = self._moments.get(cohort)
        if moments is None:
            moments = _Moments(np.zeros(size, np.int64), np.zeros(size), np.zeros(size))
            self._moments[cohort] = moments
        known = np.isfinite(scores)
        value = scores[known].astype(np.float64)
        moments.n[known] += 1
        delta = value - moments.mean[known]
        moments.mean[known] += delta / moments.n[known]
        moments.m2[known] += delta * (value - moments.mean[known])

    def table(self) -> pa.Table:
        """Return one row for each cohort and gene set: mean, sd (n - 1) and n."""
        size = len(self._names)
        columns: dict[str, list[Any]] = defaultdict(list)
        for cohort, moments in sorted(self._moments.items()):
            enough = moments.n >= 2
            sd = np.full(size, np.nan)
            sd[enough] = np.sqrt(moments.m2[enough] / (moments.n[enough] - 1))
            columns["cohort"] += [cohort] * size
            columns["collection"] += self._collections
            columns["gene_set"] += self._names
            columns["mean"] += np.where(moments.n > 0, moments.mean, np.nan).tolist()
            columns["sd"] += sd.tolist()
            columns["n"] += moments.n.tolist()
        text = ("cohort", "collection", "gene_set")
        return pa.table(
            {
                **{name: pa.array(columns[name], pa.string()).dictionary_encode() for name in text},
                "mean": pa.array(columns["mean"], pa.float32()),
                "sd": pa.array(columns["sd"], pa.float32()),
                "n": pa.array(columns["n"], pa.int32()),
            }
        )


def cohort_table(rows: Sequence[dict[str, Any]]) -> pa.Table:
    """Return one row for each cohort of `rows`, which are rows of the `profiles` table.

    The column `n_patients` counts known patients; a profile without one counts as its own.
    """
    members: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for row in rows:
        members[row["cohort"]].append(row)
    return pa.Table.from_pylist(
        [
            {
                "id": cohort,
                "name": group[0]["cohort_name"],
                "n_profiles": len(group),
                "n_patients": len({row["patient"] or row["id"] for row in group}),
                "study": group[0]["study"],
                "tissue": group[0]["tissue"],
                "sample_type": group[0]["sample_type"],
                "kind": group[0]["kind"],
            }
            for cohort, group in sorted(members.items())
        ]
    )


def read_cohorts(path: Path) -> dict[str, dict[str, Any]]:
    """Return cohort id → its row, as `cohort_table` wrote it."""
    import pyarrow.parquet as pq

    return {row["id"]: row for row in pq.read_table(path).to_pylist()}


def read_pathways(path: Path) -> dict[str, tuple[dict[str, int], Any, Any, Any]]:
    """Return cohort → (gene set → position, mean (P,), sd (P,), n (P,)), read once: 3 MB."""
    import pyarrow.parquet as pq

    table = pq.read_table(path).combine_chunks()
    cohorts = np.asarray(table["cohort"].to_pylist())
    numbers = [table[name].to_numpy() for name in ("mean", "sd", "n")]
    names = np.asarray(table["gene_set"].to_pylist())
    pathways = {}
    for cohort in np.unique(cohorts):
        rows = np.flatnonzero(cohorts == cohort)
        positions = {str(name): position for position, name in enumerate(names[rows])}
        mean, sd, n = (column[rows] for column in numbers)
        pathways[str(cohort)] = (positions, mean, sd, n)
    return pathways
