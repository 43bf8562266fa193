"""Several web workers behind one model process: real processes, real sockets, real kills.

A busy machine starts processes slowly, so whatever waits for one waits long; what must be quick is
timed where it happens.
"""

import asyncio
import json
import multiprocessing
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from concurrent.futures import wait
from contextlib import contextmanager
from pathlib import Path

import httpx
import numpy as np
import pytest
from server_support import MODES, engine, environment, example_rows, free_port, talk, text_of

from specformer_encoder.errors import ExpressionValueError
from specformer_encoder.profiles import load_profiles
from specformer_encoder.surprisal import unexpected_genes
from specformer_mcp.model_client import ModelClient, ModelProcessError
from specformer_mcp.model_process import ModelOptions, run_model
from specformer_mcp.paths import examples_dir
from specformer_mcp.readers import BusyError, OverdueError
from specformer_mcp.workers import _bind

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")

START_S = 600
QUESTIONS = ("nearest_cohorts", "predict_cancer_type", "pathway_scores", "unexpected_genes")


def until(condition, *, seconds=START_S, what=""):
    """Wait for a condition; return how long that took."""
    began = time.monotonic()
    while not condition():
        assert time.monotonic() - began < seconds, f"not within {seconds} s: {what}"
        time.sleep(0.05)
    return time.monotonic() - began


def descendants(pid):
    found = []
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        for child in map(int, task.read_text().split()):
            found += [child, *descendants(child)]
    return found


def alive(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def maps(pid):
    return Path(f"/proc/{pid}/maps").read_text()


def test_small_answers_are_sent_at_once():
    """Without TCP_NODELAY the second half of an answer waits 40 ms for an acknowledgement."""
    seen = []

    async def take_one(listener):
        met = asyncio.Event()

        def connected(_, writer):
            taken = writer.get_extra_info("socket")
            seen.append(taken.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))
            writer.close()
            met.set()

        async with await asyncio.start_server(connected, sock=listener):
            _, writer = await asyncio.open_connection(*listener.getsockname())
            await asyncio.wait_for(met.wait(), 60)
            writer.close()

    mine, others = _bind("127.0.0.1", 0, 2)
    others.close()  # or it might be given the connection
    with mine:
        asyncio.run(take_one(mine))
    assert seen == [1]


# The model process and the way to it.


def start_model(options):
    process = multiprocessing.get_context("spawn").Process(target=run_model, args=(options,))
    process.start()
    return process


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """A model process with room for two waiting profiles, and a client of it."""
    path = tmp_path_factory.mktemp("m") / "model.sock"
    process = start_model(ModelOptions(path, batch=1, queue=2))
    sha256 = engine().loaded().embedder.release.sha256
    client = ModelClient(path, release_sha256=sha256, start_s=START_S)
    yield process, client, path
    client.close()
    process.terminate()
    process.join(30)
    assert process.exitcode == 0
    assert not path.exists()


@pytest.fixture(scope="module")
def values():
    return load_profiles(examples_dir() / "luad_tumor.tsv.gz").values


def test_the_model_process_reads_the_same_bits(model, values):
    _, client, _ = model
    theirs = client.submit(values, timeout_s=START_S).result(START_S)
    ours = engine().loaded().embedder.read(values)
    for name in ("raw", "misfit", "lineages", "measured"):
        assert getattr(theirs, name).tobytes() == getattr(ours, name).tobytes(), name
    assert client.available


def test_the_model_process_tells_what_is_wrong_with_a_profile(model, values):
    _, client, _ = model
    with pytest.raises(ExpressionValueError, match="at least one expressed gene"):
        client.submit(np.zeros_like(values)).result(START_S)
    with pytest.raises(ExpressionValueError, match="vocabulary genes; got"):
        client.submit(values[:, :10].copy()).result(START_S)


def test_the_model_process_explains_alike(model, values):
    _, client, _ = model
    theirs = client.explain(values[0], top=5, surprisal=True).result(START_S)
    ours = unexpected_genes(engine().loaded().embedder, values[0], top=5, surprisal=True)
    assert theirs == ours
    assert ours.has


