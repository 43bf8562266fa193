"""Numbers with intervals: every estimate is bootstrapped over patients.

Profiles of one patient are not independent, so patients, not profiles, are drawn with
replacement (cluster bootstrap; percentile interval).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

RESAMPLES = 1000
LEVEL = 0.95

Statistic = Callable[[npt.NDArray[np.int64]], float]


@dataclass(frozen=True, slots=True)
class Estimate:
    """A number with its 95 % interval."""

    value: float
    low: float
    high: float


def bootstrap(statistic: Statistic, patients: list[str], *, seed: int = 0) -> Estimate:
    """Estimate a statistic of profiles with an interval over patients.

    Parameters
    ----------
    statistic
        Takes row numbers (with repeats) and returns the number.
    patients
        Patient of each row.
    seed
        Of the resampling.
    """
    _, group = np.unique(np.array(patients), return_inverse=True)
    order = np.argsort(group, kind="stable")
    rows_of = np.split(order, np.cumsum(np.bincount(group))[:-1])
    draw = np.random.default_rng(seed)
    samples = []
    for _ in range(RESAMPLES):
        chosen = draw.integers(0, len(rows_of), len(rows_of))
        samples.append(statistic(np.concatenate([rows_of[i] for i in chosen])))
    tail = (1 - LEVEL) / 2
    low, high = np.nanquantile(samples, [tail, 1 - tail])
    value = float(statistic(np.arange(len(patients))))
    return Estimate(value, float(low), float(high))


def accuracy(truth: npt.NDArray[np.str_], guess: npt.NDArray[np.str_]) -> float:
    """Share that is right."""
    return float((truth == guess).mean())


def balanced_accuracy(truth: npt.NDArray[np.str_], guess: npt.NDArray[np.str_]) -> float:
    """Mean over the true types of the share that is right."""
    return float(np.mean([(guess[truth == name] == name).mean() for name in np.unique(truth)]))


def macro_f1(truth: npt.NDArray[np.str_], guess: npt.NDArray[np.str_]) -> float:
    """Mean over the true types of F1, the harmonic mean of precision and recall."""
    scores = []
    for name in np.unique(truth):
        hits = ((truth == name) & (guess == name)).sum()
        scores.append(2 * hits / ((truth == name).sum() + (guess == name).sum()))
    return float(np.mean(scores))


def calibration_error(
    confidence: npt.NDArray[np.float64], right: npt.NDArray[np.bool_], bins: int = 10
) -> float:
    """Expected calibration error of the top probability over equal-width bins.

    Guo et al., On Calibration of Modern Neural Networks, ICML 2017, equation 5.
    """
    bin_of = np.minimum((confidence * bins).astype(int), bins - 1)
    return float(
        sum(
            abs(right[bin_of == b].mean() - confidence[bin_of == b].mean()) * (bin_of == b).mean()
            for b in range(bins)
            if (bin_of == b).any()
        )
    )
