"""What a killed writer, a full disk, torn files, two writers and many readers do to an index."""

import contextlib
import time

import numpy as np
import pytest
from index_support import (
    EACH,
    add,
    add_patiently,
    build,
    keep_adding,
    keep_building,
    keep_optimizing,
    keep_reading,
    open_index,
    processes,
    write_with_little_room,
)

from specformer_encoder.files import only_builder
from specformer_index.errors import ReferenceIndexError
from specformer_index.maintenance import check, optimize
from specformer_index.opening import list_versions, manifest_name, read_info


@contextlib.contextmanager
def running(function, *arguments):
    """Run a function in another process; give the process and the end of a pipe to it."""
    ours, theirs = processes.Pipe(duplex=False)
    process = processes.Process(target=function, args=(arguments[0], theirs, *arguments[1:]))
    process.start()
    theirs.close()
    try:
        yield process, ours
    finally:
        process.kill()
        process.join()


def killed_after(function, seconds, *arguments):
    """Kill a process some time after it began to work; return what it had said until then."""
    said = []
    with running(function, *arguments) as (process, pipe):
        assert pipe.recv() == "ready"
        time.sleep(seconds)
        process.kill()
        process.join()
        with contextlib.suppress(EOFError):
            while pipe.poll():
                said.append(pipe.recv())
    return said


def cohorts_of(root):
    return {row.id: row.n_profiles for row in open_index(root).cohort_rows()}


def moments_to_kill(n):
    """Return n times in seconds; what a writer is at by then differs from run to run."""
    return np.random.default_rng(n).uniform(0.02, 1, n).tolist()


def test_kill_while_adding(tmp_path):
    """What was said to be added is there; what was under way is there whole or not at all."""
    root = tmp_path / "index"
    build(root)
    done = set()
    for seconds in moments_to_kill(4):
        start = max(done, default=-1) + 1
        done |= set(killed_after(keep_adding, seconds, root, start))
        cohorts = cohorts_of(root)
        assert check(read_info(root)) == []
        added = {int(name.removeprefix("cohort")) for name in cohorts if name.startswith("cohort")}
        assert done <= added
        assert len(added - done) <= 1
        assert all(cohorts[f"cohort{number}"] == EACH for number in added)
        done = added
    assert add(root, "after").counts["profiles"] == 120 + EACH * (len(done) + 1)
    assert all(check(info) == [] for info in list_versions(root))
    # What the killed writers left is swept up, and nothing else.
    optimize(root, keep=1)
    info = read_info(root)
    assert check(info) == []
    data = {path.name for path in (root / "profiles.lance" / "data").iterdir()}
    assert data == {name.split("/")[-1] for name in info.files if "/data/" in name}


def test_kill_while_building(tmp_path):
    root = tmp_path / "index"
    build(root)
    sizes = set()
    for seconds in moments_to_kill(3):
        killed_after(keep_building, seconds, root)
        assert check(read_info(root)) == []
        cohorts = cohorts_of(root)
        assert cohorts in ({"one": 40, "two": 40}, {"one": 60, "two": 60})
        sizes.add(cohorts["one"])
    build(root, replace=True)
    assert [path.name for path in tmp_path.iterdir()] == ["index"]  # no remains of the killed


def test_kill_while_optimizing(tmp_path):
    root = tmp_path / "index"
    build(root)
    add(root, "steady")
    for seconds in moments_to_kill(3):
        killed_after(keep_optimizing, seconds, root)
        cohorts = cohorts_of(root)
        assert cohorts == {"one": 60, "two": 60, "steady": EACH} | (
            {"changing": EACH} if "changing" in cohorts else {}
        )
        assert check(read_info(root)) == []
        for info in list_versions(root):
            assert check(info) == []


