"""Sparse matrices of samples × genes: one block of rows at a time, and never beyond the matrix.

An entry that is not stored is a zero that was measured, not a missing value. Positions come from a
file that nobody has vouched for, so they are checked before anything is written to them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from specformer_encoder.errors import InputFileError
from specformer_encoder.raw import Cells

#: Fewer detected genes than this in the middle sample, of many measured ones: cells, not tissue.
#: Bulk libraries detect 12,000 to 18,000 protein-coding genes, droplets 500 to 5,000.
_CELL_GENES = 6_000
_MANY_GENES = 12_000
_SAMPLES_LOOKED_AT = 256


@dataclass(frozen=True, slots=True)
class SparseRows:
    """A matrix in compressed rows; arrays or HDF5 datasets, which are read by slices.

    Attributes
    ----------
    starts
        (S + 1,) where each row's entries start.
    columns, data
        Column and value of each entry.
    width
        Number of columns.
    source
        File name, for messages.
    """

    starts: npt.NDArray[np.int64]
    columns: Any
    data: Any
    width: int
    source: str

    def rows(self, start: int, stop: int) -> npt.NDArray[np.float32]:
        """Rows as a dense block.

        Returns
        -------
        (stop - start, width) float32; entries of the same place are added.

        Raises
        ------
        InputFileError
            If an entry lies outside the matrix.
        """
        first, last = int(self.starts[start]), int(self.starts[stop])
        counts = np.diff(self.starts[start : stop + 1])
        columns = np.asarray(self.columns[first:last])
        data = np.asarray(self.data[first:last])
        inside = len(columns) == len(data) == last - first and (counts >= 0).all()
        if not inside or (len(columns) and not 0 <= columns.min() <= columns.max() < self.width):
            raise InputFileError(
                f"{self.source!r} has entries outside its {self.width:,} columns.",
                "It is damaged: copy or export it again.",
            )
        block = np.zeros((stop - start, self.width), np.float32)
        with np.errstate(over="ignore"):  # an infinite value is named later
            np.add.at(
                block, (np.repeat(np.arange(stop - start), counts), columns), data.astype("f4")
            )
        return block


def compress(
    rows: npt.NDArray[np.int64],
    columns: npt.NDArray[np.int64],
    data: npt.NDArray[np.float32],
    *,
    shape: tuple[int, int],
    source: str,
) -> SparseRows:
    """Sort entries (row, column, value) by row.

    Parameters
    ----------
    rows, columns, data
        (N,) each, positions from 0 and within `shape`.
    shape
        Rows and columns.
    source
        File name, for messages.
    """
    order = np.argsort(rows, kind="stable")
    starts = np.zeros(shape[0] + 1, np.int64)
    np.cumsum(np.bincount(rows, minlength=shape[0]), out=starts[1:])
    return SparseRows(starts, columns[order], data[order], shape[1], source)


def cell_notes(cells: Cells, samples: int) -> tuple[str, ...]:
    """Say so when samples look like single cells.

    Parameters
    ----------
    cells
        Samples × genes.
    samples
        How many there are; the first few hundred are looked at.
    """
    values = cells.rows(0, min(samples, _SAMPLES_LOOKED_AT))
    detected = float(np.median((values > 0).sum(axis=1))) if len(values) else 0.0
    if values.shape[1] < _MANY_GENES or detected >= _CELL_GENES:
        return ()
    return (
        f"The samples look like single cells or very shallow libraries: the middle one has "
        f"{detected:,.0f} genes above zero of {values.shape[1]:,}. SpecFormer knows bulk tissue; "
        "sum the cells of a sample (pseudobulk) first.",
    )
