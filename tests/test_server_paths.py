"""Allowed folders: what a path may reach, however it is written."""

import os
from pathlib import Path

import pytest

from specformer_encoder.errors import SpecformerError
from specformer_mcp.paths import AllowedFolders, examples_dir


@pytest.fixture
def place(tmp_path):
    inside, outside = tmp_path / "in", tmp_path / "out"
    inside.mkdir()
    outside.mkdir()
    (inside / "a.tsv").write_text("x")
    (outside / "secret.tsv").write_text("x")
    return inside, outside, AllowedFolders((inside.resolve(),), inside.resolve())


def test_files_inside(place):
    inside, _, folders = place
    assert folders.resolve(str(inside / "a.tsv")) == inside / "a.tsv"
    assert folders.resolve("a.tsv") == inside / "a.tsv"
    assert folders.resolve(str(inside / ".." / "in" / "a.tsv")) == inside / "a.tsv"


def test_files_outside_however_written(place):
    inside, outside, folders = place
    (inside / "link.tsv").symlink_to(outside / "secret.tsv")
    (inside / "dir").symlink_to(outside)
    sibling = inside.with_name("inner")
    sibling.mkdir()
    (sibling / "b.tsv").write_text("x")
    for path in (
        outside / "secret.tsv",
        inside / "link.tsv",
        inside / "dir" / "secret.tsv",
        Path("../out/secret.tsv"),
        sibling / "b.tsv",
        outside / "does-not-exist",
    ):
        with pytest.raises(SpecformerError, match="outside the folders") as caught:
            folders.resolve(str(path))
        assert "--allow-dir" in str(caught.value)
        assert "SPECFORMER_ALLOW_DIRS" in str(caught.value)
        assert str(inside) in str(caught.value)


def test_a_home_that_is_not_allowed(place, monkeypatch):
    _, outside, folders = place
    monkeypatch.setenv("HOME", str(outside))
    with pytest.raises(SpecformerError, match="outside the folders"):
        folders.resolve("~/secret.tsv")


@pytest.mark.parametrize("path", ["", "  ", "a\0b", "a.tsv\0"])
def test_malformed_paths(place, path):
    with pytest.raises(SpecformerError, match="empty or holds a NUL"):
        place[2].resolve(path)


def test_what_is_no_file(place):
    inside, _, folders = place
    with pytest.raises(SpecformerError, match="no readable file"):
        folders.resolve("missing.tsv")
    assert folders.resolve(str(inside)) == inside.resolve()  # some formats are folders
    os.mkfifo(inside / "pipe")
    with pytest.raises(SpecformerError, match="not a regular file"):
        folders.resolve("pipe")
    loop = inside / "loop"
    loop.symlink_to(loop)
    with pytest.raises(SpecformerError):
        folders.resolve("loop")
    with pytest.raises(SpecformerError):
        folders.resolve("n" * 5000)


def test_stdio_allows_the_working_and_the_home_directory(place, monkeypatch):
    inside, outside, _ = place
    monkeypatch.chdir(inside)
    monkeypatch.setenv("HOME", str(outside))
    monkeypatch.delenv("SPECFORMER_ALLOW_DIRS", raising=False)
    folders = AllowedFolders.for_stdio()
    assert folders.resolve("a.tsv") == inside / "a.tsv"
    assert folders.resolve("~/secret.tsv") == outside / "secret.tsv"
    assert examples_dir() in folders.folders


def test_stdio_never_allows_the_whole_machine(monkeypatch):
    monkeypatch.chdir("/")
    monkeypatch.setenv("HOME", "/")
    assert Path("/") not in AllowedFolders.for_stdio().folders


def test_http_allows_only_what_was_named(place, monkeypatch):
    inside, outside, _ = place
    monkeypatch.chdir(outside)
    monkeypatch.setenv("HOME", str(outside))
    monkeypatch.delenv("SPECFORMER_ALLOW_DIRS", raising=False)
    folders = AllowedFolders.for_http([str(inside)])
    assert folders.resolve("a.tsv") == inside / "a.tsv"
    with pytest.raises(SpecformerError, match="outside the folders"):
        folders.resolve(str(outside / "secret.tsv"))
    with pytest.raises(SpecformerError, match="relative"):
        AllowedFolders.for_http().resolve("secret.tsv")


def test_the_environment_names_folders_too(place, monkeypatch):
    inside, outside, _ = place
    monkeypatch.setenv("SPECFORMER_ALLOW_DIRS", os.pathsep.join([str(inside), str(outside)]))
    folders = AllowedFolders.for_http()
    assert folders.resolve(str(outside / "secret.tsv")) == outside / "secret.tsv"
    monkeypatch.setenv("SPECFORMER_ALLOW_DIRS", str(inside / "nowhere"))
    with pytest.raises(SpecformerError, match="does not exist"):
        AllowedFolders.for_http()
