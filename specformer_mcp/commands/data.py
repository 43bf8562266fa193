"""`specformer data`: public data sets; and a corpus built from them or from labelled files."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from specformer_mcp.commands import data_download


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the subcommands."""
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    build = actions.add_parser("build", help="build a corpus from labelled or downloaded files")
    build.add_argument(
        "--from",
        type=Path,
        required=True,
        nargs="+",
        metavar="DIR",
        dest="folders",
        help="folders of labelled matrices (samples.tsv) or of Xena and GTEx downloads",
    )
    build.add_argument("--out", type=Path, required=True, metavar="CORPUS", help="folder to make")
    build.add_argument("--replace", action="store_true", help="replace an existing corpus")
    data_download.add_arguments(
        actions.add_parser("download", help="fetch public data sets: TCGA, GTEx, Toil, PARADIGM")
    )


def run(args: argparse.Namespace) -> int:
    """Fetch data sets or build a corpus."""
    return data_download.run(args) if args.action == "download" else _build(args)


def _build(args: argparse.Namespace) -> int:
    from specformer_encoder.corpus.build import build_corpus

    def tell(line: str) -> None:
        print(line, file=sys.stderr, flush=True)

    info = build_corpus(args.folders, args.out, replace=args.replace, progress=tell)
    for warning in info["warnings"]:
        tell(f"warning: {warning}")
    counts, size = info["counts"], sum(f.stat().st_size for f in args.out.iterdir())
    splits = ", ".join(f"{number} {split}" for split, number in counts["by_split"].items())
    print(
        f"{args.out}: {counts['profiles']} profiles ({splits}) of {counts['samples']} samples, "
        f"{counts['patients']} patients; {size / 1e6:,.0f} MB"
    )
    return 0
