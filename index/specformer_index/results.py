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


@dataclass(frozen=True, slots=True)
class CohortMatch:
    """One cohort of real profiles, as near as its five nearest patients.

    Attributes
    ----------
    similarity
        Mean cosine to the five nearest patients of the cohort (fewer where it has fewer).
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
    had they been large enough: they are named, not ranked.
    """

    cohorts: list[CohortMatch]
    too_small: list[CohortMatch]
    medians: list[MedianMatch]


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
