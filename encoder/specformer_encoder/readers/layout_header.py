"""The header of an expression table: one row, none, or several.

R's `write.table` leaves it one cell short; Firehose puts a row of units below it; pandas writes a
row for each column level and one for the name of the index; people put labels below the samples.
"""

from __future__ import annotations

from collections.abc import Sequence

from specformer_encoder.errors import InputFileError
from specformer_encoder.readers.layout_names import (
    ANNOTATION,
    GENE_ID,
    GENE_NAMES,
    MISSING,
    SAMPLE_NAMES,
    VALUE_NAMES,
    gene_like,
    id_share,
    is_sequence,
    plain,
    shown,
    to_number,
)

_HALF = 0.5
#: Header rows at most: samples, one or two rows about them, the name of the index.
_MOST_HEADERS = 4


def lacks_header(first: Sequence[str], *, decimal: str) -> bool:
    """Whether a first row is data: nothing in it names a column."""
    if first[0] == "" or plain(first[0]) in ANNOTATION | SAMPLE_NAMES:
        return False
    numbers = [c for c in first[1:] if to_number(c, decimal=decimal) is not None]
    values = len(numbers) == len(first) - 1 and not is_sequence(numbers)
    # Gene ids alone are the header of samples × genes that lost its first column.
    return values or (GENE_ID.fullmatch(first[0]) is not None and id_share(first[1:]) < _HALF)


def read_header(
    rows: Sequence[Sequence[str]], *, decimal: str, source: str
) -> tuple[list[str], int]:
    """Column names and the number of header rows, which may be 0.

    Parameters
    ----------
    rows
        The first rows of the table, as stripped text cells.
    decimal, source
        As in `find_layout`.

    Raises
    ------
    InputFileError
        If nothing names several value columns.
    """
    first = list(rows[0])
    width = len(rows[1]) if len(rows) > 1 else len(first)
    if len(first) == width - 1:
        # A delimiter at each row's end, or R's write.table: no cell for the row names.
        ended = all(row[-1] == "" for row in rows[1:])
        return ([*first, ""] if ended else ["", *first]), 1
    if lacks_header(first, decimal=decimal):
        if len(first) != 2:
            raise InputFileError(
                f"{source} has no header: its first row is {shown(first)}, so nothing names its "
                f"{len(first) - 1} value columns.",
                "Add a first row with a name for each column, or keep one gene and one value "
                "column.",
            )
        return ["", "value"], 0
    headers = 1
    while headers < min(_MOST_HEADERS, len(rows) - 1) and _is_header(rows, headers, decimal):
        headers += 1
    return _names(rows[:headers]), headers


def _is_header(rows: Sequence[Sequence[str]], at: int, decimal: str) -> bool:
    """Whether a row below the first is one more header: Firehose's, a pandas level, a label row."""
    cells = rows[at][1:]
    known = [c for c in cells if c not in MISSING]
    if gene_like(rows[at][0]):
        return False
    if not known:  # below column levels pandas writes the name of the index into a row of its own
        return at > 1 and rows[at][0] != ""
    worded = [c for c in known if to_number(c, decimal=decimal) is None and c[:1].isalnum()]
    if not len(worded) == len(known) >= _HALF * len(cells):
        return False
    numbers = (
        sum(to_number(c, decimal=decimal) is not None for c in row[1:]) for row in rows[at + 1 :]
    )
    return max(numbers) >= _HALF * len(cells)


def _names(headers: Sequence[Sequence[str]]) -> list[str]:
    """The header row that tells the columns apart, Ensembl ids first."""
    best = max(headers, key=lambda row: id_share(row[1:]))
    if id_share(best[1:]) < _HALF:
        apart = [
            row
            for row in headers
            if all(row[1:]) and len(set(row[1:])) == len(row) - 1
            and not all(plain(c) in VALUE_NAMES for c in row[1:])
        ]  # fmt: skip
        best = apart[0] if apart else headers[0]
    corner = [row[0] for row in headers if plain(row[0]) in GENE_NAMES]
    return [corner[0] if corner else best[0], *best[1:]]
