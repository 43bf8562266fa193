"""Genes that the rest of a profile does not explain: the answer of `surprisal`, without PyTorch."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class UnexpectedGene:
    """A gene that the rest of a profile does not explain.

    Attributes
    ----------
    symbol, ensembl_id
        Its names.
    rank_percentile
        0 to 100 among the measured genes; of a panel, as whole profiles would rank it.
    expected_percentile
        0 to 100, on the same scale, given all the other measured genes.
    z
        The difference in standard deviations, of the profile itself where it misfits; see
        `surprisal`.
    surprisal
        Nats by which the network expects it less, in this context, than it does at that rank in
        no context; None where the gene sequence does not hold the gene or it was not asked for.
    """

    symbol: str
    ensembl_id: str
    rank_percentile: float
    expected_percentile: float
    z: float
    surprisal: float | None


@dataclass(frozen=True, slots=True)
class UnexpectedGenes:
    """What is unexpected in one profile, the least expected first.

    Attributes
    ----------
    has
        Genes that are higher than the others explain.
    lacks
        Genes that are lower than the others call for.
    measured
        Vocabulary genes that the profile measures and the factor model knows.
    notes
        Reasons to read the lists with care, a sentence each.
    """

    has: list[UnexpectedGene]
    lacks: list[UnexpectedGene]
    measured: int
    notes: list[str]
