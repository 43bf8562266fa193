"""What a search of the reference index answers."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True, slots=True)
class Neighbor:
    """One real reference profile near the query.

    `similarity` is the cosine of the two embeddings, from -1 to 1.
    """

    id: str
    cohort: str
    cohort_name: str
    study: str
    sample_type: str
    patient: str
    source: str
    unit: str
    similarity: float
    tissue: str = ""
    subtype: str = ""


@dataclass(frozen=True, slots=True)
class CohortMatch:
    """One cohort of real profiles, as near as its nearest patients.

    Attributes
    ----------
    similarity
        Mean cosine to the nearest patients: one for every 20 of the cohort, from one to five.
    percentile
        Percentage of the cohort's own members that are as far from the other patients of the cohort
        or farther, 0 to 100; None for a cohort of one patient.
    support
        How many of the 50 nearest profiles belong to the cohort.
    n_profiles, n_patients, n_sources
        Reference profiles, patients and data sets behind the cohort, without an excluded patient.
    """

    cohort: str
    name: str
    sample_type: str
    similarity: float
    support: int
    n_profiles: int
    n_patients: int
    n_sources: int
    percentile: float | None = None


@dataclass(frozen=True, slots=True)
class CohortRow:
    """What the index holds of one cohort.

    `kind` is ``profile`` for a cohort of real profiles and ``cohort_median`` for a published
    median. `subtypes` maps the subtypes to the profiles that have them, where any is known.
    """

    id: str
    name: str
    kind: str
    study: str
    tissue: str
    sample_type: str
    n_profiles: int
    n_patients: int
    n_sources: int
    subtypes: dict[str, int]


@dataclass(frozen=True, slots=True)
class MedianMatch:
    """One published cohort median near the query; not a real profile."""

    cohort: str
    name: str
    sample_type: str
    similarity: float


@dataclass(frozen=True, slots=True)
class CohortRanking:
    """The answer of `ReferenceIndex.nearest_cohorts`.

    `too_small` lists cohorts of fewer than three patients that would have ranked among `cohorts`
    had they been large enough: they are named, not ranked. `nothing_near` is one sentence when even
    the nearest cohort is farther than 99 % of its own members are from the others, else None.
    """

    cohorts: list[CohortMatch]
    too_small: list[CohortMatch]
    medians: list[MedianMatch]
    nothing_near: str | None = None


@dataclass(frozen=True, slots=True)
class CohortPathways:
    """Mean and spread of the direct pathway scores of a cohort.

    `mean` and `sd` are (P,) float32 and NaN where fewer than two profiles could be scored; `n` is
    (P,) int32, the genome-wide profiles behind each number; `gene_sets` maps
    a name to its position.
    """

    cohort: str
    name: str
    gene_sets: dict[str, int]
    mean: npt.NDArray[np.float32]
    sd: npt.NDArray[np.float32]
    n: npt.NDArray[np.int32]
