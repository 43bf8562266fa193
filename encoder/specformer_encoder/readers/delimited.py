"""Delimited text: finding out how it is written.

Only the head is looked at cell by cell: encoding, delimiter, decimal mark, comments above the
table. `layout` decides what it means, `pieces` parses the rest.
"""

from __future__ import annotations

import csv
import re
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from specformer_encoder.errors import InputFileError
from specformer_encoder.readers.opening import Limits, read_head

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
        try:
            widths = [len(row) for row in csv.reader(lines, delimiter=delimiter)]
        except csv.Error:  # a cell of more than 128 kB: not the delimiter, or quotes astray
            continue
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
    cells = [
        cell
        for row in rows[1:]
        for cell in row[1:]
        if re.fullmatch(r"-?\d+,\d+(?:[eE][-+]?\d+)?", cell)
    ]
    if not cells:
        return "."
    if all(re.fullmatch(r"-?[1-9]\d{0,2},\d{3}", cell) for cell in cells):
        raise InputFileError(
            f"{source!r} has cells such as {cells[0]!r}: the comma may be a decimal mark or a "
            "thousands separator.",
            "Write the numbers without thousands separators and with a decimal point.",
        )
    return ","
