"""What became of a file: its samples with their handles, unit, genes, a summary of all of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from specformer_mcp.analysis.common import provenance
from specformer_mcp.engine import Engine
from specformer_mcp.results import (
    EVEN,
    Detail,
    Embedded,
    EmbeddedSample,
    Genes,
    LeftOut,
    Summary,
    Unit,
)

if TYPE_CHECKING:
    from specformer_encoder.heads import TypePrediction
    from specformer_encoder.profiles import ProfileSet
    from specformer_encoder.units import UnitCall
    from specformer_mcp.samples import Sample

PAGE = {"concise": 10, "full": 80}
"""Samples listed in one answer of embed_sample."""
LEFT_OUT_SHOWN = {"concise": 3, "full": 50}


@dataclass(frozen=True, slots=True)
class Listing:
    """What was read of one file.

    Attributes
    ----------
    handles
        Of its samples, in file order.
    left_out
        Samples that cannot be ordered → why.
    predictions
        Handle → what its top type is, of the samples that are embedded by now.
    """

    handles: tuple[str, ...]
    left_out: dict[str, str]
    notes: tuple[str, ...]
    predictions: dict[str, TypePrediction] = field(default_factory=dict)

    @classmethod
    def of(cls, samples: Sequence[Sample], blocks: Sequence[ProfileSet]) -> Listing:
        """List the samples of a file that was read by blocks."""
        return cls(
            handles=tuple(sample.handle for sample in samples),
            left_out={n: why for block in blocks for n, why in block.left_out.items()},
            notes=tuple(dict.fromkeys(note for block in blocks for note in block.notes)),
        )


def embedded(
    engine: Engine, samples: Sequence[Sample], listing: Listing, *, offset: int, detail: Detail
) -> Embedded:
    """Describe the samples of a file, a page of them one by one.

    Parameters
    ----------
    samples
        All samples of the listing, in its order; those without an embedding are told as waiting.
    offset
        The first sample of the page.
    """
    release = engine.loaded().embedder.release.sha256
    told = listing.predictions
    fresh = [s for s in samples if s.is_embedded_by(release) and s.handle not in told]
    for sample, prediction in zip(fresh, engine.predictions(fresh), strict=True):
        told[sample.handle] = prediction
    page = samples[offset : offset + PAGE[detail]]
    end = offset + len(page)
    waiting = sum(handle not in listing.predictions for handle in listing.handles)
    notes = [*listing.notes]
    shown = dict(list(listing.left_out.items())[: LEFT_OUT_SHOWN[detail]])
    if len(shown) < len(listing.left_out):
        notes.append(f"{len(listing.left_out)} samples are left out; {len(shown)} are listed.")
    if waiting:
        notes.append(
            f"{waiting} of {len(samples)} samples are not embedded yet: time was up. Call again "
            "with the same arguments to go on; each is also embedded when it is first used."
        )
    return Embedded(
        samples=[_sample(one, listing.predictions.get(one.handle)) for one in page],
        n_samples=len(samples),
        next_cursor=str(end) if end < len(samples) else None,
        summary=_summary([p for h in listing.handles if (p := listing.predictions.get(h))]),
        left_out=[LeftOut(name=name, reason=why) for name, why in shown.items()],
        notes=notes,
        source=samples[0].source,
        unit=unit_of(samples[0].unit),
        genes=genes_of(samples[0]),
        next=_next(len(samples), waiting=waiting, more=end < len(samples)),
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


def genes_of(sample: Sample) -> Genes:
    """Tell what became of the gene identifiers of a sample's file."""
    genes = sample.genes
    return Genes(
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
    )


def _sample(sample: Sample, prediction: TypePrediction | None) -> EmbeddedSample:
    if prediction is None:
        return EmbeddedSample(
            sample=sample.handle, name=sample.name, genes_measured=sample.genes_measured
        )
    return EmbeddedSample(
        sample=sample.handle,
        name=sample.name,
        genes_measured=sample.genes_measured,
        top_type=prediction.top_type,
        probability=round(float(prediction.probabilities[prediction.top_type]), 3),
        out_of_distribution=bool(prediction.out_of_distribution),
        tumor_probability=round(float(prediction.tumor_probability), 3),
    )


def _summary(predictions: Sequence[TypePrediction]) -> Summary:
    counts: dict[str, int] = {}
    for prediction in predictions:
        counts[prediction.top_type] = counts.get(prediction.top_type, 0) + 1
    return Summary(
        embedded=len(predictions),
        top_types=dict(sorted(counts.items(), key=lambda item: (-item[1], item[0]))),
        out_of_distribution=sum(bool(p.out_of_distribution) for p in predictions),
        likely_normal=sum(p.tumor_probability < EVEN for p in predictions),
    )


def _next(n: int, *, waiting: int, more: bool) -> str:
    if waiting:
        return "embed_sample again with the same arguments, until all are embedded"
    if more:
        return "embed_sample with cursor=next_cursor lists more; detail=full lists 80 at a time"
    if n > 1:
        return "compare_samples on groups of handles; predict_cancer_type on odd ones"
    return "nearest_cohorts, predict_cancer_type or pathway_scores on the handle"
