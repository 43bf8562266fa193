"""A table that may outgrow memory: pieces go in as they are parsed, samples come out by blocks.

Text stands in rows of genes and is wanted by samples. Each parsed piece is turned once and kept as
a tile, (samples, some genes). Tiles stay in memory up to a budget; then they move to an unnamed
temporary file, which the operating system removes whatever becomes of the process. A block of
samples is one contiguous read from each tile.
"""

from __future__ import annotations

import tempfile
import weakref
from typing import IO

import numpy as np

from specformer_encoder.errors import InputFileError
from specformer_encoder.raw import Cells, FloatArray, InMemory

_BYTES_PER_VALUE = 4


class Spool:
    """Tiles in memory, or in a temporary file once they pass a budget.

    Parameters
    ----------
    budget
        Bytes kept in memory.
    along_genes
        True where a tile holds all samples and some genes, False where it holds some samples and
        all genes.
    source
        The file's name, for messages.
    """

    def __init__(self, *, budget: int, along_genes: bool, source: str) -> None:
        self._budget = budget
        self._along_genes = along_genes
        self._source = source
        self._tiles: list[FloatArray] = []
        self._shapes: list[tuple[int, int]] = []
        self._bytes = 0
        self._file: IO[bytes] | None = None

    def add(self, tile: FloatArray) -> None:
        """Take the next (samples, genes) tile.

        Raises
        ------
        InputFileError
            If the temporary folder is full.
        """
        self._shapes.append((tile.shape[0], tile.shape[1]))
        self._bytes += tile.size * _BYTES_PER_VALUE
        self._tiles.append(np.ascontiguousarray(tile, np.float32))
        if self._file is None and self._bytes <= self._budget:
            return
        try:
            if self._file is None:
                self._file = tempfile.TemporaryFile(prefix="specformer-")  # noqa: SIM115
                weakref.finalize(self, self._file.close)
            for waiting in self._tiles:
                self._file.write(waiting.data)
        except OSError as error:
            raise InputFileError(
                f"{self._source!r} is larger than the memory set aside for it, and the temporary "
                f"folder cannot take its values ({error.strerror}; {self._bytes:,} bytes so far).",
                "Free space there, or set TMPDIR to a folder on a larger disk.",
            ) from None
        self._tiles.clear()

    def cells(self) -> Cells:
        """The whole table: an array if it stayed within the budget, else this spool."""
        if self._file is None and self._tiles:
            whole = np.concatenate(self._tiles, axis=1 if self._along_genes else 0)
            self._tiles.clear()
            return InMemory(whole)
        if self._file is not None:
            self._file.flush()
        return self

    def rows(self, start: int, stop: int) -> FloatArray:
        """Samples `start` to `stop`: (stop - start, G) float32."""
        blocks: list[FloatArray] = []
        offset = first = 0
        for samples, genes in self._shapes:
            low, high = (start, stop) if self._along_genes else (start - first, stop - first)
            low, high = max(low, 0), min(high, samples)
            if low < high:
                blocks.append(self._read(offset + low * genes, high - low, genes))
            offset += samples * genes
            first += samples
        if not blocks:
            return np.empty((0, self._shapes[0][1] if self._shapes else 0), np.float32)
        return np.concatenate(blocks, axis=1 if self._along_genes else 0)

    def _read(self, offset: int, samples: int, genes: int) -> FloatArray:
        assert self._file is not None  # noqa: S101 - cells() gives an array otherwise
        block = np.empty((samples, genes), np.float32)
        self._file.seek(offset * _BYTES_PER_VALUE)
        self._file.readinto(block.data.cast("B"))  # type: ignore[attr-defined]
        return block
