"""Delimited text: finding out how it is written, then parsing it at full speed.

Only the head is looked at cell by cell (encoding, delimiter, decimal mark, layout). The rest goes
through Arrow's CSV parser with the column types fixed, so a value that is no number is an error
with its place and never a silent text column.
"""

from __future__ import annotations

import csv
import re
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.csv as pc

from specformer_encoder.errors import ExpressionValueError, InputFileError, SpecformerError
from specformer_encoder.readers.layout import MISSING
from specformer_encoder.readers.opening import InflatedStream, Limits, read_head

_FIRST_LOOK = 1 << 20  # bytes: enough for the header of a matrix with 20,000 samples
_LONGEST_HEAD = 1 << 26  # bytes: a header of 200,000 genes with room to spare
_ENOUGH_ROWS = 3
_HEAD_ROWS = 200
_DELIMITERS = ("\t", ";", ",", " ")
_CONTROL = bytes(set(range(32)) - set(b"\t\n\r\f\v\x1a"))


@dataclass(frozen=True, slots=True)
class Head:
    """The start of a delimited file and how it is written.

    Attributes
    ----------
    rows
        The first rows after the comments, as stripped cells.
    comments
        The comment lines above them.
    skipped
        Lines above the first row.
    delimiter, decimal, encoding
        How the file is written.
    longest
        Bytes of the longest line seen.
    """

    rows: list[list[str]]
    comments: list[str]
    skipped: int
    delimiter: str
    decimal: str
    encoding: str
    longest: int


def look(path: Path, limits: Limits) -> Head:
    """Read the head of a delimited file.

    Raises
    ------
    InputFileError
        If it is binary, or has no delimiter.
    """
    size = _FIRST_LOOK
    raw, complete = read_head(path, limits, size)
    while not complete and raw.count(b"\n") < _ENOUGH_ROWS and size < _LONGEST_HEAD:
        size *= 8
        raw, complete = read_head(path, limits, size)
    encoding = _encoding(raw, path.name)
    lines = re.split("\r\n|\n|\r", raw.decode(encoding, errors="ignore"))
    if not complete and len(lines) > 1:
        lines.pop()  # cut off in the middle
    skipped, comments = _comments(lines)
    kept = [line for line in lines[skipped:] if line.strip()][:_HEAD_ROWS]
    if not kept:
        raise InputFileError(
            f"{path.name!r} holds no table, only blank or comment lines.",
            "Give a TSV, CSV or Parquet table of expression values.",
        )
    delimiter = _delimiter(kept, path.name)
    rows = [[cell.strip() for cell in row] for row in csv.reader(kept, delimiter=delimiter)]
    decimal = _decimal(rows, delimiter, path.name)
    longest = max(len(line) for line in kept) * (2 if encoding == "utf-16" else 1)
    return Head(rows, comments, skipped, delimiter, decimal, encoding, longest)


def _encoding(raw: bytes, source: str) -> str:
    if raw.startswith((b"\xff\xfe", b"\xfe\xff")):
        return "utf-16"  # Excel's "Unicode text"
    control = sum(raw.count(bytes([byte])) for byte in _CONTROL)
    if b"\x00" in raw or control > len(raw) // 200:
        raise InputFileError(
            f"{source!r} is binary data of an unknown kind; a TSV, CSV or Parquet table was "
            "expected.",
            "Save the expression table as tab-delimited text.",
        )
    try:
        raw[: raw.rfind(b"\n") + 1 or len(raw)].decode("utf-8-sig")
    except UnicodeDecodeError:
        return "latin-1"
    return "utf-8-sig"


def _comments(lines: list[str]) -> tuple[int, list[str]]:
    """Lines above the table: '#' comments, blank lines, and GCT's line of dimensions."""
    skipped = 0
    while skipped < len(lines):
        line = lines[skipped]
        following = lines[skipped + 1] if skipped + 1 < len(lines) else ""
        # "#gene<tab>s1<tab>s2" is a header, not a comment.
        is_header = "\t" in line and line.count("\t") in (n := following.count("\t"), n - 1)
        if line.strip() and (not line.startswith("#") or is_header):
            break
        skipped += 1
        if re.fullmatch(r"#1\.[23]\s*", line):
            skipped += 1
            break
    return skipped, [line for line in lines[:skipped] if line.strip()]


def _delimiter(lines: list[str], source: str) -> str:
    """Find the delimiter that cuts the rows into equally many cells."""
    ragged: list[str] = []
    for delimiter in _DELIMITERS:
        widths = [len(row) for row in csv.reader(lines, delimiter=delimiter)]
        body = widths[1:] or widths
        common = Counter(body).most_common(1)[0]
        if common[0] > 1 and widths[0] in (common[0], common[0] - 1):
            if common[1] == len(body):
                return delimiter
            ragged.append(delimiter)
    if ragged:  # the parser will name the row that is too short or too long
        return ragged[0]
    raise InputFileError(
        f"{source!r} is no table: its first line is {lines[0][:60]!r} and no tab, comma or "
        "semicolon cuts its rows into equally many cells.",
        "Save the expression table as TSV or CSV, genes in rows and samples in columns.",
    )


