"""The two layers of a transformer block, with backward passes written out for the CPU.

On a CPU the matrix products of a small transformer take less time than what lies between them:
element-wise passes over activations that have long left the cache. torch derives a backward pass
operation by operation, and each reads and writes the activations of the whole batch. Here each
core works through its share of a batch a few profiles at a time, forward and backward, so that
what one operation leaves is in that core's cache for the next, and cores wait for each other once
a layer and not once an operation (`cores`). What is cheap to compute again (normalised states,
attention weights) is computed again rather than kept. Gradients of weights are summed in float32.

Attention: S = Q Kᵀ/√d, P = softmax(S), O = P V; dV = Pᵀ dO, dP = dO Vᵀ,
dS = P ∘ (dP - rowsum(P ∘ dP)), dQ = dS K/√d, dK = dSᵀ Q/√d (Dao et al., arXiv:2205.14135, B.2).
ReLU²: y = W₂ r², r = max(0, W₁ x); dr = 2 r ∘ W₂ᵀ dy, which is zero where r is (So et al.,
arXiv:2109.08668).

Shapes: B profiles, T tokens, D model width, H heads, d = D/H, F feed-forward width.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from specformer_encoder.cores import on_cores

#: Profiles worked through at once; of 512 tokens, 2 × 4 heads × 512² bfloat16 weights are 4 MB.
_PROFILES_AT_ONCE = 2
_EPSILON = 1e-5


def attention_layer(x: Tensor, qkv: Tensor, out: Tensor, heads: int) -> Tensor:
    """Pre-norm multi-head attention with layer-normalised queries and keys (QK-norm).

    Parameters
    ----------
    x
        (B, T, D) residual stream.
    qkv, out
        (3D, D) and (D, D) float32 weights; used in the type of `x`.
    heads
        H; must divide D.

    Returns
    -------
    (B, T, D) what the layer adds to the residual stream, plus `x`.
    """
    if _by_hand(x):
        return _Attention.apply(x, qkv, out, heads)  # type: ignore[no-any-return,no-untyped-call]
    queries, v = _queries_keys_values(functional.linear(_norm(x), qkv.to(x.dtype)), heads)
    return x + functional.linear(_attend(_norm(queries), v), out.to(x.dtype))


def feed_forward_layer(x: Tensor, up: Tensor, down: Tensor) -> Tensor:
    """Pre-norm ReLU² feed-forward layer.

    Parameters
    ----------
    x
        (B, T, D) residual stream.
    up, down
        (F, D) and (D, F) float32 weights; used in the type of `x`.

    Returns
    -------
    (B, T, D) x + `down` · max(0, `up` · norm(x))².
    """
    if _by_hand(x):
        return _FeedForward.apply(x, up, down)  # type: ignore[no-any-return,no-untyped-call]
    hidden = functional.linear(_norm(x), up.to(x.dtype)).relu()
    return x + functional.linear(hidden.square(), down.to(x.dtype))


def _by_hand(x: Tensor) -> bool:
    return x.device.type == "cpu" and x.requires_grad and torch.is_grad_enabled()


def _norm(x: Tensor) -> Tensor:
    return functional.layer_norm(x, x.shape[-1:], eps=_EPSILON)


def _norm_backward(grad: Tensor, x: Tensor, mean: Tensor, deviation: Tensor) -> Tensor:
    """Gradient with respect to `x` of `_norm(x)`, given that of its result."""
    gradient: Tensor = torch.ops.aten.native_layer_norm_backward(
        grad, x, x.shape[-1:], mean, deviation, None, None, [True, False, False]
    )[0]
    return gradient


def _queries_keys_values(qkv: Tensor, heads: int) -> tuple[Tensor, Tensor]:
    """(B, T, 3D) → (2, B, H, T, d) queries and keys, and (B, H, T, d) values, contiguous."""
    B, T, D3 = qkv.shape
    parts = qkv.view(B, T, 3, heads, D3 // (3 * heads)).permute(2, 0, 3, 1, 4).contiguous()
    return parts[:2], parts[2]


def _attend(qk: Tensor, v: Tensor) -> Tensor:
    """(2, B, H, T, d) normalised queries and keys, (B, H, T, d) values → (B, T, D)."""
    B, H, T, d = v.shape
    result = functional.scaled_dot_product_attention(qk[0], qk[1], v)
    return result.transpose(1, 2).reshape(B, T, H * d)


class _Attention(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, qkv: Tensor, out: Tensor, heads: int) -> Tensor:
        W_qkv, W_out = qkv.to(x.dtype), out.to(x.dtype)
        result, attended = torch.empty_like(x), torch.empty_like(x)
        projected = x.new_empty(*x.shape[:-1], len(qkv))

        def share(parts: list[tuple[Tensor, ...]]) -> None:
            for part, p, a, to in parts:
                torch.matmul(_norm(part), W_qkv.T, out=p)
                qk, v = _queries_keys_values(p, heads)
                a.copy_(_attend(_norm(qk), v))
                torch.add(part, functional.linear(a, W_out), out=to)

        on_cores(share, _few(x, projected, attended, result))
        ctx.save_for_backward(x, W_qkv, W_out, projected, attended)
        ctx.heads = heads
        return result

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, Tensor, None]:
        x, W_qkv, W_out, projected, attended = ctx.saved_tensors
        D = x.shape[-1]
        grad_x = torch.empty_like(x)

        def share(parts: list[tuple[Tensor, ...]]) -> tuple[Tensor, Tensor]:
            grad_qkv, grad_out = (torch.zeros(W.shape, device=x.device) for W in (W_qkv, W_out))
            for part, p, a, g, to in parts:
                grad_out += g.reshape(-1, D).T @ a.view(-1, D)
                grad_p = _attend_backward(p, g @ W_out, ctx.heads).view(-1, 3 * D)
                normed, mean, deviation = torch.native_layer_norm(part, [D], None, None, _EPSILON)
                grad_qkv += grad_p.T @ normed.view(-1, D)
                grad_normed = (grad_p @ W_qkv).view(part.shape)
                torch.add(g, _norm_backward(grad_normed, part, mean, deviation), out=to)
            return grad_qkv, grad_out

        sums = on_cores(share, _few(x, projected, attended, grad, grad_x))
        grad_qkv, grad_out = (sum(grads[1:], grads[0]) for grads in zip(*sums, strict=True))
        return grad_x, grad_qkv, grad_out, None


def _attend_backward(projected: Tensor, grad: Tensor, heads: int) -> Tensor:
    """(B, T, 3D) gradient of queries, keys and values, given that of the heads' results."""
    B, T, D = grad.shape
    d = D // heads
    qk, v = _queries_keys_values(projected, heads)
    normed, mean, deviation = torch.native_layer_norm(qk, [d], None, None, _EPSILON)
    q, k = normed[0] * d**-0.5, normed[1]
    g = grad.view(B, T, heads, d).transpose(1, 2).contiguous()  # (B, H, T, d)
    P = torch.softmax(q @ k.transpose(-1, -2), dim=-1)  # (B, H, T, T)
    grad_v = P.transpose(-1, -2) @ g
    grad_S = torch._softmax_backward_data(g @ v.transpose(-1, -2), P, -1, P.dtype)
    grad_normed = torch.stack([(grad_S @ k).mul_(d**-0.5), grad_S.transpose(-1, -2) @ q])
    grad_qk = _norm_backward(grad_normed, qk, mean, deviation)
    grads = torch.stack([grad_qk[0], grad_qk[1], grad_v])  # (3, B, H, T, d)
    return grads.permute(1, 3, 0, 2, 4).reshape(B, T, 3 * D)


