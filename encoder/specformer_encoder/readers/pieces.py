"""Parsing delimited text at full speed, some rows at a time.

The text is inflated once, as a stream, cut into pieces of whole lines and parsed by Arrow's CSV
parser on all cores, with the column types fixed: a value that is no number is an error with its
place and never a silent text column. No more than a few pieces are in memory.
"""

from __future__ import annotations

import csv
import io
import os
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.csv as pc

from specformer_encoder.errors import ExpressionValueError, InputFileError, SpecformerError
from specformer_encoder.readers.delimited import Head
from specformer_encoder.readers.layout_names import MISSING, to_number
from specformer_encoder.readers.opening import InflatedStream, Limits

_PIECE_BYTES = 1 << 23  # parsed at once: large enough to be fast, small beside any matrix
_PIECE_ROWS = 128  # at least so many rows in a piece, however long they are
_LONGEST_LINE = 1 << 28
_LARGEST = float(np.finfo(np.float32).max)


@dataclass(frozen=True, slots=True)
class Columns:
    """Which columns of a delimited file to read, and as what.

    Attributes
    ----------
    names
        A name for each column, for messages.
    header_rows
        Rows of the head that are not data.
    text, values
        Positions to read as text and as numbers.
    """

    names: list[str]
    header_rows: int
    text: list[int]
    values: list[int]


@dataclass(frozen=True, slots=True)
class Piece:
    """Some consecutive rows, parsed.

    Attributes
    ----------
    texts
        The cells of each text column, a missing cell as ``""``.
    values
        (value columns, rows) float32, NaN where a cell is missing.
    """

    texts: list[list[str]]
    values: npt.NDArray[np.float32]


def parse(
    path: Path,
    head: Head,
    *,
    names: list[str],
    header_rows: int,
    text_columns: list[int],
    value_columns: list[int],
    limits: Limits,
) -> tuple[list[list[str]], npt.NDArray[np.float32]]:
    """Parse chosen columns of a delimited file at once; see `parse_pieces`.

    Returns
    -------
    texts
        The cells of each text column, a missing cell as ``""``.
    values
        (value columns, rows) float32, NaN where a cell is missing.
    """
    columns = Columns(names, header_rows, text_columns, value_columns)
    pieces = list(parse_pieces(path, head, columns, limits=limits))
    texts = [
        [cell for piece in pieces for cell in piece.texts[i]] for i in range(len(text_columns))
    ]
    if not pieces:
        return texts, np.empty((len(value_columns), 0), np.float32)
    return texts, np.concatenate([piece.values for piece in pieces], axis=1)


def parse_pieces(path: Path, head: Head, columns: Columns, *, limits: Limits) -> Iterator[Piece]:
    """Parse chosen columns of a delimited file, some rows at a time, on all cores.

    Parameters
    ----------
    path, head
        The file and what `look` found.
    columns
        What to read.
    limits
        Caps, for the stream.

    Yields
    ------
    Piece
        In file order.

    Raises
    ------
    InputFileError, ExpressionValueError
        If a row has too few or too many cells, or a cell is not a finite number, with its place.
    """
    parser = _PieceParser(path.name, head, columns)
    size = max(_PIECE_BYTES, _PIECE_ROWS * head.longest)
    workers = os.cpu_count() or 1
    waiting: deque[Future[Piece]] = deque()
    with InflatedStream(path, limits) as stream, ThreadPoolExecutor(workers) as pool:
        try:
            for first_line, lines in _pieces(stream, head, columns.header_rows, size, path.name):
                waiting.append(pool.submit(parser.parse, first_line, lines))
                if len(waiting) > workers:  # reads ahead, and no farther
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()


def _pieces(
    stream: InflatedStream, head: Head, header_rows: int, size: int, source: str
) -> Iterator[tuple[int, bytes]]:
    """Whole lines in pieces of about `size` bytes of UTF-8, with the number of the first line."""
    content: Any = pa.PythonFile(stream, mode="r")
    if head.encoding not in ("utf-8-sig", "latin-1"):
        content = pa.transcoding_input_stream(content, head.encoding, "utf-8")
    elif head.encoding == "latin-1":
        content = pa.transcoding_input_stream(content, "latin-1", "utf-8")
    line = 1
    skip = head.skipped + header_rows
    rest = b""
    while block := _read(content, size, source, line):
        rest += block.removeprefix(b"\xef\xbb\xbf") if line == 1 and not rest else block
        end = rest.rfind(b"\n") + 1
        if not end:
            # Old Mac files end their lines with CR alone; a CR at the end may be half of a CRLF.
            end = rest.rfind(b"\r", 0, len(rest) - 1) + 1
        if not end:
            if len(rest) > _LONGEST_LINE:
                raise InputFileError(
                    f"{source!r} has a line of more than {_LONGEST_LINE:,} bytes (line {line}).",
                    "Write one row a line.",
                )
            continue
        lines, rest = rest[:end], rest[end:]
        skipped, lines = _without_lines(lines, skip)
        skip -= skipped
        if lines:
            yield line + skipped, lines
        line += skipped + _count_lines(lines)
    skipped, lines = _without_lines(rest, skip)
    if lines:
        yield line + skipped, lines


