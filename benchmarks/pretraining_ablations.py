"""Which parts of pretraining are worth having? Short runs, each with one thing taken away.

    python benchmarks/pretraining_ablations.py --corpus CORPUS --out DIR [--recipe cpu]
        [--steps 120] [--variants whole no-decoding …] [--page docs/pretraining_ablations.md]

Every run draws the same samples in the same order, and its schedule is the recipe's, warm-up and
cosine, compressed into the few steps. The network is then judged alone, on validation patients
(`network_alone`). Intervals are bootstrapped over patients; they say how much another draw of
patients would change, and nothing of another seed, for which there is a run of its own.

A variant that was judged already is not trained again, and an interrupted run goes on where it
was. With `--page` the table is written as Markdown, and all numbers as JSON beside it.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

# Threads that wait for others must sleep, not spin: on a shared machine that takes them the cores.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

sys.path.insert(0, str(Path(__file__).parents[1]))
from benchmarks.network_alone import Questions
from benchmarks.pretraining_ablations_page import WHOLE, page, summary
from specformer_encoder.files import write_whole
from specformer_encoder.packed import PackedCorpus, part_of
from specformer_encoder.pretrain import Run
from specformer_encoder.recipe import Recipe, load_recipe

#: Reported of the validation profiles, panels among them, with 15 % of the genes hidden.
LOSSES = ("masked", "named", "decode")
#: Of these numbers of a step or validation a line is printed now and then.
TOLD = {*LOSSES, "agree", "valid_masked", "valid_decode", "seconds"}


@dataclass(frozen=True, slots=True)
class Variant:
    """A recipe with something changed.

    Attributes
    ----------
    name
        In the table.
    changes
        Keys of the recipe's table `train`, and what they are set to.
    trained
        Whether any step is made.
    """

    name: str
    changes: dict[str, Any] = field(default_factory=dict)
    trained: bool = True

    def recipe(self, short: Recipe) -> Recipe:
        """The recipe of this variant."""
        changes = dict(self.changes)
        if "seed" in changes:
            changes["seed"] += short.train.seed
        return dataclasses.replace(short, train=dataclasses.replace(short.train, **changes))


#: In the order in which they are run.
VARIANTS = {
    "whole": Variant(WHOLE),
    "untrained": Variant("untrained", trained=False),
    "untrained-random": Variant("untrained, no warm start", {"warm_start": False}, trained=False),
    "no-decoding": Variant("no whole-profile decoding", {"decode_weight": 0.0}),
    "no-agreement": Variant("no agreement of views", {"agree_weight": 0.0}),
    "no-pipelines": Variant(
        "no pipeline shift, noise, thinning",
        dict.fromkeys(("shift_probability", "noise_probability", "thin_probability"), 0.0),
    ),
    "no-dropped-genes": Variant("no dropped genes", {"dropout_probability": 0.0}),
    "no-warm-start": Variant("no warm start", {"warm_start": False}),
    "seed": Variant("another seed", {"seed": 1}),
}


def shortened(recipe: Recipe, steps: int) -> Recipe:
    """The recipe with its whole schedule in so many steps, validated at the last."""
    warmup = max(1, round(recipe.train.warmup * steps / recipe.train.steps))
    train = dataclasses.replace(recipe.train, steps=steps, warmup=warmup, validate_every=steps)
    return dataclasses.replace(recipe, train=train)


def judged(
    variant: Variant, recipe: Recipe, corpus: PackedCorpus, *, questions: Questions, out: Path
) -> dict[str, Any]:
    """Train a variant, if that was not done yet, and judge its network.

    Parameters
    ----------
    variant
        What to do with the recipe.
    recipe
        Shortened.
    corpus
        Packed corpus.
    questions
        What the network is asked.
    out
        Folder of this variant.

    Returns
    -------
    `recipe` and `asked` (what the answers hold for), `losses`, and `answers`; see
    `Questions.judge`.

    Raises
    ------
    TrainingError
        If the folder holds a run of another recipe or corpus.
    KeyboardInterrupt
        If training was interrupted; the run is saved.
    """
    recipe = variant.recipe(recipe)
    holds_for = {
        "recipe": dataclasses.asdict(recipe),
        "trained": variant.trained,
        "asked": questions.fingerprint(),
    }
    path = out / "judged.json"
    if path.is_file():
        found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        if all(found[key] == value for key, value in holds_for.items()):
            return found
    run = Run(recipe, corpus, out, "cpu")
    reports: list[dict[str, Any]] = []

    def report(numbers: dict[str, Any]) -> None:
        reports.append(numbers)
        step = numbers["step"]
        if step % 10 == 0 or "valid_total" in numbers:
            told = (f"{name} {value:.3f}" for name, value in numbers.items() if name in TOLD)
            print(f"  step {step}/{recipe.train.steps} {' '.join(told)}", flush=True)

    if variant.trained:
        run.train(report)
        if run.step < recipe.train.steps:
            raise KeyboardInterrupt
    last = reports[-1] if reports else {}
    valid = {name.removeprefix("valid_"): x for name, x in last.items() if "valid_" in name}
    valid = valid or run.validate()
    result = holds_for | {
        "losses": {name: valid.get(name) for name in LOSSES},
        "answers": questions.judge(run.model.encoder),
    }
    write_whole(path, json.dumps(result).encode())
    return result


def main() -> None:
    """Train, judge, and print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", maxsplit=1)[0])
    parser.add_argument("--corpus", type=Path, required=True, metavar="DIR", help="built corpus")
    parser.add_argument("--recipe", default="cpu", help="name or file (default: cpu)")
    parser.add_argument("--steps", type=int, default=120, help="of each run (default: 120)")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder of the runs")
    parser.add_argument("--variants", nargs="+", choices=VARIANTS, default=list(VARIANTS))
    parser.add_argument("--page", type=Path, metavar="FILE", help="Markdown, and JSON beside it")
    options = parser.parse_args()
    corpus = PackedCorpus(part_of(options.corpus, "packed.arrow"))
    recipe = load_recipe(options.recipe, len(corpus.vocabulary))
    short = shortened(recipe, options.steps)
    questions = Questions(corpus, recipe.model.length)
    found: dict[str, dict[str, Any]] = {}
    try:
        for key in (key for key in VARIANTS if key in options.variants):
            variant = VARIANTS[key]
            print(variant.name, flush=True)
            result = judged(variant, short, corpus, questions=questions, out=options.out / key)
            found[variant.name] = result | {"changes": variant.changes}
    except KeyboardInterrupt:
        print("interrupted; the same command goes on")
    if not found:
        return
    not_run = [variant.name for variant in VARIANTS.values() if variant.name not in found]
    numbers = summary(found, questions, recipe=recipe, steps=options.steps, not_run=not_run)
    text = page(numbers)
    print(text)
    if options.page is not None:
        write_whole(options.page, text.encode())
        plain = json.dumps(numbers, indent=1, ensure_ascii=False) + "\n"
        write_whole(options.page.with_suffix(".json"), plain.encode())


if __name__ == "__main__":
    main()
