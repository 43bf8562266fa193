"""What is what in an expression table: header, gene names, annotation, samples.

Published matrices agree on little: genes stand in rows or in columns; the first column may be
called `gene_id`, `Hugo_Symbol`, `sample` (UCSC Xena) or nothing at all; a second gene column, the
gene's length or its chromosome may follow; R's `write.table` leaves the header one cell short. The
decision is made on the first rows, from names and cell contents, and is refused rather than
guessed when no column can hold gene identifiers.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from specformer_encoder.errors import InputFileError

#: Cells that mean "no value".
MISSING = ("", "NA", "N/A", "na", "n/a", "#N/A", "null", "NULL", "None", "<NA>")

_ENSEMBL_NAMES = {"gene_id", "geneid", "ensembl_id", "ensembl", "ensembl_gene_id", "ensg", "name"}
_SYMBOL_NAMES = {
    "gene", "genes", "symbol", "gene_symbol", "genesymbol", "hgnc_symbol", "hugo_symbol",
    "gene_name", "genename", "external_gene_name", "symbol|entrez", "hybridization_ref",
}  # fmt: skip
_ENTREZ_NAMES = {"entrez", "entrez_id", "entrezid", "entrez_gene_id", "ncbi_gene_id"}
_GENE_NAMES = _ENSEMBL_NAMES | _SYMBOL_NAMES | _ENTREZ_NAMES
#: Columns that describe a gene (or a sample) and are never samples (or genes).
_ANNOTATION = _GENE_NAMES | {
    "description", "gene_type", "gene_biotype", "biotype", "genetype", "gene_description", "chr",
    "chrom", "chromosome", "seqnames", "start", "end", "strand", "length", "gene_length", "width",
    "effective_length", "eff_length", "effectivelength", "transcript_id", "transcript_id(s)",
    "transcript_ids", "cytoband", "__index_level_0__",
}  # fmt: skip
#: Names of a value column that say what the value is, not whose it is.
VALUE_NAMES = {
    "value", "values", "expression", "x", "v1", "v2", "count", "counts", "raw_count", "raw_counts",
    "expected_count", "est_counts", "numreads", "normalized_count", "scaled_estimate", "tpm",
    "fpkm", "rpkm", "cpm", "fpkm_uq", "abundance", "isopct", "unstranded", "rsem", "0", "1",
}  # fmt: skip
#: Genes that nearly every human panel or matrix has some of, to recognise symbols in a header.
_COMMON = """
A1BG A2M ABCA1 ACTB AKT1 ALB APC AR ARID1A ATM ATR AURKA AXL B2M BAX BCL2 BRAF BRCA1 BRCA2 CCNB1
CCND1 CCNE1 CD19 CD274 CD3D CD3E CD4 CD44 CD68 CD8A CDH1 CDK4 CDK6 CDKN1A CDKN2A CHGA COL1A1
CTLA4 CTNNB1 CXCL10 CXCL9 DNMT3A EGFR EPCAM ERBB2 ERBB3 ESR1 EZH2 FAP FBN1 FGFR1 FGFR2 FLT3 FN1
FOS FOXA1 FOXP3 GAPDH GATA3 GFAP GZMB HIF1A HLA-A HLA-B HLA-DRA HRAS IDH1 IFNG IGF1R IL2 IL6
JAK2 JUN KDR KIT KLK3 KRAS KRT5 KRT8 KRT18 KRT19 LAG3 MAPK1 MDM2 MET MKI67 MLH1 MS4A1 MSH2 MTOR
MUC1 MUC16 MYC MYCN NAPSA NCAM1 NF1 NKX2-1 NOTCH1 NRAS PAX8 PCNA PDCD1 PDGFRA PECAM1 PGR PIK3CA
PRF1 PTEN PTPRC RB1 RET ROS1 SFTPC SMAD4 SOX2 SOX9 SPP1 STAT1 STAT3 STK11 SYP TERT TGFB1 TIGIT
TNF TOP2A TP53 TP63 TUBB VEGFA VHL VIM WT1 XIST ZEB1 A1CF AAAS AACS NAT1 NAT2 TSPAN6 DPM1 SCYL3
"""
_COMMON_GENES = frozenset(_COMMON.split())
_GENE_ID = re.compile(r"ENS[A-Z]{0,4}[GT]\d{11}(\.\d+)?.*|[^|\s]+\|\d+")
_SAMPLE_ID = re.compile(r"(TCGA|GTEX|TARGET|SRR|ERR|DRR|GSM|CPTAC|HCM|C3[LN])[-.]?\w+.*", re.I)
#: Columns that list the transcripts of a gene (RSEM).
_LISTS = {"transcript_id(s)", "transcript_ids"}
_FEW_COMMON = 3
_HALF = 0.5


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
    """

    names: list[str]
    header_rows: int
    id_columns: tuple[int, ...]
    value_columns: list[int]
    genes_in_rows: bool


