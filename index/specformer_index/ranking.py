"""How near a query is to a cohort, and how near that is for a cohort of this kind.

Similarity to a cohort is the mean cosine to its nearest patients: one for every `PATIENTS_EACH`
patients of the cohort, at least one and at most `NEAREST_PATIENTS`. A patient is as near as the
nearest of their profiles. The number grows with the cohort because a fixed one does not mean the
same everywhere: five of a thousand patients are the very nearest, five of eight are most of the
cohort, so that a small cohort would be held to its average member and a large one to its best.

A cosine alone does not say whether it is high. It is read against the cohort itself: each member is
compared with the others, its own patient left out, by the same rule; the percentile of a query is
the share of the members that are as far from the others or farther.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from specformer_index.vectors import FloatArray

NEAREST_PATIENTS = 5
PATIENTS_EACH = 20
MOST_MEMBERS = 2000
"""Members of one cohort that are compared with the others; of a larger one, an even choice."""
_BLOCK = 256


def nearest_patients(similarity: FloatArray, people: npt.NDArray[np.intp]) -> FloatArray:
    """(…, P) similarity to each of P patients, the nearest profile counting.

    Parameters
    ----------
    similarity
        (…, n) similarity to n profiles; -inf where a profile does not count.
    people
        (n,) their patients, profiles of one patient side by side.
    """
    starts = np.flatnonzero(np.diff(people, prepend=people[0] - 1))
    return np.asarray(np.maximum.reduceat(similarity, starts, axis=-1))


def to_cohort(best: FloatArray) -> tuple[float, int]:
    """Return similarity to a cohort and its number of patients.

    Parameters
    ----------
    best
        (P,) similarity to each patient; -inf where a patient does not count.

    Returns
    -------
    -inf and 0 where none counts.
    """
    counting = best[best > -np.inf]
    if not counting.size:
        return -math.inf, 0
    rest = counting.size - patients_compared(counting.size)
    return float(np.partition(counting, rest)[rest:].mean()), int(counting.size)


def patients_compared(n_patients: int) -> int:
    """Return how many of a cohort's patients a query is compared with.

    Examples
    --------
    >>> [patients_compared(n) for n in (3, 20, 21, 80, 1000)]
    [1, 1, 2, 4, 5]
    """
    return min(NEAREST_PATIENTS, -(-n_patients // PATIENTS_EACH))


def among_themselves(vectors: FloatArray, people: npt.NDArray[np.intp]) -> FloatArray:
    """Similarity of each member of a cohort to the others, its own patient left out.

    Parameters
    ----------
    vectors
        (n, D) unit vectors of the cohort.
    people
        (n,) their patients, profiles of one patient side by side.

    Returns
    -------
    numpy.ndarray
        (n,) float32, ascending; at most `MOST_MEMBERS`; empty for a cohort of one patient.
    """
    numbers = np.cumsum(np.diff(people, prepend=people[0]) != 0)  # 0 … P-1
    n_patients = int(numbers[-1]) + 1
    if n_patients < 2:
        return np.empty(0, np.float32)
    n = patients_compared(n_patients - 1)
    asked = np.unique(np.linspace(0, len(vectors) - 1, MOST_MEMBERS).astype(int))
    found = []
    for start in range(0, asked.size, _BLOCK):
        rows = asked[start : start + _BLOCK]
        best = nearest_patients(vectors[rows] @ vectors.T, people)  # (block, P)
        best[np.arange(rows.size), numbers[rows]] = -np.inf
        found.append(np.partition(best, n_patients - n, axis=1)[:, n_patients - n :].mean(axis=1))
    return np.sort(np.concatenate(found))


def percentile(similarity: float, members: FloatArray) -> float | None:
    """Return the percentage of `members` (ascending) that are no nearer; None without members."""
    if not members.size:
        return None
    return 100.0 * float(np.searchsorted(members, similarity, side="right")) / members.size
