"""What the tools answer of one sample."""

from __future__ import annotations

from pydantic import Field

from specformer_mcp.results.base import Answer, Result


class Cohort(Result):
    """A cohort of real reference profiles."""

    cohort: str
    name: str
    similarity: float
    percentile: float | None = Field(
        default=None, description="Among the cohort's own members; low = outside it"
    )
    support: int = Field(description="Members among the 50 nearest profiles")
    n_patients: int
    n_profiles: int | None = None
    n_sources: int | None = None


class Median(Result):
    """A published cohort median; not a real profile."""

    cohort: str
    name: str
    similarity: float


class Profile(Result):
    """A real reference profile."""

    id: str
    cohort: str
    patient: str
    source: str
    unit: str
    similarity: float


class Cohorts(Answer):
    """Answer of nearest_cohorts."""

    sample: str
    name: str
    cohorts: list[Cohort]
    nothing_near: str | None = None
    too_small: list[Cohort] = Field(
        default=[], description="Near, fewer than 3 patients: not ranked"
    )
    published_medians: list[Median] = Field(default=[])
    nearest_profiles: list[Profile] = Field(default=[])
    filters: dict[str, str] = Field(default={})
    excluded_patient: str | None = None


class Prediction(Answer):
    """Answer of predict_cancer_type."""

    sample: str
    name: str
    top_type: str
    top_name: str
    probabilities: dict[str, float] = Field(description="Calibrated, descending")
    prediction_set: list[str] = Field(description="Empty: less sure than usual")
    coverage: float
    prediction_sets: dict[str, list[str]] = Field(default={}, description="At each coverage")
    typicality: float = Field(description="Share of validation tumours at least as odd")
    out_of_distribution: bool
    reasons: list[str]
    tumor_probability: float
    types_from_statistics: list[str] = Field(
        default=[], description="Taught by simulated tumours, not real ones"
    )
    genes_measured: int


class Pathway(Result):
    """One gene set that stands out."""

    gene_set: str
    score: float = Field(description="ssGSEA")
    z: float
    n: int | None = Field(default=None, description="Cohort profiles behind the z")


class Pathways(Answer):
    """Answer of pathway_scores."""

    sample: str
    name: str
    collection: str
    against: str
    against_name: str
    against_profiles: int
    higher: list[Pathway]
    lower: list[Pathway]
    scored: int
    not_scored: int


class Gene(Result):
    """One gene that the rest of the profile does not explain."""

    symbol: str
    z: float
    rank: int = Field(description="Percentile within the sample")
    expected: int = Field(description="Percentile by context")
    ensembl_id: str | None = None
    surprisal: float | None = None


class UnexpectedGenes(Answer):
    """Answer of unexpected_genes."""

    sample: str
    name: str
    has: list[Gene]
    lacks: list[Gene]
    measured: int
