"""Sections on doubt, on what each part is worth, and on types learnt from statistics."""

from __future__ import annotations

from typing import Any

from specformer_encoder.evaluate.ablations import BOTH
from specformer_encoder.evaluate.doubt_of_release import POOR
from specformer_encoder.evaluate.page.text import (
    Found,
    left_out,
    number,
    share,
    short,
    table,
    value,
)

WHOLE = "100% of the genes"


def doubt(found: Found) -> list[str]:
    """The section on calibration, prediction sets and odd profiles."""
    novelty = found["novelty"]
    odd = {name: kind for name, kind in novelty["kinds"].items() if name not in POOR}
    poor = {name: kind for name, kind in novelty["kinds"].items() if name in POOR}
    held = found["held out types"]
    return [
        "## Doubt",
        "### Are probabilities as often right as they say?",
        table(
            ["profiles", "expected calibration error", "accuracy", "mean confidence"],
            (
                [name, c["expected calibration error"], c["accuracy"], c["mean confidence"]]
                for name, c in found["calibration"].items()
            ),
        ),
        "![Reliability](img/evaluation/reliability.png)",
        "### How often is it right where it is surest?",
        table(
            ["share kept, surest first", "accuracy"],
            ([f"{p['kept']:.0%}", p["accuracy"]] for p in found["accuracy by share kept"]),
        ),
        "![Accuracy against coverage](img/evaluation/accuracy_coverage.png)",
        "### Do prediction sets hold the true type as often as they promise?",
        "A set may be empty: no type is likely enough to be named at that level.",
        table(
            [
                "level",
                "holds the true type",
                "types in the set",
                "empty",
                "one type",
                "true type inside where not empty",
            ],
            (
                [
                    f"{float(level):.0%}",
                    c["coverage"],
                    c["types in the set"],
                    c["empty"],
                    c["single"],
                    c["accuracy where not empty"],
                ]
                for level, c in found["coverage"].items()
            ),
        ),
        _covered(found["coverage"]),
        "By type, at 90 %: "
        + ", ".join(
            f"{short(name)} {number(value(c['coverage']), 2)} ({c['profiles']})"
            for name, c in found["coverage"]["0.9"]["by type"].items()
        )
        + ".",
        "### Is what is no known tumour told from what is?",
        "Area under the ROC curve of the typicality against the known test tumours, and the share "
        f"that is flagged; of the known tumours themselves {share(novelty['known']['flagged'])} "
        "are. Scrambled, slipped, mouse-like, noisy and pure profiles are made of test tumours; "
        "the mouse-like ones stand in for a mouse, none was measured.",
        _kinds(odd),
        _lowest(odd),
        "Poorly measured known tumours should not be flagged (an area near 0.5 is right):",
        _kinds(poor),
        _flagged_though_known(poor),
        "![Areas by kind](img/evaluation/novelty.png)",
        "Each known type in turn as one that was never seen, projection and novelty fitted "
        "without its tumours:"
        if held
        else "",
        _kinds({short(name): kind for name, kind in held.items()}) if held else "",
        _lowest(held),
    ]


def _kinds(kinds: Found) -> str:
    rows = ([name, k["profiles"], k["auroc"], k["flagged"]] for name, k in kinds.items())
    return table(["kind", "profiles", "area under the ROC curve", "flagged"], rows)


def _flagged_though_known(poor: Found) -> str:
    often = {name: k["flagged"] for name, k in poor.items() if (value(k["flagged"]) or 0.0) > 0.1}
    if not often:
        return "None of them is flagged in more than a tenth."
    said = ", ".join(f"{name} ({share(some)})" for name, some in often.items())
    return f"**Flagged in more than a tenth though they are known:** {said}."


def _lowest(kinds: Found) -> str:
    if not kinds:
        return ""
    areas = {name: value(kind["auroc"]) or 0.0 for name, kind in kinds.items()}
    under = [short(name) for name, area in areas.items() if area < 0.95]
    name = min(areas, key=lambda key: areas[key])
    said = f"The lowest area is {areas[name]:.3f} ({short(name)})"
    return said + (f"; below 0.95: {', '.join(under)}." if under else ", and none is below 0.95.")


