"""`specformer embed`: the embedding of every sample."""

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
    """Print the embedding of every sample, as text one tab-separated line a sample."""
    return answer_files(args, _answer)


def _answer(engine: Engine, sample: Sample) -> tuple[dict[str, Any], str]:
    vector = [float(number) for number in engine.embedding(sample)]
    return {"embedding": vector}, "\t".join([sample.name, *(f"{number:.6g}" for number in vector)])
