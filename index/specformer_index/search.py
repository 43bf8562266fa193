"""Search the reference index: nearest profiles, nearest cohorts, pathway statistics of a cohort.

All similarities are cosines of unit vectors. A cohort is as near as its nearest patients
(`ranking`), each by the nearest of their profiles: the same patient occurs in several pipelines and
must not count several times, and a mean over all members would punish a cohort for its diversity.
Labels are read into memory once; so are the vectors, up to 100,000 of them (`vectors`).
"""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from specformer_index.cohorts import read_cohorts, read_pathways
from specformer_index.errors import ReferenceIndexError
from specformer_index.filters import FIELDS, Filters
from specformer_index.members import COLUMNS, Members
from specformer_index.opening import (
    COHORT_PATHWAYS,
    COHORTS,
    IndexInfo,
    check_file,
    check_release,
    open_table,
    read_info,
)
from specformer_index.ranking import among_themselves, nearest_patients, percentile, to_cohort
from specformer_index.results import (
    CohortMatch,
    CohortPathways,
    CohortRanking,
    CohortRow,
    MedianMatch,
    Neighbor,
)
from specformer_index.schema import MEDIAN, PROFILE
from specformer_index.vectors import (
    EXACT_ROWS,
    FloatArray,
    InMemory,
    Mask,
    OnDisk,
    Vectors,
    as_matrix,
    largest,
)

SMALLEST_COHORT = 3
SUPPORT_DEPTH = 50
MEDIANS_SHOWN = 3
LARGEST_K = 1000
FAR = 1.0
"""Percentile of a cohort's members below which a query is not near the cohort."""
_ALL = Filters()


