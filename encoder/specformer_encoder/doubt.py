r"""How sure is a type? Probabilities that keep their word, and sets that hold the true type.

**Probabilities.** The logits of the classifier are multiplied by one scale before the softmax
(C. Guo et al., ICML 2017). Fewer measured genes may not leave a prediction as sure, so the scale
may fall with the share of the vocabulary that is measured (temperatures that depend on the input:
C. Tomani et al., ECCV 2022):

.. math:: \log s = a + b \log(\text{measured share}), \quad b \ge 0

Thinned views of validation profiles and panels must be among what b is fitted on; on whole profiles
alone it is an accident of a few genes more or less. It comes out as zero where the embedding shows
by itself how little it knows.

**Sets.** The set at level c holds the types whose probability reaches their threshold, which is
chosen so that among validation patients the true type is inside with frequency c (split conformal
prediction with the least ambiguous sets: M. Sadinle, J. Lei, L. Wasserman, JASA 114:223, 2019).

* Every type with enough validation patients has a threshold of its own; the others share one, or
  take that of all types together where they are too few even so
  (class-conditional and clustered conformal prediction: T. Ding et al., NeurIPS 2023). One
  threshold for all would let the sure types pay for colon and rectum, which cannot be told apart.
* **A set may be empty, and then it says: no type is likely enough to be named at this level.**
  Where the best guess is right more often than c, a set that always held the best guess would hold
  the true type too often, and 90 % would not mean 90 %. A set that is emptied at random would mean
  it too (adaptive sets: Y. Romano et al., NeurIPS 2020), but drop sure samples with the others.
  Sets at higher levels contain those at lower levels.
* Patients weigh the same, however many profiles they have. With n patients the threshold is
  interpolated at place (n + 1) c of their ordered scores, which covers c in expectation where the
  usual rounding up covers more.

The promise is to tumours of the known types from patients like the validation patients, measured
like the profiles that the sets were fitted on: fit one for whole profiles and one for panels, with
thinned views and panels in it. A sample that is no known tumour has no true type to cover;
`novelty` is what speaks of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from specformer_encoder.errors import CorpusError

FloatArray = npt.NDArray[np.float32]
DoubleArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

LEVELS = (0.8, 0.9, 0.95)
#: Share of the vocabulary below which a profile is held against panels and thinned views.
PARTIAL = 0.5
#: Validation patients that a type needs for a threshold of its own, at the least.
OWN_PATIENTS = 10
#: Bounds of a and b: a hundredth to a hundred times, and far beyond any b that was seen.
_BOUNDS = ((-4.6, 4.6), (0.0, 4.6))


@dataclass(frozen=True, slots=True)
class Calibration:
    """The scale of the logits.

    Attributes
    ----------
    log_scale
        a, for a profile that measures every gene.
    per_log_share
        b, ≥ 0.
    """

    log_scale: float
    per_log_share: float

    def settings(self) -> dict[str, Any]:
        """The parameters by name, as JSON takes them."""
        return {"log_scale": self.log_scale, "per_log_share": self.per_log_share}

    def probabilities(self, logits: npt.NDArray[Any], share: npt.NDArray[Any]) -> DoubleArray:
        """Calibrated probabilities.

        Parameters
        ----------
        logits
            (S, K).
        share
            (S,) measured share of the vocabulary, above 0 and at most 1.

        Returns
        -------
        (S, K), rows sum to 1.
        """
        scale = np.exp(self.log_scale + self.per_log_share * np.log(share.astype(np.float64)))
        return softmax(logits.astype(np.float64) * scale[:, None])


def fit_calibration(
    logits: npt.NDArray[Any], truth: IntArray, share: npt.NDArray[Any], weights: DoubleArray
) -> Calibration:
    """The scale with the lowest log-loss.

    Parameters
    ----------
    logits
        (N, K) of validation profiles, thinned views among them.
    truth
        (N,) number of the true type.
    share
        (N,) measured share of the vocabulary.
    weights
        (N,); see `patient_weights`.
    """
    from scipy.optimize import minimize  # type: ignore[import-untyped]

    rows = np.arange(len(truth))

    def loss(parameters: DoubleArray) -> float:
        p = Calibration(*parameters).probabilities(logits, share)[rows, truth]
        return float(-(weights * np.log(np.maximum(p, 1e-12))).sum() / weights.sum())

    found = minimize(loss, np.zeros(2), method="L-BFGS-B", bounds=_BOUNDS)
    return Calibration(float(found.x[0]), float(found.x[1]))


@dataclass(frozen=True, slots=True)
class ConformalSets:
    """Thresholds of the sets; L levels, K types.

    Attributes
    ----------
    levels
        L, ascending.
    limits
        (L, K) a type belongs to the set while the others' probability is at most this. Kept rather
        than the type's own, which float32 could not tell from 1.
    patients
        (K,) validation patients behind a type's own threshold; 0 where types share one.
    """

    levels: list[float]
    limits: FloatArray
    patients: list[int]

    def tensors(self) -> dict[str, FloatArray]:
        """The arrays by name, in C order."""
        return {"limits": np.ascontiguousarray(self.limits)}

    def settings(self) -> dict[str, Any]:
        """The other parameters by name, as JSON takes them."""
        return {"levels": self.levels, "patients": self.patients}

    def members(self, probabilities: DoubleArray, level: float) -> npt.NDArray[np.bool_]:
        """(S, K) probabilities → (S, K) whether each type is in the set; an empty set abstains.

        Raises
        ------
        ValueError
            If there are no sets at this level.
        """
        return np.asarray(1 - probabilities <= self.limits[self.levels.index(level)])


def fit_conformal(
    probabilities: DoubleArray,
    truth: IntArray,
    people: Sequence[str],
    *,
    levels: Sequence[float] = LEVELS,
) -> ConformalSets:
    """Thresholds from validation patients.

    Parameters
    ----------
    probabilities
        (N, K) calibrated, of validation tumours of the K types.
    truth
        (N,) number of the true type.
    people
        N patients.
    levels
        Of coverage, ascending, between 0 and 1.

    Raises
    ------
    CorpusError
        If there is no validation tumour.
    """
    if not len(truth):
        raise CorpusError(
            "Prediction sets are set on validation tumours, and there is none.",
            "Label some tumours of the known types `valid` in samples.tsv.",
        )
    K = probabilities.shape[1]
    score = 1 - probabilities[np.arange(len(truth)), truth]
    weights = patient_weights(people, truth)
    patients = np.bincount(truth, weights, minlength=K).round().astype(int)
    limits = np.empty((len(levels), K))
    for level, row in zip(levels, limits, strict=True):
        own = patients >= max(OWN_PATIENTS, _least(level))
        shared = ~own[truth]
        if weights[shared].sum() < _least(level):
            shared[:] = True  # too few to show the level: what holds for all types will do
        row[:] = _quantile(score[shared], weights[shared], level)
        for k in np.flatnonzero(own):
            row[k] = _quantile(score[truth == k], weights[truth == k], level)
    # A type may have a limit of its own at one level and share one at the next; a set at a higher
    # level holds those at lower levels all the same.
    limits = np.maximum.accumulate(limits, axis=0)
    behind = np.where(patients >= OWN_PATIENTS, patients, 0)
    return ConformalSets(list(levels), limits.astype(np.float32), behind.tolist())


def _least(level: float) -> int:
    """Patients with which the place (n + 1) c lies among the n scores."""
    return int(np.ceil(round(level / (1 - level), 6)))


def _quantile(score: DoubleArray, weights: DoubleArray, level: float) -> float:
    """The weighted score at place (n + 1) · level, n the sum of the weights; 1 beyond the last.

    With weights of 1 this is ``numpy.quantile(score, level, method="weibull")``.
    """
    order = np.argsort(score, kind="stable")
    place = np.cumsum(weights[order])
    at = (weights.sum() + 1) * level
    if not len(score) or at > place[-1] + 1e-9:
        return 1.0
    return float(np.interp(at, place, score[order]))


def patient_weights(people: Sequence[str], truth: IntArray) -> DoubleArray:
    """(N,) one over the number of profiles that the patient has of the same type.

    Examples
    --------
    >>> patient_weights(["p", "p", "q"], np.array([0, 0, 0])).tolist()
    [0.5, 0.5, 1.0]
    """
    names = np.array([f"{number} {person}" for number, person in zip(truth, people, strict=True)])
    _, group, size = np.unique(names, return_inverse=True, return_counts=True)
    return np.asarray(1 / size[group])


def softmax(logits: DoubleArray) -> DoubleArray:
    """Row-wise softmax."""
    shifted = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray(shifted / shifted.sum(axis=1, keepdims=True))
