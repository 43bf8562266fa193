"""The server as a real subprocess over stdio."""

import json
import subprocess
import sys
import time

import pytest
from mcp.client.stdio import StdioServerParameters
from server_support import MODES, TUMOR, ask_the_three_tools, environment, talk, text_of

COMMAND = ["-m", "specformer_mcp", "serve"]
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


@pytest.mark.parametrize("mode", MODES)
def test_the_four_tools(mode, tmp_path):
    async def conversation(client):
        answers = await ask_the_three_tools(client)
        bad = await client.call_tool("embed_sample", {"path": "missing.tsv"})
        return client.protocol_version, answers, bad

    server = StdioServerParameters(
        command=sys.executable, args=COMMAND, env=environment(), cwd=tmp_path
    )
    version, answers, bad = talk(server, conversation, mode=mode)
    assert version == MODES[mode]
    assert all(not answer.is_error for answer in answers)
    assert bad.is_error
    assert str(tmp_path) in text_of(bad)


def test_nothing_but_the_protocol_is_on_stdout(tmp_path):
    """Every line of stdout is a JSON-RPC message, and prints of libraries go to stderr."""
    noisy = tmp_path / "sitecustomize.py"
    # What a chatty library does at import, and a C library behind Python's back.
    noisy.write_text(
        "import os, threading\n"
        "def shout():\n"
        "    print('printed by a library', flush=True)\n"
        "    os.write(1, b'written to descriptor 1\\n')\n"
        "threading.Timer(3.0, shout).start()\n"
    )
    process = subprocess.Popen(
        [sys.executable, *COMMAND],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment() | {"PYTHONPATH": str(tmp_path)},
    )
    call = {
        "jsonrpc": "2.0",
        "id": 2,
        "method": "tools/call",
        "params": {"name": "embed_sample", "arguments": {"path": str(TUMOR)}},
    }
    for message in (INITIALIZE, {"jsonrpc": "2.0", "method": "notifications/initialized"}, call):
        process.stdin.write(json.dumps(message) + "\n")
        process.stdin.flush()
    lines = [process.stdout.readline(), process.stdout.readline()]
    time.sleep(3.5)  # let the shout happen
    rest, errors = process.communicate(timeout=30)
    messages = [json.loads(line) for line in [*lines, *rest.splitlines()]]
    assert {message["id"] for message in messages} == {1, 2}
    assert all(message["jsonrpc"] == "2.0" for message in messages)
    assert "printed by a library" in errors
    assert "written to descriptor 1" in errors


@pytest.mark.parametrize("wait_s", [0.0, 0.5, 1.0, 1.5, 2.0, 2.5])
def test_a_client_that_leaves_at_once_leaves_no_mess(wait_s):
    """The background load must not turn a quick goodbye into a crash or a hang."""
    process = subprocess.Popen(
        [sys.executable, *COMMAND],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment(),
    )
    process.stdin.write(json.dumps(INITIALIZE) + "\n")
    process.stdin.flush()
    assert json.loads(process.stdout.readline())["id"] == 1
    time.sleep(wait_s)
    _, errors = process.communicate(timeout=30)
    assert process.returncode == 0, errors
    assert "Traceback" not in errors


def test_malformed_lines_do_not_end_the_server():
    process = subprocess.Popen(
        [sys.executable, *COMMAND],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env=environment(),
    )
    for line in ("{", "[]", "not json", json.dumps(INITIALIZE)):
        process.stdin.write(line + "\n")
    process.stdin.flush()
    answers = []
    while not any(answer.get("id") == 1 for answer in answers):
        line = process.stdout.readline()
        assert line, "the server ended"
        answers.append(json.loads(line))
    process.communicate(timeout=30)
    assert "result" in answers[-1]
