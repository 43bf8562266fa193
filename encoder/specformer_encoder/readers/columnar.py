"""What Parquet and Arrow IPC share: columns are judged by name and type before they are read."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from specformer_encoder.errors import ExpressionValueError, InputFileError
from specformer_encoder.raw import FloatArray
from specformer_encoder.readers.layout import Layout, arrange
from specformer_encoder.readers.matrix import check_width
from specformer_encoder.readers.opening import Limits

_PEEK_ROWS, _PEEK_CELLS = 200, 200_000


def column_names(schema: pa.Schema, source: str) -> list[str]:
    """Names of the columns, none of them twice.

    Raises
    ------
    InputFileError
        Naming the first that is there twice.
    """
    names = [str(name) for name in schema.names]
    twice = [name for i, name in enumerate(names) if name in names[:i]]
    if twice:
        raise InputFileError(
            f"{source!r} has column names more than once, {twice[0]!r} for one.",
            "Give each sample its own name.",
        )
    return names


def peek_rows(columns: int) -> int:
    """How many rows to look at for the layout, fewer the wider the table is."""
    return max(5, min(_PEEK_ROWS, _PEEK_CELLS // columns))


def find_layout(
    schema: pa.Schema, peek: Any, source: str, limits: Limits, *, index: int | None = None
) -> Layout:
    """Decide what the columns mean, and check the number and the types of those with values.

    Parameters
    ----------
    schema
        Of the table.
    peek
        Its first rows.
    source
        File name, for messages.
    limits
        Caps on samples and genes.
    index
        The column that the format itself marks as row names.

    Raises
    ------
    InputFileError, ExpressionValueError
        If there is no gene column, too many columns, or values that are no numbers.
    """
    names = [str(name) for name in schema.names]
    data = list(zip(*(labels(peek.column(j)) for j in range(len(names))), strict=True))
    layout = arrange(names, data, header_rows=0, decimal=".", source=repr(source), id_hint=index)
    check_width(layout, source, limits)
    for j in layout.value_columns:
        kind = schema.field(j).type
        if not (pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_null(kind)):
            raise ExpressionValueError(
                f"Column {layout.names[j]!r} of {source!r} has type {kind}, where numbers were "
                "expected.",
                "Store the values as float or integer, or leave the column out.",
            )
    return layout


def labels(column: Any) -> list[str]:
    """Cells of a column as text, a missing one as an empty string."""
    return ["" if value is None else str(value) for value in column.to_pylist()]


def numbers(columns: Sequence[Any], rows: int) -> FloatArray:
    """(columns, rows) float32, NaN where there is no value."""
    values = np.empty((len(columns), rows), np.float32)
    for row, column in zip(values, columns, strict=True):
        row[:] = column.to_numpy(zero_copy_only=False)
    return values
