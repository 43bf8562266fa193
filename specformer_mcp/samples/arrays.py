"""The arrays of samples: files that are named by the content of the values.

They are nearly all of a sample's bytes and never change, so they stay out of the table, whose every
compaction would write them anew. Samples of the same content share their files, whosever they are.
A file is written whole or not at all.
"""

from __future__ import annotations

import contextlib
from collections.abc import Container, Iterable
from pathlib import Path

from specformer_mcp.samples.folder import make_private

_VALUES, _VECTORS, _PARTIAL = ".values", ".vectors", ".partial"


class ArrayFiles:
    """Packed values, and what the encoder made of them, by content; one process writes at a time.

    Parameters
    ----------
    folder
        Where the files lie; made when the first is written.

    Raises
    ------
    OSError
        By every method, whatever the disk says.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def values(self, content: str) -> bytes | None:
        """Return the packed values, or None."""
        return self._read(content, _VALUES)

    def vectors(self, content: str) -> bytes | None:
        """Return the packed embedding, or None."""
        return self._read(content, _VECTORS)

    def write(self, content: str, *, values: bytes, vectors: bytes | None) -> None:
        """Write the files of a content, each in place of an older one."""
        self._write(content, _VALUES, values)
        if vectors is not None:
            self._write(content, _VECTORS, vectors)

    def add_vectors(self, content: str, vectors: bytes) -> None:
        """Write an embedding beside values that are there; without them, do nothing."""
        if (self._folder / f"{content}{_VALUES}").exists():
            self._write(content, _VECTORS, vectors)

    def remove(self, contents: Iterable[str]) -> None:
        """Remove the files of these contents."""
        for content in contents:
            for kind in (_VALUES, _VECTORS):
                (self._folder / f"{content}{kind}").unlink(missing_ok=True)

    def keep_only(self, contents: Container[str]) -> None:
        """Remove what a writer that was cut short has left."""
        with contextlib.suppress(FileNotFoundError):
            for path in list(self._folder.iterdir()):
                if path.suffix == _PARTIAL or path.stem not in contents:
                    path.unlink(missing_ok=True)

    def _read(self, content: str, kind: str) -> bytes | None:
        try:
            return (self._folder / f"{content}{kind}").read_bytes()
        except FileNotFoundError:
            return None

    def _write(self, content: str, kind: str, packed: bytes) -> None:
        make_private(self._folder)
        partial = self._folder / f"{content}{kind}{_PARTIAL}"
        partial.write_bytes(packed)
        partial.replace(self._folder / f"{content}{kind}")
