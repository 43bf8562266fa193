"""H5AD, the file of an AnnData object: samples × genes with what is known of both.

The matrix is read in this order, the first that can be ordered: `X`; the layers `counts`,
`raw_counts`, `raw`, `tpm`, `fpkm`; `raw/X`. `X` is often scaled for clustering, which takes away
each gene's share of its sample. Genes are named by the index of `var` unless another of its
columns names clearly more genes.

Imported only when an .h5ad file is read: h5py and anndata are optional.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py  # type: ignore[import-untyped]
import numpy as np
from anndata.io import read_elem

from specformer_encoder.errors import ExpressionValueError, InputFileError, SpecformerError
from specformer_encoder.raw import FloatArray, RawMatrix
from specformer_encoder.readers.hdf5 import DAMAGED, Contents
from specformer_encoder.readers.layout_names import gene_share
from specformer_encoder.readers.matrix import assemble
from specformer_encoder.readers.opening import Limits, check_size
from specformer_encoder.readers.sparse import SparseRows, cell_notes, compress
from specformer_encoder.units import detect_unit

_LAYERS = ("counts", "raw_counts", "raw", "tpm", "fpkm")
#: Columns of `var` that may name genes.
_GENE_COLUMNS = (
    "gene_ids", "gene_id", "ensembl_id", "ensembl_ids", "ensembl", "ensembl_gene_id", "feature_id",
    "gene_symbols", "gene_symbol", "gene_name", "gene_names", "symbol", "hgnc_symbol",
    "feature_name", "gene", "entrez_id", "entrezgene",
)  # fmt: skip
_CLEARLY = 0.05  # a larger share of known genes than this outweighs the index
_LOOKED_AT = 2000
_ROWS_LOOKED_AT = 64
_VALUE_BYTES = 4


@dataclass(frozen=True, slots=True)
class _Matrix:
    """One matrix of the file, read by rows from where it lies; holds the file open."""

    place: str
    source: str
    shape: tuple[int, int]
    var: Any
    fetch: Callable[[int, int], FloatArray]

    def rows(self, start: int, stop: int) -> FloatArray:
        """Samples `start` to `stop`: (stop - start, G) float32."""
        with _readable(self.source):
            return self.fetch(start, stop)


def read(path: Path, *, limits: Limits) -> RawMatrix:
    """Read an H5AD file.

    Parameters
    ----------
    path
        The file.
    limits
        Caps on bytes, samples and genes; the one on inflated bytes holds for everything that is
        decoded, before it is.

    Returns
    -------
    RawMatrix
        Samples are named by the index of `obs`.

    Raises
    ------
    InputFileError
        If the file is another kind of HDF5, damaged, too large, or reaches outside itself.
    """
    with _readable(path.name):
        contents = Contents(h5py.File(path, "r"), path.name, limits)
        contents.refuse_others()
        return _Reader(contents).read()


@contextmanager
def _readable(source: str) -> Iterator[None]:
    try:
        yield
    except SpecformerError:
        raise
    except Exception as error:  # HDF5 and anndata have no common one for what is damaged
        raise InputFileError(
            f"{source!r} is HDF5 and cannot be read as .h5ad ({str(error)[:200]}).", DAMAGED
        ) from None


class _Reader:
    """Reads one file.

    Parameters
    ----------
    contents
        What the open file holds.
    """

    def __init__(self, contents: Contents) -> None:
        self._contents = contents
        self._source = contents.source
        self._limits = contents.limits

    def read(self) -> RawMatrix:
        """Choose a matrix, name its genes and samples, and read it by blocks."""
        matrix, notes = self._choose()
        samples = self._labels(self._frame("obs"), None)
        genes, more = self._genes(matrix)
        if (len(samples), len(genes)) != matrix.shape:
            raise InputFileError(
                f"{matrix.place} of {self._source!r} is {matrix.shape[0]:,} × "
                f"{matrix.shape[1]:,}, and obs and var name {len(samples):,} samples and "
                f"{len(genes):,} genes.",
                DAMAGED,
            )
        return assemble(
            genes,
            samples,
            matrix,
            source=self._source,
            limits=self._limits,
            file_format="h5ad",
            notes=notes + more + cell_notes(matrix, len(samples)),
        )

    def _choose(self) -> tuple[_Matrix, tuple[str, ...]]:
        """Take the first matrix whose values can be ordered, and say why others were not."""
        layers = {name.lower(): name for name in self._contents.names("layers")}
        places = ["X", *(f"layers/{layers[name]}" for name in _LAYERS if name in layers), "raw/X"]
        notes: list[str] = []
        first: _Matrix | None = None
        for place in places:
            matrix = self._matrix(place)
            if matrix is None:
                continue
            first = first or matrix
            objection = _objection(matrix.rows(0, min(matrix.shape[0], _ROWS_LOOKED_AT)))
            if objection is None:
                if matrix is not first or place != "X":
                    notes.append(f"{place} was read.")
                return matrix, tuple(notes)
            notes.append(f"{place} was passed over: {objection}")
        if first is None:
            raise InputFileError(
                f"{self._source!r} has no matrix: X, counts and raw are empty.",
                "Write the file again with the expression values in X.",
            )
        return first, ()  # what is wrong with its values is said where the unit is decided

    def _matrix(self, place: str) -> _Matrix | None:
        """Look at one matrix: its shape against the caps, and the way to read it."""
        node = self._contents.get(place)
        if node is None or node.attrs.get("encoding-type") == "null":
            return None
        is_group = isinstance(node, h5py.Group)
        shape = (
            node.attrs.get("shape", node.attrs.get("h5sparse_shape")) if is_group else node.shape
        )
        if shape is None or len(shape) != 2:
            raise InputFileError(f"{place} of {self._source!r} is no matrix.", DAMAGED)
        size = (int(shape[0]), int(shape[1]))
        remedy = "Sum the cells of a sample, split the matrix, or raise the limit."
        check_size(self._source, self._limits, samples=size[0], genes=size[1], remedy=remedy)
        if size[0] * size[1] * _VALUE_BYTES > self._limits.max_inflated_bytes:
            raise InputFileError(
                f"{place} of {self._source!r} holds {size[0]:,} × {size[1]:,} values, more than "
                f"{self._limits.max_inflated_bytes:,} bytes in memory, which is the limit.",
                "Split the matrix by samples, or raise the limit.",
            )
        data = node["data"] if is_group else node
        if data.dtype.kind not in "fiub":
            raise ExpressionValueError(
                f"{place} of {self._source!r} has type {data.dtype}, where numbers were expected.",
                "Store the values as float or integer.",
            )
        var = self._frame("raw/var" if place.startswith("raw/") else "var")
        rows = self._sparse(node, size, place) if is_group else _dense(node)
        return _Matrix(place, self._source, size, var, rows)

    def _sparse(
        self, node: Any, shape: tuple[int, int], place: str
    ) -> Callable[[int, int], FloatArray]:
        """Rows of a sparse matrix; one in compressed columns is turned around in memory."""
        kind = node.attrs.get("encoding-type", node.attrs.get("h5sparse_format", ""))
        by_column = str(kind).startswith("csc")
        long = shape[1] if by_column else shape[0]
        starts = np.asarray(node["indptr"][:], np.int64)
        counts = np.diff(starts)
        stored = len(node["data"])
        if len(starts) != long + 1 or starts[0] != 0 or starts[-1] != stored or (counts < 0).any():
            raise InputFileError(
                f"{place} of {self._source!r} has a broken index of its entries.", DAMAGED
            )
        if not by_column:
            return SparseRows(starts, node["indices"], node["data"], shape[1], self._source).rows
        rows = np.asarray(node["indices"][:], np.int64)
        if len(rows) != stored or (stored and not 0 <= rows.min() <= rows.max() < shape[0]):
            raise InputFileError(
                f"{place} of {self._source!r} has entries outside its {shape[0]:,} rows.", DAMAGED
            )
        columns = np.repeat(np.arange(shape[1]), counts)
        data = node["data"][:].astype(np.float32)
        return compress(rows, columns, data, shape=shape, source=self._source).rows

    def _frame(self, place: str) -> Any:
        """`obs` or `var`: a group of columns, or in old files one table."""
        node = self._contents.get(place)
        if node is None:
            raise InputFileError(f"{self._source!r} has no {place}.", DAMAGED)
        return node

    def _labels(self, frame: Any, column: str | None) -> list[str]:
        """Cells of a column of `obs` or `var` as text; of the index where no column is named."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # old files are read all the same
            if isinstance(frame, h5py.Group):
                cells = read_elem(frame[column or str(frame.attrs["_index"])])
            else:
                table = read_elem(frame)
                cells = table.index if column is None else table[column]
        return ["" if cell is None or cell != cell else str(cell) for cell in list(cells)]

    def _genes(self, matrix: _Matrix) -> tuple[list[str], tuple[str, ...]]:
        """Names of the genes: the index of `var` unless a column names clearly more."""
        index = self._labels(matrix.var, None)
        is_group = isinstance(matrix.var, h5py.Group)
        held = list(matrix.var) if is_group else list(matrix.var.dtype.names or ())
        best, share, chosen = index, gene_share(index[:_LOOKED_AT]) + _CLEARLY, ""
        for name in held:
            if name.lower() not in _GENE_COLUMNS:
                continue
            cells = self._labels(matrix.var, name)
            if (found := gene_share(cells[:_LOOKED_AT])) > share and len(cells) == len(index):
                best, share, chosen = cells, found, name
        if not chosen:
            return best, ()
        return best, (f"Genes are named by the column {chosen!r} of var, not by its index.",)


def _dense(node: Any) -> Callable[[int, int], FloatArray]:
    def rows(start: int, stop: int) -> FloatArray:
        with np.errstate(over="ignore"):  # an infinite value is named later
            return np.asarray(node[start:stop]).astype(np.float32)

    return rows


def _objection(rows: FloatArray) -> str | None:
    """Why the values cannot be ordered; None if they can. Empty samples are no objection."""
    known = rows[(~np.isnan(rows)).any(axis=1)]
    known = known[np.nanmax(known, axis=1) > np.nanmin(known, axis=1)] if len(known) else known
    if not len(known):
        return "it is empty."
    try:
        detect_unit(known)
    except ExpressionValueError as error:
        return error.problem
    return None
