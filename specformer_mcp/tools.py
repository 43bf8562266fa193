"""The four tools, as a language model sees them.

Every tool returns the same answer twice: compact text for the model to read, and the typed model as
structured content for programs. A failure that the caller can mend is a `ToolError` that says what
to do next; anything else is logged with its traceback and told in one sentence.
"""

from __future__ import annotations

import dataclasses
import inspect
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any

from mcp.server.mcpserver import MCPServer
from mcp.server.mcpserver.exceptions import ToolError
from mcp_types import CallToolResult, TextContent, ToolAnnotations
from pydantic import BaseModel, Field

from specformer_encoder.errors import InputFileError, SpecformerError
from specformer_encoder.sources import Located, is_remote, locate
from specformer_mcp import analysis, render
from specformer_mcp.engine import Engine, samples_of
from specformer_mcp.paths import AllowedFolders
from specformer_mcp.results import Cohorts, Embedded, Pathways, Prediction
from specformer_mcp.samples import SampleStore

if TYPE_CHECKING:
    from specformer_encoder.profiles import ProfileSet

logger = logging.getLogger(__name__)

EMBED_BUDGET_S = 20.0
"""Clients cut a tool call at about 60 s; samples left over are embedded when first used."""
MOST_VALUES = 100_000

Handle = Annotated[str, Field(description="Handle from embed_sample, smp_…")]

READ_ONLY = {
    "read_only_hint": True,
    "destructive_hint": False,
    "idempotent_hint": True,
}


