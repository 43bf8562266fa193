"""`specformer evaluate`: judge a release on test patients, with the baselines beside it."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("release", type=Path, metavar="RELEASE", help="release folder")
    parser.add_argument("--corpus", type=Path, required=True, metavar="DIR", help="built corpus")
    parser.add_argument("--json", action="store_true", help="print JSON instead of tables")
    parser.add_argument(
        "--write", action="store_true", help="write evaluation.json and MODEL_CARD.md beside it"
    )


def run(args: argparse.Namespace) -> int:
    """Evaluate."""
    from specformer_encoder.card import write_card
    from specformer_encoder.corpus import Corpus
    from specformer_encoder.embedder import Embedder
    from specformer_encoder.evaluate.run import doubt_table, evaluate, panel_table, table

    embedder = Embedder.load(args.release)
    corpus = Corpus.open(args.corpus)
    results = evaluate(embedder, corpus, lambda line: print(line, file=sys.stderr, flush=True))
    if args.write:
        write_card(embedder.release, results)
    if args.json:
        print(json.dumps(results))
    else:
        print(table(results), doubt_table(results), panel_table(results), sep="\n\n")
    return 0
