"""What embed_sample and forget answer."""

from __future__ import annotations

from pydantic import Field

from specformer_mcp.results.base import Answer, Result


class Unit(Result):
    """The expression unit that the values were found to have."""

    name: str
    scale: str
    confidence: float
    warnings: list[str]
    overridden: bool = Field(description="Stated by the caller")
    evidence: list[str] = Field(default=[])


class Genes(Result):
    """What became of the gene identifiers."""

    identifiers: str
    rows: int
    measured: int = Field(description="Genes of the vocabulary measured")
    vocabulary: int
    exact: int
    renamed: int
    repaired: int = Field(description="Spreadsheet dates turned back")
    merged: int = Field(description="Rows summed into one gene")
    ambiguous: int = Field(description="Left out")
    unknown: int
    outside_vocabulary: int
    account: list[str] = Field(default=[], description="The same in sentences")


EVEN = 0.5
"""Tumour probability below which a sample is told to be likely normal tissue."""


class EmbeddedSample(Result):
    """One sample and the handle to use from now on; what is None waits to be embedded."""

    sample: str = Field(description="Handle, smp_…")
    name: str
    genes_measured: int
    top_type: str | None = None
    probability: float | None = None
    out_of_distribution: bool | None = None
    tumor_probability: float | None = None


class Summary(Result):
    """All samples of the file that are embedded by now."""

    embedded: int
    top_types: dict[str, int]
    out_of_distribution: int
    likely_normal: int = Field(description="Tumour probability below 0.5")


class LeftOut(Result):
    """A sample of the file that could not be ordered, and why."""

    name: str
    reason: str


class Embedded(Answer):
    """Answer of embed_sample."""

    samples: list[EmbeddedSample]
    n_samples: int
    next_cursor: str | None = None
    summary: Summary
    left_out: list[LeftOut] = Field(default=[])
    source: str
    unit: Unit
    genes: Genes


class Forgotten(Result):
    """Answer of forget."""

    forgotten: int
    left: int = Field(description="Samples still kept")
