"""GCT, the Broad Institute's matrix format, versions 1.2 (GTEx) and 1.3 (CCLE, CMap).

The second line states how many rows and columns follow, so a file that was cut off is found out.
In 1.2 the columns are `Name`, `Description` and the samples; in 1.3 the second line has two more
numbers: columns that describe the rows, between the id and the samples, and rows that describe the
samples, between the header and the data.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from pathlib import Path

from specformer_encoder.errors import InputFileError
from specformer_encoder.raw import RawMatrix
from specformer_encoder.readers.delimited import Head
from specformer_encoder.readers.layout_names import gene_share, is_whole
from specformer_encoder.readers.matrix import assemble, spool_pieces
from specformer_encoder.readers.opening import Limits, check_size
from specformer_encoder.readers.pieces import Columns, parse_pieces

_VERSION = re.compile(r"#1\.[23]")
#: Rows whose ids are looked up to choose the gene column.
_LOOKED_AT = 2000
#: Another column must name this much larger a share of genes to be taken instead of the id.
_CLEARLY = 0.2


@dataclass(frozen=True, slots=True)
class _Promise:
    """What the first two lines state: the version, and how many of each follow."""

    version: str
    rows: int
    columns: int
    row_fields: int
    column_fields: int


def matches(head: Head) -> bool:
    """Whether the first line is GCT's."""
    return _VERSION.fullmatch(_first_lines(head)[0]) is not None


def _first_lines(head: Head) -> list[str]:
    """The lines above the table; a spreadsheet pads them to the table's width."""
    if head.comments:
        return [line.strip(" \t,;") for line in head.comments]
    padded = ["\t".join(row).strip() for row in head.rows[:2]]
    return padded if padded and _VERSION.fullmatch(padded[0]) else [""]


def read(path: Path, head: Head, *, limits: Limits) -> RawMatrix:
    """Read a GCT file.

    Parameters
    ----------
    path, head
        The file and its head.
    limits
        Caps on bytes, samples and genes.

    Returns
    -------
    RawMatrix
        Genes named by the id column, or by a description column that names genes where the ids do
        not.

    Raises
    ------
    InputFileError
        If the dimensions are missing, or the file does not hold what they promise.
    """
    promise = _promise(_first_lines(head), path.name, limits)
    if not head.comments:
        head = replace(head, rows=head.rows[2:], skipped=head.skipped + 2)
    names = head.rows[0] if head.rows else []
    while names and not names[-1]:  # padding of a spreadsheet
        names = names[:-1]
    found = len(names) - 1 - promise.row_fields
    if found != promise.columns:
        raise InputFileError(
            f"{path.name!r} promises {promise.columns:,} samples in its second line and has "
            f"{max(found, 0):,}.",
            "Download or export it again; if samples were removed by hand, mend the second line.",
        )
    header_rows = 1 + promise.column_fields
    value_columns = list(range(1 + promise.row_fields, len(names)))
    columns = Columns(head.rows[0], header_rows, list(range(1 + promise.row_fields)), value_columns)
    pieces = parse_pieces(path, head, columns, limits=limits)
    texts, cells = spool_pieces(
        pieces, path.name, text_columns=len(columns.text), genes_in_rows=True, limits=limits
    )
    found = len(texts[0])
    if found != promise.rows:
        raise InputFileError(
            f"{path.name!r} promises {promise.rows:,} genes in its second line and has {found:,}.",
            "It was cut off or changed: download or export it again.",
        )
    at, notes = _gene_column(texts, names)
    return assemble(
        [gene.strip() for gene in texts[at]],
        names[1 + promise.row_fields :],
        cells,
        source=path.name,
        limits=limits,
        file_format="gct",
        notes=notes,
    )


def _promise(lines: list[str], source: str, limits: Limits) -> _Promise:
    """Read the line of dimensions."""
    version = lines[0].lstrip("#")
    cells = lines[1].split() if len(lines) > 1 else []
    wanted = {"1.2": 2, "1.3": 4}[version]
    if len(cells) != wanted or not all(map(is_whole, cells)):
        raise InputFileError(
            f"The second line of {source!r} is {' '.join(cells)[:60]!r}; GCT {version} has "
            f"{wanted} whole numbers there.",
            "Mend that line, or remove the first two lines to have it read as a plain table.",
        )
    numbers = [int(cell) for cell in cells] + [1, 0] * (version == "1.2")
    check_size(source, limits, samples=numbers[1], genes=numbers[0])
    return _Promise(version, *numbers[:4])


def _gene_column(texts: list[list[str]], names: list[str]) -> tuple[int, tuple[str, ...]]:
    """Choose the column that names the genes; the first unless another is clearly better."""
    shares = [gene_share(column[:_LOOKED_AT]) for column in texts]
    best = max(range(len(texts)), key=lambda j: shares[j])
    if shares[best] < shares[0] + _CLEARLY:
        return 0, ()
    return best, (
        f"Genes are named by the column {names[best]!r}: of the ids, {100 * shares[0]:.0f} % are "
        "names of human genes.",
    )
