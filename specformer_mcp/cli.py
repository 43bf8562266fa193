"""The command line: `specformer COMMAND` and `specformer-mcp`, which is `specformer serve`.

Only the module of the command that was called is imported, so that `specformer --help` and the
start of the server stay fast. Exit codes: 0 done, 1 failed, 2 wrong usage.
"""

from __future__ import annotations

import argparse
import importlib
import os
import sys
from collections.abc import Sequence
from types import ModuleType

from specformer_encoder.errors import SpecformerError
from specformer_mcp import __version__

COMMANDS: dict[str, str] = {
    "serve": "serve the tools over MCP (stdio or streamable HTTP)",
    "doctor": "say what is wrong with this installation, and how to mend it",
    "report": "read one expression file and print the whole report",
    "inspect": "say how a file is read: format, samples, unit, genes",
    "embed": "give the embedding of every sample of the files",
    "neighbors": "find the nearest reference cohorts and profiles",
    "predict": "predict the cancer type, with its doubt",
    "pathways": "find the pathways that stand out",
    "pretrain": "train an encoder from a recipe",
    "evaluate": "evaluate a release on the test patients of a corpus",
    "release": "make or inspect a model release",
    "index": "build a reference index, add your own cohorts, keep it sound",
    "data": "fetch public data sets, build a corpus for training",
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run `specformer` and return the exit code."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    command = next((word for word in arguments if not word.startswith("-")), None)
    parser = argparse.ArgumentParser(
        prog="specformer",
        description="Place a human bulk RNA-seq sample among real TCGA and GTEx samples.",
    )
    parser.add_argument("--version", action="version", version=f"specformer {__version__}")
    subparsers = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for name, text in COMMANDS.items():
        sub = subparsers.add_parser(name, help=text, description=text.capitalize() + ".")
        if name == command:
            _module(name).add_arguments(sub)
    args = parser.parse_args(arguments)
    try:
        return int(_module(args.command).run(args))
    except SpecformerError as error:
        print(f"specformer {args.command}: {str(error).strip()}", file=sys.stderr)
        return 1
    except ModuleNotFoundError as error:
        if error.name != "sklearn":
            raise
        print(
            f"specformer {args.command}: this command fits models with scikit-learn, which is not "
            "installed. Install it with `pip install 'specformer-mcp[train]'`.",
            file=sys.stderr,
        )
        return 1
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        # The reader (head, less) has gone; do not let the interpreter complain at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1


def serve_main() -> int:
    """Run `specformer-mcp`, which is `specformer serve`."""
    return main(["serve", *sys.argv[1:]])


def _module(command: str) -> ModuleType:
    return importlib.import_module(f"specformer_mcp.commands.{command}")
