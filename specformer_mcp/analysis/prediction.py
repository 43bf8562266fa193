"""What cancer a sample is, with its doubt."""

from __future__ import annotations

from typing import TYPE_CHECKING

from specformer_index.names import study_name
from specformer_mcp.analysis.common import provenance
from specformer_mcp.engine import Engine
from specformer_mcp.results import Prediction

if TYPE_CHECKING:
    from specformer_mcp.samples import Sample


def predict(engine: Engine, sample: Sample) -> Prediction:
    """Predict the cancer type, with its doubt."""
    from specformer_encoder.heads import COVERAGE

    answer = engine.predict(sample)
    top = answer.top_type
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
        next="nearest_cohorts shows what it is like instead; unexpected_genes what is odd"
        if answer.out_of_distribution
        else "nearest_cohorts to confirm; pathway_scores for what is switched on",
        provenance=provenance(engine),
    )
