"""Parquet matrices: columns are read when their samples are wanted.

A Parquet file holds its columns apart, so a matrix of genes × samples can be read by blocks of
samples from where it lies. One with samples as rows is read once, by rows.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from specformer_encoder.errors import InputFileError
from specformer_encoder.raw import Cells, FloatArray, InMemory, RawMatrix
from specformer_encoder.readers.columnar import (
    column_names,
    find_layout,
    labels,
    numbers,
    peek_rows,
)
from specformer_encoder.readers.layout import Layout
from specformer_encoder.readers.matrix import check_rows, name_matrix
from specformer_encoder.readers.opening import Limits
from specformer_encoder.readers.spool import Spool

_BYTES_PER_VALUE = 4
_BLOCK = 256  # samples read together


def read(path: Path, *, limits: Limits) -> RawMatrix:
    """Read a Parquet matrix; the first text column or pandas' index names the rows.

    Parameters
    ----------
    path
        The file.
    limits
        Caps on bytes, samples and genes. The cap on inflated bytes is held against rows × columns
        before anything is decoded: run-length encoding hides the size of a table.

    Raises
    ------
    InputFileError, ExpressionValueError
        If the file is damaged, too large, no expression table, or holds columns of another type.
    """
    with _readable(path.name):
        file = pq.ParquetFile(path)
    rows, columns = file.metadata.num_rows, file.metadata.num_columns
    if rows * columns * _BYTES_PER_VALUE > limits.max_inflated_bytes:
        raise InputFileError(
            f"{path.name!r} holds {rows:,} × {columns:,} values, more than "
            f"{limits.max_inflated_bytes:,} bytes once decoded, which is the limit.",
            "Split the matrix by samples, or raise the limit.",
        )
    schema = file.schema_arrow
    layout = _layout(file, schema, path.name, limits)
    check_rows(rows, path.name, genes_in_rows=layout.genes_in_rows, limits=limits)
    with _readable(path.name):
        ids = file.read(columns=[schema.names[j] for j in layout.id_columns])
        texts = [labels(ids.column(schema.names[j])) for j in layout.id_columns]
    value_names = [schema.names[j] for j in layout.value_columns]
    if not layout.genes_in_rows:
        spool = Spool(budget=limits.memory_bytes, along_genes=False, source=path.name)
        with _readable(path.name):
            for batch in file.iter_batches(batch_size=_BLOCK, columns=value_names):
                spool.add(_numbers(batch, value_names).T)
        return name_matrix(path, layout, texts, spool.cells(), limits)
    cells: Cells = _ColumnCells(file, value_names, rows, path.name)
    if rows * len(value_names) * _BYTES_PER_VALUE <= limits.memory_bytes:
        whole = np.empty((len(value_names), rows), np.float32)
        for start in range(0, len(whole), _BLOCK):
            whole[start : start + _BLOCK] = cells.rows(start, min(start + _BLOCK, len(whole)))
        cells = InMemory(whole)
    return name_matrix(path, layout, texts, cells, limits)


class _ColumnCells:
    """Samples that are columns of an open Parquet file."""

    def __init__(self, file: Any, names: list[str], genes: int, source: str) -> None:
        self._file = file
        self._names = names
        self._genes = genes
        self._source = source

    def rows(self, start: int, stop: int) -> FloatArray:
        """Samples `start` to `stop`: (stop - start, G) float32."""
        names = self._names[start:stop]
        with _readable(self._source):
            table = self._file.read(columns=names)
            if table.num_rows != self._genes:
                raise pa.ArrowInvalid(f"{table.num_rows} rows where {self._genes} were announced")
            return _numbers(table, names)


def _numbers(table: Any, names: list[str]) -> FloatArray:
    """(columns, rows) of a table or record batch."""
    return numbers([table.column(name) for name in names], table.num_rows)


@contextmanager
def _readable(name: str) -> Iterator[None]:
    try:
        yield
    except (OSError, ValueError, AttributeError, pa.ArrowException) as error:
        raise InputFileError(
            f"{name!r} starts like Parquet and cannot be read ({error}).",
            "It is damaged or was cut off: copy or export it again.",
        ) from None


def _layout(file: Any, schema: Any, source: str, limits: Limits) -> Layout:
    names = column_names(schema, source)
    if file.metadata.num_rows == 0 or len(names) < 2:
        raise InputFileError(
            f"{source!r} has {file.metadata.num_rows} rows and {len(names)} columns.",
            "Give a table with one gene column and at least one column of expression values.",
        )
    try:
        stored = (schema.pandas_metadata or {}).get("index_columns", [])
        index = [names.index(i) for i in stored if isinstance(i, str) and i in names]
    except (AttributeError, TypeError, ValueError):  # damaged; the columns tell as much
        index = []
    with _readable(source):
        peek = next(file.iter_batches(batch_size=peek_rows(len(names))), None)
        if peek is None:
            raise pa.ArrowInvalid("its row groups are missing")
        return find_layout(schema, peek, source, limits, index=next(iter(index), None))
