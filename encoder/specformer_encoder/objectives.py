"""What pretraining minimises: three losses on one pass through the network.

Masked gene identity: some genes of the sequence are hidden, and at each hidden rank the network
names the gene among those that the profile measures. Whole-profile decoding: from the sample's
vector alone, a linear layer predicts the standardised rank of every measured gene of the undropped
profile, which is what makes that vector worth having. Agreement: the vectors of two views of a
sample find each other among the batch (InfoNCE; van den Oord et al., arXiv:1807.03748), so that
unit, pipeline and missing genes matter less. No expression value is ever predicted. A loss of
weight 0 is not computed.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from specformer_encoder.batches import Batch
from specformer_encoder.masked_loss import masked_gene_loss
from specformer_encoder.model import SpecFormer
from specformer_encoder.ranks import Ranks
from specformer_encoder.recipe import Recipe


class Pretrainer(nn.Module):
    """The encoder with what only training needs: the whole-profile decoder."""

    def __init__(self, recipe: Recipe) -> None:
        super().__init__()
        self.recipe = recipe
        self.encoder = SpecFormer(recipe.model)
        self.decoder = nn.Linear(recipe.model.width, recipe.model.genes)
        # From zero: a random decoder would pull the sample's vector about before it has learnt.
        nn.init.zeros_(self.decoder.weight)
        nn.init.zeros_(self.decoder.bias)

    def losses(self, batch: Batch, ranks: Ranks | None = None) -> tuple[dict[str, Tensor], Tensor]:
        """Losses of one view and the (B, D) sample vectors.

        `masked` is in nats a gene, `named` the share of hidden genes that is named, `decode` the
        squared error of the standardised ranks (1 = predicting every gene's mean). With `ranks`
        the batch is this process's share, and the mean over the processes is the whole batch's.
        """
        states = self.encoder.states(batch.tokens)  # (B, T, D)
        B, M = batch.hidden.shape
        D = states.shape[-1]
        # Hidden positions are gathered before the output layer: V is large, T - M would be waste.
        at_hidden = states.gather(1, batch.hidden[..., None].expand(B, M, D))  # (B, M, D)
        masked, named = masked_gene_loss(
            at_hidden,
            self.encoder.output_vectors(),
            self.encoder.gene_bias,
            batch.genes,
            batch.measured,
        )
        losses = {"masked": masked, "named": named}
        pooled = self.encoder.pool(states)
        if self.recipe.train.decode_weight > 0:
            decoded = self.decoder(pooled).float()
            error = (decoded - batch.target).square() * batch.decodable
            decoded_genes = batch.decodable.sum()
            if ranks is not None:  # processes decode unequally many
                decoded_genes = ranks.mean(decoded_genes)
            losses["decode"] = error.sum() / decoded_genes.clamp(min=1)
        return losses, pooled

    def pair_losses(
        self, one: Batch, other: Batch, ranks: Ranks | None = None
    ) -> dict[str, Tensor]:
        """Mean losses of two views, and `agree`: nats to find a sample's other view."""
        first, u = self.losses(one, ranks)
        second, v = self.losses(other, ranks)
        losses = {name: (first[name] + second[name]) / 2 for name in first}
        if self.recipe.train.agree_weight > 0:
            if ranks is not None:
                u, v = ranks.gather(torch.stack([u, v]), 1)
            losses["agree"] = agreement(u, v, self.recipe.train.temperature)
        return losses

    def total(self, losses: dict[str, Tensor]) -> Tensor:
        """The loss that is minimised."""
        train = self.recipe.train
        total = losses["masked"]
        if "decode" in losses:
            total = total + train.decode_weight * losses["decode"]
        if "agree" in losses:
            total = total + train.agree_weight * losses["agree"]
        return total


def agreement(u: Tensor, v: Tensor, temperature: float) -> Tensor:
    """InfoNCE between (B, D) vectors of two views, both ways; 0 when every view finds its other.

    Vectors are centred on the mean of the batch first, as they are on the training mean in use.
    """
    u, v = u.float(), v.float()
    mean = (u.mean(dim=0) + v.mean(dim=0)) / 2
    u, v = (functional.normalize(x - mean, dim=1) for x in (u, v))
    similarity = u @ v.T / temperature  # (B, B)
    own = torch.arange(len(u), device=u.device)
    there = functional.cross_entropy(similarity, own)
    back = functional.cross_entropy(similarity.T, own)
    return (there + back) / 2
