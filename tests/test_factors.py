"""The factor model against scikit-learn and against its formula written out."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.decomposition import PCA

from specformer_encoder.factors import FactorModel, fit_factors
from specformer_encoder.ordering import NOT_MEASURED, quantile_values, rank_quantiles

GENES, TRUE_FACTORS = 400, 5


@pytest.fixture(scope="module")
def quantiles():
    """120 profiles of 400 genes that five factors move, as uint8 rank quantiles."""
    draw = np.random.default_rng(3)
    level = draw.normal(0, 2, GENES)
    loadings = draw.normal(size=(GENES, TRUE_FACTORS))
    factors = draw.normal(size=(120, TRUE_FACTORS))
    logs = level + factors @ loadings.T + draw.normal(0, 0.3, (120, GENES))
    return np.stack([rank_quantiles(row) for row in np.exp(logs).astype(np.float32)])


@pytest.fixture(scope="module")
def model(quantiles) -> FactorModel:
    return fit_factors(quantiles, factors=TRUE_FACTORS)


def posterior(model: FactorModel, quantiles) -> np.ndarray:
    """The posterior mean, gene by gene."""
    precision, projected = np.eye(model.size), np.zeros(model.size)
    for g in np.flatnonzero(quantiles != NOT_MEASURED):
        w = model.loadings[g].astype(np.float64)
        precision += np.outer(w, w) / model.noise[g]
        projected += w * (quantiles[g] / 254 - model.mean[g]) / model.noise[g]
    return np.linalg.solve(precision, projected)


def thinned(quantiles, share: float, seed: int = 0):
    lost = np.random.default_rng(seed).random(len(quantiles)) >= share
    return np.where(lost, NOT_MEASURED, quantiles).astype(np.uint8)


@pytest.mark.parametrize("share", [1.0, 0.9, 0.7, 0.6])
def test_factors_are_the_posterior_mean_given_what_was_measured(model, quantiles, share):
    profile = thinned(quantiles[0], share)
    read, _ = model.read(profile)
    assert np.allclose(read, posterior(model, profile), atol=2e-3)


def test_few_genes_give_the_factors_of_all_drawn_towards_zero(model, quantiles):
    whole = np.stack([model.read(q)[0] for q in quantiles])
    few = np.stack([model.read(thinned(q, 0.2, i))[0] for i, q in enumerate(quantiles)])
    correlation = [np.corrcoef(whole[:, k], few[:, k])[0, 1] for k in range(model.size)]
    assert min(correlation) > 0.95
    assert (few**2).sum() < (whole**2).sum()
    nothing, misfit = model.read(np.full(GENES, NOT_MEASURED, np.uint8))
    assert not nothing.any()
    assert misfit == 0


def test_without_missing_genes_the_loadings_span_the_principal_components(model, quantiles):
    components = PCA(TRUE_FACTORS).fit(quantile_values(quantiles)).components_
    basis, _ = np.linalg.qr(model.loadings)
    cosines = np.linalg.svd(components @ basis)[1]
    assert cosines.min() > 0.999


def test_unmeasured_genes_are_filled_by_what_the_others_say(model, quantiles):
    draw = np.random.default_rng(5)
    holes = np.where(draw.random(quantiles.shape) < 0.15, NOT_MEASURED, quantiles).astype(np.uint8)
    basis, _ = np.linalg.qr(fit_factors(holes, factors=TRUE_FACTORS).loadings)
    truth, _ = np.linalg.qr(model.loadings)
    assert np.linalg.svd(truth.T @ basis)[1].min() > 0.99


def test_what_does_not_fit_is_told_by_the_misfit(model, quantiles):
    swapped = quantiles[0].copy()
    np.random.default_rng(0).shuffle(swapped)
    # Of a profile that is what the model says, the expectation is one per gene.
    assert 0.4 < np.mean([model.read(q)[1] for q in quantiles]) < 1.2
    assert model.read(swapped)[1] > 5


def test_the_ranks_of_a_panel_are_read_as_those_of_whole_profiles(model, quantiles):
    # The panel holds the genes that are high everywhere: their ranks within it spread from 0 to 1.
    high = np.argsort(-model.mean)[: GENES // 4]
    errors = {"as they are": [], "read": []}
    for q in quantiles[:40]:
        panel = np.full(GENES, np.nan, np.float32)
        panel[high] = q[high]
        ranks = rank_quantiles(panel)
        whole = model.read(q)[0]
        errors["read"].append(np.square(model.read(ranks)[0] - whole).mean())
        errors["as they are"].append(np.square(posterior(model, ranks) - whole).mean())
    assert np.mean(errors["read"]) < 0.3 * np.mean(errors["as they are"])


def test_a_model_comes_back_from_its_tensors_and_reads_the_same_bits(model, quantiles):
    again = FactorModel.from_tensors(model.tensors())
    for row in (quantiles[1], thinned(quantiles[1], 0.4)):
        assert np.array_equal(again.read(row)[0], model.read(row)[0])


def test_fitting_twice_gives_the_same_numbers(quantiles, model):
    assert np.array_equal(fit_factors(quantiles, factors=TRUE_FACTORS).loadings, model.loadings)
