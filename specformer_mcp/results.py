"""What the tools answer, as typed models; the program's copy of every answer.

Every answer carries its provenance: which release, which index, which server.
"""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field


def _without_titles(schema: dict[str, Any]) -> None:
    """Drop the titles that pydantic adds: each repeats its key, and models pay for every token."""
    schema.pop("title", None)
    for value in schema.get("properties", {}).values():
        value.pop("title", None)


class Result(BaseModel):
    """Base of all result models."""

    model_config = ConfigDict(frozen=True, json_schema_extra=_without_titles)


class Provenance(Result):
    """What gave the answer."""

    release: str
    release_sha256: str
    index: str
    server: str


class Unit(Result):
    """The expression unit that the values were found to have."""

    name: str
    scale: str
    confidence: float
    evidence: list[str]
    warnings: list[str]
    overridden: bool = Field(description="The caller stated the unit")


class Genes(Result):
    """What became of the gene identifiers."""

    identifiers: str = Field(description="Kind of identifier that most rows have")
    rows: int
    exact: int
    renamed: int
    repaired: int = Field(description="Symbols turned back from a spreadsheet's dates")
    merged: int = Field(description="Rows of one gene, summed on the linear scale")
    ambiguous: int = Field(description="Left out: the name may mean several genes")
    unknown: int
    outside_vocabulary: int
    measured: int = Field(description="Genes of the vocabulary measured")
    vocabulary: int
    account: list[str] = Field(description="The same in sentences, with the first names of each")


class EmbeddedSample(Result):
    """One sample and the handle to use from now on."""

    sample: str = Field(description="Handle, smp_…")
    name: str
    genes_measured: int


class LeftOut(Result):
    """A sample of the file that could not be ordered, and why."""

    name: str
    reason: str


class Embedded(Result):
    """Answer of embed_sample."""

    samples: list[EmbeddedSample]
    n_samples: int
    not_listed: int
    left_out: list[LeftOut]
    notes: list[str] = Field(description="What the reader decided about the file")
    source: str
    unit: Unit
    genes: Genes
    provenance: Provenance


class Cohort(Result):
    """A cohort of real reference profiles."""

    cohort: str
    name: str
    similarity: float = Field(description="Mean cosine to its 5 nearest patients")
    support: int = Field(description="Members among the 50 nearest profiles")
    n_profiles: int
    n_patients: int
    n_sources: int


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


class Cohorts(Result):
    """Answer of nearest_cohorts."""

    sample: str
    name: str
    cohorts: list[Cohort]
    too_small: list[Cohort] = Field(description="Near, but fewer than 3 patients: not ranked")
    published_medians: list[Median]
    nearest_profiles: list[Profile]
    excluded_patient: str | None
    notes: list[str]
    provenance: Provenance


class Prediction(Result):
    """Answer of predict_cancer_type."""

    sample: str
    name: str
    top_type: str
    top_name: str
    probabilities: dict[str, float] = Field(description="Calibrated, all types, descending")
    types_from_statistics: list[str] = Field(
        description="Types taught by tumours simulated from published cohort statistics"
    )
    prediction_set: list[str] = Field(description="Empty: no type is likely enough to be named")
    coverage: float = Field(description="Share of samples whose set holds the true type")
    prediction_sets: dict[str, list[str]] = Field(description="The set at each coverage")
    typicality: float = Field(
        description="Share of validation tumours of known types that are at least as odd"
    )
    out_of_distribution: bool
    reasons: list[str]
    tumor_probability: float
    genes_measured: int
    provenance: Provenance


class Pathway(Result):
    """One gene set that stands out."""

    gene_set: str
    score: float = Field(description="ssGSEA, -1 to 1")
    z: float
    n: int = Field(description="Cohort profiles behind the z")


class Pathways(Result):
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
    notes: list[str]
    provenance: Provenance
