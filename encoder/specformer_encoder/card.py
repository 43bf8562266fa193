"""The model card: written from the release's manifest and its evaluation, never by hand."""

from __future__ import annotations

import json
from typing import Any

from specformer_encoder.evaluate.page import headline
from specformer_encoder.release import Release

_CARD = """---
license: mit
library_name: specformer-mcp
tags: [rna-seq, gene-expression, cancer, transformer, masked-gene-identity]
---
# {id}

An encoder of bulk RNA-seq profiles. A profile becomes a gene sequence by TF-IDF ordering, which a
transformer reads ({layers} layers of width {width}, {parameters:.1f} M parameters, {genes:,} genes,
sequences of {length}); a factor model with {factors} factors reads the ranks of all its measured
genes; a projection makes one vector of {dimensions} dimensions of both. Nothing predicts an
expression value.

- SHA-256 of what decides an answer: `{sha256}`
- Training: recipe `{recipe}`, best checkpoint at step {step:,} of {steps:,}, after {minutes}
  minutes
- Data: {train:,} genome-wide profiles and {panels:,} gene panels of training patients fitted
  everything, {valid:,} genome-wide profiles of validation patients chose strengths and set
  thresholds. TCGA, TARGET and GTEx, open access, as republished in public packages and
  repositories. The release holds weights and statistics, no profile.

## Test results

Patients whom nothing was fitted or chosen on; 95 % intervals are bootstrapped over patients, the
baselines were fitted in the same run. docs/evaluation.md of the repository has every question, how
it was asked, and the plots; evaluation.json beside this card has all numbers.

{table}

## Types and training patients

{types}

{simulated}## Limits

- Types outside this list cannot be predicted. The prediction's doubt is there to say so, and
  docs/evaluation.md says how often it does.
- Source and type are confounded in the data: several types come almost entirely from one pipeline.
  A sample from a pipeline that none of the sources used may be placed worse than the table says.
- Colon and rectum (COAD, READ) are one disease to the transcriptome; read them together.
- For research. Not a medical device; no diagnosis may rest on it.
"""

_SIMULATED = """Learnt from tumours simulated around published cohort medians, since the corpus has
too few real ones: {types}. Less is known of how well these are told.

"""


def write_card(release: Release, results: dict[str, Any]) -> None:
    """Write `evaluation.json` and `MODEL_CARD.md` into the release's folder."""
    write_results(release, results)
    (release.path / "MODEL_CARD.md").write_text(card(release, results), encoding="utf-8")


def write_results(release: Release, results: dict[str, Any]) -> None:
    """Write `evaluation.json` into the release's folder."""
    text = json.dumps(results, indent=1) + "\n"
    (release.path / "evaluation.json").write_text(text, encoding="utf-8")


def card(release: Release, results: dict[str, Any]) -> str:
    """The card as Markdown."""
    from specformer_encoder.model import ModelConfig, SpecFormer

    model = release.manifest["model"]
    training = release.manifest["training"]
    network = SpecFormer(ModelConfig(**model))
    tumors = training["tumors"]
    simulated = release.heads.simulated
    return _CARD.format(
        id=release.id,
        sha256=release.sha256,
        parameters=sum(p.numel() for p in network.parameters()) / 1e6,
        layers=model["layers"],
        width=model["width"],
        genes=model["genes"],
        length=model["length"],
        factors=release.factors.size,
        dimensions=release.projection.matrix.shape[1],
        recipe=training["recipe"]["name"],
        step=training["step"],
        steps=training["recipe"]["train"]["steps"],
        minutes=round(training["seconds"] / 60),
        train=training["profiles"]["train"],
        valid=training["profiles"]["valid"],
        panels=training["profiles"]["panels"],
        table=headline(results),
        types=", ".join(f"{name} {tumors.get(name, 0)}" for name in release.heads.types),
        simulated=_SIMULATED.format(types=", ".join(simulated)) if simulated else "",
    )
