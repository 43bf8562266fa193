"""The MCP Inspector's command line, over stdio and HTTP."""

from __future__ import annotations

import json
import subprocess

import pytest
from conversation import HANDLE, TOOLS, passed_on, stdio, values
from server_support import NORMAL, TUMOR

LIMIT_S = 300
TOOL_FAILED = 5
CONNECT_MS = 120_000
"""The Inspector's own 15 s are ample, except on a machine that is busy with ten other things."""


@pytest.fixture
def inspect(peers, tmp_path):
    """Return a function that runs the Inspector and returns exit code, stdout and stderr."""

    def run(target, method, *options):
        done = subprocess.run(
            [
                *("mcp-inspector", "--cli", *target, "--method", method, "--format", "json"),
                *("--connect-timeout", str(CONNECT_MS), *options),
            ],
            env=peers.node_environment | {"HOME": str(tmp_path), "OMP_NUM_THREADS": "1"},
            capture_output=True,
            text=True,
            timeout=LIMIT_S,
            check=False,
            stdin=subprocess.DEVNULL,
        )
        return done.returncode, done.stdout, done.stderr

    return run


def target_of(transport, base):
    if transport == "http":
        return [f"{base}/mcp", "--transport", "http"]
    start = stdio()
    variables = [part for one in passed_on() for part in ("-e", one)]
    return [*variables, start["command"], *start["args"]]


@pytest.mark.parametrize(
    ("transport", "era"), [("stdio", "auto"), ("http", "legacy"), ("http", "modern")]
)
def test_the_schemas_are_portable(inspect, base, transport, era):
    """`--strict` exits 6 where a schema would trouble some client."""
    target = target_of(transport, base)
    code, out, errors = inspect(target, "tools/list", "--strict", "--protocol-era", era)
    assert code == 0, errors
    tools = json.loads(out)["result"]["tools"]
    assert {tool["name"] for tool in tools} >= TOOLS
    assert all(tool["outputSchema"]["type"] == "object" for tool in tools)
    assert all("readOnlyHint" in tool["annotations"] for tool in tools)


def test_a_file_over_stdio(inspect, base):
    call = ["--tool-name", "embed_sample", "--tool-arg"]
    target = target_of("stdio", base)
    code, out, errors = inspect(target, "tools/call", *call, f"path={TUMOR}")
    assert code == 0, errors
    result = json.loads(out)["result"]
    assert HANDLE.fullmatch(result["structuredContent"]["samples"][0]["sample"])
    missing = NORMAL.with_name("missing.tsv.gz")
    code, out, errors = inspect(target, "tools/call", *call, f"path={missing}")
    assert code == TOOL_FAILED, errors
    assert "missing.tsv.gz" in out + errors


def test_values_over_http(inspect, base):
    target = target_of("http", base)
    inline = f"values={json.dumps(values())}"
    call = ["--tool-name", "embed_sample", "--tool-arg", inline]
    code, out, errors = inspect(target, "tools/call", *call)
    assert code == 0, errors
    handle = json.loads(out)["result"]["structuredContent"]["samples"][0]["sample"]
    call = ["--tool-name", "nearest_cohorts", "--tool-arg", f"sample={handle}"]
    code, out, errors = inspect(target, "tools/call", *call)
    assert code == 0, errors
    assert "TCGA-" in json.loads(out)["result"]["content"][0]["text"]


@pytest.mark.parametrize("method", ["resources/list", "resources/templates/list", "prompts/list"])
def test_the_other_lists(inspect, base, method):
    code, out, errors = inspect(target_of("http", base), method)
    assert code == 0, errors
    assert "result" in json.loads(out)
