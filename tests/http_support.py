"""What the tests of the HTTP guards share: a real process, raw sockets, clients with a token."""

import asyncio
import json
import select
import socket
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import httpx2
from mcp import Client
from mcp.client.streamable_http import streamable_http_client
from server_support import INITIALIZE, environment, free_port

RUNNER = Path(__file__).with_name("http_runner.py")
HEADERS = {"Accept": "application/json, text/event-stream", "Content-Type": "application/json"}


@dataclass
class Running:
    port: int
    process: subprocess.Popen
    log: Path

    @property
    def base(self):
        return f"http://127.0.0.1:{self.port}"

    @property
    def url(self):
        return f"{self.base}/mcp"

    def post(self, message=INITIALIZE, *, token=None, headers=None, **more):
        authorization = {"Authorization": f"Bearer {token}"} if token else {}
        sent = HEADERS | authorization | (headers or {})
        return httpx.post(self.url, json=message, headers=sent, timeout=30, **more)

    def alive(self):
        return httpx.get(f"{self.base}/health", timeout=10).status_code == 200

    def metric(self, name, *, token=None):
        """Return the value of one line of /metrics, 0 if it is not there."""
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        page = httpx.get(f"{self.base}/metrics", headers=headers)
        assert page.status_code == 200, page.text
        for line in page.text.splitlines():
            if line.startswith(f"{name} "):
                return float(line.split()[-1])
        return 0.0


@contextmanager
def running(*, environ=None, **options):
    """Run a server with these `HttpOptions`; it has to end in order when it is told to."""
    port = free_port()
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "stderr"
        with log.open("w") as errors:
            process = subprocess.Popen(
                [sys.executable, RUNNER, json.dumps({"port": port, **options})],
                env=environment() | (environ or {}),
                stdout=subprocess.DEVNULL,
                stderr=errors,
            )
        server = Running(port, process, log)
        try:
            deadline = time.monotonic() + 60
            while True:
                try:
                    assert server.alive()
                    break
                except httpx.TransportError:
                    assert process.poll() is None, log.read_text()
                    assert time.monotonic() < deadline, "the server does not answer"
                    time.sleep(0.1)
            yield server
            assert process.poll() is None, log.read_text()
        finally:
            process.terminate()
            process.wait(timeout=30)
        assert process.returncode == 0, log.read_text()
        assert "left in order" in log.read_text()
        assert "Traceback" not in log.read_text(), log.read_text()


@contextmanager
def connection(server):
    with socket.create_connection(("127.0.0.1", server.port), timeout=20) as plug:
        yield plug


def read_all(plug, *, within_s):
    """Return what comes until the server closes, and the seconds that took; fail if it does not."""
    began = time.monotonic()
    got = b""
    while True:
        left = within_s - (time.monotonic() - began)
        assert left > 0, f"still open after {within_s} s; got {got[:200]!r}"
        if select.select([plug], [], [], left)[0]:
            try:
                piece = plug.recv(65536)
            except ConnectionResetError:
                piece = b""
            if not piece:
                return got, time.monotonic() - began
            got += piece


def drip(plug, pieces, *, every_s, within_s):
    """Send piece after piece until the server closes; return what it said and the seconds."""
    began = time.monotonic()
    got = b""
    for piece in pieces:
        assert time.monotonic() - began < within_s, f"still open after {within_s} s"
        try:
            plug.sendall(piece)
            if select.select([plug], [], [], every_s)[0]:
                more = plug.recv(65536)
                if not more:
                    return got, time.monotonic() - began
                got += more
        except (BrokenPipeError, ConnectionResetError):
            return got, time.monotonic() - began
    raise AssertionError("the server took everything")


def head(path="/mcp", *, method="POST", port, length=None, more=""):
    lines = f"{method} {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n"
    lines += "".join(f"{name}: {value}\r\n" for name, value in HEADERS.items())
    if length is not None:
        lines += f"Content-Length: {length}\r\n"
    return f"{lines}{more}\r\n".encode()


def converse(url, conversation, *, mode="auto", token=None):
    """Run `await conversation(client)` with the real client, which sends a token."""

    async def run():
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        async with (
            httpx2.AsyncClient(headers=headers, timeout=60) as http,
            Client(
                streamable_http_client(url, http_client=http), mode=mode, read_timeout_seconds=60
            ) as client,
        ):
            return await conversation(client)

    return asyncio.run(run())


def call(tool, **arguments):
    """Return a tools/call of the newer revision as (message, headers)."""
    meta = {
        "io.modelcontextprotocol/protocolVersion": "2026-07-28",
        "io.modelcontextprotocol/clientCapabilities": {},
    }
    message = {
        "jsonrpc": "2.0",
        "id": 7,
        "method": "tools/call",
        "params": {"name": tool, "arguments": arguments, "_meta": meta},
    }
    headers = {
        "MCP-Protocol-Version": "2026-07-28",
        "Mcp-Method": "tools/call",
        "Mcp-Name": tool,
    }
    return message, headers
