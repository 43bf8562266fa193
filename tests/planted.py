"""Corpora of labels alone with an answer planted in the vectors; a release made in seconds."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import torch

from specformer_encoder.backends import TorchBackend
from specformer_encoder.corpus import Corpus
from specformer_encoder.corpus.labels import SampleLabel
from specformer_encoder.embedder import Embedder
from specformer_encoder.evaluate.embedded import EmbeddedCorpus
from specformer_encoder.factors import fit_factors
from specformer_encoder.genes import vocabulary
from specformer_encoder.material import quantiles_of, read_material, types_to_know
from specformer_encoder.model import ModelConfig, SpecFormer
from specformer_encoder.packed import GENOME_WIDE, LABELS, MappedRows
from specformer_encoder.reading import Reading
from specformer_encoder.readout import fit_readout
from specformer_encoder.release import write_release


def label(**fields: str) -> SampleLabel:
    """A label, empty but for what is given; the patient stands for the sample too."""
    given = {"source": "s", "unit": "tpm", "sample_type": "tumor"} | fields
    name = given.get("patient", "")
    given = {"sample_id": name, "barcode": name} | given
    return SampleLabel(**(dict.fromkeys(LABELS, "") | given))


def reading_of(vectors: np.ndarray) -> Reading:
    """A reading whose raw vectors are these, of whole profiles that fit well."""
    n = len(vectors)
    ones = np.ones(n, np.float32)
    return Reading(vectors.astype(np.float32), ones, np.full(n, np.nan, np.float32), ones)


def embedded(corpus: Corpus, vectors: np.ndarray) -> EmbeddedCorpus:
    """A corpus with vectors that stand for what a release reads and for its embedding."""
    return EmbeddedCorpus(corpus, reading_of(vectors), vectors.astype(np.float32))


def planted(labels: Sequence[SampleLabel], vectors: np.ndarray) -> EmbeddedCorpus:
    """An embedded corpus of these labels; every profile is genome-wide, one gene is kept."""
    table = pa.table({"genes_measured": pa.array([GENOME_WIDE] * len(labels), pa.int32())})
    values = pa.FixedSizeListArray.from_arrays(pa.array(np.ones(len(labels), np.float32)), 1)
    corpus = Corpus(Path(), {}, list(labels), table, MappedRows(pa.chunked_array([values])))
    return embedded(corpus, vectors)


def small_release(corpus: Corpus, out: Path) -> Embedder:
    """A release of this corpus with an untrained network of the smallest size."""
    config = ModelConfig(
        genes=len(vocabulary()), length=64, width=16, layers=1, heads=2, expansion=2
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = SpecFormer(config)
    split = np.array([one.split for one in corpus.labels])
    train, valid = (np.flatnonzero(split == name) for name in ("train", "valid"))
    factors = fit_factors(quantiles_of(corpus, train), factors=12)
    idf = corpus.packed().statistics.idf
    draft = Embedder(TorchBackend(network), config, idf, factors)
    material = read_material(
        draft,
        corpus,
        train=train,
        valid=valid,
        panels=np.empty(0, np.int64),
        valid_panels=np.empty(0, np.int64),
        progress=lambda _: None,
        medians=None,
    )
    readout = fit_readout(material, types_to_know(material), network=config.width)
    write_release(
        out,
        release_id="small",
        encoder={name: tensor.contiguous() for name, tensor in network.state_dict().items()},
        model=dataclasses.asdict(config),
        vocabulary=vocabulary().ensembl_ids,
        idf=idf,
        factors=factors,
        projection=readout.projection,
        heads=readout.heads,
        training={
            "recipe": {"name": "none", "train": {"steps": 0}},
            "step": 0,
            "seconds": 0,
            "profiles": {
                name: len(getattr(material, name)) for name in ("train", "panels", "valid")
            },
            "tumors": dict.fromkeys(readout.heads.types, 15),
        },
    )
    return Embedder.load(out, backend="torch")
