"""From a finished training run to a release: round the weights, read the patients, fit the rest.

The weights are rounded to bfloat16 first and everything after is fitted on what the rounded
network says, so the release is judged as it is served.
"""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import torch

from specformer_encoder.backends import open_backend
from specformer_encoder.corpus import Corpus
from specformer_encoder.embedder import Embedder
from specformer_encoder.errors import ReleaseError
from specformer_encoder.factors import fit_factors
from specformer_encoder.genes import vocabulary
from specformer_encoder.heads import tumor_patients
from specformer_encoder.material import (
    Progress,
    quantiles_of,
    read_material,
    types_to_know,
)
from specformer_encoder.model import ModelConfig, SpecFormer
from specformer_encoder.packed import GENOME_WIDE, vocabulary_hash
from specformer_encoder.pretrain import open_checkpoint
from specformer_encoder.readout import fit_readout
from specformer_encoder.release import check_destination, write_release


def build_release(
    *,
    run: Path,
    corpus: Corpus,
    out: Path,
    release_id: str,
    progress: Progress,
    medians: Path | None = None,
) -> None:
    """Build a release.

    Parameters
    ----------
    run
        Folder of the training run; its `best.safetensors` is taken.
    corpus
        The corpus that it was trained on; train fits, valid chooses and sets, test is not looked
        at.
    out
        Release folder to write.
    release_id
        Name and version, e.g. ``specformer-0.1.0``.
    progress
        Told in a line what is being done.
    medians
        Table of published cohort medians, from which the types in `SIMULATED` are learnt; without
        it they are not among the types that the release knows.

    Raises
    ------
    ReleaseError
        If the run has no checkpoint or was trained on another vocabulary.
    """
    check_destination(out)
    weights, metadata = _weights(run / "best.safetensors")
    recipe = json.loads(metadata["recipe"])
    config = ModelConfig(**recipe["model"])
    network = SpecFormer(config)
    network.load_state_dict(weights)
    packed = corpus.packed()
    if metadata["idf_sha256"] != packed.idf_sha256:
        raise ReleaseError(
            f"{run / 'best.safetensors'} was trained on another ordering than that of "
            f"{corpus.folder.name}.",
            "Give the corpus that it was trained on.",
        )
    wide = corpus.genes_measured() >= GENOME_WIDE
    split = np.array([label.split for label in corpus.labels])
    train = np.flatnonzero((split == "train") & wide)
    progress(f"fitting the factor model on {len(train)} training profiles")
    factors = fit_factors(quantiles_of(corpus, train))
    embedder = Embedder(open_backend(network), config, packed.statistics.idf, factors)
    material = read_material(
        embedder,
        corpus,
        train=train,
        valid=np.flatnonzero((split == "valid") & wide),
        panels=np.flatnonzero((split == "train") & ~wide),
        valid_panels=np.flatnonzero((split == "valid") & ~wide),
        progress=progress,
        medians=medians,
    )
    progress("fitting projection and heads")
    tumors = tumor_patients(material.train.labels)
    readout = fit_readout(material, types_to_know(material), network=config.width)
    write_release(
        out,
        release_id=release_id,
        encoder=weights,
        model=dataclasses.asdict(config),
        vocabulary=vocabulary().ensembl_ids,
        idf=packed.statistics.idf,
        factors=factors,
        projection=readout.projection,
        heads=readout.heads,
        training={
            "recipe": recipe,
            "step": int(metadata["step"]),
            "seconds": round(float(metadata["seconds"])),
            "profiles": {
                name: len(getattr(material, name)) for name in ("train", "panels", "valid")
            },
            "tumors": dict(sorted(tumors.items())),
        },
    )


def _weights(checkpoint: Path) -> tuple[dict[str, Any], dict[str, str]]:
    """The encoder's weights in bfloat16, and what the checkpoint says of itself."""
    if not checkpoint.is_file():
        raise ReleaseError(
            f"{checkpoint.parent} has no best.safetensors.",
            "Train with `specformer pretrain` first.",
        )
    prefix = "model.encoder."
    with open_checkpoint(checkpoint) as file:
        metadata: dict[str, str] = file.metadata()
        weights = {
            key[len(prefix) :]: file.get_tensor(key).to(torch.bfloat16).contiguous()
            for key in file.keys()  # noqa: SIM118 - not a mapping
            if key.startswith(prefix)
        }
    if metadata["vocabulary_sha256"] != vocabulary_hash(vocabulary().ensembl_ids):
        raise ReleaseError(
            f"{checkpoint} was trained on another gene vocabulary.",
            "Train again, or use its table.",
        )
    return weights, metadata