class _FeedForward(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, up: Tensor, down: Tensor) -> Tensor:
        W_up, W_down = up.to(x.dtype), down.to(x.dtype)
        result = torch.empty_like(x)
        hidden = x.new_empty(*x.shape[:-1], len(up))

        def share(parts: list[tuple[Tensor, ...]]) -> None:
            for part, r, to in parts:
                torch.matmul(_norm(part), W_up.T, out=r).relu_()
                torch.add(part, functional.linear(r * r, W_down), out=to)

        on_cores(share, _few(x, hidden, result))
        ctx.save_for_backward(x, W_up, W_down, hidden)
        return result

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        x, W_up, W_down, hidden = ctx.saved_tensors
        D, F = W_down.shape
        grad_x = torch.empty_like(x)
        # The derivative's 2 goes to the small matrix; what is left is one element-wise product.
        twice = 2 * W_down

        def share(parts: list[tuple[Tensor, ...]]) -> tuple[Tensor, Tensor]:
            grad_up, grad_down = (torch.zeros(W.shape, device=x.device) for W in (W_up, W_down))
            for part, kept, g, to in parts:
                flat, r = g.reshape(-1, D), kept.view(-1, F)
                grad_down += flat.T @ (r * r)
                grad_r = (flat @ twice).mul_(r)
                normed, mean, deviation = torch.native_layer_norm(part, [D], None, None, _EPSILON)
                grad_up += grad_r.T @ normed.view(-1, D)
                grad_normed = (grad_r @ W_up).view(part.shape)
                torch.add(g, _norm_backward(grad_normed, part, mean, deviation), out=to)
            return grad_up, grad_down

        sums = on_cores(share, _few(x, hidden, grad, grad_x))
        grad_up, grad_down = (sum(grads[1:], grads[0]) for grads in zip(*sums, strict=True))
        return grad_x, grad_up, grad_down


def _few(*batches: Tensor) -> list[tuple[Tensor, ...]]:
    """The same few rows of every batch, one few after the other."""
    return list(zip(*(torch.split(batch, _PROFILES_AT_ONCE) for batch in batches), strict=True))
