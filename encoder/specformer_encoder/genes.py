"""Gene identity: any identifier that a file may use → one gene vocabulary.

Expression files name genes by Ensembl id (with or without version), Entrez id, HGNC symbol
(approved, previous or alias) or a composite of these. All are resolved to the Ensembl-keyed
vocabulary of protein-coding genes. Nothing is guessed: a name that stands for two genes is left
out, and the `GeneReport` says how many rows were renamed, merged, ambiguous, unknown or known
but outside the vocabulary, with the first few of each by name.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow.compute as pc
import pyarrow.parquet as pq

from specformer_encoder.errors import GeneIdentifierError

#: Fewer measured vocabulary genes than this say too little about a sample to be ordered.
MINIMUM_GENES = 500
#: Two genes may share a symbol, so a file may repeat a few; more than this share means that the
#: file holds its genes several times over. An id or a composite with one may not repeat at all.
REPEATED_SYMBOLS = 0.01
#: How many identifiers of each kind the report names.
NAMED_EXAMPLES = 5

DATA = Path(__file__).parent / "data"

_ENSEMBL = re.compile(r"ENSG\d{11}")
_REFUSED = (
    (re.compile(r"ENSMUSG\d{11}"), "mouse Ensembl ids", "use a human sample"),
    (re.compile(r"ENS[A-Z]{3,4}G\d{11}"), "non-human Ensembl ids", "use a human sample"),
    (re.compile(r"ENST\d{11}"), "Ensembl transcript ids", "sum the transcripts of each gene first"),
    (re.compile(r"[NX][MR]_\d+"), "RefSeq transcript ids", "map the transcripts to genes first"),
    (re.compile(r"uc\d{3}[a-z]{3}\.\d+"), "UCSC transcript ids", "map them to genes first"),
)


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """The ordered gene list of a release, V genes.

    Attributes
    ----------
    ensembl_ids, symbols
        V names each.
    lengths
        (V,) float32, exonic length in base pairs; see `encoder/scripts/build_gene_lengths.py`.
    """

    ensembl_ids: list[str]
    symbols: list[str]
    lengths: npt.NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.ensembl_ids)


@dataclass(frozen=True, slots=True)
class GeneReport:
    """What became of the identifiers of one file.

    Attributes
    ----------
    kind
        ``ensembl``, ``entrez``, ``symbol``, ``symbol|entrez`` or ``ensembl|symbol``.
    rows
        Rows with an identifier.
    exact
        Rows whose identifier is the current one.
    renamed
        Rows found by a previous symbol, an alias or a retired Ensembl id.
    merged
        Rows that share their gene with another row; their values are summed on the linear scale.
    ambiguous
        Rows left out because the name stands for more than one gene.
    unknown
        Rows left out because no human gene has the name.
    outside_vocabulary
        Rows of known genes that are not protein-coding.
    measured
        Vocabulary genes with a value.
    vocabulary
        Genes in the vocabulary.
    examples
        The first few identifiers of each group that is not empty.
    """

    kind: str
    rows: int
    exact: int
    renamed: int
    merged: int
    ambiguous: int
    unknown: int
    outside_vocabulary: int
    measured: int
    vocabulary: int
    examples: dict[str, list[str]] = field(default_factory=dict)

    @property
    def coverage(self) -> float:
        """Share of the vocabulary that was measured, 0 to 1."""
        return self.measured / self.vocabulary


@dataclass(frozen=True, slots=True)
class GeneMapping:
    """Where each row of a file goes.

    Attributes
    ----------
    index
        (G,) int32: vocabulary position of each row, -1 where the row is left out.
    report
        The account of it.
    """

    index: npt.NDArray[np.int32]
    report: GeneReport


@dataclass(frozen=True, slots=True)
class _Table:
    """Lookups built once from the bundled Parquet files; values are rows of the gene table."""

    ensembl: dict[str, tuple[int, str]]
    entrez: dict[str, tuple[int, str]]
    symbol: dict[str, tuple[int, str]]
    position: npt.NDArray[np.int32]  # gene row → vocabulary position or -1


@cache
def _table() -> _Table:
    genes = pq.read_table(DATA / "genes.parquet")
    inside = genes["in_vocabulary"].to_numpy(zero_copy_only=False)
    position = np.where(inside, np.cumsum(inside) - 1, -1).astype(np.int32)
    ensembl = {key: (row, "approved") for row, key in enumerate(genes["ensembl_id"].to_pylist())}
    lookups: dict[str, dict[str, tuple[int, str]]] = {
        "ensembl": ensembl,
        "entrez": {},
        "symbol": {},
    }
    identifiers = pq.read_table(DATA / "identifiers.parquet")
    for namespace, lookup in lookups.items():
        part = identifiers.filter(pc.equal(identifiers["namespace"], namespace))
        pairs = zip(part["gene"].to_pylist(), part["how"].to_pylist(), strict=True)
        lookup.update(zip(part["key"].to_pylist(), pairs, strict=True))
    return _Table(position=position, **lookups)


@cache
def vocabulary() -> Vocabulary:
    """The bundled gene vocabulary: protein-coding in GENCODE and in HGNC, by Ensembl id."""
    genes = pq.read_table(DATA / "genes.parquet")
    genes = genes.filter(genes["in_vocabulary"])
    ids = genes["ensembl_id"].to_pylist()
    return Vocabulary(ids, genes["symbol"].to_pylist(), _lengths(ids, genes["length"].to_numpy()))


def _lengths(ensembl_ids: list[str], transcript: npt.NDArray[np.int32]) -> npt.NDArray[np.float32]:
    """Exonic lengths; a gene without one keeps GENCODE's median transcript, to the same scale."""
    table = pq.read_table(DATA / "gene_lengths.parquet")
    exonic = dict(zip(table["ensembl_id"].to_pylist(), table["length"].to_pylist(), strict=True))
    lengths = np.array([exonic.get(gene, np.nan) for gene in ensembl_ids])
    lengths = np.where(np.isnan(lengths), transcript * np.nanmedian(lengths / transcript), lengths)
    return lengths.astype(np.float32)


