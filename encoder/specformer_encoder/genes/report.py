"""The account of what became of a file's gene identifiers, for a program and for a person."""

from __future__ import annotations

from dataclasses import dataclass, field

#: How many identifiers of each group the report names.
NAMED_EXAMPLES = 5

_KINDS = {
    "ensembl": "Ensembl ids",
    "entrez": "Entrez ids",
    "symbol": "gene symbols",
    "symbol|entrez": "symbols with Entrez ids",
    "ensembl|symbol": "Ensembl ids with symbols",
    "none": "no identifiers",
}
#: Group → what a person is told about it, in the order of telling.
_GROUPS = {
    "renamed": "found by an earlier symbol or id, an alias or another spelling",
    "repaired": "turned back from the date that a spreadsheet had made of the symbol",
    "merged": "share their gene with another row and are summed on the linear scale",
    "ambiguous": "left out because the name may mean another gene",
    "unknown": "left out because no current human gene is known by the name",
    "outside_vocabulary": "left out because the gene is not in the protein-coding vocabulary",
}


@dataclass(frozen=True, slots=True)
class GeneReport:
    """What became of the identifiers of one file.

    Every row is in exactly one of `exact`, `renamed`, `repaired`, `ambiguous`, `unknown` and
    `outside_vocabulary`.

    Attributes
    ----------
    kind
        What most rows have: ``ensembl``, ``entrez``, ``symbol``, ``symbol|entrez`` or
        ``ensembl|symbol``.
    rows
        Rows with an identifier.
    exact
        Rows whose identifier is the current one.
    renamed
        Rows found by a previous symbol, an alias, a retired id or another spelling.
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
    repaired
        Rows whose symbol a spreadsheet had turned into a date.
    kinds
        Kind → rows, the most frequent first; several where the file mixes them.
    examples
        The first few of each group that is not empty, and of the ``missing`` genes:
        ``OLD → NEW``, ``A + B → GENE`` for merged rows, ``NAME (GENE, GENE)`` for ambiguous ones.
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
    repaired: int = 0
    kinds: dict[str, int] = field(default_factory=dict)
    examples: dict[str, list[str]] = field(default_factory=dict)

    @property
    def coverage(self) -> float:
        """Share of the vocabulary that was measured, 0 to 1."""
        return self.measured / self.vocabulary

    @property
    def missing(self) -> int:
        """Vocabulary genes that the file lacks."""
        return self.vocabulary - self.measured

    @property
    def mixed(self) -> bool:
        """Whether the file names its genes in more than one way."""
        return len(self.kinds) > 1

    def sentences(self) -> list[str]:
        """Tell a person in a few lines, empty groups left out.

        Returns
        -------
        list of str
            The first says what the identifiers are and how much of the vocabulary they cover.
        """
        named = _KINDS[self.kind]
        if self.mixed:
            others = [f"{rows:,} {_KINDS[kind]}" for kind, rows in list(self.kinds.items())[1:]]
            named = f"mixed identifiers, mostly {named}, with {' and '.join(others)}"
        lines = [
            f"{self.rows:,} rows of {named}: {self.measured:,} of {self.vocabulary:,} vocabulary "
            f"genes measured ({self.coverage:.1%}), {self.exact:,} rows by their current name."
        ]
        for group, what in _GROUPS.items():
            if rows := getattr(self, group):
                lines.append(f"{rows:,} rows {what}: {self._first(group, rows)}.")
        if self.missing:
            first = self._first("missing", self.missing)
            lines.append(f"{self.missing:,} genes of the vocabulary are not in the file: {first}.")
        return lines

    def _first(self, group: str, number: int) -> str:
        shown = self.examples.get(group, [])
        return ", ".join(shown) + (" and more" if number > len(shown) else "")
