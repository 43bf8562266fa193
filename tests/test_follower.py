"""A running server and an index that changes under it."""

import threading

import pytest
from server_support import COADREAD

from specformer_encoder.profiles import load_profiles
from specformer_index.opening import META, is_current
from specformer_mcp import follower
from specformer_mcp.analysis.common import provenance
from specformer_mcp.cli import main
from specformer_mcp.engine import Engine


@pytest.fixture
def mine(tmp_path, monkeypatch):
    """A copy of the bundled index with a cohort, and what adds a second one."""
    monkeypatch.setattr(follower, "_LOOK_S", 0.0)
    samples = load_profiles(COADREAD).samples

    def add(name, number, *where):
        labels = tmp_path / f"{name}.tsv"
        labels.write_text(f"sample\tcohort\n{samples[number]}\t{name}\n")
        words = ["index", "add", COADREAD, "--labels", labels, "--name", name, *where]
        assert main([str(word) for word in words]) == 0

    index = tmp_path / "mine"
    add("First", 0, "--out", index)
    return index, lambda: add("Second", 1, "--index", index)


def test_a_server_sees_a_new_version_and_a_call_sees_one(mine, caplog):
    index, add = mine
    engine = Engine(index=index)
    engine.start()
    before = engine.loaded().index
    assert engine.loaded().index is before
    with follower.one_version():
        assert engine.loaded().index is before
        add()
        assert not is_current(before.info)
        assert engine.loaded().index is before
        assert provenance(engine).index == before.info.version
    after = engine.loaded().index
    assert after.info.version != before.info.version
    assert len(after.cohorts) == len(before.cohorts) + 1
    assert provenance(engine).index == after.info.version

    # Damage on the way: told, and answered from what is open.
    whole = (index / META).read_bytes()
    (index / META).write_bytes(b"{")
    assert engine.loaded().index is after
    assert "answers still come from version" in caplog.text
    (index / META).write_bytes(whole)
    assert engine.loaded().index is after
    engine.close()


def test_a_pinned_server_and_a_command_keep_what_they_opened(mine):
    index, add = mine
    command = Engine(index=index)
    version = command.loaded().index.info.version
    pinned = Engine(index=index, index_version=version)
    pinned.start()
    assert pinned.loaded().index.info.version == version
    add()
    assert pinned.loaded().index.info.version == version
    assert command.loaded().index.info.version == version
    for engine in (pinned, command):
        engine.close()


def test_while_one_caller_opens_the_others_go_on():
    opening, go_on = threading.Event(), threading.Event()

    def reopen():
        opening.set()
        assert go_on.wait(60)
        return "new"

    class Old:
        class info:  # noqa: N801
            version = "1"

    one = follower.Follower(Old, reopen)
    one._look_at = 0.0
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("specformer_index.opening.is_current", lambda _: False)
        first = threading.Thread(target=one.current)
        first.start()
        assert opening.wait(60)
        assert one.current() is Old
        go_on.set()
        first.join()
    assert one.current() == "new"
