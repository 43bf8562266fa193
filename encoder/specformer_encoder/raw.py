"""What a reader returns: a file's numbers exactly as they stand in it.

A matrix of a whole cohort may be larger than memory, so the numbers are asked for by rows (samples)
and come from where they lie: an array, columns of a Parquet file, a temporary file.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float32]


class Cells(Protocol):
    """S samples × G genes that are fetched when they are needed."""

    def rows(self, start: int, stop: int) -> FloatArray:
        """Samples `start` to `stop`: (stop - start, G) float32, NaN where there is no value."""


@dataclass(frozen=True, slots=True)
class InMemory:
    """Cells that are an array."""

    array: FloatArray

    def rows(self, start: int, stop: int) -> FloatArray:
        """A view of the array."""
        return self.array[start:stop]


@dataclass(frozen=True, slots=True)
class SomeGenes:
    """Cells of which some genes are left out.

    Attributes
    ----------
    cells
        Of all genes.
    keep
        (K,) positions of the genes that stay.
    """

    cells: Cells
    keep: npt.NDArray[np.int64]

    def rows(self, start: int, stop: int) -> FloatArray:
        """Samples `start` to `stop` of the K genes."""
        return self.cells.rows(start, stop)[:, self.keep]


@dataclass(frozen=True, slots=True)
class RawMatrix:
    """A file's expression values before anything is decided about them.

    Attributes
    ----------
    gene_ids
        Identifiers in file order, G of them.
    samples
        Sample names in file order, S of them.
    cells
        The values, S × G.
    source
        The file's name, for messages.
    format
        Which reader read it.
    declared_unit
        The unit that the format itself declares, else None.
    notes
        What the reader decided and a user would want to know, one sentence each.
    """

    gene_ids: list[str]
    samples: list[str]
    cells: Cells
    source: str
    format: str
    declared_unit: str | None = None
    notes: tuple[str, ...] = ()

    def rows(self, start: int, stop: int) -> FloatArray:
        """Samples `start` to `stop`: (stop - start, G) float32; NaN where the file has no value."""
        return self.cells.rows(start, stop)

    @property
    def values(self) -> FloatArray:
        """(S, G) float32, all at once; NaN where the file has no value."""
        return self.rows(0, len(self.samples))
