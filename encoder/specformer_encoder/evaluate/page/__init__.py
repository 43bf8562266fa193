"""The evaluation as a page: Markdown, with plots beside it, made of the JSON and nothing else."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from specformer_encoder.evaluate.classification import MERGED_SUFFIX, SHIPPED
from specformer_encoder.evaluate.doubt_of_release import POOR
from specformer_encoder.evaluate.page import doubt, spaces, types
from specformer_encoder.evaluate.page.text import (
    Found,
    best,
    is_baseline,
    left_out,
    number,
    table,
    value,
)
from specformer_encoder.evaluate.pathways import PER_PATHWAY, PER_SAMPLE
from specformer_encoder.evaluate.refit import REFITTED, REFITTED_KNN
from specformer_encoder.evaluate.spaces import EMBEDDING

#: Question → its section, in the order of the page.
SECTIONS: Mapping[str, Callable[[Found], list[str]]] = {
    "classification": types.classification,
    "panels": types.panels,
    "same sample": types.same_sample,
    "leave out": types.leave_out,
    "doubt": doubt.doubt,
    "pathways": spaces.pathways,
    "geometry": spaces.geometry,
    "tissues": spaces.tissues,
    "subtypes": spaces.subtypes,
    "ablations": doubt.ablations,
    "simulated types": doubt.simulated,
}

#: Where the plots lie, seen from the page.
IMAGES = Path("img") / "evaluation"

_Row = list[Any]


def write_page(path: Path, results: Found) -> None:
    """Write the page and, in `IMAGES` beside it, its plots.

    Parameters
    ----------
    path
        Of the Markdown file.
    results
        Of `run.evaluate`, as JSON takes them.
    """
    from specformer_encoder.evaluate.page import plots

    images = path.parent / IMAGES
    images.mkdir(parents=True, exist_ok=True)
    plots.draw(images, results)
    path.write_text(page(results), encoding="utf-8")


def page(results: Found) -> str:
    """The page as Markdown."""
    counts = results["corpus"]
    said = ", ".join(f"{c['profiles']:,} of {c['patients']:,} ({s})" for s, c in counts.items())
    lines = [
        "# Evaluation",
        f"Release {results['release']['id']} (`{results['release']['sha256'][:16]}`), made by "
        "`specformer evaluate`; nothing on this page is written by hand, its verdicts included. "
        f"Profiles and patients of the corpus: {said}. A patient is in one split. What is fitted "
        "is fitted on train, what is chosen is chosen on valid, every number is of test patients "
        "unless it says otherwise, and stands with the 95 % interval of a bootstrap over patients.",
    ]
    if len(results["asked"]) > 1:
        parts = "; ".join(", ".join(some) for some in results["asked"])
        lines.append(f"The questions were asked in {len(results['asked'])} runs: {parts}.")
    lines += ["## In short", headline(results)]
    for name, section in SECTIONS.items():
        if name in results:
            lines += section(results[name])
    missing = [name for name in SECTIONS if name not in results]
    if missing:
        lines += ["## Not asked", f"These questions were not asked: {', '.join(missing)}."]
    return "\n\n".join(line for line in lines if line) + "\n"


def headline(results: Found) -> str:
    """The numbers that matter most, a table."""
    rows: list[_Row] = []
    for name, short_of in _SHORT.items():
        if name in results and not left_out(results[name]):
            rows += short_of(results[name])
    head = ["", "shipped predictor or probe", "embedding, kNN", "best baseline"]
    return table(head, rows)


def _row(name: str, methods: Found, metric: str, *, ours: str, knn: str = types.KNN) -> _Row:
    rival = best(methods, metric, among=is_baseline)
    named = f"{number(rival[1])}, {rival[0]}" if rival else "–"
    own, near = (methods.get(key, {}).get(metric) for key in (ours, knn))
    return [name, own, near, named]


def _short_classification(found: Found) -> list[_Row]:
    methods = found["methods"]
    return [
        _row(f"{metric}, unseen patients", methods, metric, ours=SHIPPED)
        for metric in (
            "accuracy",
            "accuracy" + MERGED_SUFFIX,
            "balanced accuracy",
            "macro-F1",
            "macro AUC",
        )
    ]


def _short_panels(found: Found) -> list[_Row]:
    return [
        _row(f"accuracy, {group}", found[group]["methods"], "accuracy", ours=SHIPPED)
        for group in ("10% of the genes", "5% of the genes", "real panels")
        if group in found
    ]


def _short_same_sample(found: Found) -> list[_Row]:
    if not found["pairs"]:
        return []
    return [["one sample twice: same type", found["same top type" + MERGED_SUFFIX], "–", "–"]]


def _short_leave_out(found: Found) -> list[_Row]:
    rows = []
    for setting in ("cbioportal_pancan", "firehose"):
        for test in found["sources"].get(setting, {"tests": {}})["tests"].values():
            name = f"accuracy, {setting} left out"
            rows.append(_row(name, test["methods"], types.ACROSS, ours=REFITTED, knn=REFITTED_KNN))
    for setting in found["one pipeline"].values():
        for test, judged in setting["tests"].items():
            name = f"accuracy, {test}, type and pipeline never met together"
            if test.endswith("LUSC from RSEM"):
                rows.append(
                    _row(name, judged["methods"], "accuracy", ours=REFITTED, knn=REFITTED_KNN)
                )
    return rows


def _short_doubt(found: Found) -> list[_Row]:
    areas = {n: k["auroc"] for n, k in found["novelty"]["kinds"].items() if n not in POOR}
    lowest = min(areas, key=lambda n: value(areas[n]) or 0.0)
    error = found["calibration"][doubt.WHOLE]["expected calibration error"]
    return [
        ["expected calibration error", error, "–", "–"],
        ["90 % sets hold the true type", found["coverage"]["0.9"]["coverage"], "–", "–"],
        [f"lowest area for odd profiles ({lowest})", areas[lowest], "–", "–"],
    ]


def _short_pathways(found: Found) -> list[_Row]:
    return [
        _row(f"pathways, correlation {metric}", found["methods"], metric, ours=EMBEDDING, knn="")
        for metric in (PER_SAMPLE, PER_PATHWAY)
    ]


_SHORT: Mapping[str, Callable[[Found], list[_Row]]] = {
    "classification": _short_classification,
    "panels": _short_panels,
    "same sample": _short_same_sample,
    "leave out": _short_leave_out,
    "doubt": _short_doubt,
    "pathways": _short_pathways,
}
