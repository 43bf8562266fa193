"""The tools that look wider than one sample: compare_samples and describe_reference."""

from __future__ import annotations

from typing import Annotated

from mcp.server.mcpserver.tools import Tool
from mcp_types import CallToolResult
from pydantic import Field

from specformer_mcp import analysis, render
from specformer_mcp.analysis.reference import What
from specformer_mcp.results import Comparison, Reference
from specformer_mcp.tools.common import (
    Ctx,
    Cursor,
    DetailArgument,
    Toolbox,
    answer_with,
    count,
    make,
    offset_of,
    watch_of,
)

Handles = list[str] | str


def comparison_tools(box: Toolbox) -> list[Tool]:
    """Return compare_samples and describe_reference."""

    def compare_samples(
        ctx: Ctx,
        a: Annotated[Handles, Field(description="A handle, or the handles of one group")],
        b: Annotated[Handles, Field(description="A handle, or the handles of the other group")],
        collection: Annotated[
            str, Field(description="hallmark, reactome or wikipathways")
        ] = "hallmark",
        top: Annotated[int, count("Gene sets", analysis.LARGEST_TOP)] = 10,
        detail: DetailArgument = "concise",
    ) -> Annotated[CallToolResult, Comparison]:
        """Say what tells two samples, or two groups, apart.

        Distance, reference cohorts that only one is like, pathways that differ: Hedges' g with its
        interval and Mann–Whitney q for groups, a difference in sd of a reference cohort for two
        samples.
        """
        answer = analysis.compare(
            box.engine,
            box.samples(a, ctx),
            box.samples(b, ctx),
            collection=collection,
            top=top,
            watch=watch_of(ctx),
        )
        return answer_with(answer, render.comparison, detail=detail)

    def describe_reference(
        what: Annotated[What, Field(description="What to list")] = "overview",
        query: Annotated[
            str | None, Field(description="Words to find; for gene_sets also a gene symbol")
        ] = None,
        cursor: Cursor = None,
        detail: DetailArgument = "concise",
    ) -> Annotated[CallToolResult, Reference]:
        """List what answers rest on: release and test results, cohorts, cancer types, gene sets.

        Gives the exact names that filters, against and collection take.
        """
        answer = analysis.describe_reference(
            box.engine, what=what, query=query, offset=offset_of(cursor), detail=detail
        )
        return answer_with(answer, render.reference, detail=detail)

    return [
        make(describe_reference, "What the reference holds"),
        make(compare_samples, "Compare samples or groups"),
    ]
