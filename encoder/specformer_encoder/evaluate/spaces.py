"""The spaces that a question is asked of: what training has to beat, beside the embedding.

PCA of the ranks within a sample keeps the directions of largest variance over the training
profiles. A Gaussian random projection of the same ranks learns nothing at all; by the
Johnson-Lindenstrauss lemma it keeps the distances between profiles all the same, so it says how
much of a result lies in the ranks and how much in any training. In both, a gene that a profile does
not measure takes the mean of the training profiles. The untrained encoder is the release's own
network before its first step: it shows what the gene sequence alone brings.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from specformer_encoder.evaluate.baselines import COMPONENTS, Baselines, Components
from specformer_encoder.evaluate.embedded import EmbeddedCorpus
from specformer_encoder.projection import FloatArray, unit_length

#: Name of a space → (N, E) vectors of all profiles of the corpus, in its order.
Spaces = Mapping[str, FloatArray]

EMBEDDING = "SpecFormer embedding"
PCA_OF_RANKS = "PCA-256 of the ranks"
RANDOM_PROJECTION = "random projection of the ranks"
UNTRAINED = "untrained encoder"


def all_spaces(corpus: EmbeddedCorpus, baselines: Baselines, *, seed: int = 0) -> Spaces:
    """Vectors of every profile in every space.

    Parameters
    ----------
    corpus
        N profiles; the genome-wide ones of the training patients, tumours and normals, are what
        PCA, the fill for missing genes and the mean of the untrained vectors are fitted on.
    baselines
        Has the views of all N and the untrained network.
    seed
        Of the PCA and the projection.

    Returns
    -------
    `EMBEDDING` (N, E), `PCA_OF_RANKS` and `RANDOM_PROJECTION` (N, ≤ 256), `UNTRAINED` (N, D).
    """
    train = sorted(corpus.select("train", tumor=True) + corpus.select("train", tumor=False))
    quantiles = baselines.views.quantiles
    pca = Components.fit(quantiles[train], seed=seed)
    genes = quantiles.shape[1]
    draw = np.random.default_rng(seed)
    random = draw.normal(0, COMPONENTS**-0.5, (COMPONENTS, genes)).astype(np.float32)
    pooled = baselines.pooled
    return {
        EMBEDDING: corpus.vectors,
        PCA_OF_RANKS: pca.project(quantiles, pca.axes),
        RANDOM_PROJECTION: pca.project(quantiles, random),
        UNTRAINED: unit_length(pooled - pooled[train].mean(axis=0)),
    }
