"""The server as it is started, over real HTTP on the loopback interface."""

import subprocess
import sys
import time

import httpx
import pytest
from http_support import converse
from server_support import MODES, environment, example_rows, http_server, text_of

TOKENS = {"alice": "alice-0123456789abcdef", "bob": "bob-0123456789abcdef"}


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    """Serve with tokens and metrics."""
    file = tmp_path_factory.mktemp("tokens") / "tokens"
    file.write_text("".join(f"{name} {token}\n" for name, token in TOKENS.items()))
    file.chmod(0o600)
    with http_server("--token-file", str(file), "--metrics", "--store", "none") as address:
        yield address


def inline_values():
    """Return the example tumour as gene → value; over HTTP there are no paths."""
    return {row[1]: float(row[2]) for row in example_rows()[1:]}


def test_health_and_ready(base):
    health = httpx.get(f"{base}/health", timeout=60)
    assert health.status_code == 200
    assert health.json()["status"] == "alive"
    deadline = time.monotonic() + 240
    while (ready := httpx.get(f"{base}/ready", timeout=60)).status_code != 200:
        assert ready.status_code == 503
        assert ready.json()["status"] == "loading", ready.json()
        assert time.monotonic() < deadline
        time.sleep(0.2)
    assert ready.json() == {"status": "ready"}


@pytest.mark.parametrize("mode", MODES)
def test_tools_and_whose_handles_are_whose(base, mode):
    async def alices(client):
        embedded = await client.call_tool("embed_sample", {"values": inline_values()})
        assert not embedded.is_error, text_of(embedded)
        sample = {"sample": embedded.structured_content["samples"][0]["sample"]}
        tools = ("nearest_cohorts", "predict_cancer_type", "pathway_scores")
        return client.protocol_version, sample, [await client.call_tool(t, sample) for t in tools]

    version, sample, answers = converse(f"{base}/mcp", alices, mode=mode, token=TOKENS["alice"])
    assert version == MODES[mode]
    assert all(not answer.is_error for answer in answers)

    async def bobs(client, handle):
        tools = ("nearest_cohorts", "predict_cancer_type", "pathway_scores")
        return [await client.call_tool(tool, {"sample": handle}) for tool in tools]

    async def bobs_calls(client):
        return (
            await bobs(client, sample["sample"]),
            await bobs(client, "smp_0000000000000000"),
        )

    foreign, unknown = converse(f"{base}/mcp", bobs_calls, mode=mode, token=TOKENS["bob"])
    for one, other in zip(foreign, unknown, strict=True):
        assert one.is_error
        # Not even whether it exists is told.
        assert text_of(one).replace(sample["sample"], "smp_0000000000000000") == text_of(other)


def test_there_are_no_paths(base):
    async def conversation(client):
        tools = (await client.list_tools()).tools
        arguments = next(t for t in tools if t.name == "embed_sample").input_schema["properties"]
        refused = await client.call_tool("embed_sample", {"path": "/etc/hostname"})
        return arguments, refused

    arguments, refused = converse(f"{base}/mcp", conversation, token=TOKENS["alice"])
    assert "values" in arguments
    assert "path" not in arguments
    assert refused.is_error


def test_what_was_done_is_counted(base):
    page = httpx.get(f"{base}/metrics", headers={"Authorization": f"Bearer {TOKENS['alice']}"}).text
    lines = dict(line.rsplit(" ", 1) for line in page.splitlines() if line[0] != "#")
    assert float(lines['specformer_tool_calls_total{outcome="ok",tool="embed_sample"}']) >= 2
    assert float(lines["specformer_profiles_total"]) >= 2
    assert float(lines["specformer_ready"]) == 1
    assert float(lines["specformer_store_samples"]) >= 1
    assert httpx.get(f"{base}/metrics").status_code == 401


def test_an_open_server_on_all_addresses_does_not_start():
    done = subprocess.run(
        [
            *(sys.executable, "-m", "specformer_mcp", "serve"),
            *("--transport", "http", "--host", "0.0.0.0"),  # noqa: S104
        ],
        capture_output=True,
        text=True,
        env=environment(),
        timeout=60,
    )
    assert done.returncode == 1
    assert "--token-file" in done.stderr
    assert "--allow-host" in done.stderr
    assert "Traceback" not in done.stderr
