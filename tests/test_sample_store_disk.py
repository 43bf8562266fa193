"""Samples on the disk: restarts, several processes, damage, a full disk, growth."""

import dataclasses
import logging
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from sample_support import profiles, sample, vectors
from server_support import TUMOR, engine, environment, server_for, talk, text_of

from specformer_encoder.reading import Reading
from specformer_mcp.engine import samples_of
from specformer_mcp.samples import SampleStore, UnknownSampleError
from specformer_mcp.samples.folder import data_folder


def bits(array):
    return array.dtype, array.shape, array.tobytes()


def files(folder):
    return [path for path in folder.rglob("*") if path.is_file()]


def arrays(folder):
    return sorted(path.name for path in (folder / "samples" / "arrays").iterdir())


def damage(folder, pattern, content=None):
    """Cut the newest file of a kind in half, or fill it with something else."""
    path = max(folder.rglob(pattern), key=lambda p: p.stat().st_mtime_ns)
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2] if content is None else content)


def test_a_real_sample_survives_a_restart_bit_by_bit(tmp_path):
    (before,) = samples_of(profiles())
    engine().embed([before])
    SampleStore(directory=tmp_path).put(before)
    after = SampleStore(directory=tmp_path).get(before.handle)
    assert np.isnan(before.values).any()
    assert bits(after.values) == bits(before.values)
    assert bits(after.embedding) == bits(before.embedding)
    for field in dataclasses.fields(Reading):
        assert bits(getattr(after.reading, field.name)) == bits(getattr(before.reading, field.name))
    for name in ("handle", "name", "source", "unit", "genes", "genes_measured", "release"):
        assert getattr(after, name) == getattr(before, name)
    assert engine().predict(after) == engine().predict(before)


def test_a_content_is_embedded_once_also_across_restarts(tmp_path):
    (first,) = samples_of(profiles())
    store = SampleStore(directory=tmp_path)
    store.put(first)
    engine().embed([first])  # after it was put: the store hears of it
    store.flush()
    (again,) = samples_of(profiles())
    SampleStore(directory=tmp_path).put(again, owner="another")
    assert bits(again.embedding) == bits(first.embedding)


def test_another_release_embeds_the_values_anew(tmp_path):
    (one,) = samples_of(profiles())
    one.set_embedding(*vectors(1), release="an earlier release")
    SampleStore(directory=tmp_path).put(one)
    store = SampleStore(directory=tmp_path)
    restored = store.get(one.handle)
    assert bits(engine().embedding(restored)) != bits(vectors(1)[0])
    assert restored.release == engine().loaded().embedder.release.sha256
    store.flush()
    assert SampleStore(directory=tmp_path).get(one.handle).release == restored.release


def test_a_handle_answers_after_the_server_was_started_again(tmp_path):
    async def embed(client):
        return await client.call_tool("embed_sample", {"path": str(TUMOR)})

    async def predict(client):
        return await client.call_tool("predict_cancer_type", {"sample": handle})

    store = tmp_path / "store"
    done = talk(server_for(tmp_path, store=SampleStore(directory=store)), embed)
    handle = done.structured_content["samples"][0]["sample"]
    answer = talk(server_for(tmp_path, store=SampleStore(directory=store)), predict)
    assert not answer.is_error, text_of(answer)
    assert "TCGA-LUAD" in text_of(answer)


def test_only_the_user_can_look_into_it(tmp_path):
    store = SampleStore(directory=tmp_path / "a" / "store")
    store.put(sample(1))
    assert (tmp_path / "a" / "store").stat().st_mode & 0o777 == 0o700
    assert (tmp_path / "a" / "store" / "samples").stat().st_mode & 0o777 == 0o700


