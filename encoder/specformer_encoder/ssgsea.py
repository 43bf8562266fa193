r"""Direct single-sample gene set enrichment (ssGSEA): which pathways are high in one sample.

The genes of one profile are ranked by expression. Walking down the ranking, one running sum grows
at each member of the set, in proportion to its rank to the power 1/4; another grows evenly at each
gene outside the set. The score adds up the difference of the two at every step (Barbie et al.,
Nature 2009, 462:108-112, supplementary methods): positive where the members gather at the top.

With :math:`r_g` the ascending rank of gene g among the N measured genes (N = most expressed),
:math:`w_g = r_g^{1/4}`, and a set S with k measured members, the two cumulative sums have a closed
form, because a gene of rank r adds its share to r of the N steps:

.. math::

    N s = \frac{\sum_{g \in S} w_g r_g}{\sum_{g \in S} w_g}
          - \frac{N (N + 1) / 2 - \sum_{g \in S} r_g}{N - k}

Our choices, where implementations differ:

* The mean over the N steps, not the sum. Published scores are N times ours; N differs between
  profiles with different missing genes, and only the mean keeps them on one scale: about -0.5
  (all members at the bottom) to 0.5 (all at the top). A set spread evenly over the ranking scores
  1/18, not 0, because the hits are weighted and the misses are not.
* Genes that were not measured (NaN) are left out of the ranking and of the sets. They are not
  silent genes. So a score is relative to what was measured: on a panel of few genes it is not the
  score of the whole transcriptome.
* Tied genes, chiefly the unexpressed, share the average of their ranks. This is the mean of the
  score over every order of the tied genes, so no accident of the file's row order enters.
* No scaling by the range of the scores over samples, as GSVA offers: a score is a function of its
  profile alone.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from specformer_encoder.gene_sets import GeneSets

#: Weight of the rank in the hits' running sum (Barbie et al. 2009; GenePattern's default).
WEIGHT = 0.25
#: A set with fewer measured genes than this has no score.
MINIMUM_MEMBERS = 5
#: A set of which a smaller share was measured has no score.
MINIMUM_SHARE = 0.5


def ssgsea(values: npt.NDArray[np.floating], gene_sets: GeneSets) -> npt.NDArray[np.float32]:
    """Score every gene set in every profile, each profile for itself.

    Parameters
    ----------
    values
        (S, V) expression over the vocabulary in any unit that is comparable between the genes of
        a sample and monotone (TPM and log2(TPM + 1) give the same scores); NaN = not measured.
    gene_sets
        P sets over the same V genes.

    Returns
    -------
    numpy.ndarray
        (S, P) float32, about -0.5 to 0.5. NaN where fewer than `MINIMUM_MEMBERS` genes or less
        than `MINIMUM_SHARE` of the set were measured, or where no measured gene is outside it.

    Raises
    ------
    ValueError
        `values` is not a matrix of V columns, or holds an infinity.
    """
    if values.ndim != 2 or values.shape[1] != gene_sets.vocabulary_size:
        raise ValueError(
            f"expected (samples, {gene_sets.vocabulary_size}) values; got shape {values.shape}"
        )
    if np.isinf(values).any():
        raise ValueError("values hold an infinity; it has no place in a ranking")
    scores = np.empty((len(values), len(gene_sets)), np.float32)
    for i, profile in enumerate(values):  # one at a time: a batch gives the same bits
        scores[i] = _score_profile(profile, gene_sets)
    return scores


def _score_profile(
    profile: npt.NDArray[np.floating], gene_sets: GeneSets
) -> npt.NDArray[np.float64]:
    """Scores of one (V,) profile, (P,) float64."""
    if not len(gene_sets):
        return np.empty(0)
    ranks = average_ranks(profile)
    measured = ranks > 0
    weights = ranks**WEIGHT

    def sum_over_members(per_gene: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        # Unmeasured members add zero to each sum: they are left out, not counted as silent.
        return np.add.reduceat(per_gene[gene_sets.genes], gene_sets.offsets[:-1])

    n = int(measured.sum())
    k = sum_over_members(measured.astype(np.float64))
    rank_sums = sum_over_members(ranks)
    with np.errstate(invalid="ignore", divide="ignore"):  # 0/0 only where the score is NaN anyway
        hits = sum_over_members(weights * ranks) / sum_over_members(weights)
        misses = (n * (n + 1) / 2 - rank_sums) / (n - k)
        scores = (hits - misses) / n
    enough = (k >= MINIMUM_MEMBERS) & (k >= MINIMUM_SHARE * gene_sets.sizes) & (k < n)
    return np.where(enough, scores, np.nan)


def average_ranks(profile: npt.NDArray[np.floating]) -> npt.NDArray[np.float64]:
    """Ascending ranks 1 to N of the measured genes, ties averaged; 0 where not measured.

    Parameters
    ----------
    profile
        (V,) values, NaN = not measured.

    Returns
    -------
    numpy.ndarray
        (V,) float64.
    """
    measured = np.flatnonzero(~np.isnan(profile))
    _, group, size = np.unique(profile[measured], return_inverse=True, return_counts=True)
    last = np.cumsum(size)  # rank of the last gene of each group of equal values
    ranks = np.zeros(len(profile))
    ranks[measured] = (last - (size - 1) / 2)[group]
    return ranks
