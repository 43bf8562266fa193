"""Unexpected genes: against naive computations, and with genes planted in real samples."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from places import EXAMPLES

from specformer_encoder.embedder import Embedder
from specformer_encoder.errors import ExpressionValueError
from specformer_encoder.factors import FactorModel
from specformer_encoder.genes import vocabulary
from specformer_encoder.leave_one_out import leave_one_out
from specformer_encoder.model import ModelConfig, SpecFormer
from specformer_encoder.ordering import NOT_MEASURED, gene_sequence, quantile_values
from specformer_encoder.profiles import load_profiles
from specformer_encoder.surprisal import excess_surprisal, unexpected_genes


@pytest.fixture(scope="module")
def embedder():
    return Embedder.load(backend="torch")


@pytest.fixture(scope="module")
def lung():
    return load_profiles(EXAMPLES / "luad_normal.tsv.gz").values[0]


@pytest.fixture(scope="module")
def colon():
    return load_profiles(EXAMPLES / "coadread_tumors.csv.gz").values[0]


def at(symbol):
    return vocabulary().symbols.index(symbol)


def symbols(genes):
    return [gene.symbol for gene in genes]


def small_model(genes=40, factors=3):
    draw = np.random.default_rng(0)
    loadings = draw.normal(0, 0.1, (genes, factors)).astype(np.float32)
    loadings[7] = 0  # takes no part
    noise = draw.uniform(0.002, 0.02, genes).astype(np.float32)
    return FactorModel(draw.uniform(0.3, 0.7, genes).astype(np.float32), loadings, noise)


def test_leaving_a_gene_out_is_conditioning_the_normal_distribution_on_the_others():
    model, draw = small_model(), np.random.default_rng(1)
    quantiles = draw.integers(0, 255, 40).astype(np.uint8)
    quantiles[[3, 11]] = NOT_MEASURED
    found = leave_one_out(model, quantiles)
    covariance = model.loadings @ model.loadings.T + np.diag(model.noise)
    x = quantile_values(quantiles) - model.mean
    for gene in range(40):
        if gene in (3, 7, 11):
            assert np.isnan([found.values[gene], found.expected[gene], found.deviation[gene]]).all()
            continue
        others = np.setdiff1d(np.arange(40), [gene, 3, 7, 11])
        weights = np.linalg.solve(covariance[np.ix_(others, others)], covariance[others, gene])
        assert found.expected[gene] == pytest.approx(
            model.mean[gene] + weights @ x[others], abs=1e-4
        )
        variance = covariance[gene, gene] - weights @ covariance[others, gene]
        assert found.deviation[gene] == pytest.approx(np.sqrt(variance), rel=1e-3)
    assert found.misfit == model.read(quantiles)[1]


def test_excess_surprisal_is_that_of_a_masked_sequence_less_that_of_masks_alone():
    config = ModelConfig(genes=50, length=12, width=16, layers=2, heads=2, expansion=2)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        network = SpecFormer(config).eval()
        for parameter in network.parameters():
            torch.nn.init.normal_(parameter, std=0.3)
    sequence = np.random.default_rng(0).permutation(50)[:10].astype(np.uint16)
    measured = np.ones(50, bool)
    measured[np.setdiff1d(np.arange(50), sequence)[:5]] = False
    groups = [np.array([1, 4]), np.array([7])]
    found = excess_surprisal(network, sequence, measured, groups)
    assert np.isnan(found[[0, 2, 3, 5, 6, 8, 9]]).all()

    def surprisal(tokens, place):
        with torch.no_grad():
            state = network.states(torch.tensor(tokens)[None])[0, place]
            logits = network.output_vectors() @ state + network.gene_bias
        among = logits[torch.from_numpy(measured)]
        return float(torch.logsumexp(among, 0) - logits[int(sequence[place])])

    for group in groups:
        for place in group:
            tokens = [50 if i in group else int(gene) for i, gene in enumerate(sequence)]
            expected = surprisal(tokens, place) - surprisal([50] * 10, place)
            assert found[place] == pytest.approx(expected, abs=1e-4)


def test_a_gene_of_another_tissue_is_found_and_a_silenced_one_is_missed(embedder, lung, colon):
    planted = lung.copy()
    planted[at("CDH17")] = colon[at("CDH17")]  # intestine
    planted[at("SFTPC")] = 0  # lung, with SFTPA1, SFTPB and SFTPD still there
    before, after = unexpected_genes(embedder, lung), unexpected_genes(embedder, planted)
    assert not {"CDH17", "SFTPC"} & {*symbols(before.has), *symbols(before.lacks)}
    gained = next(gene for gene in after.has if gene.symbol == "CDH17")
    assert gained.ensembl_id == "ENSG00000079112"
    assert gained.rank_percentile > gained.expected_percentile + 20
    assert gained.z > 3
    lost = after.lacks[0]
    assert lost.symbol == "SFTPC"
    assert lost.rank_percentile < 20 < 90 < lost.expected_percentile
    assert lost.z < -5


def test_lists_are_ordered_and_cut_and_the_surprisal_is_given_where_the_sequence_holds_it(
    embedder, lung
):
    found = unexpected_genes(embedder, lung, top=5)
    whole = unexpected_genes(embedder, lung)
    assert symbols(found.has) == symbols(whole.has)[:5]
    assert [gene.z for gene in whole.has] == sorted((gene.z for gene in whole.has), reverse=True)
    assert [gene.z for gene in whole.lacks] == sorted(gene.z for gene in whole.lacks)
    held = set(gene_sequence(lung, embedder.idf, embedder.config.length).tolist())
    for gene in whole.has + whole.lacks:
        assert (gene.surprisal is not None) == (at(gene.symbol) in held)
    assert any(gene.surprisal is not None for gene in whole.has)
    quick = unexpected_genes(embedder, lung, surprisal=False)
    assert [(gene.symbol, gene.z) for gene in quick.has] == [(g.symbol, g.z) for g in whole.has]
    assert all(gene.surprisal is None for gene in quick.has + quick.lacks)


def test_the_unit_does_not_matter_and_asking_twice_gives_the_same(embedder, lung):
    assert unexpected_genes(embedder, lung * 8) == unexpected_genes(embedder, lung)


def test_a_gene_that_was_not_measured_is_never_lacking(embedder, lung):
    without = lung.copy()
    without[at("SFTPC")] = np.nan
    found = unexpected_genes(embedder, without)
    assert "SFTPC" not in symbols(found.lacks)
    assert found.measured == unexpected_genes(embedder, lung).measured - 1


def test_scrambled_genes_are_not_to_be_interpreted(embedder, lung):
    scrambled, known = lung.copy(), np.flatnonzero(~np.isnan(lung))
    scrambled[known] = lung[np.random.default_rng(0).permutation(known)]
    found = unexpected_genes(embedder, scrambled)
    assert "Do not interpret" in found.notes[0]
    # Every gene is off, so none is more than the others.
    assert len(found.has) < 20
    assert not unexpected_genes(embedder, lung).notes


def test_few_genes_are_noted_and_too_few_are_not_interpreted(embedder, lung):
    order = np.random.default_rng(0).permutation(np.flatnonzero(~np.isnan(lung)))
    panel = np.full_like(lung, np.nan)
    panel[order[:3000]] = lung[order[:3000]]
    found = unexpected_genes(embedder, panel)
    assert found.measured < 3000
    assert "Only" in found.notes[0]
    panel[order[100:]] = np.nan
    nothing = unexpected_genes(embedder, panel)
    assert not nothing.has
    assert not nothing.lacks
    assert "too few" in nothing.notes[0]


def test_what_is_no_profile_is_refused(embedder, lung):
    with pytest.raises(ExpressionValueError, match="got shape"):
        unexpected_genes(embedder, lung[None])
    with pytest.raises(ValueError, match="top"):
        unexpected_genes(embedder, lung, top=0)
