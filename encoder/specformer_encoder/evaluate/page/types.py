"""Sections on cancer types: whole profiles, few genes, one sample twice, sources left out."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from specformer_encoder.evaluate.classification import MERGED_SUFFIX, METRICS, SHIPPED
from specformer_encoder.evaluate.page.text import (
    Found,
    best,
    is_baseline,
    methods_table,
    number,
    share,
    short,
    table,
    value,
    verdict,
)
from specformer_encoder.evaluate.refit import REFITTED, REFITTED_KNN, WITH_FACTORS

#: What is shown where rows are left out: rectum from a source that has no colon, or the other way
#: round, would show little but that these are one disease.
ACROSS = "accuracy" + MERGED_SUFFIX
#: Tests of fewer patients are in the JSON only.
FEWEST = 10

KNN = "SpecFormer embedding + kNN"


def classification(found: Found) -> list[str]:
    """The section on whole profiles of unseen patients."""
    methods = found["methods"]
    merged = [metric + MERGED_SUFFIX for metric in METRICS]
    return [
        "## Cancer type of unseen patients",
        f"{found['profiles']} genome-wide tumours of {found['patients']} test patients, of the "
        f"{len(found['judged'])} types with genome-wide tumours of at least ten training patients. "
        f"The release knows {len(found['types'])} types; calling one of the others is an error. "
        "The frozen embedding is judged by a logistic regression (a linear probe, its strength "
        "chosen on validation patients) and by the vote of its five nearest training tumours; the "
        "baselines end in the same two and were fitted in the same run on the same tumours.",
        methods_table(methods, METRICS),
        verdict(methods, "accuracy", ours=SHIPPED),
        verdict(methods, "accuracy", ours=KNN, among=lambda n: is_baseline(n) and "kNN" in n),
        "Colon and rectum (COAD, READ) are one disease to the transcriptome. Merged:",
        methods_table({name: _renamed(scores) for name, scores in methods.items()}, list(METRICS))
        if all(metric in next(iter(methods.values())) for metric in merged)
        else "",
        "![Confusion matrix of the shipped predictor](img/evaluation/confusion.png)",
        _confused(found),
    ]


def _renamed(scores: Found) -> Found:
    return {m: scores[m + MERGED_SUFFIX] for m in METRICS if m + MERGED_SUFFIX in scores}


def _confused(found: Found) -> str:
    """The most frequent confusions of the shipped predictor, in words."""
    counts = np.array(found["confusion"][SHIPPED])
    wrong = counts.copy()
    np.fill_diagonal(wrong, 0)
    names = [*map(short, found["types"]), "none of these"]
    order = np.argsort(-wrong, axis=None, kind="stable")[:6]
    pairs = [divmod(int(k), counts.shape[1]) for k in order]
    said = [
        f"{names[i]} as {names[j]} ({wrong[i, j]} of {counts[i].sum()})"
        for i, j in pairs
        if wrong[i, j]
    ]
    return f"Most often it names {', '.join(said)}." if said else "It makes no error here."


def panels(found: Found) -> list[str]:
    """The section on missing genes."""
    groups = list(found)
    methods = list(next(iter(found.values()))["methods"])
    tenth = found.get("10% of the genes")
    real = found.get("real panels")
    return [
        "## When only some genes were measured",
        "The same test tumours with all but a random share of their genes taken out, new in each, "
        "and the real gene panels of the test patients, source by source. PCA fills a gene that "
        "was not measured with its training mean; the factor model of the release leaves it open.",
        table(
            [
                "genes",
                "profiles",
                "measured (median)",
                "accuracy",
                "90 % set covers",
                "flagged",
            ],
            (
                [name, g["profiles"], g["genes"], g["accuracy"], g["coverage"], g["flagged"]]
                for name, g in found.items()
            ),
        ),
        "Every method's accuracy:",
        table(
            ["method", *groups],
            (
                [name, *(number(found[g]["methods"][name]["accuracy"]) for g in groups)]
                for name in methods
            ),
        ),
        "![Accuracy by share of the genes](img/evaluation/genes.png)",
        verdict(tenth["methods"], "accuracy", ours=SHIPPED, of=" with 10 % of the genes")
        if tenth
        else "",
        verdict(real["methods"], "accuracy", ours=SHIPPED, of=" on the real panels")
        if real
        else "",
    ]


def same_sample(found: Found) -> list[str]:
    """The section on samples that the corpus holds more than once."""
    head = "## One sample, measured or quantified twice"
    if not found["pairs"]:
        return [head, "The corpus has no test tumour in two units or pipelines."]
    metrics = [name for name, some in found.items() if isinstance(some, dict) and "low" in some]
    rows = [["all", found], *found["by units"].items()]
    top = found["same top type" + MERGED_SUFFIX]
    return [
        head,
        f"{found['pairs']} pairs of genome-wide profiles of one test tumour ({found['patients']} "
        "patients) from two sources or in two units. Kendall's τ-b compares the two gene sequences "
        "over the genes that both express, beside the share of the first genes, all that the "
        "network reads, that they have in common; the cosine compares the embeddings.",
        table(
            ["units", "pairs", *metrics],
            ([name, some["pairs"], *(some[m] for m in metrics)] for name, some in rows),
        ),
        f"{share(top)} of the pairs are given the same type (colon and rectum merged), at a mean "
        f"cosine of {number(found['cosine'])}.",
    ]


def leave_out(found: Found) -> list[str]:
    """The section on pipelines that a type was never met in."""
    return [
        "## Across pipelines",
        "Types and sources go together in public data, so a random split of patients does not show "
        "whether a classifier has learnt the tumour or the pipeline. Here everything that sees "
        "labels (projection, heads; the baselines whole) is fitted anew without some rows, and "
        "without any other profile of the patients that are tested. Network and factor model are "
        "the release's: they were fitted without labels, on training patients, the left-out source "
        "among them. For the headline sources the factor model is fitted anew as well. Accuracy, "
        f"colon and rectum merged; tests of fewer than {FEWEST} patients are in the JSON only.",
        "### A source left out",
        *_settings(found["sources"], headline=True),
        "![A source left out](img/evaluation/leave_out.png)" if found["sources"] else "",
        "### A type met in one pipeline only",
        "Every lung adenocarcinoma of the corpus was quantified by RSEM. Squamous tumours are "
        "trained from the GDC's counts and FPKM alone, so that lungs from RSEM have only been "
        "adenocarcinomas; then the squamous ones from RSEM are asked about.",
        *_settings(found["one pipeline"]),
        "### One unit only",
        "Types with enough training patients in a unit are trained in that unit alone and tested "
        "in every unit.",
        *_settings(found["one unit"]),
    ]


def _settings(settings: Found, *, headline: bool = False) -> list[str]:
    if not settings:
        return ["The corpus has no such rows."]
    rows = list(_rows(settings))
    methods = list(dict.fromkeys(name for *_, scores in rows for name in scores))
    lines = [
        table(
            ["", "tested", "patients", *methods],
            (
                [where, types, str(n), *(scores.get(name, {}).get(ACROSS) for name in methods)]
                for where, types, n, scores in rows
                if n >= FEWEST
            ),
        )
    ]
    if headline:
        lines.append(_standing([row for row in rows if row[2] >= FEWEST]))
    return lines


def _rows(settings: Found) -> Iterator[tuple[str, str, int, Found]]:
    for setting, found in settings.items():
        for test, judged in found["tests"].items():
            where = setting if test == "left out" else f"{setting}: {test}"
            if len(settings) == 1 and test != "left out":
                where = test
            types = ", ".join(f"{short(study)} {n}" for study, n in judged["types"].items())
            yield where, types, judged["patients"], judged["methods"]


def _standing(rows: list[tuple[str, str, int, Any]]) -> str:
    """How often the refitted predictor is ahead of the best baseline, and the mean gap."""
    gaps = []
    for *_, scores in rows:
        rival, own = best(scores, ACROSS, among=is_baseline), scores.get(REFITTED)
        if rival and own:
            gaps.append((value(own[ACROSS]) or 0.0) - (value(rival[1]) or 0.0))
    if not gaps:
        return ""
    ahead, mean = sum(gap > 0 for gap in gaps), 100 * float(np.mean(gaps))
    word = "above" if mean >= 0 else "**below**"
    return (
        f"The refitted predictor is ahead of the best baseline of each row in {ahead} of "
        f"{len(gaps)}, level in {sum(gap == 0 for gap in gaps)}, and on average "
        f"{abs(mean):.1f} points {word} it."
    )


#: Methods of the left-out sources that are shown in the plot, if they are there.
SHOWN = (
    REFITTED,
    WITH_FACTORS,
    REFITTED_KNN,
    "PCA-256 + logistic regression",
    "PCA-256 + paired shifts + logistic regression",
)