def test_a_full_queue_refuses_and_the_others_are_read(model, values):
    _, client, _ = model
    futures = [client.submit(values) for _ in range(24)]
    wait(futures, START_S)
    refused = [future.exception() for future in futures if future.exception() is not None]
    assert refused
    assert len(refused) < len(futures)
    for error in refused:
        assert isinstance(error, BusyError)
        assert "Try again in" in str(error)
        assert error.retry_after_s >= 1
    until(lambda: client.waiting == 0, seconds=30, what="the queue is empty")


def counters(path):
    with httpx.Client(transport=httpx.HTTPTransport(uds=str(path))) as plain:
        return plain.get("http://model/ready").json()


def held_up(client, path, values):
    """Have 16 profiles read, which takes a while."""
    future = client.submit(np.repeat(values, 16, axis=0))
    until(lambda: counters(path)["reading"] == 16, seconds=30, what="sixteen are read")
    return future


def test_a_caller_that_left_is_not_read(model, values):
    _, client, path = model
    before = counters(path)["done"]
    first = held_up(client, path, values)
    given_up = client.submit(values)
    until(lambda: counters(path)["waiting"] == 1, seconds=30, what="the second waits")
    assert given_up.cancel()
    until(lambda: counters(path)["waiting"] == 0, seconds=30, what="nothing waits")
    first.result(START_S)
    client.submit(values).result(START_S)
    assert counters(path)["done"] - before == 16 + 1


def test_a_deadline_reaches_the_queue(model, values):
    _, client, path = model
    before = counters(path)["done"]
    first = held_up(client, path, values)
    with pytest.raises(OverdueError):
        client.submit(values, timeout_s=0.05).result(START_S)
    first.result(START_S)
    client.submit(values).result(START_S)
    assert counters(path)["done"] - before == 16 + 1


def test_another_release_is_refused(model, values):
    _, _, path = model
    client = ModelClient(path, release_sha256="0" * 64)
    with pytest.raises(Exception, match="holds the release"):
        client.submit(values).result(START_S)
    client.close()


def test_without_a_model_process_calls_fail_soon(tmp_path, values):
    client = ModelClient(tmp_path / "nobody.sock", release_sha256="0" * 64, start_s=0.3)
    began = time.monotonic()
    with pytest.raises(ModelProcessError, match=r"being started.* Try again in"):
        client.submit(values).result(START_S)
    assert time.monotonic() - began < 5
    client.close()
    with pytest.raises(BusyError, match="stopping"):
        client.submit(values)


# The whole server.


