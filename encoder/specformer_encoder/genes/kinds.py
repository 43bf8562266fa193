"""What kind of name is this? Reading an identifier without looking any gene up.

Nothing here knows a gene. An identifier is taken apart by its form alone (Ensembl, Entrez, symbol,
or several of these in one cell), and forms that no human gene-level matrix uses (transcripts,
probes, proteins, other species) are recognised so that they can be refused by name.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

#: Kinds of identifier, as reports name them.
ENSEMBL, ENTREZ, SYMBOL = "ensembl", "entrez", "symbol"
SYMBOL_ENTREZ, ENSEMBL_SYMBOL = "symbol|entrez", "ensembl|symbol"
KINDS = (ENSEMBL, ENTREZ, SYMBOL, SYMBOL_ENTREZ, ENSEMBL_SYMBOL)

_EDGES = " \t\r\n\"'\u00a0\ufeff"
_PLACEHOLDERS = frozenset({"", "?", "-", "---", "na", "n/a", "nan", "none", "null", "unknown"})
# GENCODE before release 25 wrote the copy of a gene on chromosome Y as ENSGR and ten digits.
_ENSEMBL = re.compile(r"(?<![A-Z])ENSG(R\d{10}|\d{11})(?!\d)(\.\d+)?(_PAR_Y)?", re.IGNORECASE)
_ENTREZ = re.compile(r"(?:entrez|gene_?id|ncbi_?gene)?[: ]?(\d+)(?:\.0)?", re.IGNORECASE)
_LOCUS = re.compile(r"LOC(\d+)")
_BRACKETED = re.compile(r"([^\s()]+)\s*\(([^()]*)\)")
_BETWEEN = re.compile(r"[|;,:_\s()]+")
_ORF = re.compile(r"C(\d\d?|X|Y)orf\d+", re.IGNORECASE)
_COPY = re.compile(r"(.+)[.-](\d{1,2})")


@dataclass(frozen=True, slots=True)
class Identifier:
    """One identifier, taken apart.

    Attributes
    ----------
    kind
        One of the five kinds of this module.
    ensembl, entrez, symbol
        The parts it has: a bare Ensembl id, a number, a name.
    """

    kind: str
    ensembl: str | None = None
    entrez: str | None = None
    symbol: str | None = None


def take_apart(name: str) -> Identifier:
    """Read one identifier by its form.

    Examples
    --------
    >>> take_apart("ENSGR0000182378.10").ensembl
    'ENSG00000182378'
    >>> take_apart("TP53_ENSG00000141510.18")
    Identifier(kind='ensembl|symbol', ensembl='ENSG00000141510', entrez=None, symbol='TP53')
    >>> take_apart("TP53 (7157)")
    Identifier(kind='symbol|entrez', ensembl=None, entrez='7157', symbol='TP53')
    >>> take_apart("?|7157").symbol is None
    True
    """
    name = name.strip(_EDGES)
    found = _ENSEMBL.search(name)
    if found is not None:
        bare = f"ENSG{found[1].upper().replace('R', '0')}"
        rest = name[: found.start()] + "|" + name[found.end() :]
        parts = [part for part in _BETWEEN.split(rest) if part.lower() not in _PLACEHOLDERS]
        others = {match[0].upper()[:15] for match in _ENSEMBL.finditer(name)} - {
            found[0].upper()[:15]
        }
        if others:  # a cell with several genes is none of them
            return Identifier(ENSEMBL, symbol=name)
        kind = ENSEMBL_SYMBOL if parts else ENSEMBL
        return Identifier(kind, ensembl=bare, symbol=parts[0] if parts else None)
    bracketed = _BRACKETED.fullmatch(name)
    if "|" in name or bracketed is not None:
        cells = bracketed.groups() if bracketed is not None else name.split("|")
        parts = [part.strip(_EDGES) for part in cells]
        parts = [part for part in parts if part.lower() not in _PLACEHOLDERS]
        # 0 is how tables write "no number".
        number = next((part for part in parts if part.isdecimal() and part.strip("0")), None)
        symbol = next((part for part in parts if not part.isdecimal()), None)
        return Identifier(SYMBOL_ENTREZ, entrez=number, symbol=symbol)
    number = _ENTREZ.fullmatch(name)
    if number is not None:
        return Identifier(ENTREZ, entrez=number[1])
    return Identifier(SYMBOL, symbol=name)


def locus_number(symbol: str) -> str | None:
    """Entrez id inside a provisional name: NCBI calls a gene without a symbol LOC and its id."""
    found = _LOCUS.fullmatch(symbol)
    return found[1] if found is not None else None


def fold(symbol: str) -> str:
    """Spelling that survives capitals and R's `make.names`: NKX2.1, NKX2_1 and NKX2-1 are one."""
    return symbol.upper().replace(".", "-").replace("_", "-").replace(" ", "-")


