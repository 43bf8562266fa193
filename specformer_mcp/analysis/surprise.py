"""Which genes of a sample the rest of its profile does not explain."""

from __future__ import annotations

from typing import TYPE_CHECKING

from specformer_mcp.analysis.common import check_range, provenance
from specformer_mcp.analysis.pathways import LARGEST_TOP
from specformer_mcp.engine import Engine
from specformer_mcp.results import Gene, UnexpectedGenes

if TYPE_CHECKING:
    from specformer_encoder.surprisal import UnexpectedGene
    from specformer_mcp.samples import Sample

HELP = (
    "|z| above 4 is unusual. Hypotheses: copy number, contamination, a swap and batch look alike."
)


def unexpected_genes(
    engine: Engine, sample: Sample, *, top: int = 10, surprisal: bool = True
) -> UnexpectedGenes:
    """Find the genes that a sample has or lacks against all others of its genes.

    Parameters
    ----------
    top
        Genes of each kind, 1 to 50.
    surprisal
        Whether the network is asked as well, which takes a pass through it.

    Raises
    ------
    SpecformerError
        `top` is out of range.
    """
    check_range("top", top, LARGEST_TOP)
    found = engine.unexpected_genes(sample, top=top, surprisal=surprisal)
    return UnexpectedGenes(
        sample=sample.handle,
        name=sample.name,
        has=[_gene(gene) for gene in found.has],
        lacks=[_gene(gene) for gene in found.lacks],
        measured=found.measured,
        notes=[HELP, *found.notes],
        next="pathway_scores shows whether they share a pathway",
        provenance=provenance(engine),
    )


def _gene(gene: UnexpectedGene) -> Gene:
    return Gene(
        symbol=gene.symbol or gene.ensembl_id,
        ensembl_id=gene.ensembl_id,
        rank=round(gene.rank_percentile),
        expected=round(gene.expected_percentile),
        z=round(gene.z, 1),
        surprisal=None if gene.surprisal is None else round(gene.surprisal, 2),
    )
