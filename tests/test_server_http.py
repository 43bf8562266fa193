"""The server over real HTTP on the loopback interface."""

import time

import httpx
import pytest
from server_support import MODES, ask_the_three_tools, http_server, talk, text_of

from specformer_mcp.server import http_security

DISCOVER = {
    "jsonrpc": "2.0",
    "id": 1,
    "method": "initialize",
    "params": {
        "protocolVersion": "2025-11-25",
        "capabilities": {},
        "clientInfo": {"name": "test", "version": "0"},
    },
}
HEADERS = {"Accept": "application/json, text/event-stream", "Content-Type": "application/json"}


@pytest.fixture(scope="module")
def base():
    with http_server() as address:
        yield address


def test_health_and_ready(base):
    health = httpx.get(f"{base}/health")
    assert health.status_code == 200
    assert health.json()["status"] == "alive"
    deadline = time.monotonic() + 60
    while (ready := httpx.get(f"{base}/ready")).status_code != 200:
        assert ready.status_code == 503
        assert ready.json()["status"] == "loading", ready.json()
        assert time.monotonic() < deadline
        time.sleep(0.2)
    assert ready.json() == {"status": "ready"}


@pytest.mark.parametrize("mode", MODES)
def test_the_four_tools(base, mode):
    async def conversation(client):
        answers = await ask_the_three_tools(client)
        return client.protocol_version, answers

    version, answers = talk(f"{base}/mcp", conversation, mode=mode)
    assert version == MODES[mode]
    assert all(not answer.is_error for answer in answers)


def test_no_folder_is_readable_unless_named(base, tmp_path):
    (tmp_path / "x.tsv").write_text("x")

    async def conversation(client):
        return await client.call_tool("embed_sample", {"path": str(tmp_path / "x.tsv")})

    refused = talk(f"{base}/mcp", conversation)
    assert refused.is_error
    assert "--allow-dir" in text_of(refused)
    with http_server("--allow-dir", str(tmp_path)) as other:
        allowed = talk(f"{other}/mcp", conversation)
    assert allowed.is_error  # read, and found not to be an expression file
    assert "--allow-dir" not in text_of(allowed)


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Host": "evil.example"}, 421),
        ({"Host": "evil.example:8765"}, 421),
        ({"Origin": "https://evil.example"}, 403),
        ({"Origin": "null"}, 403),
        ({}, 200),
    ],
)
def test_hosts_and_origins_fail_closed(base, headers, status):
    answer = httpx.post(f"{base}/mcp", json=DISCOVER, headers=HEADERS | headers)
    assert answer.status_code == status


def test_a_body_past_the_limit(base):
    body = b'{"jsonrpc": "2.0", "x": "' + b"a" * 5_000_000 + b'"}'
    assert httpx.post(f"{base}/mcp", content=body, headers=HEADERS).status_code == 413


def test_a_public_address_accepts_only_named_hosts():
    security = http_security(
        host="0.0.0.0",  # noqa: S104 - the trap is what is tested
        port=80,
        hosts=["specformer.example.org"],
        origins=["https://example.org"],
    )
    assert security.enable_dns_rebinding_protection
    assert "specformer.example.org" in security.allowed_hosts
    assert "https://example.org" in security.allowed_origins
    assert not any("*" in host for host in security.allowed_hosts)


def test_a_server_bound_to_all_addresses_refuses_foreign_hosts():
    with http_server("--host", "0.0.0.0") as other:  # noqa: S104
        foreign = httpx.post(f"{other}/mcp", json=DISCOVER, headers=HEADERS | {"Host": "a.example"})
        own = httpx.post(f"{other}/mcp", json=DISCOVER, headers=HEADERS)
    assert foreign.status_code == 421
    assert own.status_code == 200
