"""Gene vectors to begin with: which genes lead the same samples' sequences.

On few tokens a network spends most of its training learning which genes belong together, which
the training sequences already say. Each training profile is a bag of its leading genes, weighted
down the ranks; the right singular vectors of that profiles × genes matrix, scaled by the root of
their singular values, are vectors under which genes of one tissue or programme lie together
(latent semantic indexing; Deerwester et al., JASIS 41:391, 1990). Fitted on training patients
only.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from specformer_encoder.packed import GENOME_WIDE, PackedCorpus

#: Weight of the last rank of a bag beside the first.
_LAST_RANK_WEIGHT = 0.25


def cooccurrence_vectors(corpus: PackedCorpus, width: int, length: int, seed: int) -> Tensor:
    """Gene vectors from the training sequences.

    Parameters
    ----------
    corpus
        Packed corpus; only rows of the split train are read.
    width
        Dimensions D.
    length
        Ranks that count.
    seed
        Of the randomised decomposition.

    Returns
    -------
    (V, D) float32 with a root mean square of 0.02 over the genes that occur; zero for the others.
    """
    rows = [row for row in corpus.rows("train") if corpus.genes_measured[row] >= GENOME_WIDE]
    bags = torch.zeros(len(rows), len(corpus.vocabulary))
    weights = torch.linspace(1, _LAST_RANK_WEIGHT, length)
    for i, row in enumerate(rows):
        sequence = corpus.sequence(row)[:length].astype(np.int64)
        bags[i, torch.from_numpy(sequence)] = weights[: len(sequence)]
    generator_state = torch.random.get_rng_state()
    torch.manual_seed(seed)
    rank = min(width, *bags.shape)
    _, singular, vectors = torch.svd_lowrank(bags, q=rank, niter=4)
    torch.random.set_rng_state(generator_state)
    scaled = torch.zeros(bags.shape[1], width)
    scaled[:, :rank] = vectors * singular.sqrt()
    occurring = bags.any(dim=0)
    return scaled * (0.02 / scaled[occurring].square().mean().sqrt())
