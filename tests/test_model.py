"""The network: shapes, the masked loss against torch's, and that order and not batch decides."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn import functional

from specformer_encoder.embedder import Embedder
from specformer_encoder.errors import ExpressionValueError
from specformer_encoder.masked_loss import masked_gene_loss
from specformer_encoder.model import ModelConfig, SpecFormer


def small_network() -> SpecFormer:
    torch.manual_seed(0)
    network = SpecFormer(ModelConfig(genes=300, length=64, width=32, layers=2, heads=4))
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return network.eval()


def test_masked_loss_equals_cross_entropy_over_measured_genes():
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


def test_a_profile_has_the_same_bits_alone_and_in_a_batch():
    draw = np.random.default_rng(0)
    values = draw.gamma(0.3, 100, (5, 300)).astype(np.float32)
    values[:, :20] = np.nan
    embedder = Embedder(small_network(), np.ones(300, np.float32), np.zeros(32, np.float32), None)
    batch = embedder.embed(values)
    for i in range(5):
        assert np.array_equal(embedder.embed(values[i : i + 1])[0], batch[i])
    assert np.allclose(np.linalg.norm(batch, axis=1), 1, atol=1e-6)


def test_profiles_over_other_genes_are_refused():
    embedder = Embedder(small_network(), np.ones(300, np.float32), np.zeros(32, np.float32), None)
    with pytest.raises(ExpressionValueError, match=r"300 vocabulary genes; got shape \(1, 299\)"):
        embedder.embed(np.ones((1, 299), np.float32))
