"""Where the samples of a user lie on the disk, and who may look at them."""

from __future__ import annotations

import contextlib
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path

_PRIVATE = 0o700
_POLL_S = 0.005


class BusyError(OSError):
    """Another process has held the lock for longer than we wait."""


def data_folder() -> Path:
    """Return the user's data folder of this program, as the platform has it."""
    base = os.environ.get("XDG_DATA_HOME")
    if base and Path(base).is_absolute():
        return Path(base) / "specformer"
    if sys.platform == "win32":
        local = os.environ.get("LOCALAPPDATA")
        return (Path(local) if local else Path.home() / "AppData" / "Local") / "specformer"
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Application Support" / "specformer"
    return Path.home() / ".local" / "share" / "specformer"


def make_private(folder: Path) -> None:
    """Make a folder that only its user can open; one that is there becomes so."""
    folder.mkdir(mode=_PRIVATE, parents=True, exist_ok=True)
    if folder.stat().st_mode & 0o777 != _PRIVATE:
        folder.chmod(_PRIVATE)


@contextlib.contextmanager
def only_writer(path: Path, *, wait_s: float) -> Iterator[None]:
    """Hold the lock file `path`; the system drops it with the process, however that ends.

    Raises
    ------
    BusyError
        Somebody else holds it for longer than `wait_s` seconds.
    """
    try:
        import fcntl
    except ImportError:  # Windows: one process at a time is all that is promised there
        yield
        return
    descriptor = os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
    try:
        deadline = time.monotonic() + wait_s
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise BusyError(f"another process holds {path}") from None
                time.sleep(_POLL_S)
        yield
    finally:
        os.close(descriptor)
