"""The official conformance suite, at both revisions, on the server that users get."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import time
from contextlib import contextmanager

import httpx
import pytest
from server_support import ROOT, environment, free_port

LIMIT_S = 300
FEWEST = {"2026-07-28": 37, "2025-11-25": 30}
"""Server scenarios that the suite scores at each revision."""
UNSCORED = re.compile(
    r"tasks-|json-schema-2020-12|http-|server-sse-polling|server-session-lifecycle"
)


def ready(port):
    try:
        return httpx.get(f"http://127.0.0.1:{port}/ready").status_code == 200
    except httpx.TransportError:
        return False


@contextmanager
def server_with_fixtures(log):
    port = free_port()
    command = [sys.executable, str(ROOT / "tests" / "conformance_server.py"), "--port", str(port)]
    with log.open("w") as errors:
        process = subprocess.Popen(
            command, env=environment(), stdout=subprocess.DEVNULL, stderr=errors
        )
    try:
        deadline = time.monotonic() + LIMIT_S
        # Until the model is loaded: the suite waits 5 s for a resource and not longer.
        while not ready(port):
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < deadline
            time.sleep(0.2)
        yield f"http://127.0.0.1:{port}/mcp"
    finally:
        process.terminate()
        process.wait(timeout=120)


@pytest.fixture(scope="module")
def url(tmp_path_factory):
    with server_with_fixtures(tmp_path_factory.mktemp("log") / "stderr.txt") as address:
        yield address


@pytest.mark.parametrize("revision", FEWEST)
def test_everything_scored_passes(peers, url, tmp_path, revision):
    done = subprocess.run(
        ["conformance", "server", "--url", url, "--requirements", revision, "-o", str(tmp_path)],
        env=peers.node_environment,
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
        check=False,
    )
    # The exit code would also be 0 if nothing had been run, so the checks are counted.
    scored, failures = 0, []
    for path in tmp_path.glob("*/checks.json"):
        scenario = path.parent.name.removeprefix("server-")
        if UNSCORED.match(scenario) or UNSCORED.match(path.parent.name):
            continue
        scored += 1
        checks = json.loads(path.read_text())
        assert any(check["status"] == "SUCCESS" for check in checks), scenario
        failures += [
            (scenario, check["id"], check.get("errorMessage"), check.get("details"))
            for check in checks
            if check["status"] in {"FAILURE", "WARNING"}
        ]
    assert not failures
    assert done.returncode == 0, done.stdout[-4000:]
    assert scored == FEWEST[revision]
