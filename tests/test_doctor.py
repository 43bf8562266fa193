"""The doctor, on sound installations and on ones that were broken on purpose."""

import json
import shutil
import socket
from pathlib import Path

import pytest
from sample_support import sample
from server_support import free_port

from specformer_encoder import release as encoder_release
from specformer_index import opening
from specformer_mcp.cli import main
from specformer_mcp.doctor import CHECKS, examine
from specformer_mcp.doctor.data import check_openvino, check_release_and_index
from specformer_mcp.doctor.packages import check_packages, check_python, check_torch, packages_of
from specformer_mcp.doctor.place import (
    available_memory,
    check_disk,
    check_folders,
    check_memory,
    check_port,
    check_store,
)
from specformer_mcp.doctor.start import check_start, environment_of
from specformer_mcp.samples import SampleStore
from specformer_mcp.settings import Settings


def settings(**values):
    return Settings.load(values, {})


def only(findings):
    (finding,) = findings
    return finding


@pytest.fixture
def release(tmp_path):
    return shutil.copytree(encoder_release.BUNDLED, tmp_path / "release")


@pytest.fixture
def index(tmp_path):
    return shutil.copytree(opening.BUNDLED, tmp_path / "index")


def spoil(path):
    """Turn one byte in the middle of a file."""
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def test_this_installation_has_what_it_needs():
    nothing = settings()
    for check in (check_python, check_packages, check_torch):
        assert {finding.state for finding in check(nothing)} <= {"ok", "warning"}
    assert "torch" in check_packages(nothing)[-1].said


def test_a_sound_release_and_index(release, index):
    findings = check_release_and_index(settings(release=release, index=index))
    assert [finding.check for finding in findings] == ["release", "index"]
    assert {finding.state for finding in findings} == {"ok"}


@pytest.mark.parametrize("name", ["encoder.safetensors", "heads.json", "vocabulary.txt"])
def test_a_release_that_was_changed(release, name):
    spoil(release / name)
    finding = only(check_release_and_index(settings(release=release)))
    assert finding.state == "problem"
    assert name in finding.said
    assert "Reinstall" in finding.remedy


def test_a_release_that_lacks_a_file(release):
    (release / "factors.safetensors").unlink()
    assert "factors.safetensors" in only(check_release_and_index(settings(release=release))).said


def test_a_folder_without_a_release(tmp_path):
    finding = only(check_release_and_index(settings(release=tmp_path)))
    assert "There is no model release" in finding.said


def test_an_index_of_another_release(index):
    meta = json.loads((index / opening.META).read_text())
    meta["release_sha256"] = "0" * 64
    (index / opening.META).write_text(json.dumps(meta))
    sound, broken = check_release_and_index(settings(index=index))
    assert sound.state == "ok"
    assert broken.state == "problem"
    assert "cannot be compared" in broken.said
    assert "specformer index build" in broken.remedy


def test_an_index_that_was_changed(index):
    spoil(max(index.rglob("*.lance"), key=lambda path: path.stat().st_size * path.is_file()))
    _, broken = check_release_and_index(settings(index=index))
    assert broken.state == "problem"
    assert "1 files" in broken.said


def test_openvino_agrees_where_it_is_installed():
    finding = only(check_openvino(settings()))
    assert finding.state == "ok"
    assert "agrees" in finding.said or "not installed" in finding.said


@pytest.mark.parametrize(
    ("declared", "state", "said", "remedy"),
    [
        ("numpy>=99", "problem", "numpy", "pip install 'numpy>=99'"),
        ("no-such-package-here<2", "problem", "is missing", "'no-such-package-here<2'"),
        ("numpy>=99; extra == 'train'", "warning", "numpy", "pip install"),
        ("numpy>=1", "ok", "numpy 2", ""),
    ],
)
def test_packages_out_of_range(declared, state, said, remedy):
    finding = only(packages_of([declared]))
    assert finding.state == state
    assert said in finding.said
    assert remedy in finding.remedy


def test_a_package_of_an_extra_may_be_missing():
    assert packages_of(["no-such-package-here>=1; extra == 'dev'"]) == []


def test_folders(tmp_path):
    assert only(check_folders(settings(allow_dirs=[tmp_path]))).state == "ok"
    finding = only(check_folders(settings(allow_dirs=[tmp_path / "nowhere"])))
    assert finding.state == "problem"
    assert "nowhere does not exist" in finding.said


def test_the_store(tmp_path):
    assert "memory only" in only(check_store(settings(store="none"))).said
    folder = tmp_path / "a" / "store"
    assert "empty yet" in only(check_store(settings(store=folder))).said
    assert list(tmp_path.iterdir()) == []  # asking made nothing
    SampleStore(directory=folder).put(sample(1))
    assert "holds 1 samples" in only(check_store(settings(store=folder))).said


