r"""How large is the difference of two groups, and can chance explain it: three textbook formulas.

Effect size
    Hedges' g: the difference of two means in units of the pooled standard deviation, corrected for
    the bias of small groups,

    .. math::

        d = \frac{\bar x_a - \bar x_b}{s}, \quad
        J = 1 - \frac{3}{4 (n_a + n_b - 2) - 1}, \quad
        g = J d, \quad
        V_g = J^2 \left( \frac{n_a + n_b}{n_a n_b} + \frac{d^2}{2 (n_a + n_b)} \right),

    and :math:`g \pm 1.96 \sqrt{V_g}` (Hedges, Journal of Educational Statistics 6:107, 1981;
    Borenstein et al., Introduction to Meta-Analysis, 2009, chapter 4).
Test
    Mann and Whitney (Annals of Mathematical Statistics 18:50, 1947), two-sided: no shape of the
    distribution is assumed. The exact distribution of U where there are no ties and the groups are
    small, else the normal approximation with corrections for ties and continuity.
Many tests
    Benjamini and Hochberg (Journal of the Royal Statistical Society B 57:289, 1995).

Arrays are (samples, P): every column is asked for itself.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

DoubleArray = npt.NDArray[np.float64]

#: Products of group sizes up to which the distribution of U is counted out.
EXACT = 400
_Z95 = 1.959963984540054


@dataclass(frozen=True, slots=True)
class Effects:
    """Hedges' g with its 95 % interval, each (P,); NaN where neither group varies."""

    g: DoubleArray
    low: DoubleArray
    high: DoubleArray

    def certain(self) -> DoubleArray:
        """(P,) the size that the interval leaves standing: its end nearer to zero, 0 if it has 0.

        What orders effects by this puts no effect first because a tiny group varies little.
        """
        return np.maximum(0.0, np.maximum(self.low, -self.high))


def hedges_g(a: DoubleArray, b: DoubleArray) -> Effects:
    """Return the effect sizes of a minus b.

    Parameters
    ----------
    a, b
        (A, P) and (B, P), finite; at least two rows each.

    Raises
    ------
    ValueError
        A group has fewer than two rows.
    """
    m, n = len(a), len(b)
    if min(m, n) < 2:
        raise ValueError(f"Hedges' g needs two samples in each group; they have {m} and {n}")
    freedom = m + n - 2
    squares = a.var(axis=0, ddof=1) * (m - 1) + b.var(axis=0, ddof=1) * (n - 1)
    sd = np.sqrt(squares / freedom)
    d = (a.mean(axis=0) - b.mean(axis=0)) / np.where(sd > 0, sd, np.nan)
    j = 1 - 3 / (4 * freedom - 1)
    error = j * np.sqrt((m + n) / (m * n) + d**2 / (2 * (m + n)))
    g = j * d
    return Effects(g, g - _Z95 * error, g + _Z95 * error)


def mann_whitney(a: DoubleArray, b: DoubleArray) -> DoubleArray:
    """Return the two-sided p values (P,) that a and b are drawn from one distribution.

    Parameters
    ----------
    a, b
        (A, P) and (B, P), finite; at least one row each.
    """
    return np.array([_mann_whitney(x, y) for x, y in zip(a.T, b.T, strict=True)])


def smallest_p(m: int, n: int) -> float:
    """Return the smallest p value that the test can give for groups of `m` and `n` samples."""
    return min(1.0, 2 / math.comb(m + n, m))


def benjamini_hochberg(p: DoubleArray) -> DoubleArray:
    """Return the adjusted p values (P,), that is the false discovery rates at which each passes."""
    if not p.size:
        return p.copy()
    order = np.argsort(p)[::-1]
    share = p.size / np.arange(p.size, 0, -1)
    q = np.empty_like(p)
    q[order] = np.minimum(1.0, np.minimum.accumulate(p[order] * share))
    return q


def _mann_whitney(x: DoubleArray, y: DoubleArray) -> float:
    m, n = len(x), len(y)
    values, group, size = np.unique(np.concatenate([x, y]), return_inverse=True, return_counts=True)
    ranks = (np.cumsum(size) - (size - 1) / 2)[group]
    u = ranks[:m].sum() - m * (m + 1) / 2
    u = max(u, m * n - u)
    if len(values) == m + n and m * n <= EXACT:
        ways = _ways(m, n)
        return min(1.0, 2 * float(ways[round(u) :].sum() / ways.sum()))
    ties = float((size.astype(float) ** 3 - size).sum())
    variance = m * n / 12 * ((m + n + 1) - ties / ((m + n) * (m + n - 1)))
    if variance <= 0:
        return 1.0
    z = (u - m * n / 2 - 0.5) / math.sqrt(variance)
    return min(1.0, math.erfc(z / math.sqrt(2)))


def _ways(m: int, n: int) -> DoubleArray:
    """(m n + 1,) orders of m and n values that give each U: a Gaussian binomial coefficient.

    The product over i of (1 - q^(n + i)) / (1 - q^i), as a polynomial in q. Whole numbers below
    2^53 throughout, so float64 counts exactly.
    """
    ways = np.zeros(m * n + 1)
    ways[0] = 1
    for i in range(1, m + 1):
        if n + i < ways.size:
            ways[n + i :] -= ways[: -(n + i)].copy()
        for start in range(i):
            ways[start::i] = np.cumsum(ways[start::i])
    return ways