def _covered(coverage: Found) -> str:
    at = coverage["0.9"]["coverage"]
    found = value(at) or 0.0
    if 0.88 <= found <= 0.92:
        return f"At 90 % the sets hold the true type in {number(at)}: they keep their word."
    word = "more" if found > 0.92 else "**less**"
    return f"At 90 % the sets hold the true type in {number(at)}: {word} often than promised."


def ablations(found: Found) -> list[str]:
    """The section on what each part is worth."""
    parts = _ablation_table(found["parts"])
    return [
        "## What each part is worth",
        "Accuracy with parts of the embedding taken away (projection, classifier and neighbours "
        "fitted anew for each; no gene panels and no simulated tumours take part, "
        "so the first row is not the shipped predictor), on validation and test tumours, with 10 % "
        f"of the genes, and with the source {found['left out'] or 'that is not in this corpus'} "
        "left out.",
        parts,
        _worth(found["parts"]),
        "Four orderings, judged as bags of their first genes, without a network (nothing was "
        "pretrained anew for them):",
        _ablation_table(found["orderings"]),
        "Objectives and augmentations of the pretraining are taken away one by one in short runs "
        "of their own, the network judged alone on validation patients: "
        "[pretraining_ablations.md](pretraining_ablations.md), made by "
        "`benchmarks/pretraining_ablations.py`.",
    ]


def _ablation_table(variants: Found) -> str:
    columns = [
        f"{model}: {where}"
        for model, scores in next(iter(variants.values())).items()
        for where in scores
    ]
    rows = (
        [name, *(number(scores) for model in found.values() for scores in model.values())]
        for name, found in variants.items()
    )
    return table(["variant", *columns], rows)


def _worth(parts: Found) -> str:
    def at(name: str, where: str) -> float:
        return value(parts[name]["logistic regression"][where]) or 0.0

    said = []
    for where in ("test", "test, 10% of the genes", "source left out"):
        if where in parts[BOTH]["logistic regression"]:
            both, factors = at(BOTH, where), at("factors alone", where)
            gap = 100 * (both - factors)
            word = "adds" if gap >= 0 else "**costs**"
            said.append(f"{word} {abs(gap):.1f} points ({where})")
    return f"Beside the factors, the network {', '.join(said)} under logistic regression."


def simulated(found: Found) -> list[str]:
    """The section on types that were learnt from published statistics."""
    head = "## Types learnt from published cohort medians"
    if sentence := left_out(found):
        return [head, sentence]
    rows: list[list[Any]] = [
        [short(name), k["patients"], k["top-1"], k["false calls"], "yes" if k["reached"] else "no"]
        for name, k in found["left out in turn"].items()
    ]
    together = found["together"]
    reached = sum(k["reached"] for k in found["left out in turn"].values())
    lines = [
        head,
        "Of some types the corpus has hardly a tumour. The release learns them from tumours that "
        "are simulated around the published median of the cohort. To see whether that can work, "
        "each type that does have tumours was left out in turn, simulated, and its real test "
        "tumours asked about (test bed: PCA-256 and logistic regression).",
        table(
            ["type", "patients", "named rightly", "of other tumours so named", "0.80 reached"], rows
        ),
        f"{reached} of {len(rows)} types reach 0.80.",
        "All that the release learns so, at once: accuracy on the types that have tumours "
        f"{number(together['accuracy without'])} without them, {number(together['accuracy with'])} "
        "with them.",
    ]
    if found["shipped"]:
        lines += [
            "The shipped predictor on the few real test tumours of these types:",
            table(
                ["type", "profiles", "patients", "named rightly"],
                (
                    [short(name), k["profiles"], k["patients"], k["top-1"]]
                    for name, k in found["shipped"].items()
                ),
            ),
        ]
    return lines
