"""What the tools answer, as typed models; the program's copy of every answer.

Every answer carries its provenance: which release, which index, which server. What only a full
answer holds has a default, and what has its default is left out of the structured content.
"""

from __future__ import annotations

from specformer_mcp.results.answers import (
    Cohort,
    Cohorts,
    Gene,
    Median,
    Pathway,
    Pathways,
    Prediction,
    Profile,
    UnexpectedGenes,
)
from specformer_mcp.results.base import Answer, Detail, Provenance, Result
from specformer_mcp.results.comparisons import (
    CohortContrast,
    Comparison,
    Group,
    PathwayContrast,
    Reference,
)
from specformer_mcp.results.samples import (
    EVEN,
    Embedded,
    EmbeddedSample,
    Forgotten,
    Genes,
    LeftOut,
    Summary,
    Unit,
)

__all__ = [
    "EVEN",
    "Answer",
    "Cohort",
    "CohortContrast",
    "Cohorts",
    "Comparison",
    "Detail",
    "Embedded",
    "EmbeddedSample",
    "Forgotten",
    "Gene",
    "Genes",
    "Group",
    "LeftOut",
    "Median",
    "Pathway",
    "PathwayContrast",
    "Pathways",
    "Prediction",
    "Profile",
    "Provenance",
    "Reference",
    "Result",
    "Summary",
    "UnexpectedGenes",
    "Unit",
]