def _look_up(name: str, table: _Table) -> tuple[str, int, str]:
    """Kind of the identifier, gene row (-1 ambiguous, -2 unknown) and how it was found."""
    if "|" in name:
        parts = [part.strip() for part in name.split("|")]
        if parts[0].startswith("ENSG"):
            return "ensembl|symbol", *_look_up(parts[0], table)[1:]
        # The number is the stabler half of SYMBOL|ENTREZ; the symbol is asked only without it.
        found = next((table.entrez[part] for part in parts if part in table.entrez), None)
        if found is None:
            found = next((table.symbol[part] for part in parts if part in table.symbol), None)
            # An alias is too weak where the file's own Entrez id says otherwise.
            found = None if found is not None and found[1] == "alias" else found
        return "symbol|entrez", *(found or (-2, ""))
    if name.startswith("ENSG"):
        bare = name[:15] if _ENSEMBL.match(name) else name
        return "ensembl", *table.ensembl.get(bare, (-2, ""))
    if name.isdigit():
        return "entrez", *table.entrez.get(name, (-2, ""))
    return "symbol", *table.symbol.get(name, (-2, ""))


def _refuse_foreign(names: Sequence[str], source: str) -> None:
    """Raise where most identifiers are of a kind that cannot be resolved."""
    for pattern, what, remedy in _REFUSED:
        hits = [name for name in names if pattern.match(name)]
        if len(hits) > len(names) / 2:
            raise GeneIdentifierError(
                f"{source} has {what} ({', '.join(hits[:3])}, {len(hits)} of {len(names)} rows); "
                "human gene identifiers were expected (Ensembl, Entrez or HGNC symbol).",
                f"To go on, {remedy}.",
            )


