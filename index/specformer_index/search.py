"""Which real samples, and which cohorts, lie nearest to an embedding.

Similarity is the cosine of two unit vectors. Profile search is exact: LanceDB scans the table, at
this size faster than any approximate index would be worth. Cohort ranking reads all vectors once
into one matrix, because one matrix product (0.4 ms for 8,500 × 256) then ranks every member of
every cohort, where a scan costs 13 ms.

A cohort is as near as the mean cosine of its five nearest patients, each by the nearest of their
profiles: the same patient occurs in several pipelines and must not count several times, and a mean
over all members would punish a cohort for its diversity.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from specformer_index.errors import ReferenceIndexError
from specformer_index.opening import (
    COHORT_PATHWAYS,
    COHORTS,
    IndexInfo,
    check_file,
    check_release,
    open_table,
    read_info,
)
from specformer_index.results import (
    CohortMatch,
    CohortPathways,
    CohortRanking,
    MedianMatch,
    Neighbor,
)
from specformer_index.schema import MEDIAN, PROFILE, TEXT_COLUMNS

FloatArray = npt.NDArray[np.float32]

NEAREST_PATIENTS = 5
SMALLEST_COHORT = 3
SUPPORT_DEPTH = 50
MEDIANS_SHOWN = 3
LARGEST_K = 1000

_NEIGHBOR_COLUMNS = [
    "id",
    "cohort",
    "cohort_name",
    "study",
    "sample_type",
    "patient",
    "source",
    "unit",
    "_distance",
]


class ReferenceIndex:
    """An open reference index.

    Use `ReferenceIndex.open`. All methods may be called from several threads.
    """

    def __init__(self, info: IndexInfo, table: Any) -> None:
        import pyarrow.parquet as pq

        self.info = info
        self._table = table
        self._pathways = _read_pathways(info)
        names = pq.read_table(check_file(info, COHORTS)).to_pylist()
        self._cohorts: dict[str, dict[str, Any]] = {row["id"]: row for row in names}
        rows = table.search().select([*TEXT_COLUMNS, "vector"]).limit(None).to_arrow()
        rows = rows.combine_chunks()
        kinds = np.asarray(rows["kind"].to_pylist())
        flat = rows["vector"].combine_chunks().flatten().to_numpy()
        vectors = flat.reshape(rows.num_rows, info.dimensions)
        real, medians = kinds == PROFILE, kinds == MEDIAN
        self._vectors: FloatArray = np.ascontiguousarray(vectors[real])  # (N, D)
        self._medians: FloatArray = np.ascontiguousarray(vectors[medians])  # (M, D)
        self._median_rows = rows.filter(medians).drop_columns(["vector"]).to_pylist()
        real_rows = rows.filter(real)
        cohorts = np.asarray(real_rows["cohort"].to_pylist())
        ids = np.asarray(real_rows["id"].to_pylist())
        patients = np.asarray(real_rows["patient"].to_pylist())
        self._patients = patients
        # A profile whose patient is not known stands for itself.
        self._people = np.where(patients == "", ids, patients)
        self._sources = np.asarray(real_rows["source"].to_pylist())
        self._members = {str(name): np.flatnonzero(cohorts == name) for name in np.unique(cohorts)}

    @classmethod
    def open(cls, path: Path | None = None, *, release_sha256: str) -> ReferenceIndex:
        """Open the index at `path` (by default the bundled one) for one model release.

        Raises
        ------
        ReferenceIndexError
            The index is missing, damaged, or was built with another release.
        """
        info = read_info(path)
        check_release(info, release_sha256)
        return cls(info, open_table(info))

    @property
    def cohorts(self) -> dict[str, str]:
        """Cohort id → human name, of the cohorts of real profiles."""
        return {name: str(self._cohorts[name]["name"]) for name in self._members}

    def knows_patient(self, patient: str) -> bool:
        """Tell whether the index holds a profile of this patient."""
        return bool(patient) and bool(np.any(self._patients == patient))

    def nearest_profiles(
        self,
        vector: FloatArray,
        *,
        k: int,
        exclude_patient: str | None = None,
        sample_type: str | None = None,
        study: str | None = None,
    ) -> list[Neighbor]:
        """Return the `k` real profiles nearest to `vector`, nearest first.

        Parameters
        ----------
        vector
            (D,) float32, finite and not zero.
        k
            1 to 1000.
        exclude_patient, sample_type, study
            The filters there are: leave a patient out; keep one sample type or one study.

        Raises
        ------
        ReferenceIndexError
            The vector or `k` is not usable.
        """
        from lancedb.expr import col, lit

        query = self._checked(vector)
        _check_k(k)
        where = col("kind") == lit(PROFILE)
        if exclude_patient:
            where = where & (col("patient") != lit(exclude_patient))
        if sample_type:
            where = where & (col("sample_type") == lit(sample_type))
        if study:
            where = where & (col("study") == lit(study))
        rows = (
            self._table.search(query, vector_column_name="vector")
            .distance_type("cosine")
            .where(where, prefilter=True)
            .select(_NEIGHBOR_COLUMNS)
            .limit(k)
            .to_arrow()
            .to_pylist()
        )
        return [Neighbor(similarity=1.0 - row.pop("_distance"), **row) for row in rows]

    def nearest_cohorts(
        self, vector: FloatArray, *, k: int, exclude_patient: str | None = None
    ) -> CohortRanking:
        """Rank the cohorts by the mean cosine of their five nearest patients.

        Parameters
        ----------
        vector
            (D,) float32, finite and not zero.
        k
            1 to 1000 cohorts.
        exclude_patient
            A patient whose profiles count for nothing: not as neighbours, not in any count.

        Raises
        ------
        ReferenceIndexError
            The vector or `k` is not usable.
        """
        query = self._checked(vector)
        _check_k(k)
        similarity = self._vectors @ query  # (N,)
        allowed = np.ones(similarity.size, dtype=bool)
        if exclude_patient:
            allowed = self._patients != exclude_patient
        order = np.argsort(np.where(allowed, -similarity, np.inf), kind="stable")
        nearest = set(order[: min(SUPPORT_DEPTH, int(allowed.sum()))].tolist())
        matches = [
            self._match(cohort, members[allowed[members]], similarity, nearest)
            for cohort, members in self._members.items()
            if allowed[members].any()
        ]
        matches.sort(key=lambda match: (-match.similarity, match.cohort))
        large = [match for match in matches if match.n_patients >= SMALLEST_COHORT][:k]
        floor = large[-1].similarity if large else -1.0
        small = [
            match
            for match in matches
            if match.n_patients < SMALLEST_COHORT and match.similarity >= floor
        ]
        return CohortRanking(large, small, self._nearest_medians(query))

    def cohort_pathways(self, cohort: str) -> CohortPathways:
        """Return mean and standard deviation of the direct pathway scores of a cohort.

        Raises
        ------
        ReferenceIndexError
            There is no such cohort, or it has no genome-wide profile.
        """
        if cohort not in self._members:
            raise ReferenceIndexError(
                f"There is no cohort {cohort[:80]!r}; there are {len(self._members)}, such as "
                f"{', '.join(sorted(self._members)[:5])}.",
                "Use a cohort id as nearest_cohorts gives it.",
            )
        if cohort not in self._pathways:
            raise ReferenceIndexError(
                f"The cohort {cohort} has no genome-wide profile to take pathway scores from.",
                "Use another cohort.",
            )
        gene_sets, mean, sd, n = self._pathways[cohort]
        return CohortPathways(
            cohort=cohort,
            name=self.cohorts[cohort],
            gene_sets=gene_sets,
            mean=mean,
            sd=sd,
            n=n,
        )

    def pathway_profiles(self, cohort: str) -> int:
        """Return how many genome-wide profiles the pathway scores of a cohort rest on."""
        return int(self._pathways[cohort][3].max()) if cohort in self._pathways else 0

    def _match(
        self, cohort: str, members: npt.NDArray[np.intp], similarity: FloatArray, nearest: set[int]
    ) -> CohortMatch:
        ranked = members[np.argsort(-similarity[members], kind="stable")]
        # np.unique keeps the first, that is the nearest, profile of each patient.
        _, first = np.unique(self._people[ranked], return_index=True)
        best = similarity[ranked[np.sort(first)[:NEAREST_PATIENTS]]]
        row = self._cohorts[cohort]
        return CohortMatch(
            cohort=cohort,
            name=str(row["name"]),
            sample_type=str(row["sample_type"]),
            similarity=float(best.mean()),
            support=len(nearest.intersection(members.tolist())),
            n_profiles=int(members.size),
            n_patients=int(first.size),
            n_sources=int(np.unique(self._sources[members]).size),
        )

    def _nearest_medians(self, query: FloatArray) -> list[MedianMatch]:
        similarity = self._medians @ query  # (M,)
        return [
            MedianMatch(
                cohort=self._median_rows[i]["cohort"],
                name=self._median_rows[i]["cohort_name"],
                sample_type=self._median_rows[i]["sample_type"],
                similarity=float(similarity[i]),
            )
            for i in np.argsort(-similarity, kind="stable")[:MEDIANS_SHOWN]
        ]

    def _checked(self, vector: FloatArray) -> FloatArray:
        """Return `vector` as a unit vector; LanceDB answers nonsense vectors without complaint."""
        query = np.asarray(vector, dtype=np.float32)
        if query.shape != (self.info.dimensions,):
            raise ReferenceIndexError(
                f"The query vector has shape {query.shape}; the index holds vectors of "
                f"{self.info.dimensions} numbers.",
                "Embed the sample with the release that the index was built with.",
            )
        length = float(np.linalg.norm(query)) if np.isfinite(query).all() else float("nan")
        if not np.isfinite(length) or length == 0.0:
            raise ReferenceIndexError(
                "The query vector is zero or has values that are not finite.",
                "Embed the sample again.",
            )
        return query / np.float32(length)


def _read_pathways(info: IndexInfo) -> dict[str, tuple[dict[str, int], Any, Any, Any]]:
    """Return cohort → (gene set → position, mean (P,), sd (P,), n (P,)), read once: 3 MB."""
    import pyarrow.parquet as pq

    table = pq.read_table(check_file(info, COHORT_PATHWAYS)).combine_chunks()
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


def _check_k(k: int) -> None:
    if not 1 <= k <= LARGEST_K:
        raise ReferenceIndexError(
            f"k must be 1 to {LARGEST_K}; it is {k}.", "Ask again with a k in that range."
        )
