"""The plots of the page: small PNG files, the same bytes for the same results."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from specformer_encoder.evaluate.classification import SHIPPED
from specformer_encoder.evaluate.doubt_of_release import POOR
from specformer_encoder.evaluate.page.text import Found, short, value
from specformer_encoder.evaluate.page.types import ACROSS, KNN, SHOWN

#: Methods of the plot over shares of the genes, if they are there.
_BY_GENES = (
    SHIPPED,
    KNN,
    "PCA-256 + logistic regression",
    "PCA-256 + paired shifts + logistic regression",
    "PCA-256 + kNN",
)
_DOTS_PER_INCH = 90
_COLOURS = ("#1b6ca8", "#6fb1dd", "#c0504d", "#e59f6d", "#7a7a7a")


def draw(folder: Path, results: Found) -> None:
    """Draw what there are results for into a folder."""
    for question, plots in _PLOTS.items():
        if question in results:
            for name, plot in plots.items():
                figure = plot(results[question])
                if figure is not None:
                    # No software version and no date: the bytes depend on the results alone.
                    figure.savefig(
                        folder / f"{name}.png",
                        dpi=_DOTS_PER_INCH,
                        bbox_inches="tight",
                        metadata={"Software": None},
                    )


def _axes(width: float, height: float) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(width, height), layout="constrained")
    axes = figure.add_subplot()
    axes.spines[["top", "right"]].set_visible(False)
    return figure, axes


def _errors(estimates: list[Any]) -> tuple[list[float], list[list[float]]]:
    """Values, and how far the interval reaches below and above each."""
    values = [value(e) or 0.0 for e in estimates]
    reach: list[list[float]] = [[], []]
    for middle, estimate in zip(values, estimates, strict=True):
        for side, end in zip(reach, ("low", "high"), strict=True):
            known = estimate[end] is not None
            side.append(abs(estimate[end] - middle) if known else 0.0)
    return values, reach


def confusion(found: Found) -> Figure:
    """Share of each true type by the type named."""
    counts = np.array(found["confusion"][SHIPPED], float)
    there = counts.sum(axis=1) > 0
    shares = counts[there] / counts[there].sum(axis=1, keepdims=True)
    named = shares.sum(axis=0) > 0
    rows = [short(n) for n, kept in zip(found["types"], there, strict=True) if kept]
    columns = [short(n) for n, kept in zip([*found["types"], "none"], named, strict=True) if kept]
    figure, axes = _axes(8, 7.5)
    axes.imshow(shares[:, named], cmap="Blues", vmin=0, vmax=1)
    axes.set_xticks(range(len(columns)), columns, rotation=90, fontsize=7)
    axes.set_yticks(range(len(rows)), rows, fontsize=7)
    for (i, j), part in np.ndenumerate(shares[:, named]):
        if part >= 0.01:
            colour = "white" if part > 0.5 else "black"
            axes.text(j, i, f"{100 * part:.0f}", ha="center", va="center", fontsize=6, color=colour)
    axes.set_xlabel("named")
    axes.set_ylabel("true type, % of its test tumours")
    return figure


def genes(found: Found) -> Figure:
    """Accuracy by share of the genes measured."""
    groups = [name for name in found if name.endswith("% of the genes")]
    shares = [float(name.partition("%")[0]) for name in groups]
    figure, axes = _axes(6, 4)
    methods = found[groups[0]]["methods"]
    for colour, method in zip(_COLOURS, [m for m in _BY_GENES if m in methods], strict=False):
        values, errors = _errors([found[g]["methods"][method]["accuracy"] for g in groups])
        axes.errorbar(
            shares, values, yerr=errors, label=method, color=colour, marker="o", capsize=2
        )
    axes.set_xscale("log")
    axes.set_xticks(shares, [f"{s:g} %" for s in shares])
    axes.minorticks_off()
    axes.set_xlabel("genes measured")
    axes.set_ylabel("accuracy")
    axes.legend(fontsize=7, frameon=False)
    return figure


def reliability(found: Found) -> Figure:
    """Share right by confidence, whole profiles and few genes."""
    figure, axes = _axes(4.5, 4.5)
    axes.plot([0, 1], [0, 1], color="#bbbbbb", linewidth=1)
    for colour, (name, some) in zip(_COLOURS, found["calibration"].items(), strict=False):
        bins = some["bins"]
        sizes = [10 + 100 * b["profiles"] / sum(c["profiles"] for c in bins) for b in bins]
        x, y = [b["confidence"] for b in bins], [b["right"] for b in bins]
        axes.plot(x, y, color=colour, linewidth=1)
        axes.scatter(x, y, s=sizes, color=colour, label=name)
    axes.set_xlabel("probability of the type named")
    axes.set_ylabel("share right")
    axes.legend(fontsize=8, frameon=False)
    return figure


def accuracy_coverage(found: Found) -> Figure:
    """Accuracy on the surest part of the samples."""
    points = found["accuracy by share kept"]
    values, errors = _errors([p["accuracy"] for p in points])
    figure, axes = _axes(5, 3.5)
    kept = [100 * p["kept"] for p in points]
    axes.errorbar(kept, values, yerr=errors, color=_COLOURS[0], marker="o", capsize=2)
    axes.set_xlabel("% of the test tumours kept, surest first")
    axes.set_ylabel("accuracy")
    return figure


def novelty(found: Found) -> Figure:
    """Area under the ROC curve of every kind, held-out types among them."""
    kinds = {n: k for n, k in found["novelty"]["kinds"].items() if n not in POOR}
    kinds |= {f"held out: {short(n)}": k for n, k in found["held out types"].items()}
    kinds |= {n: k for n, k in found["novelty"]["kinds"].items() if n in POOR}
    values, errors = _errors([k["auroc"] for k in kinds.values()])
    figure, axes = _axes(7, 0.6 + 0.19 * len(kinds))
    places = list(range(len(kinds)))[::-1]
    colours = [_COLOURS[4] if name in POOR else _COLOURS[0] for name in kinds]
    axes.barh(places, values, xerr=errors, color=colours, error_kw={"linewidth": 0.8})
    axes.axvline(0.95, color="#bbbbbb", linewidth=1)
    axes.set_yticks(places, list(kinds), fontsize=7)
    axes.set_xlim(0, 1)
    axes.set_ylim(-0.6, len(kinds) - 0.4)
    axes.set_xlabel("area under the ROC curve (grey: known tumours, poorly measured)")
    return figure


def leave_out(found: Found) -> Figure | None:
    """Accuracy with each source left out."""
    rows = {
        name: test["methods"]
        for name, setting in found["sources"].items()
        for test in setting["tests"].values()
    }
    if not rows:
        return None
    methods = [m for m in SHOWN if any(m in scores for scores in rows.values())]
    figure, axes = _axes(7, 0.8 + 0.16 * len(methods) * len(rows))
    for k, (colour, method) in enumerate(zip(_COLOURS, methods, strict=False)):
        there = [(i, s[method][ACROSS]) for i, s in enumerate(rows.values()) if method in s]
        values, errors = _errors([estimate for _, estimate in there])
        places = [i + (k - len(methods) / 2) * 0.16 for i, _ in there]
        axes.barh(
            places,
            values,
            0.15,
            xerr=errors,
            color=colour,
            label=method,
            error_kw={"linewidth": 0.8},
        )
    axes.set_yticks(range(len(rows)), list(rows), fontsize=8)
    axes.set_xlim(0, 1)
    axes.set_ylim(len(rows) - 0.4, -0.6)
    axes.set_xlabel("accuracy on the tumours of the source left out")
    figure.legend(fontsize=7, frameon=False, loc="outside lower left")
    return figure


_PLOTS: Mapping[str, Mapping[str, Callable[[Found], Figure | None]]] = {
    "classification": {"confusion": confusion},
    "panels": {"genes": genes},
    "leave out": {"leave_out": leave_out},
    "doubt": {
        "reliability": reliability,
        "accuracy_coverage": accuracy_coverage,
        "novelty": novelty,
    },
}
