"""Gene identity: any identifier that a file may use → one gene vocabulary.

Expression files name genes by Ensembl id (with or without version), Entrez id, HGNC symbol
(approved, previous or alias) or a composite of these. All are resolved to the Ensembl-keyed
vocabulary of protein-coding genes. Nothing is guessed: a name that may stand for two genes is left
out unless the rest of the file settles it (`genes.rows`), and the `GeneReport` says what became
of every row. A file whose identifiers are of another sort is refused by the name of that sort.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from specformer_encoder.errors import GeneIdentifierError
from specformer_encoder.genes.kinds import (
    KINDS,
    are_row_numbers,
    foreign_kind,
    looks_like_rodent,
)
from specformer_encoder.genes.report import NAMED_EXAMPLES, GeneReport
from specformer_encoder.genes.rows import Rows, resolve
from specformer_encoder.genes.table import (
    AMBIGUOUS,
    CURRENT,
    OUTSIDE,
    UNKNOWN,
    Vocabulary,
    lookup,
    vocabulary,
)

__all__ = ["MINIMUM_GENES", "GeneMapping", "GeneReport", "Vocabulary", "map_genes", "vocabulary"]

#: Fewer measured vocabulary genes than this say too little about a sample to be ordered.
MINIMUM_GENES = 500
#: A file may repeat a few identifiers: two genes share a symbol, or the copies of a gene on X and Y
#: an id whose suffix was cut off. More than this share of the measured genes means that the file
#: holds its genes several times over.
REPEATED = 0.01
#: Lists of genes whose rows are remembered: the samples of one pipeline all have the same.
_KEPT = 4
#: Longer lists are not: transcripts, or no genes at all.
_MOST_KEPT = 100_000


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
        If the identifiers are of a kind that cannot be resolved (another species, transcripts,
        probes, samples), fewer than `MINIMUM_GENES` of them are genes of the vocabulary, or the
        file repeats its genes.

    Examples
    --------
    >>> vocabulary().symbols[int(resolve(["p53"]).gene[0])]
    'TP53'
    """
    if are_row_numbers(names):
        raise GeneIdentifierError(
            f"The genes of {source} are numbered {names[0]} to {names[-1]} in order, which counts "
            "rows and names no gene.",
            "Give the column that holds the gene identifiers.",
        )
    look_up = _remembered if len(names) <= _MOST_KEPT else _looked_up
    rows, report = look_up(tuple(names))
    _refuse_foreign(rows, source)
    if report.measured < MINIMUM_GENES:
        _refuse_too_few(rows, report, source)
    _refuse_repeats(rows, report, source)
    return GeneMapping(np.maximum(rows.gene, OUTSIDE), report)


def _looked_up(names: tuple[str, ...]) -> tuple[Rows, GeneReport]:
    rows = resolve(names)
    return rows, _report(rows)


#: The same for all who ask for these names: not to be changed.
_remembered = lru_cache(maxsize=_KEPT)(_looked_up)


def _report(rows: Rows) -> GeneReport:
    """Count what became of the rows and name the first few of each group."""
    names, symbols = rows.names, vocabulary().symbols
    inside = rows.gene >= 0
    dated = np.zeros(len(names), np.bool_)
    dated[list(rows.dates)] = True
    times = np.bincount(rows.gene[inside], minlength=len(symbols))
    shared = np.zeros(len(names), np.bool_)
    shared[inside] = times[rows.gene[inside]] > 1
    groups = {
        "renamed": inside & (rows.how != CURRENT) & ~dated,
        "repaired": inside & dated,
        "merged": shared,
        "ambiguous": rows.gene == AMBIGUOUS,
        "unknown": rows.gene == UNKNOWN,
        "outside_vocabulary": rows.gene == OUTSIDE,
    }
    first = {
        group: [int(row) for row in np.flatnonzero(mask)[:NAMED_EXAMPLES]]
        for group, mask in groups.items()
    }
    examples = {group: [names[row] for row in some] for group, some in first.items()}
    for group in ("renamed", "repaired"):
        examples[group] = [f"{names[row]} → {symbols[rows.gene[row]]}" for row in first[group]]
    examples["ambiguous"] = [
        f"{names[row]} ({', '.join(others)})" if (others := rows.others.get(row)) else names[row]
        for row in first["ambiguous"]
    ]
    together: dict[int, list[str]] = {}
    for row in np.flatnonzero(shared).tolist():
        together.setdefault(int(rows.gene[row]), []).append(names[row])
    examples["merged"] = [
        f"{' + '.join(some)} → {symbols[gene]}"
        for gene, some in list(together.items())[:NAMED_EXAMPLES]
    ]
    examples["missing"] = [symbols[gene] for gene in np.flatnonzero(times == 0)[:NAMED_EXAMPLES]]
    kinds = np.bincount(rows.kind[rows.gene > UNKNOWN], minlength=len(KINDS))
    if not kinds.any():
        kinds = np.bincount(rows.kind, minlength=len(KINDS))
    by_kind = {KINDS[k]: int(kinds[k]) for k in np.argsort(-kinds, kind="stable") if kinds[k]}
    return GeneReport(
        kind=next(iter(by_kind), "none"),
        kinds=by_kind,
        rows=len(names),
        exact=int((inside & (rows.how == CURRENT) & ~dated).sum()),
        measured=int((times > 0).sum()),
        vocabulary=len(symbols),
        examples={group: some for group, some in examples.items() if some},
        **{group: int(mask.sum()) for group, mask in groups.items()},
    )


