"""What the server tests share: one engine over the bundled release, and the real MCP client."""

import asyncio
import functools
import gzip
import os
import socket
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import httpx
from mcp import Client

from specformer_mcp.engine import Engine
from specformer_mcp.paths import AllowedFolders
from specformer_mcp.samples import SampleStore
from specformer_mcp.server import create_server

ROOT = Path(__file__).resolve().parents[1]
TUMOR = ROOT / "examples" / "luad_tumor.tsv.gz"
NORMAL = ROOT / "examples" / "luad_normal.tsv.gz"
COADREAD = ROOT / "examples" / "coadread_tumors.csv.gz"
MODES = {"legacy": "2025-11-25", "auto": "2026-07-28"}
INITIALIZE = {
    "jsonrpc": "2.0",
    "id": 1,
    "method": "initialize",
    "params": {
        "protocolVersion": "2025-11-25",
        "capabilities": {},
        "clientInfo": {"name": "test", "version": "0"},
    },
}


@functools.cache
def engine():
    """Load the bundled release and index once for all tests of a process."""
    return Engine()


def server_for(folder, *, store=None, engine_=None, allow_paths=True):
    folders = AllowedFolders((Path(folder).resolve(), ROOT / "examples"), Path(folder).resolve())
    return create_server(
        engine=engine_ or engine(),
        folders=folders,
        store=SampleStore() if store is None else store,
        allow_paths=allow_paths,
    )


def talk(server, conversation, *, mode="auto"):
    """Run `await conversation(client)` against a server, in memory or not."""

    async def run():
        async with Client(server, mode=mode, read_timeout_seconds=120) as client:
            return await conversation(client)

    return asyncio.run(run())


def text_of(result):
    """Return what a model reads of a tool's result; links have no text."""
    return "\n".join(block.text for block in result.content if block.type == "text")


def example_rows(path=TUMOR):
    """Return the cells of an example, row by row, header first."""
    with gzip.open(path, "rt") as handle:
        return [line.rstrip("\n").split("\t") for line in handle]


def write_rows(path, rows):
    path.write_text("\n".join("\t".join(row) for row in rows) + "\n")
    return path


def environment():
    # A server that a test starts leaves nothing in the data folder of whoever runs the tests.
    return {**os.environ, "OMP_NUM_THREADS": "1", "SPECFORMER_STORE": "none"}


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@contextmanager
def http_server(*options):
    """Run `specformer serve --transport http` on a free port; yield its base address."""
    port = free_port()
    command = [sys.executable, "-m", "specformer_mcp", "serve", "--transport", "http"]
    process = subprocess.Popen(
        [*command, "--port", str(port), *options],
        env=environment(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    base = f"http://127.0.0.1:{port}"
    try:
        deadline = time.monotonic() + 60
        while True:
            try:
                httpx.get(f"{base}/health")
                break
            except httpx.TransportError:
                assert process.poll() is None, "the server ended"
                assert time.monotonic() < deadline, "the server does not answer"
                time.sleep(0.1)
        yield base
    finally:
        process.terminate()
        process.wait(timeout=20)


async def ask_the_three_tools(client):
    """Embed the example tumour and return what the other tools say of it."""
    embedded = await client.call_tool("embed_sample", {"path": str(TUMOR)})
    assert not embedded.is_error, text_of(embedded)
    handle = {"sample": embedded.structured_content["samples"][0]["sample"]}
    return [
        await client.call_tool(tool, handle)
        for tool in ("nearest_cohorts", "predict_cancer_type", "pathway_scores")
    ]
