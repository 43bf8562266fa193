r"""Numbers with intervals: every estimate is bootstrapped over patients.

Profiles of one patient are not independent, so patients, not profiles, are drawn with
replacement (cluster bootstrap; percentile interval).

Of a multiclass decision four things are said, all from its confusion matrix C (true type i, named
type j) or from the probabilities behind it:

    accuracy            Σ_i C_ii / Σ_ij C_ij
    balanced accuracy   mean over true types of C_ii / Σ_j C_ij
    macro-F1            mean over true types of 2 C_ii / (Σ_j C_ij + Σ_j C_ji)
    macro AUC           mean over types of the area under the curve of one type against the rest,
                        the share of (type, other) pairs ranked rightly, ties half (Hanley and
                        McNeil, Radiology 143:29-36, 1982)
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

RESAMPLES = 1000
LEVEL = 0.95

IntArray = npt.NDArray[np.int64]
Statistic = Callable[[IntArray], float]


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
        Takes row numbers (with repeats, in no particular order) and returns the number; NaN where
        a draw leaves it undefined, and the interval is that of the other draws.
    patients
        Patient of each row.
    seed
        Of the resampling.
    """
    _, group = np.unique(np.array(patients), return_inverse=True)
    everyone, people = np.arange(len(patients)), int(group.max(initial=-1)) + 1
    draw = np.random.default_rng(seed)
    samples = []
    for _ in range(RESAMPLES):
        times = np.bincount(draw.integers(0, people, people), minlength=people)
        samples.append(statistic(np.repeat(everyone, times[group])))
    defined = np.array(samples)[~np.isnan(samples)]
    tail = (1 - LEVEL) / 2
    low, high = np.quantile(defined, [tail, 1 - tail]) if len(defined) else (np.nan, np.nan)
    return Estimate(float(statistic(everyone)), float(low), float(high))


def bootstrap_mean(values: npt.ArrayLike, patients: list[str], *, seed: int = 0) -> Estimate:
    """`bootstrap` of the mean of one number a profile, all draws at once.

    Parameters
    ----------
    values
        (n,) numbers or truth values, n > 0.
    patients, seed
        As in `bootstrap`, which gives the same interval.
    """
    numbers = np.asarray(values, np.float64)
    _, group = np.unique(np.array(patients), return_inverse=True)
    people = int(group.max()) + 1
    sums, sizes = np.bincount(group, numbers), np.bincount(group).astype(np.float64)
    draw = np.random.default_rng(seed)
    times = np.stack(
        [np.bincount(draw.integers(0, people, people), minlength=people) for _ in range(RESAMPLES)]
    ).astype(np.float64)
    tail = (1 - LEVEL) / 2
    low, high = np.quantile((times @ sums) / (times @ sizes), [tail, 1 - tail])
    return Estimate(float(numbers.mean()), float(low), float(high))


def accuracy(truth: npt.NDArray[np.str_], guess: npt.NDArray[np.str_]) -> float:
    """Share that is right."""
    return float((truth == guess).mean())


def balanced_accuracy(truth: npt.NDArray[np.str_], guess: npt.NDArray[np.str_]) -> float:
    """Mean over the true types of the share that is right."""
    return of_confusion(confusion(truth, guess, np.unique(truth)))["balanced accuracy"]


def macro_f1(truth: npt.NDArray[np.str_], guess: npt.NDArray[np.str_]) -> float:
    """Mean over the true types of F1, the harmonic mean of precision and recall."""
    return of_confusion(confusion(truth, guess, np.unique(truth)))["macro-F1"]


def confusion(
    truth: Sequence[str] | npt.NDArray[np.str_],
    guess: Sequence[str] | npt.NDArray[np.str_],
    types: Sequence[str] | npt.NDArray[np.str_],
) -> IntArray:
    """Count who is named what.

    Parameters
    ----------
    truth, guess
        n names; every true one is among `types`.
    types
        K names.

    Returns
    -------
    (K, K + 1) counts, true type by named type; the last column counts the names not in `types`.
    """
    place = {name: k for k, name in enumerate(types)}
    rows = np.array([place[name] for name in truth], np.int64)
    columns = np.array([place.get(name, len(place)) for name in guess], np.int64)
    return count_pairs(rows, columns, len(place))


def count_pairs(truth: IntArray, guess: IntArray, types: int) -> IntArray:
    """(K, K + 1) counts of pairs of type numbers; a guess of K is none of the types."""
    cells = np.bincount(truth * (types + 1) + guess, minlength=types * (types + 1))
    return cells.reshape(types, types + 1)


def of_confusion(counts: IntArray) -> dict[str, float]:
    """Accuracy, balanced accuracy and macro-F1 of a (K, K + 1) confusion matrix.

    Types that are nobody's true type count only as wrong names, as everywhere here.
    """
    right, true = np.diagonal(counts), counts.sum(axis=1)
    named = counts[:, :-1].sum(axis=0)
    met = true > 0
    return {
        "accuracy": float(right.sum() / true.sum()),
        "balanced accuracy": float((right[met] / true[met]).mean()),
        "macro-F1": float((2 * right[met] / (true[met] + named[met])).mean()),
    }


class MacroAUC:
    """One-vs-rest AUC, the mean over types, of any draw of the same n profiles.

    Sorting is done once; a draw only weighs the profiles, which a thousand draws are glad of.

    Parameters
    ----------
    truth
        (n,) type numbers, each below K.
    scores
        (n, K) probabilities or any scores that rise with the type.
    """

    def __init__(self, truth: IntArray, scores: npt.NDArray[np.float64]) -> None:
        self._order = np.argsort(scores, axis=0, kind="stable")
        ordered = np.take_along_axis(scores, self._order, axis=0)
        self._positive = truth[self._order] == np.arange(scores.shape[1])  # (n, K)
        # Of every place: the first place of its group of ties, and the first after the group.
        self._first = np.stack([np.searchsorted(s, s, side="left") for s in ordered.T], axis=1)
        self._after = np.stack([np.searchsorted(s, s, side="right") for s in ordered.T], axis=1)

    def __call__(self, rows: IntArray) -> float:
        """AUC of a draw of rows, with repeats; NaN if no type has both its own and others."""
        weight = np.bincount(rows, minlength=len(self._order))[self._order].astype(np.float64)
        negative = np.where(self._positive, 0.0, weight)
        positive = weight - negative
        below = np.concatenate([np.zeros((1, negative.shape[1])), negative.cumsum(axis=0)])
        # Others ranked below the group of ties count whole, those within it half.
        beaten = np.take_along_axis(below, self._first, axis=0)
        beaten = (beaten + np.take_along_axis(below, self._after, axis=0)) / 2
        own, others = positive.sum(axis=0), negative.sum(axis=0)
        usable = (own > 0) & (others > 0)
        if not usable.any():
            return float("nan")
        wins = (positive * beaten).sum(axis=0)[usable]
        return float((wins / (own[usable] * others[usable])).mean())


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
