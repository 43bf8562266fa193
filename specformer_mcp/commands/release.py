"""`specformer release`: build a release from a training run, or show one."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the subcommands."""
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    build = actions.add_parser("build", help="fit the heads and write a release")
    build.add_argument("--run", type=Path, required=True, metavar="DIR", help="training run")
    build.add_argument(
        "--corpus", type=Path, required=True, metavar="DIR", help="built corpus that it trained on"
    )
    build.add_argument(
        "--medians",
        type=Path,
        metavar="FILE",
        help="published cohort medians (Parquet): also know types with hardly any real tumour",
    )
    build.add_argument("--out", type=Path, required=True, metavar="DIR")
    build.add_argument("--id", required=True, metavar="NAME", help="e.g. specformer-0.1.0")
    info = actions.add_parser("info", help="check a release and show what it is")
    info.add_argument("--release", type=Path, metavar="DIR", help="default: the bundled release")


def run(args: argparse.Namespace) -> int:
    """Build or show a release."""
    if args.action == "info":
        from specformer_encoder.release import open_release

        release = open_release(args.release)
        shown = {"id": release.id, "sha256": release.sha256, "types": release.heads.types}
        print(json.dumps(shown | {"model": release.manifest["model"]}, indent=2))
        return 0

    from specformer_encoder.corpus import Corpus
    from specformer_encoder.release_build import build_release

    build_release(
        run=args.run,
        corpus=Corpus.open(args.corpus),
        out=args.out,
        release_id=args.id,
        medians=args.medians,
        progress=lambda line: print(line, file=sys.stderr, flush=True),
    )
    print(f"{args.out}: {sum(f.stat().st_size for f in args.out.iterdir()) / 1e6:.1f} MB")
    return 0
