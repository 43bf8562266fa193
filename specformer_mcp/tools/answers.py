"""The tools that ask one thing of one sample."""

from __future__ import annotations

from typing import Annotated, Literal

from mcp.server.mcpserver.tools import Tool
from mcp_types import CallToolResult
from pydantic import Field

from specformer_mcp import analysis, render
from specformer_mcp.results import Cohorts, Pathways, Prediction, UnexpectedGenes
from specformer_mcp.tools.common import (
    Ctx,
    DetailArgument,
    Handle,
    Toolbox,
    answer_with,
    count,
    link,
    make,
)


def answer_tools(box: Toolbox) -> list[Tool]:
    """Return nearest_cohorts, predict_cancer_type, pathway_scores and unexpected_genes."""

    def nearest_cohorts(
        ctx: Ctx,
        sample: Handle,
        k: Annotated[int, count("Cohorts", analysis.LARGEST_K)] = 5,
        study: Annotated[str | None, Field(description="Only this study, as TCGA-LUAD")] = None,
        tissue: Annotated[str | None, Field(description="Only this tissue, as Lung")] = None,
        sample_type: Annotated[
            Literal["tumor", "normal"] | None, Field(description="Only these")
        ] = None,
        subtype: Annotated[str | None, Field(description="Only this subtype")] = None,
        exclude_patient: Annotated[
            str | None, Field(description="Reference patient to ignore: the sample's own")
        ] = None,
        detail: DetailArgument = "concise",
    ) -> Annotated[CallToolResult, Cohorts]:
        """Rank the TCGA, TARGET and GTEx cohorts that the sample is most like.

        Cosine similarity to a cohort's nearest patients; percentile reads it against the cohort's
        own members; support counts members among the 50 nearest profiles. Says when nothing is
        near.
        """
        filters = analysis.filters_of(
            box.engine,
            study=study,
            tissue=tissue,
            sample_type=sample_type,
            subtype=subtype,
            exclude_patient=exclude_patient,
        )
        answer = analysis.nearest_cohorts(box.engine, box.sample(sample, ctx), k=k, filters=filters)
        return answer_with(answer, render.cohorts, detail=detail)

    def predict_cancer_type(
        ctx: Ctx, sample: Handle, detail: DetailArgument = "concise"
    ) -> Annotated[CallToolResult, Prediction]:
        """Predict which cancer type it is, and how sure that is.

        Calibrated probabilities, a conformal prediction set that holds the true type with the
        stated coverage, and an out-of-distribution flag with its reasons. Research use only.
        """
        answer = analysis.predict(box.engine, box.sample(sample, ctx))
        return answer_with(answer, render.prediction, detail=detail)

    def pathway_scores(
        ctx: Ctx,
        sample: Handle,
        collection: Annotated[
            str, Field(description="hallmark, reactome or wikipathways")
        ] = "hallmark",
        top: Annotated[int, count("Gene sets", analysis.LARGEST_TOP)] = 10,
        against: Annotated[
            str, Field(description="'nearest' or a cohort id, as 'TCGA-LUAD tumor'")
        ] = "nearest",
        detail: DetailArgument = "concise",
    ) -> Annotated[CallToolResult, Pathways]:
        """Find the pathways that stand out against the nearest cohort or a named one.

        Direct ssGSEA scores; z against mean and standard deviation of a cohort of at least 10
        genome-wide profiles.
        """
        one = box.sample(sample, ctx)
        answer = analysis.pathways(box.engine, one, collection=collection, top=top, against=against)
        scores = link(one.handle, "scores", "Score of every set", "text/tab-separated-values")
        return answer_with(answer, render.pathways, detail=detail, links=[scores])

    def unexpected_genes(
        ctx: Ctx,
        sample: Handle,
        top: Annotated[int, count("Genes of each kind", analysis.LARGEST_TOP)] = 10,
        detail: DetailArgument = "concise",
    ) -> Annotated[CallToolResult, UnexpectedGenes]:
        """Find genes that the sample has, or lacks, against what its other genes predict.

        For hypotheses: amplified or lost genes, contamination, an odd lineage.
        """
        answer = analysis.unexpected_genes(
            box.engine, box.sample(sample, ctx), top=top, surprisal=detail == "full"
        )
        return answer_with(answer, render.unexpected_genes, detail=detail)

    return [
        make(nearest_cohorts, "Nearest reference cohorts"),
        make(predict_cancer_type, "Predict cancer type"),
        make(pathway_scores, "Pathways that stand out"),
        make(unexpected_genes, "Unexpected genes"),
    ]
