"""`specformer neighbors`: the nearest reference cohorts and profiles."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from specformer_mcp.commands.common import add_file_arguments, answer_files

if TYPE_CHECKING:
    from specformer_mcp.engine import Engine
    from specformer_mcp.samples import Sample


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    add_file_arguments(parser)
    parser.add_argument("-k", type=int, default=5, help="cohorts and profiles (1 to 50)")
    parser.add_argument("--exclude-patient", metavar="ID", help="reference patient to leave out")


def run(args: argparse.Namespace) -> int:
    """Print the neighbours of every sample."""
    from specformer_index.filters import Filters
    from specformer_mcp import analysis, render

    filters = Filters(exclude_patient=args.exclude_patient)

    def answer(engine: Engine, sample: Sample) -> tuple[dict[str, Any], str]:
        found = analysis.nearest_cohorts(engine, sample, k=args.k, profiles=args.k, filters=filters)
        extra = {
            "cohorts": [cohort.model_dump() for cohort in found.cohorts],
            "too_small": [cohort.model_dump() for cohort in found.too_small],
            "published_medians": [median.model_dump() for median in found.published_medians],
            "neighbors": [profile.model_dump() for profile in found.nearest_profiles],
            "excluded_patient": found.excluded_patient,
            "notes": found.notes,
        }
        return extra, render.cohorts(found)

    analysis.check_range("k", args.k, analysis.LARGEST_K)
    return answer_files(args, answer)
