"""Files and directories on disk: written whole, named last.

A release or an index is written into a sibling directory, every file and directory is fsynced, and
only then does a rename give it its name: a reader sees a whole directory or none, even after a
power cut. The same holds for a small file that is written at once.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from pathlib import Path


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file's content as hexadecimal text."""
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def hash_tree(root: Path, *, leave_out: frozenset[str] = frozenset()) -> dict[str, str]:
    """Return the SHA-256 of every file under `root`, keyed by its relative POSIX path."""
    return {
        path.relative_to(root).as_posix(): sha256_of(path)
        for path in sorted(root.rglob("*"))
        if path.is_file() and path.name not in leave_out
    }


def sync_tree(root: Path) -> None:
    """Fsync every file under `root`, then every directory, deepest first."""
    paths = sorted(root.rglob("*"), key=lambda path: len(path.parts), reverse=True)
    for path in [p for p in paths if p.is_file()] + [p for p in paths if p.is_dir()] + [root]:
        fsync(path)


def write_whole(path: Path, content: bytes) -> None:
    """Give `path` new content: a reader sees the old or the new, never a part of it.

    Only one process may write at a time; what one that was killed leaves is overwritten.
    """
    partial = unfinished(path)
    with partial.open("wb") as handle:
        handle.write(content)
        handle.flush()
        os.fsync(handle.fileno())
    partial.replace(path)
    fsync(path.parent)


def unfinished(path: Path) -> Path:
    """Return where `write_whole` writes before the rename."""
    return path.with_name(f"{path.name}.new")


def move_into_place(partial: Path, out: Path, *, replace: bool) -> None:
    """Rename `partial` to `out`, moving an existing `out` aside first when `replace` is true.

    The old directory is removed only after the new one has the name, and is moved back if the
    rename fails.
    """
    old = out.with_name(f"{out.name}.old-{os.getpid()}")
    if replace and out.exists():
        out.rename(old)
    try:
        partial.rename(out)
    except OSError:
        if old.exists():
            old.rename(out)
        raise
    fsync(out.parent)
    if old.exists():
        shutil.rmtree(old)


def fsync(path: Path) -> None:
    """Bring a file, or the names in a directory, onto the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