def _decimal(rows: list[list[str]], delimiter: str, source: str) -> str:
    """Find the decimal mark: a comma where cells such as ``3,25`` say so."""
    if delimiter == ",":
        return "."
    cells = [cell for row in rows[1:] for cell in row[1:] if re.fullmatch(r"-?\d+,\d+", cell)]
    if not cells:
        return "."
    if all(re.fullmatch(r"-?[1-9]\d{0,2},\d{3}", cell) for cell in cells):
        raise InputFileError(
            f"{source!r} has cells such as {cells[0]!r}: the comma may be a decimal mark or a "
            "thousands separator.",
            "Write the numbers without thousands separators and with a decimal point.",
        )
    return ","


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
    """Parse chosen columns of a delimited file.

    Parameters
    ----------
    path, head
        The file and what `look` found.
    names
        A name for each column, for messages.
    header_rows
        Rows of the head that are not data.
    text_columns, value_columns
        Positions to read as text and as numbers.
    limits
        Caps, for the stream.

    Returns
    -------
    texts
        The cells of each text column, a missing cell as ``""``.
    values
        (len(value_columns), rows) float32, NaN where a cell is missing.

    Raises
    ------
    InputFileError, ExpressionValueError
        If a row has too few or too many cells, or a cell is not a finite number, with its place.
    """
    keys = [f"c{j}" for j in range(len(names))]
    types = dict.fromkeys((keys[j] for j in value_columns), pa.float32())
    types |= dict.fromkeys((keys[j] for j in text_columns), pa.string())

    def run(*, use_threads: bool) -> Any:
        with InflatedStream(path, limits) as stream:
            return pc.read_csv(
                pa.PythonFile(stream, mode="r"),
                read_options=pc.ReadOptions(
                    column_names=keys,
                    skip_rows=head.skipped + header_rows,
                    encoding="utf8" if head.encoding == "utf-8-sig" else head.encoding,
                    use_threads=use_threads,
                    block_size=max(1 << 22, 4 * head.longest),
                ),
                parse_options=pc.ParseOptions(delimiter=head.delimiter),
                convert_options=pc.ConvertOptions(
                    column_types=types,
                    include_columns=[keys[j] for j in text_columns + value_columns],
                    null_values=list(MISSING),
                    strings_can_be_null=False,
                    decimal_point=head.decimal,
                ),
            )

    first_line = head.skipped + header_rows + 1
    try:
        try:
            table = run(use_threads=True)
        except pa.ArrowInvalid:
            table = run(use_threads=False)  # fails again, and now names the row
    except (pa.ArrowInvalid, UnicodeDecodeError) as error:
        raise _explained(str(error), path.name, names) from None
    texts = [table.column(i).to_pylist() for i in range(len(text_columns))]
    values = np.empty((len(value_columns), table.num_rows), np.float32)
    for i, at in enumerate(value_columns):
        column = table.column(len(text_columns) + i)
        values[i] = column.to_numpy()
        bad = np.flatnonzero(~np.isfinite(values[i]))
        if len(bad) > column.null_count:
            row = next(int(k) for k in bad if column[int(k)].is_valid)
            raise ExpressionValueError(
                f"{path.name!r} has {values[i, row]} in column {names[at]!r}, line "
                f"{row + first_line} ({texts[0][row]!r}), where a finite number was expected.",
                "Undo the step that divided by zero or took the log of zero; leave the cell empty "
                "if the gene was not measured.",
            )
    return texts, values


def _explained(message: str, source: str, names: list[str]) -> SpecformerError:
    """Turn a parser's message into an error that names the place in the file."""
    cell = re.search(r"column #(\d+): Row #(\d+): .* to float: invalid value '(.*)'", message)
    if cell:
        return ExpressionValueError(
            f"{source!r} has the cell {cell[3][:40]!r} in column {names[int(cell[1])]!r}, line "
            f"{cell[2]}, where a number was expected.",
            "Replace it by a number, or leave it empty if the gene was not measured.",
        )
    row = re.search(r"Row #(\d+): Expected (\d+) columns, got (\d+)", message)
    if row:
        return InputFileError(
            f"Line {row[1]} of {source!r} has {row[3]} cells where {row[2]} were expected.",
            "Mend or remove that row; the file may have been cut off.",
        )
    return InputFileError(
        f"{source!r} cannot be parsed: {message[:200]}.",
        "Save the table as UTF-8 text without stray quotes.",
    )
