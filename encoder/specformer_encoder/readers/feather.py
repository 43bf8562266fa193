"""Feather (version 2, which is an Arrow IPC file) and Arrow IPC streams.

The file is mapped, not read, and every message says how long its buffers are once decompressed.
That is added up before anything is decoded, because Zstandard hides the size of a table as well as
a zip bomb does. Layout of a message: Arrow columnar format specification, "Encapsulated message
format", and Message.fbs.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.ipc as ipc

from specformer_encoder.errors import InputFileError
from specformer_encoder.raw import RawMatrix
from specformer_encoder.readers.columnar import (
    column_names,
    find_layout,
    labels,
    numbers,
    peek_rows,
)
from specformer_encoder.readers.matrix import name_matrix, spool_pieces
from specformer_encoder.readers.opening import Limits
from specformer_encoder.readers.pieces import Piece

_FILE, _STREAM, _VERSION_1 = b"ARROW1", b"\xff\xff\xff\xff", b"FEA1"
_PADDED = 8  # the file's magic, padded; what follows is a stream
_DICTIONARY, _BATCH = 2, 3  # MessageHeader in Message.fbs


def matches(head: bytes) -> bool:
    """Whether a file's first bytes are those of Arrow IPC or Feather."""
    # A stream opens with a continuation mark and the length of its schema, never a large one.
    stream = head.startswith(_STREAM) and head[7:8] == b"\x00"
    return stream or head.startswith((_FILE, _VERSION_1))


def read(path: Path, head: bytes, *, limits: Limits) -> RawMatrix:
    """Read a Feather or Arrow IPC table.

    Parameters
    ----------
    path, head
        The file and its first bytes.
    limits
        Caps on bytes, samples and genes; the one on inflated bytes holds for the decoded buffers.

    Raises
    ------
    InputFileError
        If it is Feather version 1, is compressed as a whole, is damaged, or decodes to too much.
    """
    if head.startswith(_VERSION_1):
        raise InputFileError(
            f"{path.name!r} is Feather version 1, which Arrow no longer reads.",
            "Write it again as version 2 (the default of pandas, pyarrow and R's arrow).",
        )
    with pa.memory_map(str(path)) as file:
        if file.read(4) != head[:4]:
            raise InputFileError(
                f"{path.name!r} is an Arrow file inside another compression.",
                "Decompress it: Arrow is compressed within.",
            )
        with _readable(path.name):
            file.seek(_PADDED if head.startswith(_FILE) else 0)
            _check_size(file, path.name, limits)
            file.seek(0)
            schema, batches = _open(file, is_file=head.startswith(_FILE))
            return _read_batches(path, schema, batches, limits)


def _open(file: Any, *, is_file: bool) -> tuple[Any, Iterator[Any]]:
    """Schema and record batches, each decoded and checked when it is its turn."""
    if not is_file:
        stream = ipc.open_stream(file)
        return stream.schema, map(_checked, stream)
    opened = ipc.open_file(file)
    batches = (opened.get_batch(i) for i in range(opened.num_record_batches))
    return opened.schema, map(_checked, batches)


def _checked(batch: Any) -> Any:
    """The same batch; offsets and texts that are broken raise."""
    batch.validate(full=True)
    return batch


def _read_batches(path: Path, schema: Any, batches: Iterator[Any], limits: Limits) -> RawMatrix:
    """Lay out the columns by the first batch, and take up all batches."""
    names = column_names(schema, path.name)
    first = next((batch for batch in batches if batch.num_rows), None)
    if first is None or len(names) < 2:
        raise InputFileError(
            f"{path.name!r} has {'no rows' if first is None else 'one column'}.",
            "Give a table with one gene column and at least one column of expression values.",
        )
    layout = find_layout(schema, first.slice(0, peek_rows(len(names))), path.name, limits)
    pieces = (
        Piece(
            [labels(batch.column(j)) for j in layout.id_columns],
            numbers([batch.column(j) for j in layout.value_columns], batch.num_rows),
        )
        for batch in chain((first,), batches)
    )
    texts, cells = spool_pieces(
        pieces,
        path.name,
        text_columns=len(layout.id_columns),
        genes_in_rows=layout.genes_in_rows,
        limits=limits,
    )
    return name_matrix(path, layout, texts, cells, limits)


@contextmanager
def _readable(source: str) -> Iterator[None]:
    try:
        yield
    except (
        OSError,
        ValueError,
        IndexError,
        OverflowError,
        pa.ArrowException,
        struct.error,
    ) as error:
        raise InputFileError(
            f"{source!r} starts like Feather or Arrow IPC and cannot be read ({error}).",
            "It is damaged or was cut off: copy or export it again.",
        ) from None


def _check_size(file: Any, source: str, limits: Limits) -> None:
    """Add up what the messages hold once decoded, against the caps."""
    rows = size = 0
    messages = ipc.MessageReader.open_stream(file)
    while (message := _next(messages)) is not None:
        length, decoded = _message_size(message)
        rows, size = rows + length, size + decoded
        if size > limits.max_inflated_bytes:
            raise InputFileError(
                f"{source!r} holds more than {limits.max_inflated_bytes:,} bytes once decoded, "
                "which is the limit.",
                "Split the matrix by samples, or raise the limit.",
            )
    most = max(limits.max_genes, limits.max_samples)
    if rows > most:
        raise InputFileError(
            f"{source!r} has {rows:,} rows; the limit is {most:,}.",
            "Split the matrix, or raise the limit.",
        )


def _next(messages: Any) -> Any:
    try:
        return messages.read_next_message()
    except StopIteration:
        return None


def _message_size(message: Any) -> tuple[int, int]:
    """Rows of a record batch (0 for other messages), and bytes of its buffers once decoded."""
    metadata = message.metadata.to_pybytes()
    root = struct.unpack_from("<I", metadata)[0]
    kind = _field(metadata, root, 1)
    batch = _table(metadata, root, 2)
    if kind is None or batch is None or metadata[kind] not in (_DICTIONARY, _BATCH):
        return 0, 0
    is_dictionary = metadata[kind] == _DICTIONARY
    if is_dictionary:
        batch = _table(metadata, batch, 1)
        if batch is None:
            return 0, 0
    length = _field(metadata, batch, 0)
    rows = struct.unpack_from("<q", metadata, length)[0] if length is not None else 0
    body = message.body
    if _field(metadata, batch, 3) is None or body is None:  # not compressed: as large as the body
        return 0 if is_dictionary else rows, body.size if body is not None else 0
    buffers = _table(metadata, batch, 2) or 0
    decoded = 0
    for i in range(struct.unpack_from("<I", metadata, buffers)[0] if buffers else 0):
        offset, stored = struct.unpack_from("<qq", metadata, buffers + 4 + 16 * i)
        if stored >= 8:
            # -1 says that this buffer was left as it is.
            inflated = struct.unpack("<q", body.slice(offset, 8).to_pybytes())[0]
            decoded += stored if inflated < 0 else inflated
    return 0 if is_dictionary else rows, decoded


def _field(data: bytes, table: int, number: int) -> int | None:
    """Position of a field of a FlatBuffers table, or None if it is not there."""
    vtable = table - struct.unpack_from("<i", data, table)[0]
    if 4 + 2 * number >= struct.unpack_from("<H", data, vtable)[0]:
        return None
    offset = struct.unpack_from("<H", data, vtable + 4 + 2 * number)[0]
    return table + offset if offset else None


def _table(data: bytes, table: int, number: int) -> int | None:
    """Position of a table or vector that a field points to."""
    at = _field(data, table, number)
    return None if at is None else at + struct.unpack_from("<I", data, at)[0]
