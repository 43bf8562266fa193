"""Sections on the embedding as a space: pathways, geometry, tissues, subtypes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from specformer_encoder.evaluate.page.text import (
    Found,
    left_out,
    methods_table,
    number,
    table,
    value,
    verdict,
)
from specformer_encoder.evaluate.pathways import (
    PER_PATHWAY,
    PER_SAMPLE,
    PER_SAMPLE_UNSCALED,
    WITHIN_PIPELINE,
    WITHIN_TYPE,
)
from specformer_encoder.evaluate.spaces import EMBEDDING


def pathways(found: Found) -> list[str]:
    """The section on pathway probes."""
    head = "## Pathways from the embedding"
    if sentence := left_out(found):
        return [head, sentence]
    sets = found["sets"]
    methods = found["methods"]
    metrics = (PER_SAMPLE, PER_SAMPLE_UNSCALED, PER_PATHWAY, WITHIN_TYPE, WITHIN_PIPELINE)
    return [
        head,
        "A ridge regression predicts the direct ssGSEA scores of the PARADIGM pathways from the "
        f"frozen vectors ({sets['pathways scored']} of {sets['pathways published']} pathways: the "
        "others keep fewer than five genes once complexes, families and molecules are dropped). "
        f"Fitted on {found['tumors']['train']} training tumours, its strength chosen on "
        f"validation, judged on {found['tumors']['test']} test tumours of "
        f"{found['patients']['test']} patients by Pearson's correlation. The target is made of the "
        "very expression that was embedded, so plain PCA is a strong rival. Scores are "
        "standardised per pathway before samples are correlated: as they are, even a constant "
        "profile correlates.",
        methods_table(methods, metrics),
        verdict(methods, PER_SAMPLE, ours=EMBEDDING, of=" (correlation)"),
        verdict(methods, WITHIN_TYPE, ours=EMBEDDING, of=" (correlation)"),
    ]


def geometry(found: Found) -> list[str]:
    """The section on how profiles are spread."""
    spaces = found["spaces"]
    metrics = list(dict.fromkeys(metric for scores in spaces.values() for metric in scores))
    purity = next((m for m in metrics if m.endswith("other sources")), "neighbour purity")
    return [
        "## Geometry",
        f"{found['profiles']} genome-wide test profiles ({found['tumors']} tumours). The effective "
        "rank, exp(−Σ p ln p) of the singular values as shares p of their sum, is **no measure "
        "of quality**: a random projection and an untrained encoder have a high one too, and stand "
        "beside. Neighbour purity is the share of a tumour's nearest training tumours (at most "
        "ten) that are of its study, also among other sources than its own. Alignment (of one "
        f"sample's profiles, {found['pairs of one sample']} pairs) and uniformity are better when "
        "lower, and only together.",
        table(
            ["space", "dimensions", *metrics],
            (
                [name, found["dimensions"][name], *(scores.get(m) for m in metrics)]
                for name, scores in spaces.items()
            ),
        ),
        verdict(spaces, purity, ours=EMBEDDING),
    ]


def tissues(found: Found) -> list[str]:
    """The section on normal tissue."""
    titles = {
        "GTEx": "Tissue of GTEx test profiles by their five nearest GTEx training profiles",
        "TCGA normals among GTEx": "Organ of TCGA normals by their five nearest GTEx profiles",
        "neighbours of TCGA normals": "Who the neighbours of TCGA normals are, outside their own "
        "pipeline",
    }
    lines = [
        "## Normal tissue",
        "Nothing was trained on organs; the projection has seen the cohorts of training profiles, "
        "GTEx tissues among them. Neighbours are training profiles, by cosine.",
    ]
    for name, part in found.items():
        lines.append(f"### {titles.get(name, name)}")
        if sentence := left_out(part):
            lines.append(sentence)
            continue
        metrics = list(dict.fromkeys(m for scores in part["spaces"].values() for m in scores))
        said = f"{part['profiles']} profiles of {part['patients']} people."
        if "accuracy of the best constant answer" in part:
            constant = number(part["accuracy of the best constant answer"])
            said += f" The best constant answer would be right in {constant}."
        lines += [said, _turned(part["spaces"], metrics)]
        if "accuracy" in metrics:
            lines.append(verdict(part["spaces"], "accuracy", ours=EMBEDDING))
    return lines


def _standing(rows: list[list[Any]], spaces: list[str]) -> str:
    """In how many questions the embedding is ahead of every other space."""
    own = spaces.index(EMBEDDING)
    scores = [[value(cell) or 0.0 for cell in row[3:]] for row in rows]
    ahead = sum(found[own] > max(found[:own] + found[own + 1 :]) for found in scores)
    level = sum(found[own] == max(found[:own] + found[own + 1 :]) for found in scores)
    return (
        f"The embedding is ahead of every other space in {ahead} of {len(rows)} questions and "
        f"level with the best in {level}; most of the intervals overlap, for patients are few."
    )


def _turned(spaces: Mapping[str, Found], metrics: list[str]) -> str:
    """Metrics as rows, for their names are long."""
    rows = ([metric, *(scores.get(metric) for scores in spaces.values())] for metric in metrics)
    return table(["", *spaces], rows)


def subtypes(found: Found) -> list[str]:
    """The section on histology and molecular subtypes."""
    lines = [
        "## Histology and molecular subtypes",
        "A logistic regression on each frozen space, its strength chosen on validation patients; "
        "balanced accuracy on test patients. PCA stands beside twice: of all profiles, and of the "
        "question's own, which spends all its directions on the difference that is asked for. "
        "Where classes come from different pipelines, the pipeline helps to tell them.",
    ]
    rows, missing = [], []
    spaces: list[str] = []
    for question, parts in found.items():
        for part, some in {"": parts}.items() if left_out(parts) else parts.items():
            name = f"{question}, {part}" if part == "panel" else question
            if sentence := left_out(some):
                if part != "panel":
                    missing.append(f"- {name}: {sentence}")
                continue
            spaces = spaces or list(some["methods"])
            scores = (some["methods"][s].get("balanced accuracy") for s in spaces)
            rows.append([name, len(some["classes"]), some["patients"], *scores])
    if rows:
        lines.append(table(["question", "classes", "patients", *spaces], rows))
        lines.append(_standing(rows, spaces))
    if missing:
        lines += ["Not asked:", "\n".join(missing)]
    return lines
