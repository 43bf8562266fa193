"""From a finished training run to a release: round the weights, embed the patients, fit the heads.

The weights are rounded to bfloat16 first and everything after is fitted on what the rounded
network says, so the release is judged as it is served.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from specformer_encoder.corpus import Corpus
from specformer_encoder.corpus.labels import SampleLabel
from specformer_encoder.embedder import Embedder, FloatArray, unit_length
from specformer_encoder.errors import ReleaseError
from specformer_encoder.evaluate.panels import take_out
from specformer_encoder.genes import vocabulary
from specformer_encoder.heads import LabelledEmbeddings, fit_heads, known_types
from specformer_encoder.model import ModelConfig, SpecFormer
from specformer_encoder.packed import GENOME_WIDE, vocabulary_hash
from specformer_encoder.pretrain import open_checkpoint
from specformer_encoder.release import check_destination, write_release

#: Each genome-wide training profile fits the heads whole and with these shares of its genes, so
#: that a gene panel is nothing new to them; real panels of training patients fit them too.
PANEL_SHARES = (0.3, 0.1)


def build_release(
    *,
    run: Path,
    corpus: Corpus,
    out: Path,
    release_id: str,
    progress: Callable[[str], None],
) -> None:
    """Build a release.

    Parameters
    ----------
    run
        Folder of the training run; its `best.safetensors` is taken.
    corpus
        The corpus that it was trained on; train fits the heads, valid sets them, test is not
        looked at.
    out
        Release folder to write.
    release_id
        Name and version, e.g. ``specformer-0.1.0``.
    progress
        Told in a line what is being done.

    Raises
    ------
    ReleaseError
        If the run has no checkpoint or was trained on another vocabulary.
    """
    check_destination(out)
    checkpoint = run / "best.safetensors"
    if not checkpoint.is_file():
        raise ReleaseError(
            f"{run} has no best.safetensors.", "Train with `specformer pretrain` first."
        )
    with open_checkpoint(checkpoint) as file:
        metadata = file.metadata()
        prefix = "model.encoder."
        weights = {
            key[len(prefix) :]: file.get_tensor(key).to(torch.bfloat16).contiguous()
            for key in file.keys()  # noqa: SIM118 - not a mapping
            if key.startswith(prefix)
        }
    names = vocabulary().ensembl_ids
    if metadata["vocabulary_sha256"] != vocabulary_hash(names):
        raise ReleaseError(
            f"{checkpoint} was trained on another gene vocabulary.",
            "Train again, or use its table.",
        )
    recipe = json.loads(metadata["recipe"])
    config = ModelConfig(**recipe["model"])
    network = SpecFormer(config)
    network.load_state_dict(weights)
    packed = corpus.packed()
    if metadata["idf_sha256"] != packed.idf_sha256:
        raise ReleaseError(
            f"{checkpoint} was trained on another ordering than that of {corpus.folder.name}.",
            "Give the corpus that it was trained on.",
        )
    idf = packed.statistics.idf
    embedder = Embedder(network, idf, np.zeros(config.width, np.float32), None)

    labels = corpus.labels
    wide = corpus.genes_measured() >= GENOME_WIDE
    split = np.array([label.split for label in labels])
    train, valid, panel = (
        np.flatnonzero(keep)
        for keep in (
            (split == "train") & wide,
            (split == "valid") & wide,
            (split == "train") & ~wide,
        )
    )
    progress(f"embedding {len(train) + len(panel)} training and {len(valid)} validation profiles")
    pooled = corpus.map(embedder.pooled, train)
    centre = pooled.mean(axis=0)
    views = [(train, unit_length(pooled - centre))]
    embedder = Embedder(network, idf, centre, None)
    views += [(train, corpus.map(_as_panel(embedder, share), train)) for share in PANEL_SHARES]
    views += [(panel, corpus.map(embedder.embed, panel))]

    progress("fitting the heads")
    fitted = labelled(
        np.concatenate([vectors for _, vectors in views]),
        [labels[row] for rows, _ in views for row in rows],
    )
    tumors = labelled(views[0][1], [labels[row] for row in train]).tumor_patients()
    heads = fit_heads(
        fitted,
        labelled(corpus.map(embedder.embed, valid), [labels[row] for row in valid]),
        known_types(tumors),
    )
    write_release(
        out,
        release_id=release_id,
        encoder=weights,
        model=dataclasses.asdict(config),
        vocabulary=names,
        idf=idf,
        centre=centre,
        heads=heads,
        training={
            "recipe": recipe,
            "step": int(metadata["step"]),
            "seconds": round(float(metadata["seconds"])),
            "profiles": {"train": len(train), "panel": len(panel), "valid": len(valid)},
            "tumors": dict(sorted(tumors.items())),
        },
    )


def _as_panel(embedder: Embedder, share: float) -> Callable[[FloatArray], FloatArray]:
    """Embed profiles as if a random share of the genes had been measured."""
    draw = np.random.default_rng(1)
    return lambda values: embedder.embed(take_out(values, share, draw))


def labelled(vectors: FloatArray, labels: list[SampleLabel]) -> LabelledEmbeddings:
    """Embeddings with the part of their labels that the heads use."""
    return LabelledEmbeddings(
        vectors,
        [label.study for label in labels],
        np.array([label.sample_type == "tumor" for label in labels], bool),
        [label.person for label in labels],
    )
