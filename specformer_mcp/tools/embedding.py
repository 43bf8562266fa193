"""embed_sample and forget: what goes into the store of samples, and out of it."""

from __future__ import annotations

import time
from contextlib import nullcontext
from typing import Annotated

from mcp.server.mcpserver.tools import Tool
from mcp_types import CallToolResult, ResourceLink
from pydantic import Field

from specformer_encoder.errors import InputFileError
from specformer_mcp import analysis, render
from specformer_mcp.owner import owner_of
from specformer_mcp.results import Detail, Embedded, Forgotten
from specformer_mcp.tools.common import (
    Ctx,
    Cursor,
    DetailArgument,
    Toolbox,
    answer_with,
    link,
    make,
    offset_of,
    result_of,
    watch_of,
)
from specformer_mcp.tools.reading import ReadFiles, read_file, read_values

BUDGET_S = 25.0
"""Clients cut a tool call at about 60 s; samples left over wait for the next call."""

Values = Annotated[
    dict[str, float] | None,
    Field(description="Instead: gene → value of one sample; thousands are needed"),
]
UnitArgument = Annotated[
    str | None,
    Field(description="Only if detection is known to be wrong: counts, tpm, fpkm, …"),
]
SampleName = Annotated[str | None, Field(description="Name of one sample (column); default all")]


def embedding_tools(box: Toolbox) -> list[Tool]:
    """Return embed_sample, with or without paths, and forget."""
    files = ReadFiles()

    def embed(
        source: str | None,
        values: dict[str, float] | None,
        *,
        ctx: Ctx,
        unit: str | None,
        sample: str | None,
        cursor: str | None,
        detail: Detail,
    ) -> CallToolResult:
        deadline = time.monotonic() + BUDGET_S
        offset = offset_of(cursor)
        watch = watch_of(ctx)
        owner = owner_of(ctx)
        # Clients that fill in every argument send empty ones for those they do not mean.
        source, values, unit, sample = source or None, values or None, unit or None, sample or None
        if (source is None) == (values is None):
            wanted = "path" if box.allow_paths else "gdc"
            raise InputFileError(
                f"embed_sample takes either {wanted} or values; "
                f"{'neither' if source is None else 'both'} came.",
                "Call it again with the path of an expression file."
                if box.allow_paths
                else "This server reads no files of its own machine: send values, or the gdc id "
                "of an open GDC file.",
            )
        if source is not None:
            read = read_file(box, files, source, owner, unit=unit, sample=sample, watch=watch)
        else:
            assert values is not None  # noqa: S101 - exactly one of the two is given
            read = read_values(box, values, unit=unit, sample=sample)
        samples = read.samples
        if offset >= len(samples):
            raise InputFileError(
                f"The cursor {offset} lies behind the last of {len(samples)} samples.",
                "Leave cursor out for the first page.",
            )
        with box.store.arriving() if read.fresh else nullcontext():
            if read.fresh:
                box.store.recall(samples)  # what was embedded before, in another file or start
            box.engine.embed(samples, budget_s=max(0.0, deadline - time.monotonic()), watch=watch)
            if read.fresh:
                box.store.put_many(samples, owner=owner)
        answer = analysis.embedded(box.engine, samples, read.listing, offset=offset, detail=detail)
        links = _links(samples[0].handle) if len(samples) == 1 else []
        return answer_with(answer, render.embedded, detail=detail, links=links)

    def with_paths(
        ctx: Ctx,
        path: Annotated[
            str | None,
            Field(
                description="Expression file the server can read: a matrix (TSV, CSV, Parquet, "
                "Feather, GCT, H5AD, MTX folder; .gz, .zip …), the output of STAR, HTSeq, "
                "featureCounts, RSEM, Salmon or kallisto, or gdc:<uuid> for an open GDC file"
            ),
        ] = None,
        values: Values = None,
        unit: UnitArgument = None,
        sample: SampleName = None,
        cursor: Cursor = None,
        detail: DetailArgument = "concise",
    ) -> Annotated[CallToolResult, Embedded]:
        """Read bulk RNA-seq profiles, embed them, return a handle for each. Start here.

        Genes: Ensembl, Entrez or HGNC symbols, human. Detects the unit. A matrix gives a handle and
        a top type for every sample, by pages, and a summary. The other tools take the handles; the
        numbers never need to pass through you.
        """
        return embed(path, values, ctx=ctx, unit=unit, sample=sample, cursor=cursor, detail=detail)

    def without_paths(
        ctx: Ctx,
        values: Values = None,
        gdc: Annotated[
            str | None, Field(description="gdc:<uuid> of an open expression file of the GDC")
        ] = None,
        unit: UnitArgument = None,
        sample: SampleName = None,
        detail: DetailArgument = "concise",
    ) -> Annotated[CallToolResult, Embedded]:
        """Embed a bulk RNA-seq profile, return a handle for it. Start here.

        Genes: Ensembl, Entrez or HGNC symbols, human. Detects the unit. The other tools take the
        handle.
        """
        if gdc and not gdc.startswith("gdc:"):
            gdc = f"gdc:{gdc}"  # so that nothing but an identifier can be meant
        return embed(gdc, values, ctx=ctx, unit=unit, sample=sample, cursor=None, detail=detail)

    def forget(
        ctx: Ctx,
        sample: Annotated[str, Field(description="Handle, or 'all' for every sample of yours")],
    ) -> Annotated[CallToolResult, Forgotten]:
        """Delete a sample, or all of yours, from the server. Cannot be undone."""
        owner, handle = owner_of(ctx), sample.strip()
        gone = box.store.forget(None if handle == "all" else handle, owner=owner)
        left = len(box.store.summaries(owner=owner))
        answer = Forgotten(forgotten=gone, left=left)
        return result_of(answer, render.forgotten(answer))

    return [
        make(
            with_paths if box.allow_paths else without_paths,
            "Embed expression profiles",
            name="embed_sample",
            open_world=True,  # gdc:<uuid> is fetched
        ),
        make(forget, "Forget samples", destructive=True),
    ]


def _links(handle: str) -> list[ResourceLink]:
    return [
        link(handle, "vector", "Embedding", "application/json"),
        link(handle, "ranks", "Expression and rank of every gene", "text/tab-separated-values"),
    ]
