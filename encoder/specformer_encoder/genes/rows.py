"""Every row of a file → its gene: first each identifier for itself, then all of them together.

Most names mean one gene whatever stands beside them. For the rest the file is evidence, because it
has one row a gene: a name that two genes had means the one that has no other row, and an alias of a
gene that has its own row means something else. What that does not settle is ambiguous.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cache

import numpy as np
import numpy.typing as npt

from specformer_encoder.genes.excel_dates import keys_of_date, keys_of_serials
from specformer_encoder.genes.kinds import (
    ENSEMBL,
    ENSEMBL_SYMBOL,
    ENTREZ,
    KINDS,
    SYMBOL,
    SYMBOL_ENTREZ,
    Identifier,
    copy_of,
    fold,
    locus_number,
    may_be_folded,
    take_apart,
)
from specformer_encoder.genes.table import (
    ALIAS,
    AMBIGUOUS,
    CURRENT,
    NONE,
    NOTHING,
    PREVIOUS,
    UNKNOWN,
    Found,
    lookup,
    vocabulary,
)

#: How far a row is to be believed: by a name that the gene has or had, by a mended form of one, by
#: an alias. Only rows of the first sort may share a gene.
FIRM, MENDED, WEAK = 0, 1, 2
# ENSG, eleven digits, a point and a version of two digits: a longer id has something else as well.
_PLAIN_LENGTH = 18


@dataclass(slots=True)
class Rows:
    """What is known about the G rows of a file.

    Attributes
    ----------
    names
        As they stand in the file.
    kind
        (G,) int8, index into `KINDS`.
    gene
        (G,) int32, vocabulary position, or `OUTSIDE`, `AMBIGUOUS`, `UNKNOWN`.
    how
        (G,) int8, index into `table.HOW`.
    trust
        (G,) int8: `FIRM`, `MENDED` or `WEAK`.
    others
        Row → symbols, as `Found.others`.
    dates
        Rows whose name was a date.
    copies
        Row → the name that it repeats, for TP53.1.
    """

    names: Sequence[str]
    kind: npt.NDArray[np.int8]
    gene: npt.NDArray[np.int32]
    how: npt.NDArray[np.int8]
    trust: npt.NDArray[np.int8]
    others: dict[int, tuple[str, ...]]
    dates: set[int]
    copies: dict[int, str]

    @classmethod
    def of(cls, names: Sequence[str]) -> Rows:
        """Rows of which nothing is known yet."""
        size = len(names)
        return cls(
            names=names,
            kind=np.full(size, KINDS.index(SYMBOL), np.int8),
            gene=np.full(size, UNKNOWN, np.int32),
            how=np.full(size, NONE, np.int8),
            trust=np.full(size, FIRM, np.int8),
            others={},
            dates=set(),
            copies={},
        )

    def find_all(self, at: npt.NDArray[np.intp], namespace: str, names: Sequence[str]) -> None:
        """Look many rows up as they stand."""
        table = lookup(namespace)
        found = table.rows(names)
        self.gene[at], self.how[at] = table.gene[found], table.how[found]
        self.trust[at] = np.where(table.how[found] == ALIAS, WEAK, FIRM)
        with_others = np.flatnonzero(np.isin(found, list(table.others)))
        self.others |= {int(at[k]): table.others[int(found[k])] for k in with_others}

    def put(self, row: int, found: Found, *, trust: int = FIRM) -> None:
        """Note what one row was found to be."""
        self.gene[row], self.how[row] = found.gene, found.how
        self.trust[row] = WEAK if found.how == ALIAS else trust
        if found.others:
            self.others[row] = found.others

    def leave_out(self, row: int, genes: Sequence[int]) -> None:
        """Call a row ambiguous, naming the genes that it may be."""
        self.gene[row], self.how[row] = AMBIGUOUS, NONE
        self.others[row] = tuple(vocabulary().symbols[gene] for gene in genes if gene >= 0)

    def unknown(self) -> list[int]:
        """Rows without an answer."""
        rows: list[int] = np.flatnonzero(self.gene == UNKNOWN).tolist()
        return rows


def resolve(names: Sequence[str]) -> Rows:
    """Find the gene of every row.

    Parameters
    ----------
    names
        Identifiers in file order, of any kind.

    Returns
    -------
    Rows
        The answers with their reasons.
    """
    rows = Rows.of(names)
    # The two commonest forms all at once: Ensembl ids, and symbols as HGNC writes them. A namespace
    # is loaded only for a file that has use for it.
    if any(name.startswith("ENSG") for name in names):
        everywhere = np.arange(len(names))
        rows.find_all(everywhere, "ensembl", [name.partition(".")[0] for name in names])
        rows.kind[rows.gene != UNKNOWN] = KINDS.index(ENSEMBL)
        longer = np.flatnonzero(np.array(list(map(len, names))) > _PLAIN_LENGTH).tolist()
        composite = [row for row in longer if not names[row].endswith("_PAR_Y")]
        rows.kind[composite] = KINDS.index(ENSEMBL_SYMBOL)
    wordy = [
        row
        for row in rows.unknown()
        if not (names[row].isdigit() or names[row].startswith("ENSG") or "|" in names[row])
    ]
    if wordy:
        rows.kind[wordy] = KINDS.index(SYMBOL)
        rows.find_all(np.array(wordy), "symbol", [names[row] for row in wordy])

    parts = {row: take_apart(names[row]) for row in rows.unknown()}
    for row, part in parts.items():
        rows.kind[row] = KINDS.index(part.kind)
    by_kind: dict[str, dict[int, Identifier]] = {kind: {} for kind in KINDS}
    for row, part in parts.items():
        by_kind[part.kind][row] = part
    _ensembl(rows, by_kind[ENSEMBL] | by_kind[ENSEMBL_SYMBOL])
    _numbers(rows, by_kind[ENTREZ])
    _pairs(rows, by_kind[SYMBOL_ENTREZ])
    _symbols(rows, by_kind[SYMBOL])

    _settle_by_elimination(rows)
    _doubt_reused_symbols(rows)
    _part_doubtful_rows(rows)
    return rows


def _ensembl(rows: Rows, parts: dict[int, Identifier]) -> None:
    """Ensembl ids that need reading; the symbol beside one is asked only if the id is unknown."""
    for row, part in parts.items():
        found = lookup("ensembl").one(part.ensembl)
        rows.put(row, found)
        if found.gene == UNKNOWN and part.symbol is not None:
            symbol = lookup("symbol").one(part.symbol)
            if symbol.known and symbol.how != ALIAS:
                rows.put(row, symbol, trust=MENDED)


def _numbers(rows: Rows, parts: dict[int, Identifier]) -> None:
    """Bare numbers: Entrez ids, or among symbols the dates that a spreadsheet made of some."""
    numbers = {row: part.entrez or "" for row, part in parts.items()}
    dates = None
    if numbers and (rows.kind == KINDS.index(SYMBOL)).sum() > len(rows.names) / 2:
        dates = keys_of_serials(list(numbers.values()), lookup("date").row)
    for k, (row, number) in enumerate(numbers.items()):
        if dates is None:
            rows.put(row, lookup("entrez").one(number))
        else:
            rows.kind[row] = KINDS.index(SYMBOL)
            rows.put(row, lookup("date").one(dates[k]), trust=MENDED)
            rows.dates.add(row)


def _pairs(rows: Rows, parts: dict[int, Identifier]) -> None:
    """Symbols with Entrez ids. The number is the stabler half, where it tells the rows apart.

    Some pipelines look the number up by sequence, so that ACTB and ACTG1 both get ACTB's. Others
    repeat a symbol for two loci. The half that is repeated less leads.
    """
    repeated_numbers = _repeated(part.entrez for part in parts.values())
    repeated_symbols = _repeated(part.symbol for part in parts.values())
    number_leads = len(repeated_numbers) < len(repeated_symbols)
    symbol_leads = len(repeated_symbols) < len(repeated_numbers)
    for row, part in parts.items():
        number, symbol = lookup("entrez").one(part.entrez), lookup("symbol").one(part.symbol)
        firm = symbol.known and symbol.how != ALIAS
        if part.entrez is None:
            rows.put(row, symbol)
        elif not number.known:
            # NCBI has dropped the record; what the symbol means now need not be what it was.
            rows.put(row, symbol if firm else NOTHING, trust=MENDED)
        elif number.gene == symbol.gene or number_leads or not (firm or symbol_leads):
            rows.put(row, number)
        elif symbol_leads and firm:
            rows.put(row, symbol)
        elif symbol_leads and part.entrez not in repeated_numbers:
            rows.put(row, number)
        elif firm and number.gene >= 0 and vocabulary().symbols[number.gene] in symbol.others:
            rows.put(row, number)  # the gene of that number had the symbol before
        else:
            rows.leave_out(row, [symbol.gene, number.gene])


def _symbols(rows: Rows, parts: dict[int, Identifier]) -> None:
    """Symbols that the table does not have as they stand."""
    present = frozenset(rows.names) if parts else frozenset()
    for row, part in parts.items():
        text = part.symbol or ""
        found = lookup("symbol").one(text)  # now without spaces and quotes
        if found.gene == UNKNOWN:
            found = lookup("entrez").one(locus_number(text))
        if found.gene != UNKNOWN:
            rows.put(row, found)
            continue
        dates = {lookup("date").one(key) for key in keys_of_date(text)} - {NOTHING}
        if dates:
            rows.dates.add(row)
            if len(dates) == 1:
                rows.put(row, dates.pop(), trust=MENDED)
            else:
                rows.leave_out(row, sorted(date.gene for date in dates))
            continue
        spelt = _other_spelling(text)
        base = copy_of(text)
        copied = lookup("symbol").one(base) if base in present else NOTHING
        if copied.known and spelt.known:
            # NKX2.1 beside NKX2: its second row, or another gene with its hyphen lost.
            rows.leave_out(row, [copied.gene, spelt.gene])
        elif copied.known and base is not None:
            rows.put(row, replace(copied, how=max(copied.how, PREVIOUS), others=()))
            rows.copies[row] = base
        else:
            rows.put(row, spelt, trust=MENDED)


def _other_spelling(symbol: str) -> Found:
    """The gene whose symbol is written so after capitals or R's `make.names`."""
    if not may_be_folded(symbol):
        return NOTHING
    folded = fold(symbol)
    found = lookup("symbol").one(folded)
    if found.gene == UNKNOWN:
        found = lookup("spelling").one(folded)
    if found is NOTHING:
        return found
    return replace(found, how=max(found.how, PREVIOUS), others=() if found.known else found.others)


