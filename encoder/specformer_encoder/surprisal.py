r"""Genes that a sample has and the rest of it does not explain, or lacks and the rest calls for.

Two readings of one question. For hypotheses: an unexpected gene may be a driver, a deletion or an
amplification, cells of another tissue in the sample, a swapped label, or a fault of the pipeline.

* **z**, which orders the lists: the rank of a gene against what the factor model expects of it
  given all the other measured genes (`leave_one_out`),

  .. math:: z_g = \frac{x_g - E[x_g \mid x_{-g}]}
                       {\max(1, m) \sqrt{\mathrm{Var}[x_g \mid x_{-g}] + s^2}}

  s is how well any rank is known; m is the root mean square of these ratios over the profile, so
  that a profile that fits badly everywhere does not look full of discoveries. A gene that varies
  for no reason that other genes show has a large variance by the fit, and is listed only when it
  does more than it usually does. None is left out by name.
* **surprisal**, which is shown beside z: the listed genes of the gene sequence are masked, all at
  once, and the network names them from the rest of the sequence; −ln p(gene | context), less what
  the network says with nothing in sight at all, −ln p(gene | rank). Below zero, the context makes
  the gene likelier than it is at that rank in general.

z orders because it finds more: of genes of another tissue planted in profiles of 80 validation
patients, z has 63 % (95 % interval 55 to 71) among its first ten, the surprisal 14 % (10 to 18), of
those that the sequence holds 69 % (57 to 81) and 52 % (41 to 64), and the two together no more than
z; the patient's own cohort, its label told, 34 % (28 to 41). Measured by
``python benchmarks/unexpected_genes.py --corpus DIR --patients 80``; docs/method.md has the rest.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from specformer_encoder.doubt import PARTIAL
from specformer_encoder.embedder import Embedder
from specformer_encoder.errors import ExpressionValueError
from specformer_encoder.genes import vocabulary
from specformer_encoder.leave_one_out import Expectation, leave_one_out
from specformer_encoder.model import SpecFormer
from specformer_encoder.novelty import p_values
from specformer_encoder.ordering import NOT_MEASURED, gene_sequence, rank_quantiles
from specformer_encoder.unexpected import UnexpectedGene, UnexpectedGenes

FloatArray = npt.NDArray[np.float32]
BoolArray = npt.NDArray[np.bool_]
GeneSequence = npt.NDArray[np.uint16]
IntArray = npt.NDArray[np.int64]

#: s: standard deviation of a rank quantile from one pipeline to the next, at the least.
_RANK_ERROR = 0.03
#: A sample has a gene that lies in the upper half of its genes, and lacks one that is expected
#: there: below, ranks are told by a few reads.
_UPPER = 0.5
#: |z| below which a gene is not listed: of the genes of a validation profile, one in a hundred is.
_LEAST_Z = 3.0
#: With a smaller share of the vocabulary measured, the other genes say less; a note says so.
_FEW = 0.5
#: With fewer genes measured, nothing is listed.
_TOO_FEW = 500
#: A profile whose misfit fewer than this share of validation tumours reach is noted as unlike.
_ODD = 0.01


def unexpected_genes(
    embedder: Embedder, values: FloatArray, *, top: int = 20, surprisal: bool = True
) -> UnexpectedGenes:
    """Find the genes of one profile that its other genes do not explain.

    Parameters
    ----------
    embedder
        Of an opened release.
    values
        (V,) linear expression over the vocabulary, NaN where not measured.
    top
        At most so many genes in each list.
    surprisal
        Whether the network is asked too, which takes most of the time.

    Raises
    ------
    ExpressionValueError
        If the profile is not over the vocabulary.
    ValueError
        If `top` is below 1.
    """
    if values.shape != (embedder.genes,):
        raise ExpressionValueError(
            f"A profile must have {embedder.genes} vocabulary genes; got shape {values.shape}.",
            "Give one profile of `load_profiles`, which puts a file's genes in vocabulary order.",
        )
    if top < 1:
        raise ValueError(f"top must be at least 1; got {top}")
    quantiles = rank_quantiles(values)
    expectation = leave_one_out(embedder.factors, quantiles)
    known = ~np.isnan(expectation.deviation)
    measured = int(np.count_nonzero(known))
    if measured < _TOO_FEW:
        note = f"Only {measured} known genes are measured, too few to tell what to expect of them."
        return UnexpectedGenes([], [], measured, [note])
    z, scale = standardised(expectation)
    has, lacks = _listed(expectation, z, top)
    nats = np.full(len(values), np.nan, np.float32)
    if surprisal:
        sequence = gene_sequence(values, embedder.idf, embedder.config.length)
        shown = np.flatnonzero(np.isin(sequence, np.concatenate([has, lacks])))
        if len(shown):
            measured_genes = quantiles != NOT_MEASURED
            nats[sequence] = excess_surprisal(
                embedder.backend.network, sequence, measured_genes, [shown]
            )

    def describe(genes: IntArray) -> list[UnexpectedGene]:
        return [_describe(gene, expectation, float(z[gene]), float(nats[gene])) for gene in genes]

    notes = _notes(embedder, expectation, measured, scale)
    return UnexpectedGenes(describe(has), describe(lacks), measured, notes)


def standardised(expectation: Expectation) -> tuple[FloatArray, float]:
    """(V,) z of the module, NaN where unknown, and m, the root mean square before division by it.

    m is near 1 for a profile that is as the factor model expects profiles to be.
    """
    error = np.sqrt(expectation.deviation**2 + np.float32(_RANK_ERROR) ** 2)
    ratio = (expectation.values - expectation.expected) / error
    scale = float(np.sqrt(np.nanmean(np.square(ratio, dtype=np.float64))))
    return (ratio / np.float32(max(1.0, scale))).astype(np.float32), scale


def candidates(expectation: Expectation) -> tuple[BoolArray, BoolArray]:
    """(V,) genes that a profile may be said to have, and those it may be said to lack."""
    # Comparisons with NaN are false.
    return expectation.values >= _UPPER, expectation.expected >= _UPPER


def _listed(expectation: Expectation, z: FloatArray, top: int) -> tuple[IntArray, IntArray]:
    may_have, may_lack = candidates(expectation)

    def first(score: FloatArray, among: BoolArray) -> IntArray:
        genes = np.flatnonzero(among & (score >= _LEAST_Z))
        return genes[np.argsort(-score[genes], kind="stable")[:top]]

    return first(z, may_have), first(-z, may_lack)


def _describe(gene: int, expectation: Expectation, z: float, nats: float) -> UnexpectedGene:
    expected = 100 * float(np.clip(expectation.expected[gene], 0, 1))
    return UnexpectedGene(
        symbol=vocabulary().symbols[gene],
        ensembl_id=vocabulary().ensembl_ids[gene],
        rank_percentile=round(100 * float(expectation.values[gene]), 1),
        expected_percentile=round(expected, 1),
        z=round(z, 2),
        surprisal=None if np.isnan(nats) else round(nats, 2),
    )


def _notes(embedder: Embedder, expectation: Expectation, measured: int, scale: float) -> list[str]:
    notes = []
    if measured < _FEW * embedder.genes:
        notes.append(
            f"Only {measured} of {embedder.genes} genes are measured: expectations are vaguer, and "
            "percentiles are those that whole profiles would give."
        )
    misfit = np.array([expectation.misfit], np.float32)
    novelty = embedder.release.heads.novelty
    others = novelty.partial if measured < PARTIAL * embedder.genes else novelty.whole
    if p_values(misfit, others.misfit)[0] < _ODD:
        notes.append(
            f"The profile as a whole does not fit: its genes lie {scale:.1f} times as far from "
            f"what is expected of them as the model allows, which fewer than {_ODD:.0%} of "
            "validation tumours reach. Do not interpret single genes; check species, gene "
            "identifiers and unit first."
        )
    return notes


def excess_surprisal(
    network: SpecFormer,
    sequence: GeneSequence,
    measured: BoolArray,
    groups: Sequence[IntArray],
) -> FloatArray:
    """Surprisal of the genes of a sequence, less what they have at their ranks without context.

    Parameters
    ----------
    network
        The encoder.
    sequence
        (T,) vocabulary positions.
    measured
        (V,) genes that compete.
    groups
        Places of the sequence that are masked together; each group is one pass.

    Returns
    -------
    (T,) nats; NaN at places of no group.
    """
    tokens = torch.from_numpy(sequence.astype(np.int64))
    result = np.full(len(sequence), np.nan, np.float32)
    with torch.inference_mode():
        offset = torch.where(torch.from_numpy(measured), network.gene_bias, float("-inf"))
        vectors = network.output_vectors()

        def surprisal(states: Tensor, places: Tensor) -> Tensor:
            logits = states[places] @ vectors.T + offset  # (M, V)
            named = logits.gather(1, tokens[places][:, None])[:, 0]
            return logits.logsumexp(dim=1) - named

        nothing = network.states(torch.full_like(tokens, network.config.genes)[None])[0]
        for group in groups:
            places = torch.from_numpy(group)
            hidden = tokens.index_fill(0, places, network.config.genes)
            in_context = surprisal(network.states(hidden[None])[0], places)
            result[group] = (in_context - surprisal(nothing, places)).numpy()
    return result