def to_number(cell: str, *, decimal: str = ".") -> float | None:
    """Read a cell as a number; None if it is none."""
    try:
        return float(cell.replace(decimal, ".") if decimal != "." else cell)
    except ValueError:
        return None


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


def _header(rows: Sequence[Sequence[str]], decimal: str, source: str) -> tuple[list[str], int]:
    """Column names and the number of header rows (0, 1, or 2 as Firehose writes them)."""
    first = list(rows[0])
    width = len(rows[1]) if len(rows) > 1 else len(first)
    if len(first) == width - 1:  # R's write.table: the header has no cell for the row names
        return ["", *first], 1
    named = first[0] == "" or _plain(first[0]) in _ANNOTATION | {"sample", "id"}
    numbers = [c for c in first[1:] if to_number(c, decimal=decimal) is not None]
    values = len(numbers) == len(first) - 1 and not _is_sequence(numbers)
    if not named and (values or _GENE_ID.fullmatch(first[0])):
        if len(first) != 2:
            raise InputFileError(
                f"{source} has no header: its first row is {_shown(first)}, so nothing names its "
                f"{len(first) - 1} value columns.",
                "Add a first row with a name for each column, or keep one gene and one value "
                "column.",
            )
        return ["", "value"], 0
    # Firehose puts `gene_id normalized_count normalized_count …` below the barcodes.
    second = [_plain(c) for c in rows[1][1:]] if len(rows) > 1 else []
    return first, 2 if second and all(c in VALUE_NAMES - {"0", "1"} for c in second) else 1


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
    text = [_is_text(column, decimal) for column in columns]
    blank = [not name and all(c in MISSING for c in columns[j]) for j, name in enumerate(names)]
    annotation = [
        blank[j]
        or _plain(names[j]) in _ANNOTATION
        or (j == 0 and text[0])
        or j == id_hint
        or (j == 0 and not names[0] and _is_sequence(columns[0]))
        for j in range(len(names))
    ]
    for j in range(len(names)):  # a run of text columns at the start describes the rows
        if not (annotation[j] or text[j]):
            break
        annotation[j] = True
    in_columns = _genes_in_header(names, columns, annotation)
    if in_columns:
        strict = any(_GENE_ID.fullmatch(name) for name in names)
        values = [
            j
            for j in range(len(names))
            if j != id_hint and not text[j] and (_GENE_ID.fullmatch(names[j]) or not strict)
            and not blank[j] and (j > 0 or id_hint is not None)
        ]  # fmt: skip
        return Layout(list(names), header_rows, (id_hint or 0,), values, genes_in_rows=False)
    ids = _gene_columns(names, columns, text, annotation, id_hint, source)
    values = [j for j in range(len(names)) if not annotation[j] and j not in ids]
    if not values:
        raise InputFileError(
            f"{source} has no column of numbers: its columns are {_shown(names)}.",
            "Give a table with one gene column and at least one column of expression values.",
        )
    return Layout(list(names), header_rows, ids, values, genes_in_rows=True)


