"""The three formulas against published numbers, SciPy, and counting by hand."""

import itertools

import numpy as np
import pytest
from scipy import stats

from specformer_mcp.analysis.effects import (
    benjamini_hochberg,
    hedges_g,
    mann_whitney,
    smallest_p,
)


def with_moments(mean, sd, n):
    """Return n numbers of exactly this mean and standard deviation."""
    x = np.linspace(-1, 1, n)
    return mean + sd * (x - x.mean()) / x.std(ddof=1)


def test_hedges_g_of_the_worked_example():
    """Borenstein et al. 2009, chapter 4: means 103 and 100, sd 5.5 and 4.5, 50 in each group."""
    found = hedges_g(with_moments(103, 5.5, 50)[:, None], with_moments(100, 4.5, 50)[:, None])
    assert found.g[0] == pytest.approx(0.5924, abs=2e-4)
    variance = ((found.high[0] - found.low[0]) / (2 * 1.959964)) ** 2
    assert variance == pytest.approx(0.0411, abs=2e-4)


def test_the_interval_of_hedges_g_covers():
    """Simulated groups of 8 and 12 with a true difference of 0.8 sd."""
    draw = np.random.default_rng(1)
    a, b = draw.normal(0.8, 1, (8, 4000)), draw.normal(0, 1, (12, 4000))
    found = hedges_g(a, b)
    covered = ((found.low < 0.8) & (found.high > 0.8)).mean()
    assert 0.93 < covered < 0.97
    assert found.g.mean() == pytest.approx(0.8, abs=0.03)  # d itself would be 0.835


def test_a_set_that_does_not_vary_has_no_effect_size():
    assert np.isnan(hedges_g(np.ones((3, 1)), np.zeros((3, 1))).g[0])
    with pytest.raises(ValueError, match="two samples"):
        hedges_g(np.ones((1, 1)), np.zeros((3, 1)))


def test_what_the_interval_leaves_standing():
    found = hedges_g(
        np.array([[5.0, 0.1], [5.2, 3.0], [5.1, -3.0]]),
        np.array([[0.0, 0.0], [0.2, 3.0], [0.1, -3.1]]),
    )
    certain = found.certain()
    assert certain[0] == pytest.approx(found.low[0])
    assert certain[1] == 0.0


@pytest.mark.parametrize(("m", "n"), [(1, 1), (2, 3), (5, 5), (20, 20), (3, 40), (60, 30)])
def test_mann_whitney_is_that_of_scipy(m, n):
    draw = np.random.default_rng(m * n)
    a, b = draw.normal(0.5, 1, (m, 6)), draw.normal(0, 1, (n, 6))
    method = "exact" if m * n <= 400 else "asymptotic"
    expected = stats.mannwhitneyu(a, b, axis=0, method=method).pvalue
    np.testing.assert_allclose(mann_whitney(a, b), np.minimum(expected, 1), rtol=1e-9)


def test_mann_whitney_with_ties_is_that_of_scipy():
    draw = np.random.default_rng(3)
    a, b = (draw.integers(0, 4, (size, 5)).astype(float) for size in (9, 7))
    expected = stats.mannwhitneyu(a, b, axis=0, method="asymptotic").pvalue
    np.testing.assert_allclose(mann_whitney(a, b), expected, rtol=1e-9)
    assert mann_whitney(np.ones((4, 1)), np.ones((5, 1)))[0] == 1.0


def test_the_exact_p_is_the_share_of_all_orders():
    values = np.array([1.0, 2.0, 3.5, 4.0, 6.0, 7.0])
    chosen = (3, 4, 5)
    observed = sum(values[list(chosen)])
    orders = [sum(values[list(c)]) for c in itertools.combinations(range(6), 3)]
    extreme = sum(total >= observed for total in orders) / len(orders)
    p = mann_whitney(values[3:, None], values[:3, None])[0]
    assert p == pytest.approx(2 * extreme)
    assert p == pytest.approx(smallest_p(3, 3))


def test_benjamini_hochberg_is_that_of_scipy():
    p = np.random.default_rng(0).uniform(size=40) ** 3
    np.testing.assert_allclose(benjamini_hochberg(p), stats.false_discovery_control(p))
    assert benjamini_hochberg(np.array([])).size == 0
