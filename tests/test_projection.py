"""The projection against SciPy, scikit-learn and what it is for."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.linalg
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

from specformer_encoder.projection import _FLOOR, _SHRINKAGE, fit_projection, unit_length

DIMENSIONS, COHORTS, EACH = 12, 6, 50


@pytest.fixture(scope="module")
def planted():
    """Six cohorts that differ in three directions of twelve; a fourth direction is long."""
    draw = np.random.default_rng(0)
    means = np.zeros((COHORTS, DIMENSIONS))
    means[:, :3] = draw.normal(0, 3, (COHORTS, 3))
    turned, _ = np.linalg.qr(draw.normal(size=(DIMENSIONS, DIMENSIONS)))
    spread = np.r_[np.ones(DIMENSIONS - 1), 4]
    x = np.repeat(means, EACH, axis=0) + draw.normal(size=(COHORTS * EACH, DIMENSIONS)) * spread
    return (x @ turned).astype(np.float32), [f"cohort {i // EACH}" for i in range(len(x))]


def test_the_map_is_that_of_the_generalised_eigenproblem(planted):
    """B v = λ S v with vᵀ S v = 1, each v times g(λ): another way to the same map."""
    raw, cohorts = planted
    x, names = raw.astype(np.float64), np.array(cohorts)
    groups = [x[names == name] for name in sorted(set(cohorts))]
    within = np.concatenate([group - group.mean(axis=0) for group in groups])
    scatter = within.T @ within / len(within)
    scatter += _SHRINKAGE * np.trace(scatter) / DIMENSIONS * np.eye(DIMENSIONS)
    means = np.stack([group.mean(axis=0) for group in groups])
    means -= means.mean(axis=0)
    signal, vectors = scipy.linalg.eigh(means.T @ means / COHORTS, scatter)
    expected = (vectors * np.sqrt((signal + _FLOOR) / (1 + signal + _FLOOR)))[:, ::-1]
    found = fit_projection(raw, cohorts, network=0).matrix
    # The cohorts differ in three directions; the others' order is arbitrary, their span is not.
    assert np.allclose(np.abs(found[:, :3]), np.abs(expected[:, :3]), atol=1e-3)
    assert np.allclose(found @ found.T, expected @ expected.T, atol=1e-3)


def test_the_leading_directions_are_those_of_discriminant_analysis(planted):
    raw, cohorts = planted
    projected = (
        fit_projection(raw, cohorts, network=0)
        .apply(raw, np.ones(len(raw)))[:, :3]
        .astype(np.float64)
    )
    theirs = LinearDiscriminantAnalysis(n_components=3).fit(raw, cohorts).transform(raw)
    q1, _ = np.linalg.qr(projected - projected.mean(0))
    q2, _ = np.linalg.qr(theirs - theirs.mean(0))
    assert np.linalg.svd(q1.T @ q2)[1].min() > 0.98


def test_neighbours_are_of_the_cohort_where_before_they_were_not(planted):
    raw, cohorts = planted
    names = np.array(cohorts)

    def purity(x) -> float:
        unit = unit_length(x - x.mean(0))
        similarity = unit @ unit.T
        np.fill_diagonal(similarity, -1)
        return float((names[similarity.argmax(1)] == names).mean())

    assert (
        purity(fit_projection(raw, cohorts, network=0).apply(raw, np.ones(len(raw))))
        > purity(raw) + 0.02
    )


def test_a_large_cohort_does_not_drown_the_others():
    draw = np.random.default_rng(1)
    large = draw.normal(size=(3000, 4)) * [1, 1, 1, 9]
    small = draw.normal([5, 0, 0, 0], size=(40, 4))
    raw = np.concatenate([large, small]).astype(np.float32)
    projection = fit_projection(raw, ["large"] * 3000 + ["small"] * 40, network=0)
    assert np.allclose(
        projection.centre, raw[:3000].mean(0) / 2 + raw[3000:].mean(0) / 2, atol=1e-3
    )


def test_of_few_genes_the_network_counts_less_about_the_centre(planted):
    raw, cohorts = planted
    projection = fit_projection(raw, cohorts, network=5)
    for share, weight in ((1, 1), (0.5, 1), (0.125, 0.25), (0, 0)):
        expected = raw - projection.centre
        expected[:, :5] *= weight
        got = projection.apply(raw, np.full(len(raw), share))
        assert np.allclose(got, expected @ projection.matrix, atol=1e-4)


@pytest.mark.parametrize("cohorts", [["a"] * 5, ["a", "b", "c", "d", "e"]])
def test_one_cohort_or_none_of_any_size_still_gives_an_embedding(cohorts):
    raw = np.random.default_rng(0).normal(size=(5, 3)).astype(np.float32)
    embedded = unit_length(fit_projection(raw, cohorts, network=0).apply(raw, np.ones(len(raw))))
    assert np.allclose(np.linalg.norm(embedded, axis=1), 1, atol=1e-5)


def test_a_vector_of_zeros_stays_finite():
    assert np.array_equal(unit_length(np.zeros((1, 3), np.float32)), np.zeros((1, 3)))
