"""What compare_samples and describe_reference answer."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from specformer_mcp.results.base import Answer, Result


class Group(Result):
    """One side of a comparison."""

    n: int
    names: list[str] = Field(default=[], description="The first few")
    top_types: dict[str, int]
    out_of_distribution: int


class CohortContrast(Result):
    """A cohort that one side is more like than the other."""

    cohort: str
    name: str
    a: float = Field(description="Mean similarity of a")
    b: float
    difference: float | None = None


class PathwayContrast(Result):
    """A gene set that scores differently."""

    gene_set: str
    effect: float = Field(description="a minus b; see effect_size")
    low: float | None = Field(default=None, description="95 % interval")
    high: float | None = None
    p: float | None = Field(default=None, description="Mann–Whitney")
    q: float | None = Field(default=None, description="Benjamini–Hochberg")
    a: float | None = Field(default=None, description="Mean ssGSEA score of a")
    b: float | None = None


class Comparison(Answer):
    """Answer of compare_samples."""

    a: Group
    b: Group
    distance: float = Field(description="Cosine distance of the (mean) embeddings, 0 to 2")
    within_a: float | None = Field(default=None, description="Mean distance of two samples of a")
    within_b: float | None = None
    between: float | None = None
    cohorts: list[CohortContrast]
    collection: str
    effect_size: str = Field(description="hedges_g, or delta_z in sd of the reference cohort")
    against: str | None = None
    against_name: str | None = None
    higher_in_a: list[PathwayContrast]
    higher_in_b: list[PathwayContrast]
    tested: int


class Reference(Answer):
    """Answer of describe_reference."""

    what: str
    total: int
    rows: list[dict[str, Any]]
    next_cursor: str | None = None