def _refuse_foreign(rows: Rows, source: str) -> None:
    """Raise where the identifiers are mostly of a kind that cannot be resolved."""
    unknown = [rows.names[row] for row in rows.unknown()]
    known = len(rows.names) - len(unknown)
    if (measured := int((rows.gene >= 0).sum())) < MINIMUM_GENES or len(unknown) > known:
        foreign = foreign_kind(unknown)
        if foreign is not None and len(foreign[2]) > known:
            what, remedy, hits = foreign
            raise GeneIdentifierError(
                f"{source} has {what} ({', '.join(hits[:3])}, {len(hits)} of {len(rows.names)} "
                "rows); human gene identifiers were expected (Ensembl, Entrez or HGNC symbol).",
                f"To go on, {remedy}.",
            )
    rodent = [name for name in unknown if looks_like_rodent(name)]
    if not rodent:
        return
    symbols = lookup("symbol").row
    rodent = [name for name in rodent if name.upper() in symbols]
    if len(rodent) > measured:
        raise GeneIdentifierError(
            f"{source} looks like mouse or rat: {len(rodent)} of {len(rows.names)} symbols are "
            f"human only when written in capitals ({', '.join(rodent[:3])}).",
            "SpecFormer knows human genes; use a human sample, or map the genes to their human "
            "orthologues first.",
        )


def _refuse_too_few(rows: Rows, report: GeneReport, source: str) -> None:
    unknown = [rows.names[row] for row in rows.unknown()]
    symbols = lookup("symbol").row
    small = [name for name in unknown if name == name.lower() and name.upper() in symbols]
    if len(small) > len(rows.names) / 3:
        raise GeneIdentifierError(
            f"The gene symbols of {source} are in small letters ({', '.join(small[:3])}), as those "
            "of zebrafish and frog are.",
            "If the sample is human, write its symbols in capitals, as HGNC does.",
        )
    shown = ", ".join(repr(name) for name in unknown[:NAMED_EXAMPLES])
    came = f"{len(unknown)} of {report.rows} identifiers are unknown" + f" ({shown})" * bool(shown)
    raise GeneIdentifierError(
        f"{source} has {report.measured} protein-coding genes that SpecFormer knows; at least "
        f"{MINIMUM_GENES} are needed. {came}.",
        "Give gene-level data with Ensembl ids, Entrez ids or HGNC symbols in the gene column.",
    )


def _refuse_repeats(rows: Rows, report: GeneReport, source: str) -> None:
    """Raise where many identifiers stand in the file more than once."""
    if not report.merged:
        return
    inside = np.flatnonzero(rows.gene >= 0).tolist()
    names = Counter(rows.copies.get(row, rows.names[row]) for row in inside)
    repeated = [name for name, times in names.items() if times > 1]
    if len(repeated) > REPEATED * report.measured:
        raise GeneIdentifierError(
            f"{source} has {len(repeated)} genes in more than one row "
            f"({', '.join(repeated[:NAMED_EXAMPLES])}); one row a gene was expected.",
            "If samples are stacked below each other, give each its own column; if the rows are "
            "parts of a gene (transcripts, probes), sum them first.",
        )
