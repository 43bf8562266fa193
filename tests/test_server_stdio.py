"""The server as a real subprocess over stdio."""

import json
import os
import shlex
import subprocess
import sys
import time

import pytest
from mcp.client.stdio import StdioServerParameters
from server_support import INITIALIZE, MODES, TUMOR, ask_the_three_tools, environment, talk, text_of

COMMAND = ["-m", "specformer_mcp", "serve"]


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


# Everything that libraries do to a stdout that is not theirs: at import, while a tool reads its
# file, and at exit; through Python, past Python, in a child process; flushed or left in a buffer.
NOISE = """
import atexit, ctypes, os, subprocess, sys, threading

libc = ctypes.CDLL(None)
print("noise: at import, left in the buffer")

def shout():
    print("noise: a print in a thread, left in the buffer")
    os.write(1, b"noise: written to descriptor 1\\n")
    libc.printf(b"noise: printf, left in the buffer of C\\n")
    libc.puts(b"noise: puts")
    libc.fflush(None)
    libc.printf(b"noise: printf at exit\\n")
    subprocess.run(["echo", "noise: a child"])
    subprocess.run([sys.executable, "-S", "-c", "print('noise: a Python child')"])

def hook(event, arguments):
    global shouted
    # What embed_sample imports first: the call is running.
    if event == "import" and arguments[0] == "specformer_encoder.readers" and not shouted:
        shouted = True
        thread = threading.Thread(target=shout)
        thread.start()
        thread.join()

shouted = False
sys.addaudithook(hook)

@atexit.register
def goodbye():
    print("noise: at exit")
    os.write(1, b"noise: written at exit\\n")
"""
# What C still holds in its buffer when the server leaves is lost, which is as well.
NOISES = (
    "at import",
    "a print in a thread",
    "written to descriptor 1",
    "printf, left",
    "puts",
    "a child",
    "a Python child",
    "at exit",
    "written at exit",
)


def noisy_environment(folder):
    (folder / "sitecustomize.py").write_text(NOISE)
    path = os.pathsep.join([str(folder), os.environ.get("PYTHONPATH", "")])
    # What Python writes before its first line of ours is beyond reach; left in a buffer, it is not.
    return environment() | {"PYTHONPATH": path, "PYTHONUNBUFFERED": ""}


def test_nothing_but_the_protocol_is_on_stdout(tmp_path):
    """Every line of stdout is a JSON-RPC message; all noise goes to stderr, and none is lost."""
    noisy = noisy_environment(tmp_path)
    process = subprocess.Popen(
        [sys.executable, *COMMAND],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=noisy,
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
    rest, errors = process.communicate(timeout=60)
    messages = [json.loads(line) for line in [*lines, *rest.splitlines()]]
    assert {message["id"] for message in messages} == {1, 2}
    assert all(message["jsonrpc"] == "2.0" for message in messages)
    assert not messages[1]["result"].get("isError")
    assert process.returncode == 0
    for noise in NOISES:
        assert f"noise: {noise}" in errors, errors


def test_a_server_without_stderr_keeps_the_wire_clean(tmp_path):
    noisy = noisy_environment(tmp_path)
    command = " ".join(map(shlex.quote, [sys.executable, *COMMAND]))
    done = subprocess.run(
        ["sh", "-c", f"exec {command} 2>&-"],
        input=json.dumps(INITIALIZE) + "\n",
        capture_output=True,
        text=True,
        env=noisy,
        timeout=60,
    )
    assert [json.loads(line)["id"] for line in done.stdout.splitlines()] == [1]


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
