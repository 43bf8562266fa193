"""What the model reads: compact text, a few hundred tokens, never a raw vector.

Sample names come from the user's file and are untrusted: control characters and line breaks are
taken out and long names are cut, so that a name cannot pass for a line of the answer.
"""

from __future__ import annotations

from specformer_mcp.render.answers import (
    cohorts,
    pathways,
    prediction,
    prediction_set,
    unexpected_genes,
)
from specformer_mcp.render.common import clean, provenance
from specformer_mcp.render.comparisons import comparison, reference
from specformer_mcp.render.samples import embedded, forgotten

__all__ = [
    "clean",
    "cohorts",
    "comparison",
    "embedded",
    "forgotten",
    "pathways",
    "prediction",
    "prediction_set",
    "provenance",
    "reference",
    "unexpected_genes",
]
