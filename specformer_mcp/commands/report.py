"""`specformer report`: one expression file through the server, as a language model would use it.

The server runs as a subprocess over stdio and is asked by the official MCP client, so the report
shows the very answers that a model gets, and a broken server cannot go unnoticed.
"""

from __future__ import annotations

import argparse
import os
import re
import sys
from pathlib import Path
from typing import Any

from specformer_encoder.errors import InputFileError, SpecformerError
from specformer_encoder.sources import is_remote
from specformer_mcp import render
from specformer_mcp.commands.common import add_common_arguments
from specformer_mcp.results import Answer, Cohorts, Embedded, Pathways, Prediction

MOST_SAMPLES = 5
_ANSWERS: dict[str, type[Answer]] = {
    "embed_sample": Embedded,
    "nearest_cohorts": Cohorts,
    "predict_cancer_type": Prediction,
    "pathway_scores": Pathways,
}
_TCGA_PATIENT = re.compile(r"^(TCGA-\w{2}-\w{4})(?:\b|-)")


class ToolFailedError(SpecformerError):
    """A tool of the server answered with an error."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("file", metavar="FILE", help="expression file or folder, or gdc:<uuid>")
    add_common_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Print the report."""
    import asyncio

    if not is_remote(args.file):
        path = Path(args.file).expanduser()
        if not path.exists():
            raise InputFileError(f"There is no file {path}.", "Check the spelling.")
        args.file = str(path.resolve())
    try:
        return asyncio.run(_report(args))
    except BaseExceptionGroup as group:
        # The client runs in a task group, which wraps whatever is raised inside.
        expected = _first_expected(group)
        if expected is None:
            raise
        raise expected from None


def _first_expected(group: BaseExceptionGroup[BaseException]) -> SpecformerError | None:
    for error in group.exceptions:
        found = _first_expected(error) if isinstance(error, BaseExceptionGroup) else error
        if isinstance(found, SpecformerError):
            return found
    return None


async def _report(args: argparse.Namespace) -> int:
    from mcp import Client
    from mcp.client.stdio import StdioServerParameters

    # The samples of a report are asked for once.
    command = ["-m", "specformer_mcp", "serve", "--store", "none"]
    if not is_remote(args.file):
        command += ["--allow-dir", str(Path(args.file).parent)]
    for option in ("release", "index"):
        if getattr(args, option) is not None:
            command += [f"--{option}", str(getattr(args, option).resolve())]
    server = StdioServerParameters(command=sys.executable, args=command, env=dict(os.environ))
    async with Client(server) as client:
        arguments: dict[str, Any] = {"path": args.file, "detail": "full"}
        arguments |= {name: value for name in ("unit", "sample") if (value := getattr(args, name))}
        embedded = await _call(client, "embed_sample", arguments)
        shown = embedded["samples"][:MOST_SAMPLES]
        for one in shown:
            print(await _one(client, embedded, one))
        if embedded["n_samples"] > len(shown):
            more = embedded["n_samples"] - len(shown)
            print(f"{more} further samples in the file; choose one with --sample NAME.")
        source = embedded["provenance"]
        print(
            f"Provenance: release {source['release']} (sha256 {source['release_sha256']}), "
            f"index {source['index']}, server {source['server']}, "
            f"MCP {client.protocol_version} over stdio"
        )
    return 0


async def _one(client: Any, embedded: dict[str, Any], one: dict[str, Any]) -> str:
    handle = {"sample": one["sample"], "detail": "full"}
    prediction = await _call(client, "predict_cancer_type", handle)
    cohorts = await _cohorts(client, handle, one["name"])
    pathways = await _call(client, "pathway_scores", handle)
    unit, genes = embedded["unit"], embedded["genes"]
    rule = "─" * 78
    lines = [
        rule,
        f"{one['name']}   ({embedded['source']}, handle {one['sample']})",
        rule,
        "Input",
        f"  unit               {unit['name']}, {unit['scale']} "
        + ("(stated)" if unit["overridden"] else f"(confidence {unit['confidence']:.2f})"),
        *(f"                     {why}" for why in unit["evidence"][:3]),
        *(f"  genes              {line}" for line in genes["account"][:1]),
        *(f"                     {line}" for line in genes["account"][1:]),
        *(f"  note               {line}" for line in embedded["notes"]),
        "",
        "Cancer type (calibrated)",
    ]
    for name, probability in list(prediction["probabilities"].items())[:5]:
        lines.append(f"  {name:<18} {probability:6.1%}  {'█' * round(30 * probability)}")
    flag = "YES" if prediction["out_of_distribution"] else "no"
    lines += [
        f"  prediction set     {render.prediction_set(prediction['prediction_sets'])} "
        f"({prediction['coverage']:.0%} coverage)",
        f"  tumour probability {prediction['tumor_probability']:.1%}",
        f"  typicality         {prediction['typicality']:.3f}",
        f"  out of distribution {flag}"
        + (f": {'; '.join(prediction['reasons'])}" if prediction["reasons"] else ""),
        "",
        "Nearest cohorts"
        + (
            f" (patient {cohorts['excluded_patient']} left out)"
            if cohorts["excluded_patient"]
            else ""
        ),
    ]
    lines += [
        f"  {match['cohort']:<22} similarity {match['similarity']:.3f}  support "
        f"{match['support']:>2}/50  n = {match['n_profiles']} profiles of "
        f"{match['n_patients']} patients   {match['name']}"
        for match in cohorts["cohorts"]
    ]
    medians = "; ".join(
        f"{median['name']} {median['similarity']:.3f}" for median in cohorts["published_medians"]
    )
    lines += [
        f"  published medians, no real profiles: {medians or 'none in this index'}",
        *(f"  {note}" for note in cohorts["notes"]),
        "",
        f"Pathways that stand out against {pathways['against']} "
        f"({pathways['against_profiles']} profiles; {pathways['collection']}, z of ssGSEA)",
    ]
    for pathway in pathways["higher"] + pathways["lower"]:
        lines.append(f"  {pathway['z']:+6.2f}  {pathway['gene_set']}")
    lines += [*(f"  {note}" for note in pathways["notes"]), ""]
    return "\n".join(lines)


async def _cohorts(client: Any, handle: dict[str, str], name: str) -> dict[str, Any]:
    """Ask for cohorts, leaving a TCGA patient's own reference profiles out."""
    patient = _TCGA_PATIENT.match(name)
    if patient:
        arguments = handle | {"exclude_patient": patient[1]}
        result = await client.call_tool("nearest_cohorts", arguments)
        if not result.is_error:
            return _whole("nearest_cohorts", result.structured_content)
    return await _call(client, "nearest_cohorts", handle)


async def _call(client: Any, tool: str, arguments: dict[str, Any]) -> dict[str, Any]:
    result = await client.call_tool(tool, arguments)
    if result.is_error:
        text = " ".join(block.text for block in result.content if block.type == "text")
        raise ToolFailedError(f"{text.removeprefix(f'Error executing tool {tool}: ')}", "")
    return _whole(tool, result.structured_content)


def _whole(tool: str, content: dict[str, Any]) -> dict[str, Any]:
    """Return structured content with what is left out because it has its default."""
    return _ANSWERS[tool].model_validate(content).model_dump(mode="json")
