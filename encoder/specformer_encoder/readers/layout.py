"""What is what in an expression table: header, gene names, annotation, samples.

Published matrices agree on little: genes stand in rows or in columns; the first column may be
called `gene_id`, `Hugo_Symbol`, `sample` (UCSC Xena) or nothing at all; a second gene column, the
gene's length or its chromosome may follow; clinical columns may stand between genes; R's
`write.table` leaves the header one cell short. The decision is made on the first rows, from names
and cell contents, and is refused rather than guessed when no column can hold gene identifiers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from specformer_encoder.errors import InputFileError
from specformer_encoder.readers.layout_names import (
    ANNOTATION,
    CLINICAL,
    ENTREZ_NAMES,
    GENE_ID,
    GENE_NAMES,
    MISSING,
    SAMPLE_ID,
    SAMPLE_NAMES,
    STATISTICS,
    SYMBOL_NAMES,
    TRANSCRIPT_LISTS,
    VALUE_NAMES,
    WEAK_STATISTICS,
    entrez_share,
    gene_like,
    gene_share,
    has_thousands,
    id_share,
    is_sequence,
    is_text,
    plain,
    shown,
    to_number,
)

__all__ = [
    "MISSING",
    "VALUE_NAMES",
    "Layout",
    "arrange",
    "find_layout",
    "lacks_header",
    "to_number",
]

_HALF = 0.5
#: Header rows at most: samples, one or two rows about them, the name of the index.
_MOST_HEADERS = 4
#: Genes in a header from which it is believed to hold them, and the share of it they must be.
_FEW_GENES = 3
_FEW_SHARE = 0.2
#: Numbers in a header that have to be Entrez ids, and how many, to be believed without the help
#: of sample names that are known as such.
_ENTREZ_SHARE = 0.9
_FEW_ENTREZ = 20
#: Cells without a single number from which a column is text although numbers stand before it.
_FEW_TEXTS = 5
_NAMED = 5


@dataclass(frozen=True, slots=True)
class Layout:
    """Which columns mean what.

    Attributes
    ----------
    names
        A name for each column of the data rows.
    header_rows
        Rows of the given head that are header, not data.
    id_columns
        Positions that name the row: one, or symbol and Entrez id to be joined as ``symbol|entrez``.
    value_columns
        Positions that hold values.
    genes_in_rows
        True for genes × samples.
    notes
        What was left out that a user might miss.
    """

    names: list[str]
    header_rows: int
    id_columns: tuple[int, ...]
    value_columns: list[int]
    genes_in_rows: bool
    notes: tuple[str, ...] = ()


def find_layout(rows: Sequence[Sequence[str]], *, decimal: str, source: str) -> Layout:
    """Decide the layout of a delimited table from its first rows.

    Parameters
    ----------
    rows
        The first rows, header included, as stripped text cells.
    decimal
        ``"."`` or ``","``.
    source
        File name, for messages.

    Raises
    ------
    InputFileError
        If there is no data row, no gene column or no numeric column.
    """
    names, header_rows = _header(rows, decimal, source)
    data = rows[header_rows:]
    if not data:
        raise InputFileError(
            f"{source} has a header and no rows below it.", "Export the table again, with values."
        )
    return arrange(names, data, header_rows=header_rows, decimal=decimal, source=source)


def lacks_header(first: Sequence[str], *, decimal: str) -> bool:
    """Whether a first row is data: nothing in it names a column."""
    if first[0] == "" or plain(first[0]) in ANNOTATION | SAMPLE_NAMES:
        return False
    numbers = [c for c in first[1:] if to_number(c, decimal=decimal) is not None]
    values = len(numbers) == len(first) - 1 and not is_sequence(numbers)
    return values or GENE_ID.fullmatch(first[0]) is not None


def _header(rows: Sequence[Sequence[str]], decimal: str, source: str) -> tuple[list[str], int]:
    """Column names and the number of header rows."""
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
    cells = list(rows[at][1:])
    known = [c for c in cells if c not in MISSING]
    if gene_like(rows[at][0]):
        return False
    if not known:  # pandas writes the name of the index into a row of its own
        return bool(rows[at][0])
    worded = [
        c for c in known if to_number(c, decimal=decimal) is None and c.strip("-.?").isascii()
    ]
    worded = [c for c in worded if any(letter.isalpha() for letter in c)]
    numeric = [c for c in rows[-1][1:] if to_number(c, decimal=decimal) is not None]
    return len(worded) == len(known) >= _HALF * len(cells) and len(numeric) >= _HALF * len(cells)


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


def arrange(
    names: Sequence[str],
    data: Sequence[Sequence[str]],
    *,
    header_rows: int,
    decimal: str,
    source: str,
    id_hint: int | None = None,
) -> Layout:
    """Decide which columns name rows, which hold values, and what the rows are.

    Parameters
    ----------
    names
        A name for each column.
    data
        The first data rows as text.
    header_rows, decimal, source
        As in `Layout` and `find_layout`.
    id_hint
        The column that the format itself marks as row names (pandas' index in Parquet).
    """
    columns = [[row[j] for row in data if j < len(row)] for j in range(len(names))]
    text = [is_text(column, decimal) for column in columns]
    blank = [not name and all(c in MISSING for c in columns[j]) for j, name in enumerate(names)]
    for j, name in enumerate(names):
        cell = has_thousands(columns[j]) if text[j] else None
        if cell is not None:
            raise InputFileError(
                f"Column {name!r} of {source} has cells such as {cell!r}, numbers with thousands "
                "separators.",
                "Write the numbers without thousands separators and with a decimal point.",
            )
    tested = any(plain(name) in STATISTICS for name in names)
    annotation = [
        blank[j]
        or plain(names[j]) in ANNOTATION
        or (tested and plain(names[j]) in STATISTICS | WEAK_STATISTICS)
        or (j == 0 and text[0])
        or j == id_hint
        or (j == 0 and not names[0].replace("Unnamed: 0", "") and is_sequence(columns[0]))
        for j in range(len(names))
    ]
    for j in range(len(names)):  # a run of text columns at the start describes the rows
        if not (annotation[j] or text[j]):
            break
        annotation[j] = True
    if _genes_in_header(names, columns, text, annotation):
        return _by_sample(names, columns, text, blank, header_rows, source, id_hint)
    ids = _gene_columns(names, columns, text, annotation, id_hint, source)
    worded = [j for j in range(len(names)) if not annotation[j] and _is_worded(columns[j], decimal)]
    values = [j for j in range(len(names)) if not (annotation[j] or j in ids or j in worded)]
    if not values:
        what = "the results of a test between groups" if tested else "no column of numbers"
        raise InputFileError(
            f"{source} has {what}: its columns are {shown(names)}.",
            "Give a table with one gene column and at least one column of expression values.",
        )
    left = worded + [j for j in range(len(names)) if tested and plain(names[j]) in STATISTICS]
    return Layout(
        list(names), header_rows, ids, values, genes_in_rows=True, notes=_left_out(names, left)
    )


def _left_out(names: Sequence[str], columns: Sequence[int]) -> tuple[str, ...]:
    if not columns:
        return ()
    first = ", ".join(repr(names[j]) for j in columns[:_NAMED])
    more = ", …" if len(columns) > _NAMED else ""
    return (f"{len(columns)} columns hold no expression and were left out: {first}{more}.",)


def _is_worded(column: Sequence[str], decimal: str) -> bool:
    """Whether a column has cells and none of them is a number or a spreadsheet's error."""
    cells = [c for c in column if c not in MISSING]
    return len(cells) >= _FEW_TEXTS and not any(
        c.startswith("#") or to_number(c, decimal=decimal) is not None for c in cells
    )


def _genes_in_header(
    names: Sequence[str],
    columns: Sequence[Sequence[str]],
    text: Sequence[bool],
    annotation: Sequence[bool],
) -> bool:
    """Whether the header, not a column, holds the gene identifiers."""
    rest = [name for j, name in enumerate(names) if j and name and not annotation[j]]
    if not rest:
        return False
    worded = [[c for c in columns[j] if c] for j in range(len(names)) if annotation[j] and text[j]]
    in_header, in_rows = id_share(rest), max(map(id_share, worded), default=0.0)
    if max(in_header, in_rows) >= _HALF:  # needs no look at the table of genes
        return in_header > in_rows
    in_header, in_rows = gene_share(rest), max(map(gene_share, worded), default=0.0)
    if in_header * len(rest) >= _FEW_GENES and in_header >= _FEW_SHARE:
        return in_header > in_rows
    digits = [name for name in rest if name.isdigit()]
    if in_rows >= _FEW_SHARE or len(digits) <= _HALF * len(rest):
        return False
    if any(plain(names[j]) in ENTREZ_NAMES for j in range(len(names))):
        return False
    first = columns[0]
    sampled = id_share(first, SAMPLE_ID) >= _HALF or plain(names[0]) in SAMPLE_NAMES - {""}
    in_header, in_rows = entrez_share(digits), entrez_share(first)
    enough = sampled or len(digits) >= _FEW_ENTREZ
    return enough and in_header >= _ENTREZ_SHARE and in_header > in_rows


def _by_sample(
    names: Sequence[str],
    columns: Sequence[Sequence[str]],
    text: Sequence[bool],
    blank: Sequence[bool],
    header_rows: int,
    source: str,
    id_hint: int | None,
) -> Layout:
    """Lay out samples × genes: the column that names the samples, and those that are genes."""
    at = _sample_column(names, columns, text, id_hint, source)
    numeric = [j for j in range(len(names)) if j != at and not text[j] and not blank[j]]
    if id_share([names[j] for j in numeric]) >= _HALF:
        genes = [j for j in numeric if GENE_ID.fullmatch(names[j])]
    elif sum(names[j].isdigit() for j in numeric) > _HALF * len(numeric):
        genes = [j for j in numeric if names[j].isdigit()]
    else:
        genes = _symbol_columns(names, numeric)
    left = [j for j in range(len(names)) if j != at and j not in set(genes) and not blank[j]]
    notes = _left_out(names, left)
    return Layout(list(names), header_rows, (at,), genes, genes_in_rows=False, notes=notes)


def _symbol_columns(names: Sequence[str], numeric: Sequence[int]) -> list[int]:
    """Columns headed by symbols, known or not; clinical numbers around and between left out."""
    like = {j for j in numeric if gene_like(names[j]) and plain(names[j]) not in CLINICAL}
    first, last = min(like), max(like)
    # Symbols are in capitals (C1orf112 apart); an unknown name in small letters is none.
    return [
        j
        for j in numeric
        if j in like
        or (first < j < last and plain(names[j]) not in CLINICAL and names[j].upper() == names[j])
    ]


def _sample_column(
    names: Sequence[str],
    columns: Sequence[Sequence[str]],
    text: Sequence[bool],
    id_hint: int | None,
    source: str,
) -> int:
    """Find the column that names the samples: texts that do not repeat, the first column first."""
    start = id_hint if id_hint is not None else 0
    apart = [
        j for j in range(len(names)) if text[j] and len(set(columns[j])) == len(columns[j])
    ]  # fmt: skip
    if start in apart:
        return start
    named = [j for j in range(len(names)) if plain(names[j]) in SAMPLE_NAMES - {"", "unnamed:_0"}]
    for group in ([j for j in apart if j in named], apart):
        if group:
            return group[0]
    if id_hint is not None or text[start]:
        return start
    for j in [*named, start]:  # samples named by numbers
        if not gene_like(names[j]) and len(set(columns[j])) == len(columns[j]):
            return j
    raise InputFileError(
        f"{source} has genes in its columns and no column that names the samples.",
        "Add a first column with a name for each sample.",
    )


def _gene_columns(
    names: Sequence[str],
    columns: Sequence[Sequence[str]],
    text: Sequence[bool],
    annotation: Sequence[bool],
    id_hint: int | None,
    source: str,
) -> tuple[int, ...]:
    """Find the column or columns that identify the gene, the surest first."""
    simple = [plain(name) for name in names]
    candidates = [
        j for j in range(len(names)) if annotation[j] and (text[j] or simple[j] in GENE_NAMES)
    ]
    for j in candidates:
        if id_share(columns[j]) >= _HALF and simple[j] not in TRANSCRIPT_LISTS:
            return (j,)
    symbols = [j for j in candidates if text[j] and simple[j] in SYMBOL_NAMES]
    entrez = [j for j in candidates if simple[j] in ENTREZ_NAMES]
    if symbols and entrez:
        return (symbols[0], entrez[0])
    if id_hint is not None and (text[id_hint] or simple[id_hint] in GENE_NAMES):
        return (id_hint,)
    named = [j for j in candidates if text[j] and simple[j] in GENE_NAMES]
    worded = [j for j in candidates if text[j]]
    for group in (named, worded, entrez):
        if group:
            return (group[0],)
    first = columns[0]
    whole = all(c.isdigit() and c != "0" for c in first)
    if whole and len(set(first)) == len(first) and not is_sequence(first):
        return (0,)  # Entrez ids under another name
    raise InputFileError(
        f"{source} has no gene column: the first column, {names[0]!r}, starts with "
        f"{shown(first)}, and no other column holds gene identifiers.",
        "Put Ensembl ids, Entrez ids or gene symbols into the first column.",
    )
