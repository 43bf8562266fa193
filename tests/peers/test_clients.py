"""Clients that nobody here wrote hold a whole conversation with the server."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from conversation import check, hold, over_http, over_stdio

HERE = Path(__file__).parent
TRANSPORTS = ["stdio", "http"]
TYPESCRIPT = {  # version of the client, negotiation → revision that must come of it
    ("v1", "legacy"): "2025-11-25",
    ("v2", "legacy"): "2025-11-25",
    ("v2", "auto"): "2026-07-28",
}


def request_for(transport, base, **more):
    return over_stdio(**more) if transport == "stdio" else over_http(base, **more)


@pytest.mark.parametrize("transport", TRANSPORTS)
@pytest.mark.parametrize(("client", "mode"), TYPESCRIPT)
def test_typescript(peers, base, tmp_path, client, mode, transport):
    request = request_for(transport, base, client=client, mode=mode)
    command = ["node", str(HERE / "typescript_client.mjs")]
    answers = hold(command, request, tmp_path, env=peers.node_environment)
    check(answers, request)
    if answers["version"] is not None:  # version 1 does not tell over stdio
        assert answers["version"] == TYPESCRIPT[client, mode]
    else:
        assert (client, transport) == ("v1", "stdio")


@pytest.mark.parametrize("transport", TRANSPORTS)
@pytest.mark.parametrize("name", ["fastmcp", "langchain", "openai", "pydantic_ai"])
def test_python(peers, base, tmp_path, name, transport):
    request = request_for(transport, base)
    script = HERE / f"{name}_client.py"
    # Nothing of this repository is on the peer's path.
    env = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    answers = hold([str(peers.python(name)), str(script)], request, tmp_path, env=env)
    check(answers, request)
    if name == "openai":
        # embed_sample cannot be strict: inline values are an open mapping.
        assert set(answers["strict"]) >= {
            "nearest_cohorts",
            "predict_cancer_type",
            "pathway_scores",
        }
