"""What stands out in a sample: its gene sets against a cohort of real profiles."""

from __future__ import annotations

from typing import TYPE_CHECKING

from specformer_encoder.errors import SpecformerError
from specformer_index.errors import ReferenceIndexError
from specformer_mcp.analysis.common import check_range, did_you_mean, provenance
from specformer_mcp.engine import Engine
from specformer_mcp.results import Pathway, Pathways

if TYPE_CHECKING:
    from specformer_encoder.profiles import FloatArray
    from specformer_index.results import CohortPathways
    from specformer_mcp.samples import Sample

LARGEST_TOP = 50
SMALLEST_COMPARISON = 10
"""Genome-wide profiles that a cohort needs before a z-score against it means something."""


def pathways(
    engine: Engine,
    sample: Sample,
    *,
    collection: str = "hallmark",
    top: int = 10,
    against: str = "nearest",
) -> Pathways:
    """Find the gene sets whose ssGSEA score stands out against a cohort.

    z = (score - mean of the cohort) / standard deviation of the cohort, over its genome-wide
    profiles. Sets that could not be scored, here or in the cohort, are left out.

    Raises
    ------
    SpecformerError
        The collection or the cohort is unknown, the cohort is too small, or `top` is out of range.
    """
    import numpy as np

    from specformer_encoder.packed import GENOME_WIDE

    check_range("top", top, LARGEST_TOP)
    check_collection(engine, collection)
    gene_sets = engine.loaded().gene_sets
    stats = reference_cohort(engine, engine.embedding(sample), against)
    scores = engine.pathway_scores(sample)
    wanted = [
        i
        for i, name in enumerate(gene_sets.names)
        if gene_sets.collections[i] == collection and name in stats.gene_sets
    ]
    places = [stats.gene_sets[gene_sets.names[i]] for i in wanted]
    mean, sd, n = stats.mean[places], stats.sd[places], stats.n[places]
    enough = (n >= SMALLEST_COMPARISON) & (sd > 0)
    z = np.where(enough, (scores[wanted] - mean) / np.where(enough, sd, 1.0), np.nan)
    usable = np.flatnonzero(np.isfinite(z))
    order = usable[np.argsort(-np.abs(z[usable]), kind="stable")][:top]
    found = [
        Pathway(
            gene_set=gene_sets.names[wanted[i]],
            score=round(float(scores[wanted[i]]), 4),
            z=round(float(z[i]), 2),
            n=int(n[i]),
        )
        for i in order
    ]
    notes = []
    if sample.genes_measured < GENOME_WIDE:
        notes.append(
            f"Only {sample.genes_measured} genes are measured; the cohort's scores come from "
            f"profiles of at least {GENOME_WIDE}, so the z-scores are rough."
        )
    return Pathways(
        sample=sample.handle,
        name=sample.name,
        collection=collection,
        against=stats.cohort,
        against_name=stats.name,
        against_profiles=int(stats.n.max()),
        higher=[pathway for pathway in found if pathway.z > 0],
        lower=[pathway for pathway in found if pathway.z <= 0],
        scored=int(usable.size),
        not_scored=gene_sets.collections.count(collection) - int(usable.size),
        notes=notes,
        next="against a normal cohort shows what is tumour; unexpected_genes for single genes",
        provenance=provenance(engine),
    )


def check_collection(engine: Engine, collection: str) -> None:
    """Refuse a collection of gene sets that there is not."""
    known = sorted(set(engine.loaded().gene_sets.collections))
    if collection not in known:
        raise SpecformerError(
            f"There is no gene-set collection {collection[:40]!r}.",
            f"Use one of {', '.join(known)}.",
        )


def reference_cohort(engine: Engine, vector: FloatArray, against: str) -> CohortPathways:
    """Return the named cohort, or the one nearest to `vector` with enough genome-wide profiles.

    Raises
    ------
    ReferenceIndexError
        There is no such cohort, or it is too small; the text names close ones.
    """
    index = engine.loaded().index
    if against != "nearest":
        known = index.cohorts
        if against not in known:
            by_name = {name: cohort for cohort, name in known.items()}
            raise ReferenceIndexError(
                f"There is no cohort {against[:80]!r}.{did_you_mean(against, [*known, *by_name])}",
                "Use a cohort id as nearest_cohorts or describe_reference(what='cohorts') gives "
                "it, or 'nearest'.",
            )
        if index.pathway_profiles(against) < SMALLEST_COMPARISON:
            raise ReferenceIndexError(
                f"The cohort {against} has {index.pathway_profiles(against)} genome-wide "
                f"profiles; {SMALLEST_COMPARISON} are needed for a comparison.",
                "Use a larger cohort, or against='nearest'.",
            )
        return index.cohort_pathways(against)
    near = index.cohort_similarities(vector)
    for cohort in sorted(near, key=lambda cohort: (-near[cohort], cohort)):
        if index.pathway_profiles(cohort) >= SMALLEST_COMPARISON:
            return index.cohort_pathways(cohort)
    raise ReferenceIndexError(
        f"No cohort of the index has {SMALLEST_COMPARISON} genome-wide profiles.",
        "Use an index that was built from a larger corpus.",
    )
