"""Progress of long work, and work that stops when its client no longer wants it."""

import sys
import threading
import time
from pathlib import Path

import anyio
import pytest
from mcp import Client
from mcp.client.stdio import StdioServerParameters
from server_support import MODES, TUMOR, engine, environment, server_for, talk, text_of
from test_server_tools import noisy_matrix

from specformer_mcp.samples import SampleStore

SECOND = 1.0
"""Within which cancelled work has to stop: it looks after every batch of half a second."""


@pytest.mark.parametrize("mode", MODES)
def test_progress_grows_to_the_number_of_samples(tmp_path, mode):
    path = noisy_matrix(tmp_path, 19)
    told = []

    async def progress(done, total, message):
        told.append((done, total, message))

    async def conversation(client):
        return await client.call_tool(
            "embed_sample", {"path": str(path)}, progress_callback=progress
        )

    result = talk(server_for(tmp_path), conversation, mode=mode)
    assert not result.is_error, text_of(result)
    assert [done for done, _, _ in told] == [8, 16, 19]
    assert {total for _, total, _ in told} == {19}
    assert told[0][2] == "8 of 19 samples embedded"


@pytest.mark.parametrize("mode", MODES)
def test_a_cancelled_call_leaves_the_engine(tmp_path, mode):
    """60 profiles take seconds; one batch is done when the client changes its mind."""
    path = noisy_matrix(tmp_path, 60)
    store = SampleStore()
    engine().loaded()
    began = threading.Event()
    batches = []

    async def conversation(client):
        async def progress(done, _total, _message):
            batches.append(done)
            began.set()

        async def call(scope):
            with scope:
                await client.call_tool(
                    "embed_sample", {"path": str(path)}, progress_callback=progress
                )

        scope = anyio.CancelScope()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(call, scope)
            while not began.is_set():
                await anyio.sleep(0.01)
            scope.cancel()
        # The engine is free again when its lock can be had and stays free.
        await anyio.sleep(SECOND)
        cpu = time.process_time()
        await anyio.sleep(0.5)
        idle = time.process_time() - cpu
        after = await client.call_tool("embed_sample", {"path": str(TUMOR)})
        return idle, after

    idle, after = talk(server_for(tmp_path, store=store), conversation, mode=mode)
    assert scope_was_early(batches)
    assert idle < 0.25, f"{idle:.2f} CPU-seconds in half a second of rest"
    assert not after.is_error
    assert len(store) == 1  # nothing of what was cancelled


def scope_was_early(batches):
    return batches[0] == 8 and batches[-1] < 60


@pytest.mark.skipif(sys.platform != "linux", reason="reads the CPU time of a child from /proc")
@pytest.mark.parametrize("mode", MODES)
def test_a_server_process_rests_after_a_cancellation(tmp_path, mode):
    path = noisy_matrix(tmp_path, 80)
    server = StdioServerParameters(
        command=sys.executable,
        args=["-m", "specformer_mcp", "serve", "--allow-dir", str(tmp_path)],
        env={**environment(), "XDG_DATA_HOME": str(tmp_path / "data")},
    )

    async def conversation():
        before = children()
        async with Client(server, mode=mode, read_timeout_seconds=300) as client:
            (pid,) = children() - before
            first = await client.call_tool("embed_sample", {"path": str(TUMOR)})
            assert not first.is_error, text_of(first)
            began = anyio.Event()

            async def progress(_done, _total, _message):
                began.set()

            async with anyio.create_task_group() as tasks:

                async def call():
                    await client.call_tool(
                        "embed_sample", {"path": str(path)}, progress_callback=progress
                    )

                tasks.start_soon(call)
                await began.wait()
                tasks.cancel_scope.cancel()
            await anyio.sleep(SECOND)
            used = cpu_seconds(pid)
            await anyio.sleep(1.0)
            rest = cpu_seconds(pid) - used
            handle = first.structured_content["samples"][0]["sample"]
            return rest, await client.call_tool("predict_cancer_type", {"sample": handle})

    rest, after = anyio.run(conversation)
    assert rest < 0.3, f"{rest:.2f} CPU-seconds in a second of rest"
    assert not after.is_error


def children():
    found = set()
    for task in Path("/proc/self/task").iterdir():
        found |= set((task / "children").read_text().split())
    return found


def cpu_seconds(pid):
    import os

    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