def test_the_default_folder(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    assert data_folder() == tmp_path / "specformer"
    monkeypatch.setenv("XDG_DATA_HOME", "relative")  # to be ignored, says the specification
    monkeypatch.setenv("HOME", str(tmp_path))
    assert data_folder().is_relative_to(tmp_path)


def test_it_grows_with_its_samples_and_not_with_its_versions(tmp_path):
    store = SampleStore(directory=tmp_path, keep_versions_s=0.5)
    for i in range(500):
        store.put(sample(i % 50, embedded=True))
    time.sleep(0.6)
    for i in range(40):
        store.put(sample(i, embedded=True))
    assert len(store.summaries()) == 50
    assert len(arrays(tmp_path)) == 2 * 50
    assert len(files(tmp_path)) - 100 < 250
    assert sum(path.stat().st_size for path in files(tmp_path)) < 4_000_000


def test_a_warm_get_takes_less_than_a_millisecond(tmp_path):
    store = SampleStore(directory=tmp_path)
    store.put(sample(1))
    took = []
    for _ in range(200):
        began = time.perf_counter()
        store.get(sample(1).handle)
        took.append(time.perf_counter() - began)
    assert np.median(took) < 1e-3


def test_what_left_the_memory_is_on_the_disk(tmp_path):
    store = SampleStore(directory=tmp_path, cache_bytes=3 * sample(1).size)
    for i in range(20):
        store.put(sample(i))
    for i in range(20):
        np.testing.assert_array_equal(store.get(sample(i).handle).values, sample(i).values)


def test_a_use_is_kept_for_the_next_start(tmp_path):
    now = 0.0
    store = SampleStore(directory=tmp_path, clock=lambda: now, lifetime_s=100)
    store.put(sample(1))
    now = 90.0
    store.get(sample(1).handle)
    store.flush()
    now = 150.0
    after = SampleStore(directory=tmp_path, clock=lambda: now, lifetime_s=100)
    assert after.get(sample(1).handle).name == "s1"
    now = 300.0
    with pytest.raises(UnknownSampleError):
        SampleStore(directory=tmp_path, clock=lambda: now, lifetime_s=100).get(sample(1).handle)


def test_the_caps_hold_across_restarts(tmp_path):
    for i in range(6):
        SampleStore(directory=tmp_path, capacity=4).put(sample(i))
    names = [s.name for s in SampleStore(directory=tmp_path).summaries()]
    assert names == ["s5", "s4", "s3", "s2"]


def test_what_is_dropped_is_gone_although_it_is_deleted_later(tmp_path):
    store = SampleStore(directory=tmp_path, capacity=48)  # three may lie on the disk unseen
    for i in range(50):
        store.put(sample(i))
    assert len(store._disk.rows()) == 50
    for i in (0, 1):
        with pytest.raises(UnknownSampleError):
            store.get(sample(i).handle)
    assert len(store.summaries()) == 48
    store.put(sample(0))  # who comes again is there again
    assert store.get(sample(0).handle).name == "s0"
    for i in range(50, 52):
        store.put(sample(i))
    assert len(store._disk.rows()) == 48
    assert store.get(sample(0).handle).name == "s0"


def test_what_another_process_has_anew_is_not_deleted(tmp_path):
    now = 1000.0
    one = SampleStore(directory=tmp_path, capacity=16, clock=lambda: now)
    for i in range(17):
        one.put(sample(i))
    now += 1
    SampleStore(directory=tmp_path, capacity=100, clock=lambda: now).put(sample(0))
    assert one.get(sample(0).handle).name == "s0"
    now += 1
    for i in range(17, 20):
        one.put(sample(i))
    names = {row["name"] for row in one._disk.rows()}
    assert "s0" in names
    assert "s1" not in names


def test_samples_that_come_together_are_written_together(tmp_path):
    store = SampleStore(directory=tmp_path)
    store.put(sample(0))
    versions = store._disk.table._open().version
    ready = threading.Barrier(12)

    def bring(i):
        with store.arriving():
            ready.wait(60)
            store.put(sample(i))

    with ThreadPoolExecutor(12) as threads:
        list(threads.map(bring, range(1, 13)))
    assert store._disk.table._open().version - versions < 6
    after = SampleStore(directory=tmp_path)
    assert {s.name for s in after.summaries()} == {f"s{i}" for i in range(13)}


def test_who_announces_a_sample_and_never_brings_it_holds_up_nobody(tmp_path):
    store = SampleStore(directory=tmp_path)
    with store.arriving():
        for i in range(3):
            store.put(sample(i))
    assert len(SampleStore(directory=tmp_path).summaries()) == 3


def put_some(folder, numbers, owner):
    store = SampleStore(directory=folder)
    for i in numbers:
        store.put(sample(i, embedded=True), owner=owner)


def test_several_processes_write_the_same_samples_at_once(tmp_path):
    spawn = multiprocessing.get_context("spawn")
    workers = [
        spawn.Process(target=put_some, args=(tmp_path, range(15), owner))
        for owner in ("ann", "ann")
    ]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(300)
    assert [worker.exitcode for worker in workers] == [0, 0]
    store = SampleStore(directory=tmp_path)
    assert len(store.summaries(owner="ann")) == 15
    assert store.get(sample(7).handle, owner="ann").embedding is not None
    store.put(sample(31))
    assert len(store) == 16
    assert len(store._disk.rows()) == 16  # no row twice


def test_one_store_sees_at_once_what_another_did(tmp_path):
    one, other = SampleStore(directory=tmp_path), SampleStore(directory=tmp_path)
    for i in range(5):
        one.put(sample(i))
        assert other.get(sample(i).handle).name == f"s{i}"
    other.forget(sample(3).handle)
    with pytest.raises(UnknownSampleError):
        one.get(sample(3).handle)
    assert one.get(sample(2).handle).name == "s2"


def test_nothing_leaves_the_memory_because_the_disk_cannot_be_asked(tmp_path):
    one, other = SampleStore(directory=tmp_path), SampleStore(directory=tmp_path)
    one.put(sample(1))
    other.put(sample(2))
    other.forget(sample(2).handle)
    one._disk._paused_until = float("inf")  # as after trouble
    assert one.get(sample(1).handle).name == "s1"
    one._disk._paused_until = float("-inf")
    assert one.get(sample(1).handle).name == "s1"


def test_an_embedding_that_came_late_is_kept_when_the_store_is_closed(tmp_path):
    code = (
        "import sys\n"
        "from pathlib import Path\n"
        "sys.path.insert(0, sys.argv[2])\n"
        "from sample_support import sample, vectors\n"
        "from specformer_mcp.samples import SampleStore\n"
        "store = SampleStore(directory=Path(sys.argv[1]))\n"
        "store.put(one := sample(1))\n"
        "one.set_embedding(*vectors(1), release='a release')\n"
        # As the server ends: what LanceDB's threads finish must not meet a dying interpreter.
        "store.close()\n"
        "import os\n"
        "os._exit(0)\n"
    )
    subprocess.run(
        [sys.executable, "-c", code, str(tmp_path), str(Path(__file__).parent)],
        check=True,
        env=environment(),
        timeout=120,
    )
    after = SampleStore(directory=tmp_path).get(sample(1).handle)
    assert bits(after.embedding) == bits(vectors(1)[0])


def test_what_was_forgotten_does_not_come_back_with_a_late_embedding(tmp_path):
    one, other = SampleStore(directory=tmp_path), SampleStore(directory=tmp_path)
    one.put(mine := sample(1))
    other.forget(None)
    mine.set_embedding(*vectors(1), release="a release")
    one.flush()
    with pytest.raises(UnknownSampleError):
        SampleStore(directory=tmp_path).get(mine.handle)
    assert arrays(tmp_path) == []


@pytest.mark.parametrize(
    ("pattern", "content"),
    [
        ("*.manifest", None),
        ("*.manifest", b""),
        ("*.manifest", b"garbage" * 100),
        ("*.lance", None),
        ("*.lance", b"garbage" * 100),
    ],
)
@pytest.mark.parametrize("running", [False, True])
def test_a_damaged_store_is_set_aside(tmp_path, caplog, pattern, content, running):
    store = SampleStore(directory=tmp_path)
    store.put(sample(1))
    folder = tmp_path / "samples" / "samples.lance"
    damage(folder / ("_versions" if pattern == "*.manifest" else "data"), pattern, content)
    if not running:
        store = SampleStore(directory=tmp_path)
    with caplog.at_level(logging.WARNING):
        with pytest.raises(UnknownSampleError):
            store.get(sample(9).handle)
        store.put(sample(2))
        assert store.get(sample(2).handle).name == "s2"
    if running:
        assert store.get(sample(1).handle).name == "s1"  # from memory
    after = SampleStore(directory=tmp_path)
    assert after.get(sample(2).handle).name == "s2"
    if list(tmp_path.glob("samples.damaged-*")):
        assert "was set aside" in caplog.text
    else:  # the damaged file was not needed for anything
        assert after.get(sample(1).handle).name == "s1"


@pytest.mark.parametrize("kind", ["values", "vectors"])
@pytest.mark.parametrize("content", [None, b"", b"garbage" * 100])
def test_a_damaged_file_of_arrays_costs_one_sample(tmp_path, kind, content):
    store = SampleStore(directory=tmp_path)
    store.put(sample(2, embedded=True))
    store.put(sample(1, embedded=True))
    damage(tmp_path / "samples" / "arrays", f"*.{kind}", content)
    after = SampleStore(directory=tmp_path)
    with pytest.raises(UnknownSampleError):
        after.get(sample(1).handle)
    assert after.get(sample(2).handle).name == "s2"
    after.put(again := sample(1))  # without the embedding, which is not usable
    assert (again.embedding is None) == (kind == "vectors")
    again.set_embedding(*vectors(1), release="a release")
    after.close()
    assert SampleStore(directory=tmp_path).get(again.handle).release == "a release"


def test_arrays_leave_the_disk_with_the_last_sample_that_has_them(tmp_path):
    store = SampleStore(directory=tmp_path)
    for owner in ("ann", "bob"):
        store.put(sample(1, embedded=True), owner=owner)
    store.put(sample(2), owner="ann")
    assert len(arrays(tmp_path)) == 3
    store.forget(sample(1).handle, owner="ann")
    assert len(arrays(tmp_path)) == 3
    assert SampleStore(directory=tmp_path).get(sample(1).handle, owner="bob").name == "s1"
    store.forget(None, owner="bob")
    assert [name.partition(".")[2] for name in arrays(tmp_path)] == ["values"]
    # What a writer that was killed has left goes with the next compaction.
    for name in ("0" * 64 + ".values", "1" * 64 + ".vectors.partial"):
        (tmp_path / "samples" / "arrays" / name).write_bytes(b"left")
    store.forget(None, owner="ann")
    assert arrays(tmp_path) == []


def test_a_file_where_the_table_should_be(tmp_path, caplog):
    (tmp_path / "samples").write_text("something else")
    store = SampleStore(directory=tmp_path)
    with caplog.at_level(logging.WARNING):
        store.put(sample(1))
    assert store.get(sample(1).handle).name == "s1"
    assert SampleStore(directory=tmp_path).get(sample(1).handle).name == "s1"


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_cannot_be_written(tmp_path, caplog):
    tmp_path.chmod(0o500)
    store = SampleStore(directory=tmp_path / "store")
    store.put(sample(1))
    assert store.get(sample(1).handle).name == "s1"
    assert caplog.text.count("cannot be used") == 1


FULL = """
import logging, resource, signal, sys
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from sample_support import sample
from specformer_mcp.samples import SampleStore, disk
logging.basicConfig()
store = SampleStore(directory=Path(sys.argv[1]))
store.put(sample(0))
# No file may grow: what a full disk is to a writer, but that it ends after a while.
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (10, resource.RLIM_INFINITY))
for i in range(1, 6):
    store.put(sample(i))
assert [store.get(sample(i).handle).name for i in range(6)] == [f"s{i}" for i in range(6)]
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
disk.PAUSE_S = 0
store._disk._paused_until = 0
store.put(sample(6))
"""


def test_on_a_full_disk_answers_come_from_memory(tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", FULL, str(tmp_path), str(Path(__file__).parent)],
        capture_output=True,
        text=True,
        env=environment(),
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("cannot be used") == 1, done.stderr
    assert len(SampleStore(directory=tmp_path).summaries()) == 7


KILLED = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from sample_support import sample
from specformer_mcp.samples import SampleStore
store = SampleStore(directory=Path(sys.argv[1]), keep_versions_s=0.1)
for i in range(10_000):
    store.put(sample(i, embedded=True))
    print(i, flush=True)
"""


@pytest.mark.parametrize("wait_s", [0.05, 0.2, 0.5])
def test_what_was_put_outlives_a_kill(tmp_path, wait_s):
    process = subprocess.Popen(
        [sys.executable, "-c", KILLED, str(tmp_path), str(Path(__file__).parent)],
        stdout=subprocess.PIPE,
        text=True,
        env=environment(),
    )
    process.stdout.readline()
    time.sleep(wait_s)
    process.send_signal(signal.SIGKILL)
    rest, _ = process.communicate(timeout=20)
    last = int(rest.split()[-1]) if rest.split() else 0
    store = SampleStore(directory=tmp_path)
    for i in range(last + 1):
        assert store.get(sample(i).handle).embedding is not None
    assert len(store.summaries()) in (last + 1, last + 2)  # one may be written and not yet told
    assert not list(tmp_path.glob("samples.damaged-*"))