def map_genes(names: Sequence[str], source: str = "the file") -> GeneMapping:
    """Resolve the identifiers of one file.

    Parameters
    ----------
    names
        Identifiers in file order, G of them, of any supported kind.
    source
        The file's name, for messages.

    Returns
    -------
    GeneMapping
        Positions and report.

    Raises
    ------
    GeneIdentifierError
        If the identifiers are of a kind that cannot be resolved (mouse, transcripts), fewer than
        `MINIMUM_GENES` of them are genes of the vocabulary, or the file repeats its genes.

    Examples
    --------
    >>> _look_up("ENSG00000141510.18", _table())[0]
    'ensembl'
    >>> vocabulary().symbols[int(_table().position[_look_up("p53", _table())[1]])]
    'TP53'
    """
    _refuse_foreign(names, source)
    table = _table()
    kinds: Counter[str] = Counter()
    groups: dict[str, list[str]] = {
        group: [] for group in ("renamed", "merged", "ambiguous", "unknown", "outside_vocabulary")
    }
    index = np.full(len(names), -1, np.int32)
    exact = 0
    for row, name in enumerate(names):
        kind, gene, how = _look_up(name.strip(), table)
        kinds[kind] += 1
        if gene < 0:
            groups["ambiguous" if gene == -1 else "unknown"].append(name)
            continue
        index[row] = table.position[gene]
        if index[row] < 0:
            groups["outside_vocabulary"].append(name)
        elif how in ("approved", "id"):
            exact += 1
        else:
            groups["renamed"].append(name)

    inside = index >= 0
    counts = np.bincount(index[inside], minlength=len(vocabulary()))
    groups["merged"] = [names[int(row)] for row in np.flatnonzero(inside) if counts[index[row]] > 1]
    report = GeneReport(
        kind=kinds.most_common(1)[0][0] if kinds else "none",
        rows=len(names),
        exact=exact,
        measured=int((counts > 0).sum()),
        vocabulary=len(vocabulary()),
        examples={group: rows[:NAMED_EXAMPLES] for group, rows in groups.items() if rows},
        **{group: len(rows) for group, rows in groups.items()},
    )
    if report.measured < MINIMUM_GENES:
        _refuse_too_few(names, report, groups["unknown"], source)
    _refuse_repeats([names[int(row)] for row in np.flatnonzero(inside)], report, source)
    return GeneMapping(index, report)


def _refuse_repeats(names: Sequence[str], report: GeneReport, source: str) -> None:
    """Raise where the same identifiers stand in the file more than once."""
    repeated = [name for name, times in Counter(names).items() if times > 1]
    allowed = REPEATED_SYMBOLS * report.measured if report.kind == "symbol" else 0
    if len(repeated) > allowed:
        raise GeneIdentifierError(
            f"{source} has {len(repeated)} genes in more than one row "
            f"({', '.join(repeated[:NAMED_EXAMPLES])}); one row a gene was expected.",
            "If samples are stacked below each other, give each its own column; if the rows are "
            "parts of a gene (transcripts, probes), sum them first.",
        )


def _refuse_too_few(
    names: Sequence[str], report: GeneReport, unknown: Sequence[str], source: str
) -> None:
    symbols = _table().symbol
    in_capitals = sum(name.upper() in symbols for name in unknown if name != name.upper())
    if in_capitals > len(names) / 3 and all(name == name.lower() for name in unknown):
        raise GeneIdentifierError(
            f"The gene symbols of {source} are in small letters ({', '.join(unknown[:3])}).",
            "Write human symbols in capitals, as HGNC does.",
        )
    if in_capitals > len(names) / 3:
        raise GeneIdentifierError(
            f"{source} looks like mouse: {in_capitals} of {len(names)} symbols are human only "
            f"when written in capitals ({', '.join(unknown[:3])}).",
            "SpecFormer knows human genes; use a human sample, or map mouse genes to their human "
            "orthologues first.",
        )
    shown = ", ".join(repr(name) for name in unknown[:NAMED_EXAMPLES])
    came = f"{len(unknown)} of {len(names)} identifiers are unknown" + (f" ({shown})" * bool(shown))
    raise GeneIdentifierError(
        f"{source} has {report.measured} protein-coding genes that SpecFormer knows; at least "
        f"{MINIMUM_GENES} are needed. {came}.",
        "Give gene-level data with Ensembl ids, Entrez ids or HGNC symbols in the gene column.",
    )


def is_current(name: str) -> bool:
    """Whether a name is an id, or an approved or previous symbol, of a human gene.

    Aliases do not count: short ones (``S1``, ``OS``) are the names of samples and columns as well.

    Examples
    --------
    >>> [is_current(name) for name in ("TP53", "7157", "S1", "age")]
    [True, True, False, False]
    """
    _, gene, how = _look_up(name.strip(), _table())
    return gene >= 0 and how != "alias"
