"""What a client does: start the server over stdio, list the tools, embed a profile."""

from __future__ import annotations

import asyncio
import os
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TextIO

from specformer_mcp.doctor.finding import Finding, ok, problem, warning
from specformer_mcp.settings import PREFIX, Settings, is_list, variable_of

_PATIENCE_S = 120.0
_CLIENTS_WAIT_S = 10.0
"""The shortest time that a known client gives a server to answer `initialize`."""
_GENES = 3000


def check_start(settings: Settings) -> list[Finding]:
    """Ask whether the server starts, answers and embeds."""
    with tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as log:
        try:
            return asyncio.run(_talk(settings, log))
        except BaseException as error:  # a task group wraps whatever is raised inside
            if isinstance(error, KeyboardInterrupt):
                raise
            log.seek(0)
            told = [line.strip() for line in log.read().splitlines() if line.strip()]
            return [
                problem(
                    "start",
                    f"the server does not answer a client ({_innermost(error)}); it said: "
                    f"{' / '.join(told[-3:])[-600:] or 'nothing'}",
                    "Mend what the other lines say; then run `specformer serve` by hand.",
                )
            ]


async def _talk(settings: Settings, log: TextIO) -> list[Finding]:
    from mcp import Client
    from mcp.client.stdio import StdioServerParameters, stdio_client

    parameters = StdioServerParameters(
        command=sys.executable,
        args=["-m", "specformer_mcp", "serve"],
        env=environment_of(settings, os.environ),
    )
    values = await asyncio.to_thread(profile)
    began = time.monotonic()
    async with asyncio.timeout(_PATIENCE_S):
        async with Client(stdio_client(parameters, errlog=log)) as client:
            answered = time.monotonic() - began
            tools = (await client.list_tools()).tools
            embedded: Any = await client.call_tool("embed_sample", {"values": values})
            ready = time.monotonic() - began
    if embedded.is_error:
        said = " ".join(block.text for block in embedded.content)[:400]
        return [problem("start", f"the server cannot embed: {said}", "Mend what it says.")]
    said = (
        f"answered a client after {answered:.1f} s with {len(tools)} tools, "
        f"embedded the first profile after {ready:.1f} s"
    )
    if answered > _CLIENTS_WAIT_S:
        return [
            warning(
                "start",
                f"{said}; some clients give up after {_CLIENTS_WAIT_S:.0f} s",
                "Close what keeps the machine busy, or install on a local disk.",
            )
        ]
    return [ok("start", said)]


def environment_of(settings: Settings, environ: Mapping[str, str]) -> dict[str, str]:
    """Return an environment that gives a server over stdio the same settings, but no store."""
    own = {name: value for name, value in environ.items() if not name.startswith(PREFIX)}
    for name in ("allow_dirs", "release", "index", "max_file_bytes", "max_inflated_bytes"):
        value = getattr(settings, name)
        if is_list(name):
            value = os.pathsep.join(str(Path(one).resolve()) for one in value)
        if value:
            own[variable_of(name)] = str(value)
    # Asking must not leave a sample behind.
    return own | {variable_of("store"): "none"}


def profile() -> dict[str, float]:
    """Return a made-up profile: gene → TPM, falling by rank as in any tissue."""
    from specformer_encoder.genes import vocabulary

    genes = vocabulary().symbols[:_GENES]
    return {gene: round(1e6 / (rank + 10), 3) for rank, gene in enumerate(genes) if gene}


def _innermost(error: BaseException) -> str:
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    if isinstance(error, TimeoutError):
        return f"nothing within {_PATIENCE_S:.0f} s"
    return f"{type(error).__name__}: {error}".splitlines()[0][:200]
