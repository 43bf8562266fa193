"""What the release knows of what it does not know.

Four questions on test profiles, each answered by plain numbers for a page with plots, with
intervals over patients: are the probabilities as often right as they say; how often is it right on
the share of samples it is surest of; do the prediction sets hold the true type as often as they
promise, over all and in every type; and is what is no tumour of a known type told from what is?

The arrays are what `doubt`, `novelty` and `novelty_fit` work on, so that the questions can be put
to any classifier that gives probabilities.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.stats import rankdata  # type: ignore[import-untyped]

from specformer_encoder.doubt import ConformalSets
from specformer_encoder.evaluate.metrics import Estimate, bootstrap, calibration_error
from specformer_encoder.novelty import LEVEL, QUESTIONS, DoubleArray, Evidence, Novelty, Oddness
from specformer_encoder.novelty_fit import LabelledEvidence

BoolArray = npt.NDArray[np.bool_]
IntArray = npt.NDArray[np.int64]

BINS = 10
#: Shares of the samples, surest first, at which accuracy is reported.
KEPT = (1.0, 0.95, 0.9, 0.8, 0.7, 0.6, 0.5)


def calibration(
    probabilities: DoubleArray, truth: IntArray, people: Sequence[str]
) -> dict[str, Any]:
    """Whether probabilities are as often right as they say.

    Parameters
    ----------
    probabilities
        (S, K).
    truth
        (S,) number of the true type.
    people
        S patients.

    Returns
    -------
    `expected calibration error`, `accuracy` and `mean confidence` (estimates), and `bins`: for
    every tenth of the confidence that occurs its `low` and `high` end, mean `confidence`, share
    `right` and number of `profiles`.
    """
    confidence, right = probabilities.max(axis=1), probabilities.argmax(axis=1) == truth
    everyone = list(people)
    number = np.minimum((confidence * BINS).astype(int), BINS - 1)
    bins = [
        {
            "low": b / BINS,
            "high": (b + 1) / BINS,
            "confidence": float(confidence[number == b].mean()),
            "right": float(right[number == b].mean()),
            "profiles": int((number == b).sum()),
        }
        for b in np.unique(number).tolist()
    ]
    return {
        "expected calibration error": bootstrap(
            lambda r: calibration_error(confidence[r], right[r], BINS), everyone
        ),
        "accuracy": bootstrap(lambda r: right[r].mean(), everyone),
        "mean confidence": bootstrap(lambda r: confidence[r].mean(), everyone),
        "bins": bins,
    }


def accuracy_by_share(
    confidence: DoubleArray, right: BoolArray, people: Sequence[str]
) -> list[dict[str, Any]]:
    """Accuracy on the surest part of the samples, as the part shrinks.

    Parameters
    ----------
    confidence
        (S,) what samples are ordered by, surest highest.
    right
        (S,) whether the top type is the true one.
    people
        S patients.

    Returns
    -------
    A point for every share of `KEPT`: `kept` and `accuracy` (an estimate). Within a resample the
    surest are chosen anew.
    """

    def on(share: float) -> Callable[[IntArray], float]:
        def accuracy(rows: IntArray) -> float:
            count = max(1, round(share * len(rows)))
            surest = np.argsort(-confidence[rows], kind="stable")[:count]
            return float(right[rows][surest].mean())

        return accuracy

    return [{"kept": share, "accuracy": bootstrap(on(share), list(people))} for share in KEPT]


def coverage(
    sets: ConformalSets,
    probabilities: DoubleArray,
    truth: IntArray,
    people: Sequence[str],
    *,
    types: Sequence[str],
) -> dict[str, dict[str, Any]]:
    """What the prediction sets hold.

    Returns
    -------
    Level, as in "0.9" → `coverage`, mean `types in the set`, share `empty` and share `single`
    (estimates), `accuracy where not empty` (does a set that names something hold the true type),
    and `by type`: type → `coverage` (an estimate) and `profiles`.
    """
    everyone = np.array(people)
    results = {}
    for level in sets.levels:
        members = sets.members(probabilities, level)
        inside, size = members[np.arange(len(truth)), truth], members.sum(axis=1)
        by_type = {}
        for k in np.unique(truth):
            rows = truth == k
            by_type[types[k]] = {
                "coverage": _mean(inside[rows], everyone[rows]),
                "profiles": int(rows.sum()),
            }
        named = size > 0
        results[str(level)] = {
            "coverage": _mean(inside, everyone),
            "types in the set": _mean(size, everyone),
            "empty": _mean(size == 0, everyone),
            "single": _mean(size == 1, everyone),
            "accuracy where not empty": _mean(inside[named], everyone[named]),
            "by type": by_type,
        }
    return results


def _mean(values: npt.NDArray[Any], people: npt.NDArray[np.str_]) -> Estimate | None:
    """The mean with its interval; None of nothing."""
    return bootstrap(lambda r: values[r].mean(), people.tolist()) if len(values) else None


@dataclass(frozen=True, slots=True)
class Kind:
    """Profiles that are no tumours of known types, or poorly measured ones.

    Attributes
    ----------
    evidence
        S profiles.
    people
        S patients.
    """

    evidence: Evidence
    people: list[str]


def novelty_by_kind(novelty: Novelty, known: Kind, others: Mapping[str, Kind]) -> dict[str, Any]:
    """How well each kind of profile is told from known tumours, and what is flagged.

    Parameters
    ----------
    novelty
        Fitted without the profiles judged here.
    known
        Test tumours of the known types.
    others
        Kind → profiles; kinds without any are left out. For poorly measured tumours of known types
        an area near 0.5 and few flags are good.

    Returns
    -------
    `known` → `flagged` and `profiles`; `kinds` → kind → `auroc`, `flagged` (estimates), `profiles`
    and `flagged by question`.
    """
    usual = novelty.judge(known.evidence)
    return {
        "known": _flags(usual, known.people),
        "kinds": {
            name: _against(usual, known.people, novelty.judge(kind.evidence), kind.people)
            for name, kind in others.items()
            if len(kind.people)
        },
    }


def held_out_types(
    fit: Callable[[list[str]], tuple[Novelty, Callable[[IntArray], Evidence]]],
    test: LabelledEvidence,
    *,
    types: list[str],
    together: Sequence[Sequence[str]] = (("TCGA-COAD", "TCGA-READ"),),
) -> dict[str, Any]:
    """Each known type in turn as one that was never seen.

    Parameters
    ----------
    fit
        Takes the types left to know and returns the novelty fitted on them, no tumour of the
        other types having had a part in anything that is fitted, and a function from numbers of
        test profiles to the evidence that the embedding of that fit gives of them.
    test
        Test profiles with their labels.
    types
        The types to hold out.
    together
        Types that are one disease to the transcriptome: held out together.

    Returns
    -------
    Type → as in `novelty_by_kind`.
    """
    studies = np.array(test.studies)
    results = {}
    for name in types:
        out = next((list(group) for group in together if name in group), [name])
        left = [other for other in types if other not in out]
        held = np.flatnonzero(test.tumor & (studies == name))
        known = np.flatnonzero(test.tumor & np.isin(studies, left))
        if not len(held) or not len(known):
            continue
        novelty, evidence = fit(left)
        usual, odd = novelty.judge(evidence(known)), novelty.judge(evidence(held))
        people = [[test.people[i] for i in rows] for rows in (known, held)]
        results[name] = _against(usual, people[0], odd, people[1])
    return results


def _against(
    usual: Oddness, usual_people: list[str], odd: Oddness, odd_people: list[str]
) -> dict[str, Any]:
    oddness = -np.concatenate([usual.typicality, odd.typicality])
    is_odd = np.arange(len(oddness)) >= len(usual.typicality)
    people = [*usual_people, *odd_people]
    area = bootstrap(lambda r: auroc(oddness[r], is_odd[r]), people)
    return {"auroc": area, **_flags(odd, odd_people)}


def _flags(oddness: Oddness, people: list[str]) -> dict[str, Any]:
    flagged = oddness.flagged()
    return {
        "profiles": len(people),
        "flagged": bootstrap(lambda r: flagged[r].mean(), people),
        "flagged by question": {
            name: float((oddness.typical[:, j] <= LEVEL).mean()) for j, name in enumerate(QUESTIONS)
        },
    }


def auroc(scores: DoubleArray, positive: BoolArray) -> float:
    """Area under the ROC curve from the Mann-Whitney statistic, ties counting half.

    NaN where only one class is there.
    J. A. Hanley and B. J. McNeil, Radiology 143:29, 1982.
    """
    n, m = int(positive.sum()), int((~positive).sum())
    if not n or not m:
        return float("nan")
    ranks = rankdata(scores)[positive].sum()
    return float((ranks - n * (n + 1) / 2) / (n * m))