@contextmanager
def server(tmp_path, *options, workers=2):
    """`specformer serve --workers`, its temporary files and samples under `tmp_path`."""
    port = free_port()
    (tmp_path / "t").mkdir(exist_ok=True)
    command = [sys.executable, "-m", "specformer_mcp", "serve", "--transport", "http"]
    command += ["--port", str(port), "--workers", str(workers), *options]
    process = subprocess.Popen(
        command,
        env=environment()
        | {"TMPDIR": str(tmp_path / "t"), "SPECFORMER_STORE": str(tmp_path / "store")},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        yield process, f"http://127.0.0.1:{port}"
    finally:
        process.kill()
        process.communicate()


def ready(process, base):
    """Whether every worker is, asked over connections that the kernel spreads."""
    assert process.poll() is None, process.stderr.read()
    return all(status(base) == 200 for _ in range(16))


def status(base):
    try:
        return httpx.get(f"{base}/ready", timeout=30).status_code
    except httpx.TransportError:
        return None


def roles(process):
    """The process ids of the model process and of the web workers."""
    children = [pid for pid in descendants(process.pid) if "spawn_main" in cmdline(pid)]
    network = [pid for pid in children if "libtorch" in maps(pid)]
    return network, [pid for pid in children if pid not in network]


def cmdline(pid):
    return Path(f"/proc/{pid}/cmdline").read_bytes().decode().replace("\0", " ")


def inline(factor=1.0):
    """The example tumour as inline values."""
    header, *rows = example_rows()
    gene, number = 0, len(header) - 1
    return {row[gene]: factor * float(row[number]) for row in rows}


def embed(base, values, mode="auto"):
    async def conversation(client):
        return await client.call_tool("embed_sample", {"values": values})

    return talk(f"{base}/mcp", conversation, mode=mode)


def handle_in(answer):
    assert not answer.is_error, text_of(answer)
    return answer.structured_content["samples"][0]["sample"]


def ask(base, handle, mode):
    """Ask every question over a connection of its own, so that any worker may answer."""

    def one(tool):
        async def conversation(client):
            return await client.call_tool(tool, {"sample": handle})

        return talk(f"{base}/mcp", conversation, mode=mode)

    return [one(tool) for tool in QUESTIONS]


def test_workers_share_samples_survive_kills_and_end_in_order(tmp_path):
    with server(tmp_path) as (process, base):
        until(lambda: ready(process, base), what="every worker is ready")
        network, workers = roles(process)
        assert len(network) == 1
        assert len(workers) == 2
        for pid in workers:
            assert "libopenvino" not in maps(pid)
        sockets = list((tmp_path / "t").glob("specformer-*/model.sock"))
        assert len(sockets) == 1
        assert sockets[0].parent.stat().st_mode & 0o777 == 0o700

        # A handle from one worker is known to both, in both revisions of the protocol.
        handle = handle_in(embed(base, inline()))
        for mode in MODES:
            for _ in range(3):
                for answer in ask(base, handle, mode):
                    assert not answer.is_error, text_of(answer)

        kill_the_model(process, base, network[0])
        kill_a_worker(process, base, workers[0], handle)

        children = descendants(process.pid)
        began = time.monotonic()
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0
        assert time.monotonic() - began < 10
        until(lambda: not any(map(alive, children)), seconds=5, what="no orphan is left")
        assert not list((tmp_path / "t").glob("specformer-*"))


def kill_the_model(process, base, pid):
    """Calls that run fail with what to do, /ready says no, and soon all is well again."""
    answers = []
    calls = [
        threading.Thread(target=lambda n=n: answers.append(embed(base, inline(1 + n / 97))))
        for n in range(6)
    ]
    os.kill(pid, signal.SIGSTOP)  # so that the calls are surely under way
    for call in calls:
        call.start()
    time.sleep(3)
    os.kill(pid, signal.SIGKILL)
    until(lambda: status(base) == 503, seconds=30, what="/ready says that the model is away")
    for call in calls:
        call.join(START_S)
    assert len(answers) == len(calls)
    failed = [text_of(answer) for answer in answers if answer.is_error]
    assert failed
    assert all("model process" in text and "Try again in" in text for text in failed), failed
    until(lambda: ready(process, base), what="the model process is back")
    handle_in(embed(base, inline(1.5)))
    network, workers = roles(process)
    assert len(network) == 1
    assert network[0] != pid
    assert len(workers) == 2


def kill_a_worker(process, base, pid, handle):
    """The port stays open, and the successor knows the samples."""
    os.kill(pid, signal.SIGKILL)
    until(lambda: len(roles(process)[1]) == 2 and not alive(pid), what="there is a successor")
    until(lambda: ready(process, base), what="the successor is ready")
    for _ in range(3):
        for answer in ask(base, handle, "auto"):
            assert not answer.is_error, text_of(answer)


def test_no_process_outlives_a_parent_that_was_killed(tmp_path):
    with server(tmp_path) as (process, base):
        until(lambda: ready(process, base), what="the server is ready")
        children = descendants(process.pid)
        assert len(children) >= 2
        process.kill()
        process.wait()
        until(lambda: not any(map(alive, children)), seconds=10, what="no orphan is left")
        assert not list((tmp_path / "t").glob("specformer-*/*"))


def test_an_address_that_is_taken_is_told(tmp_path):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with server(tmp_path, "--port", str(taken.getsockname()[1])) as (process, _):
            _, told = process.communicate(timeout=START_S)
    assert process.returncode == 1
    assert "cannot be bound (address already in use)" in told
    assert "--port" in told


def test_a_damaged_release_ends_the_server(tmp_path):
    release = tmp_path / "release"
    release.mkdir()
    (release / "release.json").write_text(json.dumps({"format": 0}))
    with server(tmp_path, "--release", str(release)) as (process, _):
        children = []
        until(lambda: children.extend(descendants(process.pid)) or process.poll() is not None)
        _, told = process.communicate(timeout=START_S)
    assert process.returncode == 1
    assert "has release format 0" in told
    # What keeps count of shared resources ends by itself once its parent has.
    until(lambda: not any(map(alive, children)), seconds=10)
    assert not list((tmp_path / "t").glob("specformer-*"))