def _settle_by_elimination(rows: Rows) -> None:
    """A name that several genes had is the one that has no row of its own, if that is one gene."""
    doubtful = np.flatnonzero((rows.gene == AMBIGUOUS) & (rows.how == PREVIOUS)).tolist()
    if not doubtful:
        return
    taken = set(rows.gene[(rows.gene >= 0) & (rows.trust == FIRM)].tolist())
    times = Counter(rows.names[row] for row in doubtful)
    for row in doubtful:
        genes = [_positions().get(symbol) for symbol in rows.others[row]]
        free = [gene for gene in genes if gene is None or gene not in taken]
        if len(free) == 1 and free[0] is not None and times[rows.names[row]] == 1:
            rows.put(row, Found(free[0], PREVIOUS), trust=MENDED)
            del rows.others[row]


def _doubt_reused_symbols(rows: Rows) -> None:
    """Leave out a current symbol that in this file may be the earlier one of another gene.

    It may where its gene has another row, under an earlier symbol, and a gene that had the symbol
    before has none.
    """
    reused = [row for row in rows.others if rows.gene[row] >= 0 and rows.how[row] == CURRENT]
    if not reused:
        return
    taken = set(rows.gene[rows.gene >= 0].tolist())
    by_earlier = set(rows.gene[(rows.gene >= 0) & (rows.how == PREVIOUS)].tolist())
    for row in reused:
        before = [_positions()[symbol] for symbol in rows.others[row]]
        gene = int(rows.gene[row])
        if gene in by_earlier and not taken.issuperset(before):
            rows.leave_out(row, [gene, *before])


def _part_doubtful_rows(rows: Rows) -> None:
    """Leave out rows that would add to a gene by an alias or a mended name."""
    doubtful = np.flatnonzero((rows.gene >= 0) & (rows.trust > FIRM))
    if not doubtful.size:
        return
    inside = rows.gene >= 0
    gene, trust = rows.gene[inside], rows.trust[inside]
    best = np.full(len(vocabulary()), WEAK + 1, np.int8)
    np.minimum.at(best, gene, trust)
    rivals = np.bincount(gene[trust == best[gene]], minlength=len(best))
    for row in doubtful.tolist():
        of = int(rows.gene[row])
        if rows.trust[row] > best[of] or rivals[of] > 1:
            rows.leave_out(row, [of])


def _repeated(parts: Iterable[str | None]) -> set[str]:
    """Parts that stand in more than one row."""
    return {part for part, times in Counter(parts).items() if part is not None and times > 1}


@cache
def _positions() -> dict[str, int]:
    return {symbol: position for position, symbol in enumerate(vocabulary().symbols)}
