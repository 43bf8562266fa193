"""`specformer pretrain`: train an encoder from a recipe; the same command resumes."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("recipe", metavar="RECIPE", help="debug, cpu, or a .toml file")
    parser.add_argument("--corpus", type=Path, required=True, metavar="DIR", help="built corpus")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="the run's folder")
    parser.add_argument("--device", default="cpu", help="torch device (default: cpu)")
    parser.add_argument("--stop-at", type=int, metavar="STEP", help="stop early, to go on later")


def run(args: argparse.Namespace) -> int:
    """Train or go on training."""
    from specformer_encoder.packed import PackedCorpus, part_of
    from specformer_encoder.pretrain import Run, rank_baseline
    from specformer_encoder.recipe import load_recipe

    corpus = PackedCorpus(part_of(args.corpus, "packed.arrow"))
    recipe = load_recipe(args.recipe, len(corpus.vocabulary))
    training = Run(recipe, corpus, args.out, args.device)
    print(
        f"recipe {recipe.name}: step {training.step} of {recipe.train.steps}; the most frequent "
        f"gene at each rank names {rank_baseline(corpus, recipe.model.length):.1%} of the genes",
        file=sys.stderr,
    )
    with (args.out / "metrics.jsonl").open("a", encoding="utf-8") as metrics:

        def report(numbers: dict[str, Any]) -> None:
            metrics.write(json.dumps(numbers) + "\n")
            metrics.flush()
            _show(numbers)

        training.train(report, stop_at=args.stop_at)
    done = training.step >= recipe.train.steps
    print(
        f"\n{'finished' if done else 'stopped'} at step {training.step} after "
        f"{training.seconds / 60:.0f} minutes; best validation loss {training.best:.4f}",
        file=sys.stderr,
    )
    return 0


def _show(numbers: dict[str, Any]) -> None:
    """One line: kept in place on a terminal, one after the other in a log."""
    step, steps, seconds = numbers["step"], numbers["steps"], numbers["seconds"]
    rest = {k: v for k, v in numbers.items() if k not in ("step", "steps", "seconds")}
    text = " ".join(
        f"{name} {value:,.0f}" if value >= 1000 else f"{name} {value:.3f}"
        for name, value in rest.items()
    )
    validation = any(name.startswith("valid") for name in rest)
    start, end = ("\r\x1b[K", "\n" if validation else "") if sys.stderr.isatty() else ("", "\n")
    left = "" if validation else f" | about {seconds / step * (steps - step) / 60:.0f} min left"
    print(f"{start}step {step}/{steps} {text}{left}", end=end, file=sys.stderr, flush=True)
