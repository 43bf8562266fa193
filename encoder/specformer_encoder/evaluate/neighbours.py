"""Nearest neighbours by cosine among candidates that differ from query to query."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from specformer_encoder.projection import FloatArray, unit_length


def similarities(queries: FloatArray, candidates: FloatArray) -> FloatArray:
    """(n, m) cosines between (n, E) and (m, E) vectors, none of length 0."""
    return unit_length(queries) @ unit_length(candidates).T


def nearest(
    queries: FloatArray,
    candidates: FloatArray,
    *,
    k: int,
    allowed: npt.NDArray[np.bool_] | None = None,
) -> npt.NDArray[np.int64]:
    """The candidates most similar to each query.

    Parameters
    ----------
    queries, candidates
        (n, E) and (m, E), none of length 0.
    k
        How many.
    allowed
        (n, m) which candidates a query may have; all by default.

    Returns
    -------
    (n, k) positions of candidates, the most similar first; -1 where there are no more. Of equally
    similar ones, the first.
    """
    similarity = similarities(queries, candidates)
    if allowed is not None:
        similarity = np.where(allowed, similarity, -np.inf)
    order = np.argsort(-similarity, axis=1, kind="stable")[:, :k]
    found = np.where(np.isneginf(np.take_along_axis(similarity, order, axis=1)), -1, order)
    short = max(k - found.shape[1], 0)
    return np.pad(found, ((0, 0), (0, short)), constant_values=-1).astype(np.int64)


def purity(
    right: npt.NDArray[np.bool_], possible: npt.NDArray[np.int64]
) -> npt.NDArray[np.float64]:
    """Share of each query's neighbours that is right, among as many as could be.

    A label that only three candidates have cannot have ten right neighbours, and is not blamed.

    Parameters
    ----------
    right
        (n, k) whether each neighbour is right, the nearest first.
    possible
        (n,) how many candidates would have been right; where none, the nearest neighbour is asked.

    Returns
    -------
    (n,) shares of the first min(k, possible) neighbours.

    Examples
    --------
    >>> purity(np.array([[True, True, False, False]] * 2), np.array([2, 9])).tolist()
    [1.0, 0.5]
    """
    taken = np.arange(right.shape[1]) < np.maximum(possible, 1)[:, None]
    return np.asarray((right & taken).sum(axis=1) / taken.sum(axis=1))
