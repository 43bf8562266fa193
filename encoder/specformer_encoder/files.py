"""Files and directories on disk: written whole, named last.

A corpus, a release or an index is written into a sibling directory, every file and directory is
fsynced, and only then does a rename give it its name: a reader sees a whole directory or none,
even after a power cut. Where the file system can, an old directory and its successor trade places
in one step, so that there is no moment without either. The same holds for a small file that is
written at once.
"""

from __future__ import annotations

import contextlib
import ctypes
import hashlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

#: Linux, renameat2(2): paths relative to the working directory; swap the two names.
_AT_FDCWD, _RENAME_EXCHANGE = -100, 2


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
    """Rename `partial` to `out`; where `replace` is true, an existing `out` makes way.

    The two trade places in one step where the system offers that. Elsewhere the old directory is
    moved aside first, and back if the rename fails. It is removed only after the new one has the
    name.
    """
    old = out.with_name(f"{out.name}.old-{os.getpid()}")
    if replace and out.exists():
        if _exchange(partial, out):
            fsync(out.parent)
            shutil.rmtree(partial)
            return
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


@contextlib.contextmanager
def only_builder(out: Path) -> Iterator[bool]:
    """Hold the lock of the directory `out` while it is being built; give False if it is taken.

    The system drops the lock with the process, however that ends. The lock file beside `out` may
    then stay behind; the next builder takes it over.
    """
    import fcntl  # not on every system; only building needs it

    path = out.with_name(f"{out.name}.lock")
    while True:
        descriptor = os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o644)
        try:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                yield False
                return
            # The holder before us may have removed the file between our open and our lock.
            if not path.exists() or os.fstat(descriptor).st_ino != path.stat().st_ino:
                continue
            try:
                yield True
            finally:
                path.unlink(missing_ok=True)
            return
        finally:
            os.close(descriptor)


def _exchange(one: Path, other: Path) -> bool:
    """Swap two names in one step; False where the system or the file system cannot."""
    renameat2 = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    if renameat2 is None:
        return False
    names = os.fsencode(one.absolute()), os.fsencode(other.absolute())
    return bool(renameat2(_AT_FDCWD, names[0], _AT_FDCWD, names[1], _RENAME_EXCHANGE) == 0)


def fsync(path: Path) -> None:
    """Bring a file, or the names in a directory, onto the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
