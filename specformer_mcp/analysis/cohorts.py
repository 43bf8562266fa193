"""What a sample is like: the reference cohorts, ranked."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from specformer_index.errors import ReferenceIndexError
from specformer_index.filters import Filters
from specformer_mcp.analysis.common import check_range, close_matches, provenance
from specformer_mcp.engine import Engine
from specformer_mcp.results import Cohort, Cohorts, Median, Profile

if TYPE_CHECKING:
    from specformer_index.results import CohortMatch, Neighbor
    from specformer_mcp.samples import Sample

LARGEST_K = 50
SAME_PROFILE = 0.9999
"""Cosine from which on two profiles are taken to be the same one."""


def nearest_cohorts(
    engine: Engine,
    sample: Sample,
    *,
    k: int = 5,
    profiles: int = 3,
    filters: Filters | None = None,
) -> Cohorts:
    """Rank the reference cohorts by their similarity to the sample.

    Parameters
    ----------
    k, profiles
        Cohorts and single profiles to return, 1 to 50 cohorts.
    filters
        Which reference profiles count; each value has to be one that the index holds.

    Raises
    ------
    SpecformerError
        `k` is out of range, a filter names what the index does not hold, or the filters together
        leave nothing.
    """
    check_range("k", k, LARGEST_K)
    filters = filters or Filters()
    index = engine.loaded().index
    patient = filters.exclude_patient
    if patient is not None and not index.knows_patient(patient):
        raise ReferenceIndexError(
            f"The index has no patient {patient[:40]!r}.",
            "Leave exclude_patient out, or give a patient as TCGA-05-4384.",
        )
    vector = engine.embedding(sample)
    ranking = index.nearest_cohorts(vector, k=k, filters=filters)
    near = index.nearest_profiles(vector, k=profiles, filters=filters)
    return Cohorts(
        sample=sample.handle,
        name=sample.name,
        cohorts=[cohort_of(match) for match in ranking.cohorts],
        nothing_near=ranking.nothing_near,
        too_small=[cohort_of(match) for match in ranking.too_small],
        published_medians=[
            Median(cohort=m.cohort, name=m.name, similarity=round(m.similarity, 4))
            for m in ranking.medians
        ],
        nearest_profiles=[_profile(neighbor) for neighbor in near],
        filters=filters.kept(),
        excluded_patient=patient,
        notes=_same_profile(near),
        next=_next(ranking.cohorts),
        provenance=provenance(engine),
    )


def filters_of(
    engine: Engine,
    *,
    study: str | None = None,
    tissue: str | None = None,
    sample_type: str | None = None,
    subtype: str | None = None,
    exclude_patient: str | None = None,
) -> Filters:
    """Return the filters that were asked for, in the spelling of the index.

    Raises
    ------
    ReferenceIndexError
        The index does not hold a value; the text names close ones.
    """
    index = engine.loaded().index
    asked = {"study": study, "tissue": tissue, "sample_type": sample_type, "subtype": subtype}
    kept: dict[str, str] = {}
    for field, value in asked.items():
        if not value:
            continue
        known = index.values_of(field)
        spelling = {name.lower(): name for name in known}.get(value.strip().lower())
        if spelling is None:
            close = close_matches(value, known) or known[:8]
            raise ReferenceIndexError(
                f"The index has no {field} {value[:60]!r}; it has {len(known)}, such as "
                f"{', '.join(repr(name) for name in close)}.",
                "Use one of these, or leave it out; describe_reference(what='cohorts') lists them.",
            )
        kept[field] = spelling
    return dataclasses.replace(Filters(), **kept, exclude_patient=exclude_patient or None)


def cohort_of(match: CohortMatch) -> Cohort:
    """Return a match of the index as the answer tells it."""
    return Cohort(
        cohort=match.cohort,
        name=match.name,
        similarity=round(match.similarity, 4),
        percentile=None if match.percentile is None else round(match.percentile, 1),
        support=match.support,
        n_profiles=match.n_profiles,
        n_patients=match.n_patients,
        n_sources=match.n_sources,
    )


def _profile(neighbor: Neighbor) -> Profile:
    return Profile(
        id=neighbor.id,
        cohort=neighbor.cohort,
        patient=neighbor.patient,
        source=neighbor.source,
        unit=neighbor.unit,
        similarity=round(neighbor.similarity, 4),
    )


def _same_profile(near: list[Neighbor]) -> list[str]:
    if not near or near[0].similarity < SAME_PROFILE:
        return []
    note = f"The reference holds this very profile ({near[0].id})."
    if not near[0].patient:
        return [note]
    return [f"{note} Pass exclude_patient={near[0].patient!r} to leave the patient out."]


def _next(cohorts: list[CohortMatch]) -> str:
    if not cohorts:
        return "drop a filter, or describe_reference(what='cohorts')"
    return f"pathway_scores(against={cohorts[0].cohort!r}) says how it differs from them"
