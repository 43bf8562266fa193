"""`specformer predict`: which cancer type, and how sure."""

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


def run(args: argparse.Namespace) -> int:
    """Print the prediction of every sample."""
    return answer_files(args, _answer)


def _answer(engine: Engine, sample: Sample) -> tuple[dict[str, Any], str]:
    from specformer_mcp import analysis, render

    return {}, render.prediction(analysis.predict(engine, sample))
