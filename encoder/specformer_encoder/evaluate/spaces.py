"""The spaces that a question is asked of: what training has to beat, beside the embedding.

PCA of the ranks within a sample keeps the directions of largest variance over the training
profiles. A Gaussian random projection of the same ranks learns nothing at all; by the
Johnson-Lindenstrauss lemma it keeps the distances between profiles all the same, so it says how
much of a result lies in the ranks and how much in any training. In both, a gene that a profile does
not measure takes the mean of the training profiles. The untrained encoder is the release's own
network before its first step: it shows what the gene sequence alone brings.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt
import torch
from sklearn.decomposition import PCA

from specformer_encoder.embedder import Embedder, FloatArray, unit_length
from specformer_encoder.evaluate.classification import EmbeddedCorpus
from specformer_encoder.model import ModelConfig, SpecFormer
from specformer_encoder.ordering import NOT_MEASURED, quantile_values, rank_quantiles

#: Name of a space → (N, E) vectors of all profiles of the corpus, in its order.
Spaces = Mapping[str, FloatArray]

COMPONENTS = 256
#: PCA is fitted on at most this many training profiles, drawn at random, so that a corpus of any
#: size fits in 3 GB; 256 directions need no more.
FIT_ROWS = 5000
_BLOCK = 256

EMBEDDING = "SpecFormer embedding"
PCA_OF_RANKS = "PCA-256 of the ranks"
RANDOM_PROJECTION = "random projection of the ranks"
UNTRAINED = "untrained encoder"


def rank_spaces(corpus: EmbeddedCorpus, *, seed: int = 0) -> dict[str, FloatArray]:
    """Vectors of every profile in the two spaces that need no encoder.

    Parameters
    ----------
    corpus
        N profiles; the genome-wide ones of the training patients, tumours and normals, are what
        PCA and the mean are fitted on.
    seed
        Of the PCA, its choice of rows and the projection.

    Returns
    -------
    `PCA_OF_RANKS` and `RANDOM_PROJECTION` → (N, ≤ 256) vectors.
    """
    train = corpus.select("train", tumor=True) + corpus.select("train", tumor=False)
    steps = _rank_steps(corpus, range(len(corpus.labels)))
    pca, mean = _fit(steps, np.array(sorted(train)), seed)
    draw = np.random.default_rng(seed)
    projection = draw.normal(0, COMPONENTS**-0.5, (steps.shape[1], COMPONENTS)).astype(np.float32)
    blocks = [_filled(steps[i : i + _BLOCK], mean) for i in range(0, len(steps), _BLOCK)]
    return {
        PCA_OF_RANKS: np.concatenate([pca.transform(b) for b in blocks]).astype(np.float32),
        RANDOM_PROJECTION: np.concatenate([(b - mean) @ projection for b in blocks]),
    }


def untrained_encoder(
    corpus: EmbeddedCorpus, *, config: ModelConfig, idf: FloatArray, seed: int = 0
) -> FloatArray:
    """Embeddings by a network of random weights, otherwise made as a release's are.

    The blocks of a new network are the identity (`SpecFormer` starts them so), so they are left
    out: the same vectors in a hundredth of the time.

    Parameters
    ----------
    corpus
        N profiles; the mean vector of the genome-wide training ones is taken out.
    config
        Of the network.
    idf
        (V,) information weights of the ordering.
    seed
        Of the weights.

    Returns
    -------
    (N, E) vectors of unit length.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = SpecFormer(replace(config, layers=0))
    pooled = corpus.corpus.map(
        Embedder(network, idf, np.zeros(config.width, np.float32), None).pooled
    )
    train = corpus.select("train", tumor=True) + corpus.select("train", tumor=False)
    return unit_length(pooled - pooled[train].mean(axis=0))


def rank_components(
    corpus: EmbeddedCorpus, rows: Sequence[int], *, fit: npt.NDArray[np.bool_], seed: int = 0
) -> FloatArray:
    """PCA of the ranks of some profiles, fitted on a part of them.

    Parameters
    ----------
    corpus
        Of the profiles.
    rows
        The n profiles.
    fit
        (n,) which of them PCA and the mean are fitted on.
    seed
        Of the PCA.

    Returns
    -------
    (n, ≤ 256): one less than the fitted rows allow, where they are few.
    """
    steps = _rank_steps(corpus, rows)
    pca, mean = _fit(steps, np.flatnonzero(fit), seed)
    return np.asarray(pca.transform(_filled(steps, mean)), np.float32)


def _rank_steps(corpus: EmbeddedCorpus, rows: Sequence[int]) -> npt.NDArray[np.uint8]:
    """(n, V) rank quantiles in 255 steps: a quarter of the memory of numbers."""
    found = []
    for start in range(0, len(rows), _BLOCK):
        block = corpus.values(list(rows[start : start + _BLOCK]))
        found.append(np.stack([rank_quantiles(profile) for profile in block]))
    return np.concatenate(found)


def _fit(
    steps: npt.NDArray[np.uint8], rows: npt.NDArray[np.int64], seed: int
) -> tuple[PCA, FloatArray]:
    """PCA of some rows, and the mean that fills genes not measured."""
    if len(rows) > FIT_ROWS:
        rows = np.sort(np.random.default_rng(seed).choice(rows, FIT_ROWS, replace=False))
    chosen = steps[rows]
    known = chosen != NOT_MEASURED
    total = np.where(known, chosen, 0).sum(axis=0, dtype=np.int64)
    highest = np.float32(NOT_MEASURED - 1)
    mean = (total / np.maximum(known.sum(axis=0), 1) / highest).astype(np.float32)
    size = min(COMPONENTS, len(rows) - 1)
    pca = PCA(size, copy=False, svd_solver="randomized", random_state=seed).fit(
        _filled(chosen, mean)
    )
    return pca, mean


def _filled(steps: npt.NDArray[np.uint8], mean: FloatArray) -> FloatArray:
    """(n, V) ranks from 0 to 1, the mean where a gene was not measured."""
    values = quantile_values(steps)
    return np.where(np.isnan(values), mean, values)
