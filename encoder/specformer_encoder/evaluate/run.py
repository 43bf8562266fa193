"""Evaluate a release on the test patients of a corpus, all questions in one run."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from typing import Any

from specformer_encoder.corpus import Corpus
from specformer_encoder.embedder import Embedder
from specformer_encoder.evaluate.classification import classification
from specformer_encoder.evaluate.embedded import EmbeddedCorpus
from specformer_encoder.evaluate.metrics import Estimate
from specformer_encoder.evaluate.panels import panels
from specformer_encoder.evaluate.pipelines import same_sample

_OF_PAIRS = ("same top type", "cosine")


def evaluate(embedder: Embedder, corpus: Corpus, progress: Callable[[str], None]) -> dict[str, Any]:
    """Everything that is known of a release, as JSON takes it.

    Parameters
    ----------
    embedder
        The release.
    corpus
        Baselines are fitted on train, everything is judged on test.
    progress
        Told in a line what is being done.
    """
    progress(f"embedding {len(corpus)} profiles")
    embedded = EmbeddedCorpus(corpus, corpus.map(embedder.embed))
    progress("classification: the release and the baselines")
    results = {
        "release": {"id": embedder.release.id, "sha256": embedder.release.sha256},
        "classification": classification(embedded, embedder),
        "doubt": doubt(embedded, embedder),
        "same sample": same_sample(embedded, embedder),
        "panels": panels(embedded, embedder),
    }
    plain: dict[str, Any] = json.loads(json.dumps(results, default=_plain))
    return plain


def _plain(value: Any) -> Any:
    if isinstance(value, Estimate):
        return {k: round(v, 4) for k, v in dataclasses.asdict(value).items()}
    raise TypeError(f"{type(value)} is not JSON")


def table(results: dict[str, Any]) -> str:
    """The classification results as a Markdown table, intervals in brackets."""
    methods = results["classification"]["methods"]
    metrics = list(next(iter(methods.values())))
    lines = [
        "| method | " + " | ".join(metrics) + " |",
        "|---" * (len(metrics) + 1) + "|",
    ]
    for method, scores in methods.items():
        cells = [estimate(scores[metric]) for metric in metrics]
        lines.append(f"| {method} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def verdict(results: dict[str, Any]) -> str:
    """Say how the first method, the shipped one, stands beside the best of the baselines."""
    methods = results["classification"]["methods"]
    scores = {name: found["accuracy"]["value"] for name, found in methods.items()}
    shipped, best = next(iter(scores)), max((s, n) for n, s in scores.items() if "PCA" in n)
    gap = 100 * (scores[shipped] - best[0])
    word = "above" if gap >= 0 else "below"
    return (
        f"On whole profiles the shipped predictor is {abs(gap):.1f} points of accuracy {word} the "
        f"best baseline, {best[1]}."
    )


def doubt_table(results: dict[str, Any]) -> str:
    """Calibration, coverage and flags as a Markdown table."""
    found = results["doubt"]
    lines = ["| what | test patients |", "|---|---|"]
    lines += [
        f"| {name} | {estimate(value)} |" for name, value in found.items() if name != "flagged"
    ]
    for group, value in found["flagged"].items():
        if value["profiles"]:
            share = estimate(value["share"])
            lines.append(f"| flagged: {group} ({value['profiles']} profiles) | {share} |")
    pairs = results["same sample"]
    if pairs["pairs"]:
        where = f"{pairs['pairs']} pairs of one tumour in two units or pipelines"
        lines += [f"| {where}: {name} | {estimate(pairs[name])} |" for name in _OF_PAIRS]
    return "\n".join(lines)


def panel_table(results: dict[str, Any]) -> str:
    """What is left with fewer genes, as a Markdown table."""
    metrics = ("accuracy", "coverage", "flagged")
    lines = ["| genes measured | profiles | " + " | ".join(metrics) + " |", "|---" * 5 + "|"]
    for group, found in results["panels"].items():
        cells = " | ".join(estimate(found[metric]) for metric in metrics)
        lines.append(f"| {group} | {found['profiles']} | {cells} |")
    return "\n".join(lines)


def estimate(value: dict[str, float]) -> str:
    """An estimate with its interval."""
    return f"{value['value']:.3f} ({value['low']:.3f}-{value['high']:.3f})"
