"""The ablations of pretraining as numbers and as a page; what is said of them is computed."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from benchmarks.network_alone import COSINE, KNN, LINEAR, MEASURES, SHARE, Questions
from specformer_encoder.evaluate.metrics import Estimate, bootstrap_mean
from specformer_encoder.evaluate.page.text import table
from specformer_encoder.recipe import Recipe

#: The variant that the others are compared with, and the one that nothing is taken from.
WHOLE, SEED = "whole recipe", "another seed"
_LOSSES = {"masked": "masked, nats", "decode": "decoded"}


def summary(
    found: Mapping[str, Mapping[str, Any]],
    questions: Questions,
    *,
    recipe: Recipe,
    steps: int,
    not_run: Sequence[str] = (),
) -> dict[str, Any]:
    """Estimates of every variant, and of its differences from the whole recipe.

    Parameters
    ----------
    found
        Variant → `changes`, `trained`, `losses` and `answers`.
    questions
        What was asked.
    recipe
        As it stands, not shortened.
    steps
        Of each run.
    not_run
        Names of the variants that are missing.

    Returns
    -------
    A dictionary as JSON takes it: what was run and asked, then `variants`: name → `changes`,
    `trained`, `losses`, `measures` and `differences`, the last two measure → value, low, high.
    """
    whole = found.get(WHOLE, {}).get("answers", {})
    variants = {}
    for name, result in found.items():
        answers = {m: np.array(result["answers"][m]) for m in MEASURES if m in result["answers"]}
        people = {measure: questions.people(measure) for measure in answers}
        variants[name] = {
            "changes": result["changes"],
            "trained": result["trained"],
            "losses": result["losses"],
            "measures": {m: _plain(bootstrap_mean(x, people[m])) for m, x in answers.items()},
            "differences": {
                m: _plain(bootstrap_mean(x - np.array(whole[m]), people[m]))
                for m, x in answers.items()
                if name != WHOLE and m in whole
            },
        }
    return {
        "recipe": recipe.name,
        "steps": steps,
        "steps of the recipe": recipe.train.steps,
        "samples a step": recipe.train.batch,
        "types": questions.types,
        "training tumours": len(questions.train.rows),
        "validation tumours": len(questions.few.rows),
        "validation patients": len(set(questions.few.people)),
        "pairs": len(questions.pairs) // 2,
        "patients with pairs": len(set(questions.people(COSINE))),
        "not run": list(not_run),
        "variants": variants,
    }


def page(numbers: Mapping[str, Any]) -> str:
    """The numbers of `summary` as Markdown."""
    variants: Mapping[str, Mapping[str, Any]] = numbers["variants"]
    measures = [m for m in MEASURES if any(m in v["measures"] for v in variants.values())]
    values = table(
        ["variant", *measures, *_LOSSES.values()],
        (
            [name, *(v["measures"].get(m) for m in measures), *(v["losses"][x] for x in _LOSSES)]
            for name, v in variants.items()
        ),
    )
    parts = [_head(numbers), values]
    if numbers["not run"]:
        parts.append(f"Not run: {'; '.join(numbers['not run'])}.")
    compared = {name: v["differences"] for name, v in variants.items() if v["differences"]}
    if compared:
        rows = ([name, *(_points(d.get(m)) for m in measures)] for name, d in compared.items())
        parts += [_COMPARED, table(["variant", *measures], rows), _said(compared)]
    return "\n\n".join(parts) + "\n"


def _head(numbers: Mapping[str, Any]) -> str:
    steps, of = numbers["steps"], numbers["steps of the recipe"]
    return f"""# Ablations of pretraining

Each row is a network trained for {steps} steps of {numbers["samples a step"]} samples with one \
thing of the recipe `{numbers["recipe"]}` taken away. The release trains {of:,} steps: this is \
{steps / of:.0%} of it, with the same schedule compressed, one seed a row, so it says what each \
part does early in training and not what it is worth at the end. *{SEED}*, where it was run, takes \
nothing away: what it differs by is noise. An untrained network's blocks do nothing yet, so it is \
the mean of the vectors of the first genes: random ones, or with the warm start those of their \
co-occurrence in training profiles (latent semantic indexing).

The network is judged alone, without factor model and projection, so nothing here is the accuracy \
of the release ([evaluation.md](evaluation.md)). Asked are {numbers["validation tumours"]} \
genome-wide tumours of {numbers["validation patients"]} validation patients, never test patients, \
of {len(numbers["types"])} types; {numbers["training tumours"]:,} training tumours, the same \
for all, are the neighbours ({KNN}: 5, cosine) and fit the {LINEAR}; {SHARE:.0%} of the genes are \
drawn at random for each profile. *Same sample* compares {numbers["pairs"]} pairs of profiles of \
one tumour from two pipelines ({numbers["patients with pairs"]} patients): their cosine, and how \
often the other profile is nearer than every tumour of another patient. A high cosine alone is \
nothing to be proud of, as a network that takes all tumours for alike has it too. \
*{_LOSSES["masked"]}* and *{_LOSSES["decode"]}* are the losses on all validation profiles (lower \
is better; decoded: 1 is predicting every gene's mean). Intervals: 95 %, bootstrap over patients.

`python benchmarks/pretraining_ablations.py --corpus CORPUS --out DIR --recipe \
{numbers["recipe"]} --steps {steps} --page docs/pretraining_ablations.md`"""


_COMPARED = (
    f"Differences from the {WHOLE}, in points, of the same profiles; those whose interval does not "
    "hold 0 are bold:"
)


def _points(difference: Mapping[str, float] | None) -> str:
    if difference is None:
        return "–"
    value, low, high = (f"{100 * difference[end]:+.1f}" for end in ("value", "low", "high"))
    text = f"{value} ({low} to {high})"
    return f"**{text}**" if _clear(difference) else text


def _clear(difference: Mapping[str, float]) -> bool:
    return difference["low"] > 0 or difference["high"] < 0


def _said(compared: Mapping[str, Mapping[str, Mapping[str, float]]]) -> str:
    """A line for each variant, counting only what no draw of patients and no seed explains."""
    seed = compared.get(SEED, {})
    lines = []
    for name, differences in compared.items():
        if name == SEED:
            continue
        beyond = [
            f"{m} {100 * d['value']:+.1f}"
            for m, d in differences.items()
            if _clear(d) and abs(d["value"]) > abs(seed.get(m, {}).get("value", 0.0))
        ]
        lines.append(f"- {name}: {'; '.join(beyond) or 'nothing outside the noise'}")
    tested = sum(len(d) for name, d in compared.items() if name != SEED)
    counted = "their interval does not hold 0"
    if seed:
        counted += f" and they are larger than that of *{SEED}*"
    unknown = "" if seed else " No other seed was run, so what a seed alone changes is not known."
    return (
        f"Differences counted here: {counted}. Differences inside their intervals are noise, and "
        f"of {tested} comparisons about {round(0.05 * tested)} would lie outside by chance alone."
        f"{unknown}\n\n" + "\n".join(lines)
    )


def _plain(estimate: Estimate) -> dict[str, float]:
    return {name: round(value, 5) for name, value in dataclasses.asdict(estimate).items()}