class ReferenceIndex:
    """An open reference index.

    Use `ReferenceIndex.open`. All methods may be called from several threads.
    """

    def __init__(self, info: IndexInfo, table: Any) -> None:
        self.info = info
        self._pathways = read_pathways(check_file(info, COHORT_PATHWAYS))
        self._cohorts = read_cohorts(check_file(info, COHORTS))
        real, medians, self._vectors = _load(table, exact=info.counts["rows"] <= EXACT_ROWS)
        self._members = real
        self._number = {name: number for number, name in enumerate(real.names)}
        self._median_rows = medians.drop_columns(["vector"]).to_pylist()
        self._medians = as_matrix(medians["vector"])  # (M, D)
        self._among: dict[str, FloatArray] = {}
        self._filling = threading.Lock()

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
        return {name: str(self._cohorts[name]["name"]) for name in self._members.names}

    def cohort_rows(self) -> list[CohortRow]:
        """Return what there is to say of every cohort, of real profiles and of medians."""
        rows = []
        for name, row in self._cohorts.items():
            number = self._number.get(name)
            where = self._members.rows(number) if number is not None else slice(0, 0)
            sources = self._members.counts("source", where)
            rows.append(
                CohortRow(
                    id=name,
                    name=str(row["name"]),
                    kind=str(row["kind"]),
                    study=str(row["study"]),
                    tissue=str(row["tissue"]),
                    sample_type=str(row["sample_type"]),
                    n_profiles=int(row["n_profiles"]),
                    n_patients=int(row["n_patients"]),
                    n_sources=max(len(sources), 1),
                    subtypes=self._members.counts("subtype", where),
                )
            )
        return rows

    def values_of(self, field: str) -> list[str]:
        """Return the values that a filter may have: those that real profiles have, sorted.

        Raises
        ------
        ReferenceIndexError
            `field` is not one of `filters.FIELDS` and not ``patient`` or ``cohort``.
        """
        allowed = (*FIELDS, "patient", "cohort")
        if field not in allowed:
            raise ReferenceIndexError(
                f"There is no filter {field[:40]!r}.", f"Use one of {', '.join(allowed)}."
            )
        return self._members.values_of(field)

    def knows_patient(self, patient: str) -> bool:
        """Tell whether the index holds a profile of this patient."""
        return self._members.has("patient", patient)

    def nearest_profiles(
        self, vector: FloatArray, *, k: int, filters: Filters = _ALL
    ) -> list[Neighbor]:
        """Return the `k` real profiles nearest to `vector`, nearest first.

        Exact up to 100,000 profiles, by LanceDB's IvfSq index above.

        Parameters
        ----------
        vector
            (D,) float32, finite and not zero.
        k
            1 to 1000.
        filters
            Which profiles may be found.

        Raises
        ------
        ReferenceIndexError
            The vector or `k` is not usable, a filter has an unknown value, or no profile passes.
        """
        query = self._checked(vector)
        _check_k(k)
        mask = self._mask(filters)
        rows, similarity = self._vectors.nearest(query, k, mask=mask, where=filters.expression())
        return [
            self._neighbor(int(row), float(cosine))
            for row, cosine in zip(rows, similarity, strict=True)
        ]

    def nearest_cohorts(
        self, vector: FloatArray, *, k: int, filters: Filters = _ALL
    ) -> CohortRanking:
        """Rank the cohorts by the mean cosine of their nearest patients (see `ranking`).

        Parameters
        ----------
        vector
            (D,) float32, finite and not zero.
        k
            1 to 1000 cohorts.
        filters
            Which profiles count: as neighbours, as members, in every number.

        Raises
        ------
        ReferenceIndexError
            The vector or `k` is not usable, a filter has an unknown value, or no profile passes.
        """
        query = self._checked(vector)
        _check_k(k)
        mask = self._mask(filters)
        similarity = np.where(mask, self._vectors.similarities(query), np.float32(-np.inf))  # (N,)
        nearest = largest(similarity, SUPPORT_DEPTH, mask=mask)
        matches = [
            self._match(number, similarity, nearest)
            for number in range(len(self._members.names))
            if mask[self._members.rows(number)].any()
        ]
        matches.sort(key=lambda match: (-match.similarity, match.cohort))
        large = [match for match in matches if match.n_patients >= SMALLEST_COHORT][:k]
        floor = large[-1].similarity if large else -1.0
        small = [
            match
            for match in matches
            if match.n_patients < SMALLEST_COHORT and match.similarity >= floor
        ]
        medians = self._nearest_medians(query, filters)
        return CohortRanking(large, small, medians, nothing_near(large))

    def cohort_similarities(
        self, vector: FloatArray, *, filters: Filters = _ALL
    ) -> dict[str, float]:
        """Return the similarity to every cohort of at least three patients, by cohort id.

        Raises
        ------
        ReferenceIndexError
            The vector is not usable, a filter has an unknown value, or no profile passes.
        """
        query = self._checked(vector)
        mask = self._mask(filters)
        similarity = np.where(mask, self._vectors.similarities(query), np.float32(-np.inf))  # (N,)
        found = {}
        for number, name in enumerate(self._members.names):
            where = self._members.rows(number)
            best = nearest_patients(similarity[where], self._members.people[where])
            if np.count_nonzero(best > -np.inf) >= SMALLEST_COHORT:
                found[name] = to_cohort(best)[0]
        return found

    def cohort_pathways(self, cohort: str) -> CohortPathways:
        """Return mean and standard deviation of the direct pathway scores of a cohort.

        Raises
        ------
        ReferenceIndexError
            There is no such cohort, or it has no genome-wide profile.
        """
        if cohort not in self._number:
            raise ReferenceIndexError(
                f"There is no cohort {cohort[:80]!r}; there are {len(self._number)}, such as "
                f"{', '.join(self._members.names[:5])}.",
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

    def _mask(self, filters: Filters) -> Mask:
        mask = self._members.mask(filters)
        if not mask.any():
            kept = ", ".join(f"{name} {value!r}" for name, value in filters.kept().items())
            raise ReferenceIndexError(
                f"No reference profile has {kept or 'another patient'} at once.",
                "Leave one of the filters out.",
            )
        return mask

    def _neighbor(self, row: int, similarity: float) -> Neighbor:
        label = self._members.label(row)
        name = str(self._cohorts[label["cohort"]]["name"])
        return Neighbor(cohort_name=name, similarity=similarity, **label)

    def _match(
        self, number: int, similarity: FloatArray, nearest: npt.NDArray[np.intp]
    ) -> CohortMatch:
        where = self._members.rows(number)
        name = self._members.names[number]
        best = nearest_patients(similarity[where], self._members.people[where])
        mean, n_patients = to_cohort(best)
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

    def _nearest_medians(self, query: FloatArray, filters: Filters) -> list[MedianMatch]:
        kept = filters.kept().items()
        mask = [all(row[name] == value for name, value in kept) for row in self._median_rows]
        similarity = self._medians @ query  # (M,)
        return [
            MedianMatch(
                cohort=self._median_rows[i]["cohort"],
                name=self._median_rows[i]["cohort_name"],
                sample_type=self._median_rows[i]["sample_type"],
                similarity=float(similarity[i]),
            )
            for i in largest(similarity, MEDIANS_SHOWN, mask=np.asarray(mask, dtype=bool))
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


def _load(table: Any, *, exact: bool) -> tuple[Members, Any, Vectors]:
    """Return the real profiles' labels, the median rows with their vectors, and the vectors."""
    from lancedb.expr import col, lit

    labels = [*COLUMNS, *(["vector"] if exact else [])]
    real = table.search().where(col("kind") == lit(PROFILE)).select(labels).with_row_id(True)
    rows = real.limit(None).to_arrow().combine_chunks()
    medians = table.search().where(col("kind") == lit(MEDIAN)).limit(None).to_arrow()
    members = Members(rows)
    if exact:
        return members, medians, InMemory(as_matrix(rows["vector"])[members.order])
    return members, medians, OnDisk(table, rows["_rowid"].to_numpy()[members.order])


def _check_k(k: int) -> None:
    if not 1 <= k <= LARGEST_K:
        raise ReferenceIndexError(
            f"k must be 1 to {LARGEST_K}; it is {k}.", "Ask again with a k in that range."
        )
