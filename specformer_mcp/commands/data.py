"""`specformer data`: labelled matrices → a packed training corpus."""

from __future__ import annotations

import argparse
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the subcommands."""
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    build = actions.add_parser("build", help="pack a labelled corpus for training")
    build.add_argument("--corpus", type=Path, required=True, metavar="DIR")
    build.add_argument("--out", type=Path, required=True, metavar="FILE", help="Arrow file")


def run(args: argparse.Namespace) -> int:
    """Build the packed corpus."""
    from specformer_encoder.corpus import build

    counts = build(args.corpus, args.out)
    size = args.out.stat().st_size / 1e6
    print(f"{args.out}: {counts['train']} train, {counts['valid']} valid profiles, {size:.0f} MB")
    return 0
