r"""TF-IDF ordering: an unordered expression profile becomes a gene sequence.

A profile is a document and a gene a word. The term frequency of gene g in profile s is its share
of the profile's expression, and the inverse document frequency says how little the gene is spread
evenly over profiles:

    tf(g, s) = x(g, s) / Σ_h x(h, s)            x: linear, length-normalised expression
    p(s | g) = tf(g, s) / Σ_t tf(g, t)          over the training profiles t that measure g
    idf(g)   = 1 + Σ_s p(s | g) ln p(s | g) / ln n(g)

n(g) is the number of those profiles. idf is one minus the normalised entropy of the gene over
profiles (the log-entropy global weight of latent semantic indexing; S. T. Dumais, Behavior
Research Methods, Instruments & Computers 23:229-236, 1991): 0 for a gene that takes the same
share everywhere, 1 for a gene that only one profile expresses. A count of the profiles in which a
gene is present would not do: in bulk tissue nearly every gene is present nearly everywhere.

The sequence lists the measured, expressed genes by falling tf · idf, ties by vocabulary position.
It is a pure function of the profile and of the idf that a release carries. Multiplying a profile
by a constant changes nothing, so counts per million, TPM and FPKM give one sequence, and a gene
that was not measured is not in it.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float32]

#: Quantiles of a rank profile are stored as 0 … 254; this marks a gene that was not measured.
NOT_MEASURED = 255
_HIGHEST_QUANTILE = 254


class InformationWeight:
    """The idf of every gene, summed up block by block.

    Feed it profiles of training patients only, all of them, in blocks of any size.

    Parameters
    ----------
    genes
        V, the size of the vocabulary.
    """

    def __init__(self, genes: int) -> None:
        # With t = Σ tf, Σ p ln p = Σ tf ln tf / t − ln t, so one pass over the profiles suffices.
        self._entropy_sum = np.zeros(genes)
        self._total = np.zeros(genes)
        self._measured = np.zeros(genes, np.int64)

    def add(self, values: FloatArray) -> None:
        """Take in (N, V) linear expression, NaN where not measured."""
        for row in values:
            known = ~np.isnan(row)
            share = np.where(known, row, 0).astype(np.float64)
            share /= share.sum()
            self._total += share
            self._entropy_sum += share * np.log(np.where(share > 0, share, 1))
            self._measured += known

    def result(self) -> FloatArray:
        """(V,) float32 in [0, 1]; 0 for a gene that none expresses or fewer than two measure."""
        usable = (self._total > 0) & (self._measured > 1)
        t = np.where(usable, self._total, 1)
        log_n = np.log(np.where(usable, self._measured, 2))
        weight = 1 + (self._entropy_sum / t - np.log(t)) / log_n
        return np.where(usable, weight, 0).clip(0, 1).astype(np.float32)


def gene_sequence(
    profile: FloatArray, idf: FloatArray, length: int | None = None
) -> npt.NDArray[np.uint16]:
    """Order one profile.

    Parameters
    ----------
    profile
        (V,) linear expression, NaN where not measured.
    idf
        (V,) from `InformationWeight`.
    length
        Keep at most this many genes; all expressed ones by default.

    Returns
    -------
    (≤ length,) uint16 vocabulary positions, the most telling gene first.

    Examples
    --------
    >>> idf = np.array([0.0, 0.1, 0.9, 0.5], np.float32)
    >>> gene_sequence(np.array([900.0, 60.0, 40.0, np.nan], np.float32), idf).tolist()
    [2, 1]
    """
    # A constant factor changes no order, so the shares need not be divided out; float64 keeps
    # products of small numbers apart.
    score = np.nan_to_num(profile.astype(np.float64), nan=0.0) * idf
    order = np.argsort(-score, kind="stable")
    expressed = int(np.count_nonzero(score > 0))
    return order[: expressed if length is None else min(length, expressed)].astype(np.uint16)


def rank_quantiles(profile: FloatArray) -> npt.NDArray[np.uint8]:
    """The profile's ranks in 255 steps: what whole-profile decoding predicts.

    Parameters
    ----------
    profile
        (V,) linear expression, NaN where not measured.

    Returns
    -------
    (V,) uint8: 0 … 254 from the lowest to the highest of the measured genes, ties (silent genes
    above all) at their mean rank; `NOT_MEASURED` where not measured.
    """
    known = np.flatnonzero(~np.isnan(profile))
    _, group, size = np.unique(profile[known], return_inverse=True, return_counts=True)
    mean_rank = np.cumsum(size) - (size + 1) / 2  # 0-based mean rank of each group of ties
    quantile = mean_rank[group] / max(len(known) - 1, 1)
    result = np.full(len(profile), NOT_MEASURED, np.uint8)
    result[known] = np.round(quantile * _HIGHEST_QUANTILE).astype(np.uint8)
    return result


def quantile_values(steps: npt.NDArray[np.uint8]) -> FloatArray:
    """Steps of `rank_quantiles` as numbers from 0 to 1, NaN where not measured.

    Examples
    --------
    >>> quantile_values(np.array([0, 127, 254, 255], np.uint8)).tolist()
    [0.0, 0.5, 1.0, nan]
    """
    values = steps / np.float32(_HIGHEST_QUANTILE)
    return np.where(steps == NOT_MEASURED, np.float32(np.nan), values).astype(np.float32)
