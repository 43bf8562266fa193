"""Expression matrices, delimited or Parquet: genes × samples, or samples × genes.

What a matrix means is decided in `layout`; here the columns are read, turned to (samples, genes),
and checked for what no later step could mend: samples of the same name, infinite values, nothing
measured. A gene without a value in every sample was not measured and is dropped; one without a
value in some samples stays, NaN there. Gene identifiers are left as they stand, repeated ones too.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from specformer_encoder.errors import ExpressionValueError, InputFileError
from specformer_encoder.raw import RawMatrix
from specformer_encoder.readers.delimited import Head, parse
from specformer_encoder.readers.layout import VALUE_NAMES, Layout, arrange, find_layout
from specformer_encoder.readers.opening import Limits, stem

_PEEK_ROWS = 200
_PEEK_CELLS = 200_000
_BYTES_PER_VALUE = 4
#: Totals that counting programs write among the genes: STAR's N_… and HTSeq's __… rows.
_TOTALS = ("N_unmapped", "N_multimapping", "N_noFeature", "N_ambiguous", "__")


def read_delimited(path: Path, head: Head, *, limits: Limits) -> RawMatrix:
    """Read a delimited matrix.

    Parameters
    ----------
    path, head
        The file and its head.
    limits
        Caps on bytes, samples and genes.
    """
    layout = find_layout(head.rows, decimal=head.decimal, source=repr(path.name))
    _check_width(layout, path.name, limits)
    texts, values = parse(
        path,
        head,
        names=layout.names,
        header_rows=layout.header_rows,
        text_columns=list(layout.id_columns),
        value_columns=layout.value_columns,
        limits=limits,
    )
    return _from_columns(path, layout, texts, values, limits)


def read_parquet(path: Path, *, limits: Limits) -> RawMatrix:
    """Read a Parquet matrix; the first text column or pandas' index names the rows.

    Parameters
    ----------
    path
        The file.
    limits
        Caps on bytes, samples and genes. The cap on inflated bytes is held against rows × columns
        before anything is decoded: run-length encoding hides the size of a table.
    """
    try:
        with pq.ParquetFile(path) as file:
            rows, columns = file.metadata.num_rows, file.metadata.num_columns
            if rows * columns * _BYTES_PER_VALUE > limits.max_inflated_bytes:
                raise InputFileError(
                    f"{path.name!r} holds {rows:,} × {columns:,} values, more than "
                    f"{limits.max_inflated_bytes:,} bytes once decoded, which is the limit.",
                    "Split the matrix by samples, or raise the limit.",
                )
            if rows > max(limits.max_genes, limits.max_samples):
                raise _too_many(path.name, rows, "rows", max(limits.max_genes, limits.max_samples))
            table = file.read()
    except (OSError, pa.ArrowException) as error:
        raise InputFileError(
            f"{path.name!r} starts like Parquet and cannot be read ({error}).",
            "It is damaged or was cut off: copy or export it again.",
        ) from None
    return from_table(table, path, limits=limits)


def from_table(table: Any, path: Path, *, limits: Limits) -> RawMatrix:
    """Lay out a table that Arrow has decoded.

    Parameters
    ----------
    table
        An Arrow table, whatever its columns.
    path
        The file it came from.
    limits
        Caps on samples and genes.
    """
    layout = _parquet_layout(table, path.name)
    _check_width(layout, path.name, limits)
    texts = [
        [_label(v) for v in table.column(j).to_pylist()] for j in layout.id_columns
    ]  # fmt: skip
    values = np.empty((len(layout.value_columns), table.num_rows), np.float32)
    for i, j in enumerate(layout.value_columns):
        kind = table.schema.field(j).type
        if not (pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_null(kind)):
            raise ExpressionValueError(
                f"Column {layout.names[j]!r} of {path.name!r} has type {kind}, where numbers were "
                "expected.",
                "Store the values as float or integer, or leave the column out.",
            )
        values[i] = table.column(j).to_numpy()
    return _from_columns(path, layout, texts, values, limits)


def _parquet_layout(table: Any, name: str) -> Layout:
    names = [str(n) for n in table.column_names]
    if table.num_rows == 0 or len(names) < 2:
        raise InputFileError(
            f"{name!r} has {table.num_rows} rows and {len(names)} columns.",
            "Give a table with one gene column and at least one column of expression values.",
        )
    stored = json.loads((table.schema.metadata or {}).get(b"pandas", b"{}")).get(
        "index_columns", []
    )
    index = [i for i in stored if isinstance(i, str) and i in names]
    hint = names.index(index[0]) if index else None
    peek = table.slice(0, max(5, min(_PEEK_ROWS, _PEEK_CELLS // len(names))))
    cells = [[_label(v) for v in peek.column(j).to_pylist()] for j in range(len(names))]
    data = list(zip(*cells, strict=True))
    return arrange(names, data, header_rows=0, decimal=".", source=repr(name), id_hint=hint)


def _label(value: Any) -> str:
    return "" if value is None else str(value)


def _from_columns(
    path: Path,
    layout: Layout,
    texts: list[list[str]],
    columns: npt.NDArray[np.float32],
    limits: Limits,
) -> RawMatrix:
    """Name samples and genes, and turn columns (C, rows) to (samples, genes)."""
    labels = [text.strip() for text in texts[0]]
    if len(texts) == 2:
        labels = [_composite(a, b.strip()) for a, b in zip(labels, texts[1], strict=True)]
    headers = [layout.names[j] for j in layout.value_columns]
    if not layout.genes_in_rows:
        values = np.ascontiguousarray(columns.T)
        return assemble(
            headers, labels, values, source=path.name, limits=limits, notes=layout.notes
        )
    generic = [h.lower() in VALUE_NAMES for h in headers]
    if len(headers) == 1 and generic[0]:
        headers = [stem(path)]
    elif all(generic) and len(headers) > 1:
        raise InputFileError(
            f"The columns of {path.name!r} are quantities of one sample "
            f"({', '.join(headers[:6])}), not samples.",
            "Keep the gene column and one of them: counts, or TPM.",
        )
    return assemble(labels, headers, columns, source=path.name, limits=limits, notes=layout.notes)


def _composite(symbol: str, entrez: str) -> str:
    """Join symbol and Entrez id as TCGA does; ``?`` stands for a gene without a symbol."""
    entrez = entrez.removesuffix(".0")
    if not entrez.isdigit():  # missing, or -1 as cBioPortal writes it
        return symbol
    return f"{symbol or '?'}|{entrez}"


def _check_width(layout: Layout, name: str, limits: Limits) -> None:
    """Refuse too many value columns before they are parsed."""
    most, what = (
        (limits.max_samples, "samples") if layout.genes_in_rows else (limits.max_genes, "genes")
    )
    if len(layout.value_columns) > most:
        raise _too_many(name, len(layout.value_columns), what, most)


def _too_many(name: str, number: int, what: str, most: int) -> InputFileError:
    return InputFileError(
        f"{name!r} has {number:,} {what}; the limit is {most:,}.",
        "Split the matrix, or raise the limit.",
    )


def assemble(
    gene_ids: Sequence[str],
    samples: Sequence[str],
    values: npt.NDArray[np.float32],
    *,
    source: str,
    limits: Limits,
    file_format: str = "matrix",
    declared_unit: str | None = None,
    notes: tuple[str, ...] = (),
) -> RawMatrix:
    """Check and build a `RawMatrix`.

    Parameters
    ----------
    gene_ids, samples
        G and S names.
    values
        (S, G) float32, NaN where there is no value.
    source, file_format, declared_unit, notes
        As in `RawMatrix`.
    limits
        Caps on samples and genes.

    Raises
    ------
    InputFileError
        If samples repeat or have no name, or there are too many samples or genes, or none.
    ExpressionValueError
        If a value is infinite or a sample has no value at all.
    """
    if len(samples) > limits.max_samples:
        raise _too_many(source, len(samples), "samples", limits.max_samples)
    if len(gene_ids) > limits.max_genes:
        raise _too_many(source, len(gene_ids), "genes", limits.max_genes)
    repeated = [name for name, n in Counter(samples).items() if n > 1]
    if repeated or "" in samples:
        problem = (
            f"{source!r} has sample names more than once, {len(repeated)} in all: "
            + ", ".join(map(repr, repeated[:5]))
            if repeated and repeated != [""]
            else f"{source!r} has a sample without a name (number {list(samples).index('') + 1})"
        )
        raise InputFileError(f"{problem}.", "Give each sample its own name.")
    infinite = np.argwhere(np.isinf(values))
    if len(infinite):
        s, g = infinite[0]
        raise ExpressionValueError(
            f"{source!r} has an infinite value at gene {gene_ids[g]!r}, sample {samples[s]!r} "
            f"({len(infinite)} in all).",
            "Undo the step that divided by zero or took the log of zero.",
        )
    measured = ~np.isnan(values)
    silent = np.flatnonzero(~np.any(measured, axis=1))
    if len(silent):
        raise ExpressionValueError(
            f"Sample {samples[silent[0]]!r} in {source!r} has no value at all.",
            "Leave the sample out.",
        )
    keep = measured.any(axis=0) & ~np.array([g.startswith(_TOTALS) for g in gene_ids], bool)
    if not keep.any():
        raise InputFileError(f"{source!r} has no gene with a value.", "Export the table again.")
    if not keep.all():
        values = values[:, keep]
        gene_ids = [g for g, kept in zip(gene_ids, keep, strict=True) if kept]
    return RawMatrix(
        gene_ids=list(gene_ids),
        samples=list(samples),
        values=values,
        source=source,
        format=file_format,
        declared_unit=declared_unit,
        notes=notes,
    )
