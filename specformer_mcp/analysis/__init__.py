"""From a sample to an answer: the questions, shared by the server and the command line."""

from __future__ import annotations

from specformer_mcp.analysis.cohorts import LARGEST_K, filters_of, nearest_cohorts
from specformer_mcp.analysis.common import check_range, close_matches, provenance
from specformer_mcp.analysis.comparison import LARGEST_GROUP, compare
from specformer_mcp.analysis.concise import concise
from specformer_mcp.analysis.embedding import Listing, embedded, unit_of
from specformer_mcp.analysis.pathways import LARGEST_TOP, pathways
from specformer_mcp.analysis.prediction import predict
from specformer_mcp.analysis.reference import cohort_rows, describe_reference
from specformer_mcp.analysis.surprise import unexpected_genes

__all__ = [
    "LARGEST_GROUP",
    "LARGEST_K",
    "LARGEST_TOP",
    "Listing",
    "check_range",
    "close_matches",
    "cohort_rows",
    "compare",
    "concise",
    "describe_reference",
    "embedded",
    "filters_of",
    "nearest_cohorts",
    "pathways",
    "predict",
    "provenance",
    "unexpected_genes",
    "unit_of",
]