def may_be_folded(symbol: str) -> bool:
    """Whether another spelling may be tried: human symbols are in capitals, except C1orf112.

    Egfr is a mouse gene. In a matrix of a human tumour grown in a mouse it stands beside EGFR, and
    is not to be added to it.
    """
    return symbol == symbol.upper() or _ORF.fullmatch(symbol) is not None


def copy_of(symbol: str) -> str | None:
    """Name that `make.unique` and its kin gave a number because it is repeated: TP53.1 → TP53."""
    found = _COPY.fullmatch(symbol)
    return found[1] if found is not None else None


def looks_like_rodent(symbol: str) -> bool:
    """Whether it is written as mouse and rat symbols are: a capital, then small letters."""
    return symbol[:1].isupper() and symbol[1:] == symbol[1:].lower() != symbol[1:].upper()


_TRANSCRIPTS = "give gene-level values: sum the transcripts of each gene first"
_HUMAN = "SpecFormer knows human genes; use a human sample, or map the genes to human orthologues"
_PROBES = "give RNA-seq values by gene; SpecFormer does not read microarrays"
_GENES = "give one row a gene, by Ensembl id, Entrez id or HGNC symbol"
#: Form → what it is, and what to do instead.
_FOREIGN = (
    (r"ENSMUSG\d{11}", "mouse Ensembl ids", _HUMAN),
    (r"ENSRNOG\d{11}", "rat Ensembl ids", _HUMAN),
    (r"ENSDARG\d{11}", "zebrafish Ensembl ids", _HUMAN),
    (r"ENS[A-Z]{3,4}[GTP]\d{11}|FBgn\d{7}|WBGene\d{8}|AT[1-5MC]G\d{5}", "non-human ids", _HUMAN),
    (r"ENST\d{11}", "Ensembl transcript ids", _TRANSCRIPTS),
    (r"ENSE\d{11}", "Ensembl exon ids", "give gene-level values: count reads by gene, not by exon"),
    (r"ENSP\d{11}|[NXY]P_\d{6,9}", "protein ids", _GENES),
    (r"[NX][MR]_\d{6,9}", "RefSeq transcript ids", _TRANSCRIPTS),
    (r"uc\d{3}[a-z]{3}\.\d+", "UCSC transcript ids", _TRANSCRIPTS),
    (r"CCDS\d+", "CCDS ids", _TRANSCRIPTS),
    (r"(?:\d{4,6}|AFFX-\S+)_(?:[a-z]_)?at", "Affymetrix probe sets", _PROBES),
    (r"ILMN_\d+", "Illumina array probes", _PROBES),
    (r"A_\d\d_P\d+", "Agilent array probes", _PROBES),
    (r"c[gh]\.?\d{6,8}|c[gh]\.\d+\.\S+", "CpG sites of a methylation array", _PROBES),
    (r"hsa-(?:mir|miR|let)-\S+|MI(?:MAT)?\d{7}", "microRNAs", _GENES),
    (
        r"(?:[OPQ]\d[A-Z0-9]{3}\d|[A-NR-Z]\d(?:[A-Z][A-Z0-9]{2}\d){1,2})(?![A-Z0-9])",
        "UniProt accessions",
        "map the proteins to genes first, and give RNA-seq values",
    ),
    (r"rs\d+|(?:chr)?[\dXYM]{1,2}[:_-]\d+\S*", "genomic positions", _GENES),
    (
        r"(?:HALLMARK|KEGG|REACTOME|GOBP|GOCC|GOMF|GO|WP|PID|BIOCARTA|R-HSA)[_:-]\S+",
        "pathways or gene sets",
        "give the expression matrix itself, genes by samples",
    ),
    (
        r"(?:TCGA|TARGET|GTEX|CPTAC)-\S+|GS[ME]\d+|[SED]RR\d+|SAM[NED]\w*\d+",
        "samples",
        "the matrix seems to be the wrong way round: put the genes where the samples are",
    ),
)
_ANY_FOREIGN = re.compile(
    "|".join(f"(?P<f{i}>{form})(?:\\.\\d+)?" for i, (form, _, _) in enumerate(_FOREIGN))
)


def foreign_kind(names: Iterable[str]) -> tuple[str, str, list[str]] | None:
    """Most frequent kind among names that are not human genes.

    Returns
    -------
    tuple of (str, str, list of str) or None
        What they are, what to do, and the names; None where no name has a known foreign form.
    """
    by_form: dict[str, list[str]] = {}
    for name in names:
        bare = name.strip(_EDGES)
        found = _ANY_FOREIGN.match(bare)
        if found is not None and found.lastgroup is not None:
            by_form.setdefault(found.lastgroup, []).append(bare)
    if not by_form:
        return None
    form, hits = max(by_form.items(), key=lambda item: len(item[1]))
    _, what, remedy = _FOREIGN[int(form[1:])]
    return what, remedy, hits


def are_row_numbers(names: Sequence[str]) -> bool:
    """Whether the names only count the rows, as a table saved without its gene column does."""
    if len(names) < 2 or names[0] not in ("0", "1"):
        return False
    return all(name == str(row) for row, name in enumerate(names, start=int(names[0])))