def _read(content: Any, size: int, source: str, line: int) -> bytes:
    try:
        return bytes(content.read(size))
    except UnicodeError as error:
        raise InputFileError(
            f"{source!r} cannot be decoded after line {line} ({error}).",
            "Save the table as UTF-8 text.",
        ) from None


def _line_end(lines: bytes) -> bytes:
    return b"\n" if b"\n" in lines else b"\r"


def _count_lines(lines: bytes) -> int:
    return lines.count(_line_end(lines))


def _without_lines(lines: bytes, number: int) -> tuple[int, bytes]:
    """Drop up to `number` lines from the start; returns how many were dropped and the rest."""
    dropped = at = 0
    while dropped < number and at < len(lines):
        end = lines.find(_line_end(lines), at)
        at = len(lines) if end < 0 else end + 1
        dropped += 1
    return dropped, lines[at:]


class _PieceParser:
    """Arrow's CSV parser with the column types fixed, for some lines at a time."""

    def __init__(self, source: str, head: Head, columns: Columns) -> None:
        self._source = source
        self._delimiter = head.delimiter
        self._decimal = head.decimal
        self._columns = columns
        self._keys = [f"c{j}" for j in range(len(columns.names))]
        types = dict.fromkeys((self._keys[j] for j in columns.values), pa.float32())
        types |= dict.fromkeys((self._keys[j] for j in columns.text), pa.string())
        self._convert = pc.ConvertOptions(
            column_types=types,
            include_columns=[self._keys[j] for j in columns.text + columns.values],
            null_values=list(MISSING),
            strings_can_be_null=False,
            decimal_point=head.decimal,
        )

    def parse(self, first_line: int, lines: bytes) -> Piece:
        """Parse whole lines, of which the first has the number `first_line`."""
        try:
            table = pc.read_csv(
                pa.BufferReader(lines),
                # One block, so that no row is cut; the pieces are what runs in parallel.
                read_options=pc.ReadOptions(
                    column_names=self._keys, use_threads=False, block_size=len(lines) + 1
                ),
                parse_options=pc.ParseOptions(delimiter=self._delimiter),
                convert_options=self._convert,
            )
        except (pa.ArrowInvalid, UnicodeDecodeError) as error:
            raise self._fault(first_line, lines) or InputFileError(
                f"{self._source!r} cannot be parsed near line {first_line}: {str(error)[:200]}.",
                "Save the table as UTF-8 text without stray quotes.",
            ) from None
        texts = [table.column(i).to_pylist() for i in range(len(self._columns.text))]
        values = np.empty((len(self._columns.values), table.num_rows), np.float32)
        missing = 0
        for i, row in enumerate(values):
            column = table.column(len(texts) + i)
            row[:] = column.to_numpy()
            missing += column.null_count
        if np.count_nonzero(~np.isfinite(values)) > missing:
            raise self._fault(first_line, lines) or InputFileError(
                f"{self._source!r} has a value that is not finite after line {first_line}.",
                "Leave the cell empty if the gene was not measured.",
            )
        return Piece(texts, values)

    def _fault(self, first_line: int, lines: bytes) -> SpecformerError | None:
        """Find the first cell or row that cannot be taken, slowly, and name its place."""
        names, wanted = self._columns.names, self._columns.values
        text = lines.decode("utf-8", errors="replace")
        rows = csv.reader(io.StringIO(text, newline=""), delimiter=self._delimiter)
        try:
            for row in rows:
                line = first_line + rows.line_num - 1
                if not row:
                    continue
                if len(row) != len(names):
                    return InputFileError(
                        f"Line {line} of {self._source!r} has {len(row)} cells where {len(names)} "
                        "were expected.",
                        "Mend or remove that row; the file may have been cut off.",
                    )
                for j in wanted:
                    if row[j].strip() not in MISSING and not self._finite(row[j]):
                        gene = row[self._columns.text[0]].strip()[:40]
                        return ExpressionValueError(
                            f"{self._source!r} has the cell {row[j][:40]!r} in column "
                            f"{names[j]!r}, line {line} ({gene!r}), where a finite number was "
                            "expected.",
                            "Replace it by a number, or leave it empty if the gene was not "
                            "measured.",
                        )
        except csv.Error:
            return None
        return None

    def _finite(self, cell: str) -> bool:
        number = None if "_" in cell else to_number(cell.strip(), decimal=self._decimal)
        return number is not None and abs(number) <= _LARGEST
