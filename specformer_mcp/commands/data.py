"""`specformer data`: public data sets, and labelled matrices → a packed training corpus."""

from __future__ import annotations

import argparse
from pathlib import Path

from specformer_mcp.commands import data_download


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the subcommands."""
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    build = actions.add_parser("build", help="pack a labelled corpus for training")
    build.add_argument("--corpus", type=Path, required=True, metavar="DIR")
    build.add_argument("--out", type=Path, required=True, metavar="FILE", help="Arrow file")
    data_download.add_arguments(
        actions.add_parser("download", help="fetch public data sets: TCGA, GTEx, Toil, PARADIGM")
    )


def run(args: argparse.Namespace) -> int:
    """Fetch data sets or build the packed corpus."""
    return data_download.run(args) if args.action == "download" else _build(args)


def _build(args: argparse.Namespace) -> int:
    from specformer_encoder.corpus import build

    counts = build(args.corpus, args.out)
    size = args.out.stat().st_size / 1e6
    print(f"{args.out}: {counts['train']} train, {counts['valid']} valid profiles, {size:.0f} MB")
    return 0