def test_a_store_that_cannot_be_written(tmp_path):
    (tmp_path / "file").write_text("not a folder")
    for folder in (tmp_path / "file", tmp_path / "file" / "below", Path("/proc/nothing")):
        finding = only(check_store(settings(store=folder)))
        assert finding.state == "problem"
        assert "--store DIR" in finding.remedy


def test_a_store_that_is_damaged(tmp_path):
    SampleStore(directory=tmp_path).put(sample(1))
    for manifest in (tmp_path / "samples" / "samples.lance" / "_versions").iterdir():
        manifest.write_bytes(b"garbage")
    finding = only(check_store(settings(store=tmp_path)))
    assert finding.state == "warning"
    assert "set it aside" in finding.remedy


def test_room_and_memory():
    assert "GB free" in only(check_disk(settings())).said
    assert available_memory() is None or available_memory() > 1e6
    assert all("GB free" in finding.said for finding in check_memory(settings()))


def test_the_port():
    assert check_port(settings()) == []  # stdio needs none
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        finding = only(check_port(settings(transport="http", port=port)))
    assert finding.state == "problem"
    assert f"127.0.0.1:{port} cannot be bound" in finding.said
    assert only(check_port(settings(transport="http", port=free_port()))).state == "ok"
    nowhere = settings(transport="http", host="256.256.256.256")
    assert only(check_port(nowhere)).state == "problem"


def test_a_client_is_answered():
    finding = only(check_start(settings()))
    assert finding.state in ("ok", "warning"), finding  # a warning where the machine is busy
    assert "embedded the first profile after" in finding.said


def test_a_server_that_ends_at_once(tmp_path):
    finding = only(check_start(settings(allow_dirs=[tmp_path / "nowhere"])))
    assert finding.state == "problem"
    assert "does not exist" in finding.said  # what it said on stderr


def test_a_server_that_cannot_embed(tmp_path):
    finding = only(check_start(settings(release=tmp_path)))
    assert finding.state == "problem"
    assert "There is no model release" in finding.said


def test_the_server_that_is_tried_keeps_nothing(tmp_path):
    environ = environment_of(
        settings(release=tmp_path, allow_dirs=[tmp_path, "/"], port=1),
        {"PATH": "/bin", "SPECFORMER_STORE": "/mine", "SPECFORMER_PORT": "5"},
    )
    assert environ == {
        "PATH": "/bin",
        "SPECFORMER_STORE": "none",
        "SPECFORMER_RELEASE": str(tmp_path),
        "SPECFORMER_ALLOW_DIRS": f"{tmp_path}:/",
        "SPECFORMER_MAX_FILE_BYTES": "1000000000",
        "SPECFORMER_MAX_INFLATED_BYTES": "4000000000",
    }


def test_a_check_that_fails_does_not_stop_the_others(monkeypatch):
    def fails(_):
        raise RuntimeError("broken")

    monkeypatch.setitem(CHECKS, "disk", fails)
    leave_out = frozenset(CHECKS) - {"disk", "port", "python"}
    findings = list(examine(settings(), leave_out=leave_out))
    assert [finding.state for finding in findings] == ["ok", "problem"]
    assert "RuntimeError: broken" in findings[1].said


def test_the_command(capsys, tmp_path, release):
    store = ["--store", str(tmp_path / "store")]
    assert main(["doctor", "--no-start", "--json", *store]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert answer["sound"] is True
    checks = [finding["check"] for finding in answer["findings"]]
    assert checks[:3] == ["settings", "python", "packages"]
    spoil(release / "heads.json")
    assert main(["doctor", "--no-start", *store, "--release", str(release)]) == 1
    shown = capsys.readouterr().out
    assert "✗ release" in shown
    assert "→ Reinstall" in shown
    assert "see the lines marked ✗" in shown


def test_a_wrong_configuration(capsys, tmp_path):
    file = tmp_path / "c.toml"
    file.write_text("prot = 8000\n")
    arguments = ["doctor", "--no-start", "--json", "--config", str(file), "--store", "none"]
    assert main(arguments) == 1
    answer = json.loads(capsys.readouterr().out)
    assert answer["sound"] is False
    first = answer["findings"][0]
    assert (first["check"], first["state"]) == ("settings", "problem")
    assert "'prot'" in first["said"]
    assert first["remedy"] == "Did you mean port?"
    assert len(answer["findings"]) > 6  # the rest was looked at all the same
