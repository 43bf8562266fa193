"""Statistics made for resampling: means over rows, and correlations of many targets at once.

A bootstrap draws rows with repeats. How often each row was drawn is a weight, and the moments of
all targets under a weight are one product of a vector and a matrix, so that a thousand resamples
of a thousand targets take seconds.

Where the truth is constant there is nothing to correlate with: no number. Where the truth varies
and the guess is constant, the guess says nothing: 0, or a method could gain by not answering.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from specformer_encoder.evaluate.metrics import Estimate, bootstrap
from specformer_encoder.projection import FloatArray

#: Share of its variance in the group below which a target counts as constant in a resample.
_CONSTANT = 1e-6


def mean_estimate(values: npt.NDArray[np.floating], patients: list[str]) -> Estimate:
    """Mean of a number that each row has, (n,) with the patient of each; NaN counts for nothing."""

    def statistic(rows: npt.NDArray[np.int64]) -> float:
        known = values[rows][~np.isnan(values[rows])]
        return float(known.mean()) if known.size else float("nan")

    return bootstrap(statistic, patients)


def row_correlation(truth: FloatArray, guess: FloatArray) -> npt.NDArray[np.float64]:
    """Pearson's correlation of each row of two (n, P) matrices over the columns known in both.

    Returns
    -------
    (n,) float64; NaN where the truth is constant, 0 where only the guess is.
    """
    known = ~(np.isnan(truth) | np.isnan(guess))
    count = np.maximum(known.sum(axis=1, keepdims=True), 1)
    x, y = (np.where(known, side, 0).astype(np.float64) for side in (truth, guess))
    x, y = (np.where(known, side - side.sum(axis=1, keepdims=True) / count, 0) for side in (x, y))
    scale = np.sqrt((x**2).sum(axis=1) * (y**2).sum(axis=1))
    r = (x * y).sum(axis=1) / np.where(scale > 0, scale, 1)
    return np.where((x != 0).any(axis=1), r, np.nan)


class GroupCorrelation:
    """Mean over groups of rows of the mean over targets of Pearson's correlation.

    Parameters
    ----------
    truth, guess
        (n, P), NaN in `truth` where unknown.
    groups
        Rows of each group. Rows of no group do not count.

    Examples
    --------
    >>> x = np.array([[1.0], [2.0], [4.0]], np.float32)
    >>> GroupCorrelation(x, -x, [np.arange(3)])(np.array([0, 1, 2, 2]))
    -1.0
    """

    def __init__(
        self, truth: FloatArray, guess: FloatArray, groups: list[npt.NDArray[np.int64]]
    ) -> None:
        self._rows, self._targets = len(truth), truth.shape[1]
        self._groups = [(rows, self._moments(truth[rows], guess[rows])) for rows in groups]

    @staticmethod
    def _moments(truth: FloatArray, guess: FloatArray) -> FloatArray:
        """(n, 6 P): 1, x, y, x², y² and x·y, zero where x is unknown."""
        known = ~np.isnan(truth)
        count = np.maximum(known.sum(axis=0), 1)
        # Correlation ignores shift and scale; without them float32 is exact enough for squares.
        sides = []
        for side in (truth, guess):
            centred = np.where(known, side - np.where(known, side, 0).sum(axis=0) / count, 0)
            deviation = np.sqrt((centred**2).sum(axis=0) / count)
            sides.append(centred / np.where(deviation > 0, deviation, 1))
        x, y = sides
        return np.concatenate([known, x, y, x * x, y * y, x * y], axis=1).astype(np.float32)

    def __call__(self, rows: npt.NDArray[np.int64]) -> float:
        """The mean correlation over some rows, with repeats; NaN where no group has one."""
        weight = np.bincount(rows, minlength=self._rows).astype(np.float32)
        found = []
        for members, moments in self._groups:
            sums = (weight[members] @ moments).astype(np.float64).reshape(6, self._targets)
            n = np.maximum(sums[0], 1)
            x, y, xx, yy, xy = sums[1:] / n
            variance_x, variance_y = xx - x * x, yy - y * y
            told, varies = variance_y > _CONSTANT, variance_x > _CONSTANT
            scale = np.sqrt(np.where(told & varies, variance_x * variance_y, 1))
            r = np.where(told, (xy - x * y) / scale, 0)
            if varies.any():
                found.append(float(r[varies].mean()))
        return float(np.mean(found)) if found else float("nan")
