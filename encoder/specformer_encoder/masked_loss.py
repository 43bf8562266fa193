"""Cross-entropy over the gene vocabulary, profile by profile.

The output layer has M × V logits a profile and the arithmetic on them, not the matrix products,
is what a CPU spends its time on. Handled one profile at a time they stay in the cache, in the type
of the states, and the gradient with respect to the logits (softmax minus one-hot) is formed in the
forward pass, while they are there. Softmax adds up in float32 whatever type it is given. A GPU
wants large operations instead and takes as many profiles at once as its memory is sure to hold.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from specformer_encoder.cores import on_cores

#: Bytes of logits held at once elsewhere than on a CPU.
_LOGITS_AT_ONCE = 2**30


class _MaskedGeneLoss(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, states: Tensor, vectors: Tensor, bias: Tensor, genes: Tensor, measured: Tensor
    ) -> tuple[Tensor, Tensor]:
        B, M, _ = states.shape
        V = vectors.shape[0]
        low = vectors.to(states.dtype)
        # One addition a profile: a gene's bias where it is measured, -inf where it is not.
        offset = torch.where(measured, bias, float("-inf")).to(states.dtype)  # (B, V)
        gradient = torch.empty(B, M, V, dtype=states.dtype, device=states.device)

        def share(parts: list[tuple[Tensor, ...]]) -> tuple[Tensor, Tensor]:
            loss, named = states.new_zeros(2, dtype=torch.float32).unbind()
            for hidden, added, names, to in parts:  # of b profiles
                logits = (hidden.flatten(0, 1) @ low.T).view_as(to).add_(added[:, None])
                target = names[..., None]  # (b, M, 1)
                highest, guess = logits.max(dim=2, keepdim=True)
                right = logits.gather(2, target)
                named += (guess == target).sum()
                # `torch.softmax` would make a result and copy it.
                torch.ops.aten._softmax.out(logits, 2, False, out=to)
                # The likeliest gene's probability is at least 1/V and cannot underflow.
                likeliest = to.gather(2, guess).float()
                loss += (highest.float() - right.float() - likeliest.log()).sum()
            return loss, named

        parts = _parts(states, offset, genes, gradient)
        sums = on_cores(share, parts) if states.device.type == "cpu" else [share(parts)]
        loss, named = (torch.stack(parts).sum() for parts in zip(*sums, strict=True))
        rows = torch.arange(B * M, device=states.device)
        # By index: `scatter_add_` would copy the whole gradient.
        gradient.view(B * M, V)[rows, genes.flatten()] -= 1
        ctx.save_for_backward(states, low, gradient)
        return loss / (B * M), named / (B * M)

    @staticmethod
    def backward(ctx: Any, grad_loss: Tensor, _grad_named: Tensor) -> tuple[Tensor | None, ...]:
        states, low, gradient = ctx.saved_tensors
        B, M, D = states.shape
        flat = gradient.view(B * M, -1)
        scale = grad_loss / (B * M)
        grad_states = (flat @ low).view(B, M, D) * scale.to(states.dtype)
        # Ones beside the states: the bias's gradient comes out of the same product,
        # which adds up in float32. 32 columns are one tile.
        ones = states.new_ones(B * M, 32)
        product = flat.T @ torch.cat([states.reshape(B * M, D), ones], dim=1)
        grad_vectors = product[:, :D].float().mul_(scale)
        grad_bias = product[:, D].float().mul_(scale)
        return grad_states, grad_vectors, grad_bias, None, None


def _parts(*batches: Tensor) -> list[tuple[Tensor, ...]]:
    """The same few profiles of every batch, the last of which is that of the logits."""
    at_once = _profiles_at_once(batches[-1])
    return list(zip(*(torch.split(batch, at_once) for batch in batches), strict=True))


def _profiles_at_once(logits: Tensor) -> int:
    if logits.device.type == "cpu":
        return 1
    return max(1, _LOGITS_AT_ONCE // (logits[0].numel() * logits.element_size()))


def masked_gene_loss(
    states: Tensor, vectors: Tensor, bias: Tensor, genes: Tensor, measured: Tensor
) -> tuple[Tensor, Tensor]:
    """Mean cross-entropy of the hidden genes, and the share of them that is named.

    Parameters
    ----------
    states
        (B, M, D) predicted gene vectors at the hidden ranks.
    vectors, bias
        (V, D) and (V,) the output layer.
    genes
        (B, M) int64 the genes that stood there.
    measured
        (B, V) bool: only measured genes compete.

    Returns
    -------
    Loss in nats (scalar, differentiable) and share named (scalar, not differentiable).
    """
    loss, named = _MaskedGeneLoss.apply(  # type: ignore[no-untyped-call]
        states, vectors, bias, genes, measured
    )
    return loss, named.detach()
