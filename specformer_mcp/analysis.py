"""From a sample to an answer: the four questions, shared by the server and the command line."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from specformer_encoder.errors import SpecformerError
from specformer_index.errors import ReferenceIndexError
from specformer_index.filters import Filters
from specformer_index.names import study_name
from specformer_mcp import __version__
from specformer_mcp.engine import Engine
from specformer_mcp.results import (
    Cohort,
    Cohorts,
    Embedded,
    EmbeddedSample,
    Genes,
    LeftOut,
    Median,
    Pathway,
    Pathways,
    Prediction,
    Profile,
    Provenance,
    Unit,
)
from specformer_mcp.samples import Sample

if TYPE_CHECKING:
    from specformer_encoder.profiles import ProfileSet
    from specformer_encoder.units import UnitCall
    from specformer_index.results import CohortMatch, CohortPathways

LISTED = 200
"""Samples listed in one answer of embed_sample."""
LARGEST_K = 50
LARGEST_TOP = 50
SMALLEST_COMPARISON = 10
"""Genome-wide profiles that a cohort needs before a z-score against it means something."""
SAME_PROFILE = 0.9999
"""Cosine from which on two profiles are taken to be the same one."""


def provenance(engine: Engine) -> Provenance:
    """Say which release, index and server give the answers."""
    loaded = engine.loaded()
    release = loaded.embedder.release
    return Provenance(
        release=release.id,
        release_sha256=release.sha256,
        index=loaded.index.info.version,
        server=__version__,
    )


def embedded(engine: Engine, samples: Sequence[Sample], profiles: Sequence[ProfileSet]) -> Embedded:
    """Describe samples that were just read; `profiles` are the blocks of the file they are from."""
    left_out = [LeftOut(name=n, reason=why) for p in profiles for n, why in p.left_out.items()]
    unit, genes = samples[0].unit, samples[0].genes
    return Embedded(
        samples=[
            EmbeddedSample(sample=s.handle, name=s.name, genes_measured=s.genes_measured)
            for s in samples[:LISTED]
        ],
        n_samples=len(samples),
        not_listed=max(0, len(samples) - LISTED),
        left_out=left_out[:LISTED],
        notes=list(profiles[0].notes),
        source=samples[0].source,
        unit=unit_of(unit),
        genes=Genes(
            identifiers=genes.kind,
            rows=genes.rows,
            exact=genes.exact,
            renamed=genes.renamed,
            repaired=genes.repaired,
            merged=genes.merged,
            ambiguous=genes.ambiguous,
            unknown=genes.unknown,
            outside_vocabulary=genes.outside_vocabulary,
            measured=genes.measured,
            vocabulary=genes.vocabulary,
            account=genes.sentences(),
        ),
        provenance=provenance(engine),
    )


def unit_of(call: UnitCall) -> Unit:
    """Tell the unit of a file, without the numbers that it was decided on."""
    return Unit(
        name=call.unit,
        scale=call.scale,
        confidence=round(float(call.confidence), 3),
        evidence=list(call.evidence),
        warnings=list(call.warnings),
        overridden=call.overridden,
    )


def nearest_cohorts(
    engine: Engine,
    sample: Sample,
    *,
    k: int = 5,
    profiles: int = 3,
    exclude_patient: str | None = None,
) -> Cohorts:
    """Rank the reference cohorts by their similarity to the sample.

    Raises
    ------
    SpecformerError
        `k` is out of range, or the patient to exclude is not in the index.
    """
    check_range("k", k, LARGEST_K)
    index = engine.loaded().index
    if exclude_patient is not None and not index.knows_patient(exclude_patient):
        raise ReferenceIndexError(
            f"The index has no patient {exclude_patient[:40]!r}.",
            "Leave exclude_patient out, or give a patient as TCGA-05-4384.",
        )
    vector = engine.embedding(sample)
    filters = Filters(exclude_patient=exclude_patient)
    ranking = index.nearest_cohorts(vector, k=k, filters=filters)
    near = index.nearest_profiles(vector, k=profiles, filters=filters)
    notes = []
    if near[0].similarity >= SAME_PROFILE:
        notes.append(
            f"The reference holds this very profile ({near[0].id}). Pass "
            f"exclude_patient={near[0].patient!r} to leave the patient out."
            if near[0].patient
            else f"The reference holds this very profile ({near[0].id})."
        )
    return Cohorts(
        sample=sample.handle,
        name=sample.name,
        cohorts=[_cohort(match) for match in ranking.cohorts],
        too_small=[_cohort(match) for match in ranking.too_small],
        published_medians=[
            Median(cohort=m.cohort, name=m.name, similarity=round(m.similarity, 4))
            for m in ranking.medians
        ],
        nearest_profiles=[
            Profile(
                id=n.id,
                cohort=n.cohort,
                patient=n.patient,
                source=n.source,
                unit=n.unit,
                similarity=round(n.similarity, 4),
            )
            for n in near
        ],
        excluded_patient=exclude_patient,
        notes=notes,
        provenance=provenance(engine),
    )


def predict(engine: Engine, sample: Sample) -> Prediction:
    """Predict the cancer type, with its doubt."""
    from specformer_encoder.heads import COVERAGE

    answer = engine.predict(sample)
    top = next(iter(answer.probabilities))
    return Prediction(
        sample=sample.handle,
        name=sample.name,
        top_type=top,
        top_name=study_name(top),
        probabilities={name: round(float(p), 4) for name, p in answer.probabilities.items()},
        types_from_statistics=engine.loaded().embedder.release.heads.simulated,
        prediction_set=answer.prediction_set,
        coverage=COVERAGE,
        prediction_sets={f"{level:g}": names for level, names in answer.prediction_sets.items()},
        typicality=round(answer.typicality, 4),
        out_of_distribution=bool(answer.out_of_distribution),
        reasons=list(answer.reasons),
        tumor_probability=round(float(answer.tumor_probability), 4),
        genes_measured=sample.genes_measured,
        provenance=provenance(engine),
    )


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
    gene_sets = engine.loaded().gene_sets
    known = sorted(set(gene_sets.collections))
    if collection not in known:
        raise SpecformerError(
            f"There is no gene-set collection {collection[:40]!r}.",
            f"Use one of {', '.join(known)}.",
        )
    stats = _comparison(engine, sample, against)
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
        provenance=provenance(engine),
    )


def check_range(name: str, value: int, largest: int) -> None:
    """Refuse a count outside 1 to `largest`."""
    if not 1 <= value <= largest:
        raise SpecformerError(
            f"{name} must be 1 to {largest}; it is {value}.",
            f"Call again with {name} in that range.",
        )


def _comparison(engine: Engine, sample: Sample, against: str) -> CohortPathways:
    """Return the named cohort, or the nearest one with enough genome-wide profiles."""
    index = engine.loaded().index
    if against != "nearest":
        stats = index.cohort_pathways(against)
        if index.pathway_profiles(against) < SMALLEST_COMPARISON:
            raise ReferenceIndexError(
                f"The cohort {against} has {index.pathway_profiles(against)} genome-wide "
                f"profiles; {SMALLEST_COMPARISON} are needed for a comparison.",
                "Use a larger cohort, or against='nearest'.",
            )
        return stats
    for match in index.nearest_cohorts(engine.embedding(sample), k=1000).cohorts:
        if index.pathway_profiles(match.cohort) >= SMALLEST_COMPARISON:
            return index.cohort_pathways(match.cohort)
    raise ReferenceIndexError(
        f"No cohort of the index has {SMALLEST_COMPARISON} genome-wide profiles.",
        "Use an index that was built from a larger corpus.",
    )


def _cohort(match: CohortMatch) -> Cohort:
    return Cohort(
        cohort=match.cohort,
        name=match.name,
        similarity=round(match.similarity, 4),
        support=match.support,
        n_profiles=match.n_profiles,
        n_patients=match.n_patients,
        n_sources=match.n_sources,
    )
