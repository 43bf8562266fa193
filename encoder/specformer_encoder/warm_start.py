"""A network to begin with: which genes lead the same samples' sequences, and how often.

On few tokens a network spends most of its training learning which genes belong together, which
the training sequences already say. Each training profile is a bag of its leading genes, weighted
down the ranks; the right singular vectors of that profiles × genes matrix, scaled by the root of
their singular values, are vectors under which genes of one tissue or programme lie together
(latent semantic indexing; Deerwester et al., JASIS 41:391, 1990). The output layer's bias starts
at the logarithm of each gene's frequency. Fitted on training patients only.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from specformer_encoder.model import SpecFormer
from specformer_encoder.packed import GENOME_WIDE, PackedCorpus

#: Weight of the last rank of a bag beside the first.
_LAST_RANK_WEIGHT = 0.25


def warm_start(encoder: SpecFormer, corpus: PackedCorpus, seed: int) -> None:
    """Set gene vectors and output bias from the training sequences.

    Parameters
    ----------
    encoder
        A new network; changed in place.
    corpus
        Packed corpus; only rows of the split train are read.
    seed
        Of the randomised decomposition.
    """
    length, width = encoder.config.length, encoder.config.width
    rows = [row for row in corpus.rows("train") if corpus.genes_measured[row] >= GENOME_WIDE]
    bags = torch.zeros(len(rows), len(corpus.vocabulary))
    weights = torch.linspace(1, _LAST_RANK_WEIGHT, length)
    for i, row in enumerate(rows):
        sequence = corpus.sequence(row, length).astype(np.int64)
        bags[i, torch.from_numpy(sequence)] = weights[: len(sequence)]
    occurrences = (bags > 0).sum(dim=0)
    vectors = _cooccurrence_vectors(bags, width, seed)
    with torch.no_grad():
        weight = encoder.gene.weight[:-1]
        occurring = vectors.any(dim=1)
        weight[occurring.to(weight.device)] = vectors[occurring].to(weight.device)
        frequency = (occurrences + 0.5) / (occurrences + 0.5).sum()
        encoder.gene_bias.copy_(frequency.log())


def _cooccurrence_vectors(bags: Tensor, width: int, seed: int) -> Tensor:
    """(N, V) bags → (V, D) gene vectors of unit variance; zero for genes in no bag."""
    state = torch.random.get_rng_state()
    torch.manual_seed(seed)
    rank = min(width, *bags.shape)
    _, singular, vectors = torch.svd_lowrank(bags, q=rank, niter=4)
    torch.random.set_rng_state(state)
    scaled = torch.zeros(bags.shape[1], width)
    scaled[:, :rank] = vectors * singular.sqrt()
    size = scaled.square().mean(dim=1, keepdim=True).sqrt()
    return torch.where(bags.any(dim=0)[:, None], scaled / size.clamp(min=1e-12), 0.0)