def _genes_in_header(
    names: Sequence[str], columns: Sequence[Sequence[str]], annotation: Sequence[bool]
) -> bool:
    """Whether the header, not the first column, holds the gene identifiers."""
    first = [c for c in columns[0] if c]
    if _share(first, _GENE_ID) >= _HALF or _plain(names[0]) in _GENE_NAMES - {"name"}:
        return False
    rest = [name for j, name in enumerate(names) if j and not annotation[j]]
    if not rest:
        return False
    if _share(rest, _GENE_ID) >= _HALF:
        return True
    if (
        len(_COMMON_GENES.intersection(first))
        < len(_COMMON_GENES.intersection(rest))
        >= _FEW_COMMON
    ):
        return True
    digits = [name for name in rest if name.isdigit()]
    looks_entrez = len(digits) > _HALF * len(rest) and len(rest) > 200 and not _is_sequence(digits)
    return looks_entrez and _share(first, _SAMPLE_ID) >= _HALF


def _gene_columns(
    names: Sequence[str],
    columns: Sequence[Sequence[str]],
    text: Sequence[bool],
    annotation: Sequence[bool],
    id_hint: int | None,
    source: str,
) -> tuple[int, ...]:
    """Find the column or columns that identify the gene, the surest first."""
    plain = [_plain(name) for name in names]
    candidates = [
        j for j in range(len(names)) if annotation[j] and (text[j] or plain[j] in _GENE_NAMES)
    ]
    for j in candidates:
        if _share(columns[j], _GENE_ID) >= _HALF and plain[j] not in _LISTS:
            return (j,)
    symbols = [j for j in candidates if text[j] and plain[j] in _SYMBOL_NAMES]
    entrez = [j for j in candidates if plain[j] in _ENTREZ_NAMES]
    if symbols and entrez:
        return (symbols[0], entrez[0])
    if id_hint is not None and (text[id_hint] or plain[id_hint] in _GENE_NAMES):
        return (id_hint,)
    named = [j for j in candidates if text[j] and plain[j] in _GENE_NAMES]
    worded = [j for j in candidates if text[j]]
    for group in (named, worded, entrez):
        if group:
            return (group[0],)
    first = columns[0]
    whole = all(c.isdigit() and c != "0" for c in first)
    if whole and len(set(first)) == len(first) and not _is_sequence(first):
        return (0,)  # Entrez ids under another name
    raise InputFileError(
        f"{source} has no gene column: the first column, {names[0]!r}, starts with "
        f"{_shown(first)}, and no other column holds gene identifiers.",
        "Put Ensembl ids, Entrez ids or gene symbols into the first column.",
    )


def _plain(name: str) -> str:
    """Strip a column name of case, blanks, dashes and a leading '#'."""
    return re.sub(r"[\s\-.]+", "_", name.strip().lstrip("#").lower())


def _is_text(column: Sequence[str], decimal: str) -> bool:
    """Whether most of the cells that are not missing are no numbers."""
    cells = [c for c in column if c not in MISSING]
    return sum(to_number(c, decimal=decimal) is None for c in cells) > _HALF * len(cells)


def _is_sequence(cells: Sequence[str]) -> bool:
    """Whether the cells are row numbers: consecutive whole numbers, two or more."""
    if len(cells) < 2 or not all(c.isdigit() for c in cells):
        return False
    start = int(cells[0])
    return start in (0, 1) and [int(c) for c in cells] == list(range(start, start + len(cells)))


def _share(cells: Sequence[str], pattern: re.Pattern[str]) -> float:
    return sum(pattern.fullmatch(c) is not None for c in cells) / max(len(cells), 1)


def _shown(cells: Sequence[str]) -> str:
    more = ", …" if len(cells) > 4 else ""
    return ", ".join(repr(c) for c in cells[:4]) + more
