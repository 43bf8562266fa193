"""The encoder: a transformer over gene sequences.

A gene sequence (`ordering`) is read as tokens: each gene has a vector, each rank has a vector,
and a profile's tokens are their sums. Pre-norm blocks without biases, QK-norm and ReLU²
feed-forward layers mix them. Two things are read from the result: at masked positions, which gene
stood there (the output layer is tied to the gene vectors); and from the attention-pooled sequence,
the sample's vector, from which a linear decoder must recover the whole rank profile.

Shapes: B profiles, T tokens, D model width and width of the sample's vector, H heads, V genes.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from specformer_encoder.layers import attention_layer, feed_forward_layer


@dataclass(frozen=True, slots=True)
class ModelConfig:
    """Size of the network."""

    genes: int
    """Genes in the vocabulary, V. One more token stands for a masked gene."""
    length: int = 512
    """Longest gene sequence, T."""
    width: int = 256
    """Model width, D."""
    layers: int = 4
    """Transformer blocks."""
    heads: int = 4
    """Attention heads, H; must divide `width`."""
    expansion: int = 4
    """Width of the feed-forward layer as a multiple of `width`."""


class Block(nn.Module):
    """One pre-norm transformer block."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        D = config.width
        self.heads = config.heads
        self.qkv = nn.Linear(D, 3 * D, bias=False)
        self.attention_out = nn.Linear(D, D, bias=False)
        self.up = nn.Linear(D, config.expansion * D, bias=False)
        self.down = nn.Linear(config.expansion * D, D, bias=False)

    def forward(self, x: Tensor) -> Tensor:  # noqa: D102
        x = attention_layer(x, self.qkv.weight, self.attention_out.weight, self.heads)
        return feed_forward_layer(x, self.up.weight, self.down.weight)


class SpecFormer(nn.Module):
    """Gene sequences → token states, gene logits and sample vectors."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        D = config.width
        self.gene = nn.Embedding(config.genes + 1, D)
        self.rank = nn.Embedding(config.length, D)
        nn.init.normal_(self.rank.weight, std=0.02)
        blocks = [Block(config) for _ in range(config.layers)]
        self.blocks = nn.ModuleList(blocks)
        self.norm = nn.LayerNorm(D, elementwise_affine=False)
        self.gene_bias = nn.Parameter(torch.zeros(config.genes))
        self.pool_query = nn.Linear(D, config.heads, bias=False)
        self.apply(_initialise)
        # Blocks start as the identity and pooling as the mean: training begins at a bag of genes.
        for block in blocks:
            nn.init.zeros_(block.attention_out.weight)
            nn.init.zeros_(block.down.weight)
        nn.init.zeros_(self.pool_query.weight)

    def states(self, tokens: Tensor) -> Tensor:
        """(B, T) tokens → (B, T, D) normalised token states."""
        ranks = torch.arange(tokens.shape[1], device=tokens.device)
        x = self.gene(tokens) + self.rank(ranks)
        device = x.device.type
        if not torch.is_autocast_enabled(device):
            return self._through(x)
        # Autocast leaves the residual stream in float32, and on CUDA every norm too; casting at
        # every layer costs more than the layers' arithmetic. Layers compute in the type they get.
        with torch.autocast(device, enabled=False):
            return self._through(x.to(torch.get_autocast_dtype(device)))

    def _through(self, x: Tensor) -> Tensor:
        for block in self.blocks:
            x = block(x)
        return self.norm(x)  # type: ignore[no-any-return]

    def output_vectors(self) -> Tensor:
        """(V, D) of the output layer: the gene vectors themselves, to the scale of logits."""
        vectors: Tensor = self.gene.weight[: self.config.genes] * self.config.width**-0.5
        return vectors

    def pool(self, states: Tensor) -> Tensor:
        """(B, T, D) states → (B, D) sample vectors; each head weighs the tokens its own way."""
        B, T, D = states.shape
        H = self.config.heads
        weight = self.pool_query(states).softmax(dim=1)  # (B, T, H)
        values = states.view(B, T, H, D // H)
        return torch.einsum("bth,bthd->bhd", weight, values).reshape(B, D)


def _initialise(module: nn.Module) -> None:
    # Gene vectors have unit variance, so that an optimiser step of fixed size changes them little;
    # the output layer scales them down, so that training starts near ln V and not far above it.
    if isinstance(module, nn.Linear):
        nn.init.normal_(module.weight, std=0.02)
