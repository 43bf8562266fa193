"""Resources: what is too long for an answer, for programs and for whoever asks for it by name.

The card and the cohorts are the same for all; a sample's vector, ranks and scores belong to the
owner of the sample. Tools link to them, so that bulk never enters a model's context unasked.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable
from typing import Any

from mcp.server.mcpserver import MCPServer
from mcp.server.mcpserver.exceptions import ResourceError, ResourceNotFoundError

from specformer_encoder.errors import SpecformerError
from specformer_mcp import analysis
from specformer_mcp.render import clean
from specformer_mcp.samples import Sample
from specformer_mcp.tools.common import Ctx, Toolbox, UnknownHandleError

TSV = "text/tab-separated-values"
PARTS = ("vector", "ranks", "scores")


def register_resources(server: MCPServer[Any], box: Toolbox) -> None:
    """Add the resources and resource templates to a server."""

    @server.resource(
        "specformer://model-card",
        name="model-card",
        title="Model card",
        description="How the release was made, its test results and limits",
        mime_type="text/markdown",
    )
    def model_card() -> str:
        return _told(lambda: _model_card(box))

    @server.resource(
        "specformer://cohorts",
        name="cohorts",
        title="Reference cohorts",
        description="Every cohort of the index with its numbers",
        mime_type=TSV,
    )
    def cohorts() -> str:
        return _told(lambda: _cohorts(box))

    @server.resource(
        "specformer://pathways/{collection}",
        name="pathways",
        title="Gene sets of a collection",
        description="GMT: name, address, symbols of the members",
        mime_type=TSV,
    )
    def pathways(collection: str) -> str:
        return _told(lambda: _pathways(box, collection))

    @server.resource(
        "specformer://samples/{handle}/vector",
        name="vector",
        title="Embedding of a sample",
        description="JSON: the unit vector, with its provenance",
        mime_type="application/json",
    )
    def vector(handle: str, ctx: Ctx) -> str:
        return _told(lambda: _vector(box, box.sample(handle, ctx)))

    @server.resource(
        "specformer://samples/{handle}/ranks",
        name="ranks",
        title="Expression and rank of every measured gene",
        mime_type=TSV,
        description="Linear expression summing to a million; rank 1 is the highest",
    )
    def ranks(handle: str, ctx: Ctx) -> str:
        return _told(lambda: _ranks(box.sample(handle, ctx)))

    @server.resource(
        "specformer://samples/{handle}/scores",
        name="scores",
        title="ssGSEA score of every gene set",
        mime_type=TSV,
        description="Empty where too few genes of the set are measured",
    )
    def scores(handle: str, ctx: Ctx) -> str:
        return _told(lambda: _scores(box, box.sample(handle, ctx)))


def _told(read: Callable[[], str]) -> str:
    """Read a resource; what the caller can mend is told as such."""
    try:
        return read()
    except UnknownHandleError as error:
        raise ResourceNotFoundError(str(error)) from error
    except SpecformerError as error:
        raise ResourceError(str(error)) from error


def _model_card(box: Toolbox) -> str:
    file = box.engine.loaded().embedder.release.path / "MODEL_CARD.md"
    if not file.is_file():
        raise ResourceNotFoundError(
            "This release has no model card. describe_reference() tells what is known of it."
        )
    return file.read_text(encoding="utf-8")


def _cohorts(box: Toolbox) -> str:
    rows = analysis.cohort_rows(box.engine)
    return _table(list(rows[0]), ([_cell(value) for value in row.values()] for row in rows))


def _pathways(box: Toolbox, collection: str) -> str:
    from specformer_encoder.genes import vocabulary

    sets, symbols = box.engine.loaded().gene_sets, vocabulary().symbols
    known = sorted(set(sets.collections))
    if collection not in known:
        raise ResourceNotFoundError(
            f"There is no collection {clean(collection, width=40)!r}. Read one of "
            f"{', '.join(f'specformer://pathways/{name}' for name in known)}."
        )
    lines = []
    for i, name in enumerate(sets.names):
        if sets.collections[i] == collection:
            members = sets.genes[sets.offsets[i] : sets.offsets[i + 1]]
            lines.append("\t".join([name, sets.urls[i], *(symbols[gene] for gene in members)]))
    return "\n".join(lines) + "\n"


def _vector(box: Toolbox, sample: Sample) -> str:
    vector = [float(number) for number in box.engine.embedding(sample)]
    return json.dumps(
        {
            "sample": sample.handle,
            "name": sample.name,
            "dimensions": len(vector),
            "vector": vector,
            "provenance": analysis.provenance(box.engine).model_dump(),
        }
    )


def _ranks(sample: Sample) -> str:
    import numpy as np

    from specformer_encoder.genes import vocabulary

    genes = vocabulary()
    measured = np.flatnonzero(~np.isnan(sample.values))
    order = measured[np.argsort(-sample.values[measured], kind="stable")]
    rows = (
        [str(rank), genes.ensembl_ids[gene], genes.symbols[gene], f"{sample.values[gene]:.6g}"]
        for rank, gene in enumerate(order.tolist(), 1)
    )
    return _table(["rank", "ensembl_id", "symbol", "expression"], rows)


def _scores(box: Toolbox, sample: Sample) -> str:
    sets = box.engine.loaded().gene_sets
    scores = box.engine.pathway_scores(sample).tolist()
    rows = (
        [collection, name, f"{score:.6f}" if math.isfinite(score) else ""]
        for collection, name, score in zip(sets.collections, sets.names, scores, strict=True)
    )
    return _table(["collection", "gene_set", "ssgsea"], rows)


def _table(header: list[str], rows: Iterable[list[str]]) -> str:
    return "\n".join(["\t".join(header), *("\t".join(row) for row in rows)]) + "\n"


def _cell(value: Any) -> str:
    text = "; ".join(map(str, value)) if isinstance(value, list) else str(value)
    return " ".join(text.split())
