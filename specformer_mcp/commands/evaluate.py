"""`specformer evaluate`: judge a release on test patients, with the baselines beside it."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("release", type=Path, metavar="RELEASE", help="release folder")
    parser.add_argument("--corpus", type=Path, required=True, metavar="DIR", help="built corpus")
    parser.add_argument(
        "--reference",
        type=Path,
        metavar="DIR",
        help="folder with PARADIGM pathways, TCGA sample labels and cohort medians; "
        "what needs them is left out without it",
    )
    parser.add_argument(
        "--questions",
        type=lambda text: [name.strip() for name in text.split(",") if name.strip()],
        metavar="NAME,NAME",
        help="ask only these and keep the other answers in evaluation.json; "
        'with "" nothing is asked, and page and card are written from what is there',
    )
    parser.add_argument(
        "--page", type=Path, metavar="FILE", help="write the page (Markdown), plots beside it"
    )
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    parser.add_argument(
        "--write", action="store_true", help="write evaluation.json and MODEL_CARD.md beside it"
    )


def run(args: argparse.Namespace) -> int:
    """Evaluate."""
    from specformer_encoder.card import write_card, write_results
    from specformer_encoder.corpus import Corpus
    from specformer_encoder.embedder import Embedder
    from specformer_encoder.evaluate.page import headline, write_page
    from specformer_encoder.evaluate.run import evaluate, merge

    embedder = Embedder.load(args.release)
    release = embedder.release
    there = release.path / "evaluation.json"
    before = None
    if args.questions is not None and there.is_file():
        before = json.loads(there.read_text(encoding="utf-8"))

    def joined(found: dict[str, Any]) -> dict[str, Any]:
        return merge(before, found) if before else found

    results = evaluate(
        embedder,
        Corpus.open(args.corpus),
        reference=args.reference,
        questions=args.questions,
        progress=lambda line: print(line, file=sys.stderr, flush=True),
        answered=lambda found: write_results(release, joined(found)) if args.write else None,
    )
    results = joined(results)
    if args.write:
        write_card(release, results)
    if args.page:
        write_page(args.page, results)
    print(json.dumps(results) if args.json else headline(results))
    return 0
