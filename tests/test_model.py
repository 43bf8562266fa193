"""The network: shapes, the masked loss against torch's, and that order and not batch decides."""

from __future__ import annotations

import threading

import pytest
import torch
from torch.nn import functional

from specformer_encoder import layers, masked_loss
from specformer_encoder.cores import on_cores
from specformer_encoder.masked_loss import masked_gene_loss
from specformer_encoder.model import ModelConfig, SpecFormer


def small_network() -> SpecFormer:
    torch.manual_seed(0)
    network = SpecFormer(ModelConfig(genes=300, length=64, width=32, layers=2, heads=4))
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return network.eval()


@pytest.mark.parametrize("at_once", [1, 2])
def test_masked_loss_equals_cross_entropy_over_measured_genes(monkeypatch, at_once):
    """One profile at once, as on a CPU; and several, as on a GPU, the last part smaller."""
    monkeypatch.setattr(masked_loss, "_profiles_at_once", lambda _logits: at_once)
    torch.manual_seed(1)
    states = torch.randn(3, 4, 8, requires_grad=True)
    vectors = torch.randn(11, 8, requires_grad=True)
    bias = torch.randn(11, requires_grad=True)
    genes = torch.randint(0, 11, (3, 4))
    measured = torch.rand(3, 11) > 0.3
    measured.scatter_(1, genes, True)
    parameters = (states, vectors, bias)

    loss, named = masked_gene_loss(states, vectors, bias, genes, measured)
    (2 * loss).backward()
    ours = [parameter.grad.clone() for parameter in parameters]
    for parameter in parameters:
        parameter.grad = None
    logits = (states @ vectors.T + bias).masked_fill(~measured[:, None], float("-inf"))
    expected = functional.cross_entropy(logits.view(12, 11), genes.view(12))
    (2 * expected).backward()

    assert torch.allclose(loss, expected)
    assert named == (logits.argmax(dim=-1) == genes).float().mean()
    for mine, parameter in zip(ours, parameters, strict=True):
        assert torch.allclose(mine, parameter.grad, atol=1e-6)


def naive_block(x, block, heads):
    """A pre-norm block profile by profile and head by head, without any of torch's layers."""

    def norm(z):
        centred = z - z.mean(dim=-1, keepdim=True)
        return centred / (centred.square().mean(dim=-1, keepdim=True) + 1e-5).sqrt()

    rows = []
    for profile in x:
        D = profile.shape[1]
        d = D // heads
        q, k, v = (norm(profile) @ block.qkv.weight.T).split(D, dim=1)
        results = []
        for h in range(heads):
            mine = slice(h * d, (h + 1) * d)
            scores = norm(q[:, mine]) @ norm(k[:, mine]).T / d**0.5
            weights = scores.exp() / scores.exp().sum(dim=1, keepdim=True)
            results.append(weights @ v[:, mine])
        profile = profile + torch.cat(results, dim=1) @ block.attention_out.weight.T
        hidden = (norm(profile) @ block.up.weight.T).clamp(min=0) ** 2
        rows.append(profile + hidden @ block.down.weight.T)
    return torch.stack(rows)


@pytest.mark.parametrize("by_hand", [True, False])
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.bfloat16, 0.02)])
def test_block_and_its_gradients_equal_the_naive_ones(monkeypatch, dtype, tolerance, by_hand):
    """As written out for the CPU, and as torch derives them on other devices.

    Five profiles: the last few of a batch are fewer than are worked through at once.
    """
    if not by_hand:
        monkeypatch.setattr(layers, "_by_hand", lambda _x: False)
    block = small_network().blocks[0]
    weights = list(block.parameters())
    x = torch.randn(5, 24, 32, requires_grad=True)
    towards = torch.randn(5, 24, 32)
    expected = naive_block(x, block, 4)
    expected_gradients = torch.autograd.grad(expected, [x, *weights], towards)

    low = x.detach().to(dtype).requires_grad_()
    ours = block(low)
    gradients = torch.autograd.grad(ours, [low, *weights], towards.to(dtype))

    assert ours.dtype == dtype
    for mine, exact in zip([ours, *gradients], [expected, *expected_gradients], strict=True):
        assert (mine - exact).norm() < tolerance * exact.norm()
    with torch.inference_mode():
        assert torch.allclose(block(low.detach()).float(), ours.float(), atol=1e-5, rtol=tolerance)


def test_masked_loss_in_bfloat16_is_close_to_float32():
    torch.manual_seed(2)
    states, vectors = torch.randn(4, 20, 64), torch.randn(700, 64) / 8
    bias = torch.randn(700)
    genes = torch.randint(0, 700, (4, 20))
    measured = torch.rand(4, 700) > 0.3
    measured.scatter_(1, genes, True)
    found = []
    for dtype in (torch.float32, torch.bfloat16):
        inputs = [
            states.to(dtype).requires_grad_(),
            *(t.clone().requires_grad_() for t in (vectors, bias)),
        ]
        loss, _ = masked_gene_loss(*inputs, genes, measured)
        found.append([loss, *torch.autograd.grad(loss, inputs)])
    exact, low = found
    assert abs(exact[0] - low[0]) < 0.01
    for mine, full in zip(low[1:], exact[1:], strict=True):
        assert (mine - full).norm() < 0.02 * full.norm()


def test_untrained_network_is_a_bag_of_genes():
    network = SpecFormer(ModelConfig(genes=300, length=64, width=32, layers=2, heads=4))
    tokens = torch.randperm(300)[None, :64]
    expected = network.norm(network.gene(tokens) + network.rank.weight).mean(dim=1)
    assert torch.allclose(network.pool(network.states(tokens)), expected, atol=1e-5)


def test_ranks_matter_after_training():
    network = small_network()
    tokens = torch.randperm(300)[None, :64]
    one, other = (network.pool(network.states(t)) for t in (tokens, tokens.flip(1)))
    assert not torch.allclose(one, other, atol=1e-3)


def test_layers_compute_in_the_type_of_autocast_and_keep_float32_weights():
    """The residual stream is cast once; a norm that went back to float32 would show here."""
    network = small_network().train()
    seen = set()
    for block in network.blocks:
        block.register_forward_hook(
            lambda _block, given, result: seen.add((given[0].dtype, result.dtype))
        )
    tokens = torch.randperm(300)[None, :64]
    with torch.autocast("cpu", torch.bfloat16):
        states = network.states(tokens)
    assert seen == {(torch.bfloat16, torch.bfloat16)}
    assert states.dtype == torch.bfloat16
    states.float().sum().backward()
    assert {p.grad.dtype for p in network.blocks.parameters()} == {torch.float32}


@pytest.mark.parametrize("count", [1, 2, 3, 7])
def test_cores_share_the_parts_and_answer_in_their_order(count):
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    try:
        seen = on_cores(
            lambda parts: (
                parts,
                torch.get_num_threads(),
                torch.is_grad_enabled(),
                threading.get_ident(),
            ),
            range(count),
        )
    finally:
        torch.set_num_threads(before)
    cores = min(3, count)
    assert [parts for parts, *_ in seen] == [list(range(c, count, cores)) for c in range(cores)]
    assert not any(tracked for _, _, tracked, _ in seen)
    if cores > 1:
        assert {threads for _, threads, _, _ in seen} == {1}
        assert threading.get_ident() not in {thread for *_, thread in seen}
    assert torch.is_grad_enabled()
    assert torch.get_num_threads() == before


def test_what_a_core_raises_is_raised_here():
    def broken(parts):
        if 1 in parts:
            raise OSError("torn")

    with pytest.raises(OSError, match="torn"):
        on_cores(broken, range(4))