@pytest.mark.parametrize("room", [300, 3_000, 30_000])
def test_a_full_disk_while_adding(tmp_path, room):
    root = tmp_path / "index"
    before = build(root)
    with running(write_with_little_room, root, room, "add") as (_, pipe):
        assert "could not be written" in (said := pipe.recv())
    assert "what was there before is unharmed" in said
    assert read_info(root) == before
    assert check(before) == []
    assert add(root, "large", n=400).counts["profiles"] == 520
    assert check(read_info(root)) == []


def test_a_full_disk_while_building(tmp_path):
    with running(write_with_little_room, tmp_path / "index", 3_000, "build") as (_, pipe):
        assert "could not be written" in pipe.recv()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("share", [0, 0.5, 0.98])
def test_a_torn_manifest_of_a_writer_that_died(tmp_path, share):
    root = tmp_path / "index"
    build(root)
    info = add(root, "mine")
    versions = root / "profiles.lance" / "_versions"
    whole = (versions / manifest_name(info.table_version)).read_bytes()
    torn = versions / manifest_name(info.table_version + 1)
    torn.write_bytes(whole[: int(len(whole) * share)])
    assert cohorts_of(root)["mine"] == EACH
    assert (root / "set-aside" / torn.name).is_file()
    torn.write_bytes(whole[: int(len(whole) * share)])
    assert add(root, "next").counts["profiles"] == 120 + 2 * EACH
    assert check(read_info(root)) == []


def test_a_torn_manifest_of_the_current_version_leaves_the_older_ones(tmp_path):
    root = tmp_path / "index"
    old = build(root)
    info = add(root, "mine")
    current = root / "profiles.lance" / "_versions" / manifest_name(info.table_version)
    current.write_bytes(current.read_bytes()[:100])
    with pytest.raises(ReferenceIndexError, match="info` lists older versions"):
        open_index(root)
    assert any("missing or differs" in problem for problem in check(info))
    assert len(open_index(root, version=old.version).cohort_rows()) == 2


def test_a_second_writer_is_turned_away(tmp_path):
    root = tmp_path / "index"
    before = build(root)
    with only_builder(root) as alone:
        assert alone
        for change in (
            lambda: add(root, "mine"),
            lambda: optimize(root),
            lambda: build(root, replace=True),
        ):
            with pytest.raises(ReferenceIndexError, match="Another process is changing the index"):
                change()
        assert len(open_index(root).cohort_rows()) == 2  # readers need not wait
    assert read_info(root) == before
    assert add(root, "mine").counts["cohorts"] == 3


def test_three_writers_at_once_leave_no_duplicate(tmp_path):
    root = tmp_path / "index"
    build(root)
    with contextlib.ExitStack() as stack:
        pipes = [
            stack.enter_context(running(add_patiently, root, ["shared", f"own{number}"]))[1]
            for number in range(3)
        ]
        turned_away = sum(pipe.recv() for pipe in pipes)
    assert turned_away > 0  # they did meet
    assert cohorts_of(root) == {"one": 60, "two": 60} | dict.fromkeys(
        ["shared", "own0", "own1", "own2"], EACH
    )
    assert check(read_info(root)) == []
    assert read_info(root).revision == 6


def test_32_readers_see_whole_versions_while_cohorts_come_and_go(tmp_path):
    root = tmp_path / "index"
    known = {build(root).version}
    stop = processes.Event()
    with contextlib.ExitStack() as stack:
        pipes = [stack.enter_context(running(keep_reading, root, stop, 8))[1] for _ in range(4)]
        assert [pipe.recv() for pipe in pipes] == ["ready"] * 4
        for number in range(4):
            known.add(add(root, f"mine{number}").version)
        done = optimize(root, keep=2)
        known.add(done.info.version)
        stop.set()
        answers = [pipe.recv() for pipe in pipes]
    assert [wrong for wrong, _, _ in answers] == [[], [], [], []]
    assert sum(opens for _, opens, _ in answers) >= 32
    seen = set().union(*(versions for _, _, versions in answers))
    assert seen <= known
    assert len(seen) > 1
