"""`specformer index`: build a reference index, or say what one holds."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the subcommands."""
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    build = actions.add_parser("build", help="build an index from a release and a corpus")
    build.add_argument("--corpus", type=Path, required=True, metavar="DIR", help="built corpus")
    build.add_argument("--out", type=Path, required=True, metavar="DIR")
    build.add_argument("--release", type=Path, metavar="DIR", help="model release")
    build.add_argument(
        "--medians", type=Path, metavar="FILE", help="Parquet file of published cohort medians"
    )
    build.add_argument("--replace", action="store_true", help="replace an existing index")
    info = actions.add_parser("info", help="show what an index holds and check its files")
    info.add_argument("--index", type=Path, metavar="DIR", help="default: the bundled index")


def run(args: argparse.Namespace) -> int:
    """Build or show an index."""
    return _build(args) if args.action == "build" else _info(args)


def _build(args: argparse.Namespace) -> int:
    from specformer_encoder.corpus import Corpus
    from specformer_encoder.embedder import Embedder
    from specformer_encoder.gene_sets import GeneSets
    from specformer_index.build import build_index
    from specformer_mcp.engine import from_environment

    info = build_index(
        embedder=Embedder.load(args.release or from_environment("SPECFORMER_RELEASE")),
        corpus=Corpus.open(args.corpus),
        out=args.out,
        medians=args.medians,
        gene_sets=GeneSets.load(),
        replace=args.replace,
        progress=lambda line: print(line, file=sys.stderr, flush=True),
    )
    print(f"{args.out}: {_counts(info.counts)}")
    return 0


def _info(args: argparse.Namespace) -> int:
    from specformer_index.opening import read_info, verify
    from specformer_mcp.engine import from_environment

    info = read_info(args.index or from_environment("SPECFORMER_INDEX"))
    print(f"index     {info.version}, built {info.created}")
    print(f"release   {info.release_id}, sha256 {info.release_sha256}")
    print(f"vectors   {info.dimensions} dimensions")
    print(f"holds     {_counts(info.counts)}")
    changed = verify(info)
    print(f"files     {len(info.files)}, {f'CHANGED: {changed}' if changed else 'all unchanged'}")
    return 1 if changed else 0


def _counts(counts: dict[str, int]) -> str:
    return (
        f"{counts['profiles']} profiles of {counts['patients']} patients in "
        f"{counts['cohorts']} cohorts, {counts['medians']} published medians"
    )
