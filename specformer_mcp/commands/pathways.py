"""`specformer pathways`: direct ssGSEA scores, and what stands out against a cohort."""

from __future__ import annotations

import argparse
import math
from typing import TYPE_CHECKING, Any

from specformer_mcp.commands.common import add_file_arguments, answer_files

if TYPE_CHECKING:
    from specformer_mcp.engine import Engine
    from specformer_mcp.samples import Sample


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    add_file_arguments(parser)
    parser.add_argument("--collection", default="hallmark", help="gene-set collection")
    parser.add_argument("--top", type=int, default=10, help="sets that stand out (1 to 50)")
    parser.add_argument(
        "--against", default="nearest", metavar="COHORT", help="'nearest' or a cohort id"
    )


def run(args: argparse.Namespace) -> int:
    """Print the pathways of every sample; JSON holds the score of every set of the collection."""
    from specformer_mcp import analysis, render

    def answer(engine: Engine, sample: Sample) -> tuple[dict[str, Any], str]:
        found = analysis.pathways(
            engine, sample, collection=args.collection, top=args.top, against=args.against
        )
        gene_sets = engine.loaded().gene_sets
        scores = engine.pathway_scores(sample)
        named = zip(gene_sets.names, gene_sets.collections, scores, strict=True)
        extra = {
            "collection": args.collection,
            "scores": {
                name: round(float(score), 6)
                for name, collection, score in named
                if collection == args.collection and math.isfinite(score)
            },
            "against": found.against,
            "higher": [pathway.model_dump() for pathway in found.higher],
            "lower": [pathway.model_dump() for pathway in found.lower],
            "notes": found.notes,
        }
        return extra, render.pathways(found)

    analysis.check_range("top", args.top, analysis.LARGEST_TOP)
    return answer_files(args, answer)
