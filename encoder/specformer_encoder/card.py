"""The model card: written from the release's manifest and its evaluation, never by hand."""

from __future__ import annotations

import json
from typing import Any

from specformer_encoder.evaluate.run import doubt_table, panel_table, table, verdict
from specformer_encoder.release import Release

_CARD = """---
license: mit
library_name: specformer-mcp
tags: [rna-seq, gene-expression, cancer, transformer, masked-gene-identity]
---
# {id}

An encoder of bulk RNA-seq profiles. A profile becomes a gene sequence by TF-IDF ordering; a
transformer with {layers} layers of width {width} ({parameters:.1f} M parameters, {genes:,} genes,
sequences of {length}) was pretrained to name hidden genes, to decode the whole rank profile from
the sample's vector, and to recognise a sample in another unit, pipeline or gene panel. It never
predicts an expression value, and never sees one.

- SHA-256 of what decides an answer: `{sha256}`
- Training: recipe `{recipe}`, best checkpoint at step {step:,} of {steps:,}, after {minutes}
  minutes
- Data: {train:,} genome-wide profiles and {panel:,} gene panels of training patients fitted
  everything, {valid:,} genome-wide profiles of validation patients set the thresholds. TCGA, TARGET
  and GTEx, open access, as republished in public packages and repositories. The release holds
  weights and statistics, no profile.

## Test results

{profiles} genome-wide test tumours of {patients} patients whom nothing was fitted or chosen on,
{n_types} cancer types with tumours of at least ten training patients. 95 % intervals are
bootstrapped over patients. The baselines were fitted in the same run on the genome-wide training
tumours of these types, their regularisation chosen on validation patients as the release's is; the
release also saw normal tissue, other tumours and gene panels of training patients.

{table}

{verdict}

{doubt}

With fewer genes (the predictor as shipped; coverage is that of the 90 % prediction set):

{panels}

Made by

    specformer data build --from FOLDER --out CORPUS
    specformer pretrain {recipe} --corpus CORPUS --out runs/{recipe}
    specformer release build --run runs/{recipe} --corpus CORPUS \\
        --out encoder/specformer_encoder/bundled --id {id}
    specformer evaluate encoder/specformer_encoder/bundled --corpus CORPUS --write

## Types and training patients

{types}

## Limits

- Types outside this list cannot be predicted. The prediction's doubt is there to say so, and the
  table above says how often it does.
- Source and type are confounded in the data: several types come almost entirely from one pipeline.
  A sample from a pipeline that none of the sources used may be placed worse than the table says.
- Colon and rectum (COAD, READ) are one disease to the transcriptome; read them together.
- The prediction set is calibrated on genome-wide profiles; the tables say what it covers here and
  with fewer genes. The answer states how many genes were measured.
- For research. Not a medical device; no diagnosis may rest on it.
"""


def write_card(release: Release, results: dict[str, Any]) -> None:
    """Write `evaluation.json` and `MODEL_CARD.md` into the release's folder."""
    from specformer_encoder.model import ModelConfig, SpecFormer

    model = release.manifest["model"]
    training = release.manifest["training"]
    network = SpecFormer(ModelConfig(**model))
    tumors = training["tumors"]
    card = _CARD.format(
        id=release.id,
        sha256=release.sha256,
        parameters=sum(p.numel() for p in network.parameters()) / 1e6,
        layers=model["layers"],
        width=model["width"],
        genes=model["genes"],
        length=model["length"],
        recipe=training["recipe"]["name"],
        step=training["step"],
        steps=training["recipe"]["train"]["steps"],
        minutes=round(training["seconds"] / 60),
        train=training["profiles"]["train"],
        valid=training["profiles"]["valid"],
        panel=training["profiles"]["panel"],
        profiles=results["classification"]["profiles"],
        patients=results["classification"]["patients"],
        n_types=len(release.heads.types),
        table=table(results),
        verdict=verdict(results),
        doubt=doubt_table(results),
        panels=panel_table(results),
        types=", ".join(f"{name} {tumors[name]}" for name in release.heads.types),
    )
    text = json.dumps(results, indent=1) + "\n"
    (release.path / "evaluation.json").write_text(text, encoding="utf-8")
    (release.path / "MODEL_CARD.md").write_text(card, encoding="utf-8")