def register_tools(
    server: MCPServer[Any], *, engine: Engine, store: SampleStore, folders: AllowedFolders
) -> None:
    """Add the four tools to a server.

    Parameters
    ----------
    server
        Where to add them.
    engine
        What answers; loaded when it is first needed.
    store
        Where handles live.
    folders
        From where files may be read.
    """

    def tool(
        title: str, *, open_world: bool = False
    ) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
        def add(function: Callable[..., Any]) -> Callable[..., Any]:
            server.add_tool(
                function,
                title=title,
                description=inspect.getdoc(function),
                annotations=ToolAnnotations(title=title, open_world_hint=open_world, **READ_ONLY),
            )
            return function

        return add

    @tool("Embed an expression profile", open_world=True)  # gdc:<uuid> is fetched
    def embed_sample(
        path: Annotated[
            str | None,
            Field(
                description="Expression file the server can read: a matrix (TSV, CSV, Parquet, "
                "Feather, GCT, H5AD, MTX folder; .gz, .zip …), the output of STAR, HTSeq, "
                "featureCounts, RSEM, Salmon or kallisto, or gdc:<uuid> for an open GDC file"
            ),
        ] = None,
        values: Annotated[
            dict[str, float] | None,
            Field(description="Instead of path: gene → value. Prefer path; thousands are needed"),
        ] = None,
        unit: Annotated[
            str | None,
            Field(description="Unit, only if detection is known to be wrong: counts, tpm, fpkm, …"),
        ] = None,
        sample: Annotated[
            str | None, Field(description="Name of one sample (column); default all")
        ] = None,
    ) -> Annotated[CallToolResult, Embedded]:
        """Read bulk RNA-seq profiles, embed them, return a handle for each. Start here.

        Genes: Ensembl, Entrez or HGNC symbols, human. Detects the unit. The other tools take the
        handles; the numbers never need to pass through you.
        """
        with _errors_for_the_model("embed_sample"):
            profiles = _read(path, values, unit, sample)
            samples = [one for block in profiles for one in samples_of(block)]
            store.recall(samples)
            engine.embed(samples, budget_s=EMBED_BUDGET_S)
            store.put_many(samples)
            answer = analysis.embedded(engine, samples, profiles)
            return _answer(render.embedded(answer), answer)

    def _read(
        path: str | None, values: dict[str, float] | None, unit: str | None, sample: str | None
    ) -> list[ProfileSet]:
        if (path is None) == (values is None):
            raise InputFileError(
                f"embed_sample takes either path or values; {'both' if path else 'neither'} came.",
                "Call it again with the path of an expression file.",
            )
        if path is not None:
            located = locate(path) if is_remote(path) else Located(folders.resolve(path))
            raw = engine.open(located.path)
            if sample is None and len(raw.samples) > store.capacity:
                raise InputFileError(
                    f"{raw.source} holds {len(raw.samples)} samples; the server keeps "
                    f"{store.capacity} at a time.",
                    "Name one with sample=NAME, or split the file.",
                )
            raw = dataclasses.replace(raw, notes=(*located.notes, *raw.notes))
            return [located.label(block) for block in engine.resolve(raw, unit=unit, sample=sample)]
        assert values is not None  # noqa: S101 - exactly one of the two is given
        if len(values) > MOST_VALUES:
            raise InputFileError(
                f"{len(values)} inline values came; at most {MOST_VALUES} are taken.",
                "Put them into a file and give its path.",
            )
        return [engine.read_values(values, sample=sample or "sample", unit=unit)]

    @tool("Nearest reference cohorts")
    def nearest_cohorts(
        sample: Handle,
        k: Annotated[
            int,
            Field(
                description="Cohorts to return",
                json_schema_extra={"minimum": 1, "maximum": analysis.LARGEST_K},
            ),
        ] = 5,
        exclude_patient: Annotated[
            str | None,
            Field(description="Reference patient to ignore, as TCGA-05-4384: the sample's own"),
        ] = None,
    ) -> Annotated[CallToolResult, Cohorts]:
        """Rank the TCGA, TARGET and GTEx cohorts that the sample is most like.

        Similarity is the mean cosine to a cohort's 5 nearest patients; support counts members among
        the 50 nearest profiles. Published cohort medians are listed apart.
        """
        with _errors_for_the_model("nearest_cohorts"):
            answer = analysis.nearest_cohorts(
                engine, store.get(sample), k=k, exclude_patient=exclude_patient
            )
            return _answer(render.cohorts(answer), answer)

    @tool("Predict cancer type")
    def predict_cancer_type(sample: Handle) -> Annotated[CallToolResult, Prediction]:
        """Predict which cancer type it is, and how sure that is.

        Calibrated probabilities, a conformal prediction set that holds the true type with the
        stated coverage, and an out-of-distribution flag with its reasons. Research use only.
        """
        with _errors_for_the_model("predict_cancer_type"):
            answer = analysis.predict(engine, store.get(sample))
            return _answer(render.prediction(answer), answer)

    @tool("Pathways that stand out")
    def pathway_scores(
        sample: Handle,
        collection: Annotated[
            str, Field(description="hallmark, reactome or wikipathways")
        ] = "hallmark",
        top: Annotated[
            int,
            Field(
                description="Gene sets to return",
                json_schema_extra={"minimum": 1, "maximum": analysis.LARGEST_TOP},
            ),
        ] = 10,
        against: Annotated[
            str, Field(description="'nearest' or a cohort id, as 'TCGA-LUAD tumor'")
        ] = "nearest",
    ) -> Annotated[CallToolResult, Pathways]:
        """Find the pathways that stand out against the nearest cohort or a named one.

        Direct ssGSEA scores; z against mean and standard deviation of a cohort of at least 10
        genome-wide profiles.
        """
        with _errors_for_the_model("pathway_scores"):
            answer = analysis.pathways(
                engine, store.get(sample), collection=collection, top=top, against=against
            )
            return _answer(render.pathways(answer), answer)


def _answer(text: str, model: BaseModel) -> CallToolResult:
    return CallToolResult(
        content=[TextContent(type="text", text=text)],
        structured_content=model.model_dump(mode="json"),
    )


@contextmanager
def _errors_for_the_model(tool: str) -> Iterator[None]:
    """Turn every failure into text that tells the model what to do."""
    try:
        yield
    except ToolError:
        raise
    except SpecformerError as error:
        raise ToolError(str(error)) from error
    except Exception as error:
        logger.exception("%s failed unexpectedly", tool)
        raise ToolError(
            f"An internal error ({type(error).__name__}) stopped {tool}; its traceback is in the "
            "server's log. Do not repeat the same call; try another file or tell the user."
        ) from error
