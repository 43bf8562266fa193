"""Does every row reach its gene, and never another's? Judged by HGNC itself.

HGNC's table is read from the pinned package that the gene table is built from, but without the
code that builds it. Three questions:

1. Of the rows of every genome-wide file of the corpus, how many end in the vocabulary, how many are
   left out for a reason, how many are unknown? Ensembl files of the corpus hold protein-coding
   genes only; elsewhere a row is protein-coding if HGNC calls its Entrez id, or any gene that has
   or had its symbol, a gene with a protein product. Target: at least 99 % not unknown.
2. Does each Ensembl id, Entrez id, approved symbol, unambiguous previous symbol and unambiguous
   alias of HGNC lead to the gene that HGNC says? Each alone, as the only name of a file.
3. In files that give a symbol and an Entrez id, do the symbol alone, the number alone and both
   together lead to the same gene? Every disagreement is listed, with what was decided.

Before that it prints how long the table takes to load and a GDC file's 60,660 rows to map.

    python benchmarks/gene_identity.py --corpus DIR

DIR holds expression/*.parquet, the first column of each being the gene identifier, named for its
kind. The packages are downloaded with pip.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path

import pandas as pd
import pyarrow.parquet as pq

from specformer_encoder.genes import vocabulary
from specformer_encoder.genes.rows import resolve
from specformer_encoder.genes.table import AMBIGUOUS, NAMESPACES, OUTSIDE, UNKNOWN, lookup

sys.path.insert(0, str(Path(__file__).parents[1] / "encoder" / "scripts"))
from build_gene_table import read_sources, split_names

WITHHELD = {OUTSIDE: "outside the vocabulary", AMBIGUOUS: "ambiguous", UNKNOWN: "unknown"}


class Truth:
    """HGNC by every kind of name; a gene is its Ensembl id, or its symbol where it has none."""

    def __init__(self, hgnc: pd.DataFrame) -> None:
        self.ensembl: dict[str, str] = {}
        self.entrez: dict[str, str] = {}
        self.levels: dict[str, dict[str, set[str]]] = {
            level: defaultdict(set) for level in ("approved", "previous", "alias")
        }
        self.protein: set[str] = set()
        self.symbol: dict[str, str] = {}
        for entry in hgnc.to_dict("records"):
            gene = entry["Ensembl gene ID"] or entry["Approved symbol"]
            self.symbol[gene] = entry["Approved symbol"]
            if entry["Ensembl gene ID"]:
                self.ensembl[entry["Ensembl gene ID"]] = gene
            if entry["NCBI Gene ID(supplied by NCBI)"]:
                self.entrez[entry["NCBI Gene ID(supplied by NCBI)"]] = gene
            self.levels["approved"][entry["Approved symbol"]].add(gene)
            for level, column in (("previous", "Previous symbols"), ("alias", "Alias symbols")):
                for name in split_names(entry[column]):
                    self.levels[level][name].add(gene)
            if entry["Locus type"] == "gene with protein product":
                self.protein.add(gene)

    def meant_by(self, symbol: str) -> set[str]:
        """Genes at the first level that has the symbol."""
        for names in self.levels.values():
            if symbol in names:
                return names[symbol]
        return set()

    def unambiguous(self, level: str) -> dict[str, str]:
        """Symbols that mean one gene, and do so first at this level."""
        return {
            name: next(iter(genes))
            for name, genes in self.levels[level].items()
            if len(genes) == 1 and self.meant_by(name) is genes
        }

    def is_protein(self, name: str, kind: str) -> bool:
        """Whether a row is one of a protein-coding gene."""
        if kind == "ensembl_id":
            return name.startswith("ENSG")
        symbol, _, number = name.partition("|") if kind == "symbol|entrez" else (name, "", name)
        if kind == "entrez_id" or number in self.entrez:
            return self.entrez.get(number) in self.protein
        return not self.protein.isdisjoint(self.meant_by(symbol))


def shown(position: int) -> str:
    """A decision in words."""
    return vocabulary().symbols[position] if position >= 0 else WITHHELD[position]


def files(corpus: Path) -> Iterator[tuple[str, str, list[str]]]:
    """Name, kind of identifier and identifiers of every genome-wide file."""
    for path in sorted((corpus / "expression").glob("*.parquet")):
        if not path.name.startswith("panel_"):
            kind = pq.read_schema(path).names[0]
            column = pq.ParquetFile(path).read(columns=[kind])[kind]
            yield path.name.removesuffix(".parquet"), kind, column.to_pylist()


def time_mapping() -> None:
    """Milliseconds to load each part of the table, and to map as many rows as a GDC file has."""
    start = time.perf_counter()
    genes = len(vocabulary())
    print(f"vocabulary of {genes} genes: {1000 * (time.perf_counter() - start):.1f} ms")
    for namespace in NAMESPACES:
        start = time.perf_counter()
        keys = len(lookup(namespace).row)
        print(f"{keys} keys of {namespace}: {1000 * (time.perf_counter() - start):.1f} ms")
    names = [f"{gene}.{version % 20}" for version, gene in enumerate(lookup("ensembl").row)]
    names = vocabulary().ensembl_ids + names[: 60_660 - genes]
    seconds = []
    for _ in range(9):
        start = time.perf_counter()
        resolve(names)
        seconds.append(time.perf_counter() - start)
    print(f"{len(names)} Ensembl ids: {1000 * min(seconds):.1f} ms at best of {len(seconds)}\n")


def count_rows(corpus: Path, truth: Truth) -> None:
    """Question 1."""
    print("protein-coding rows of genome-wide files (of all rows)")
    heads = (
        "rows",
        "inside",
        "outside",
        "ambig.",
        "unknown",
        "accounted",
        "merged",
        "all",
        "known",
    )
    print(f"{'':36s}" + "".join(f"{head:>10s}" for head in heads))
    for name, kind, identifiers in files(corpus):
        gene = resolve(identifiers).gene
        coding = [truth.is_protein(identifier, kind) for identifier in identifiers]
        some = gene[coding]
        inside = some[some >= 0]
        unknown = int((some == UNKNOWN).sum())
        numbers = [len(some), len(inside), (some == OUTSIDE).sum(), (some == AMBIGUOUS).sum()]
        print(
            f"{name:36s}"
            + "".join(f"{number:10d}" for number in (*numbers, unknown))
            + f"{1 - unknown / len(some):10.2%}{len(inside) - len(set(inside.tolist())):10d}"
            + f"{len(gene):10d}{(gene != UNKNOWN).mean():10.2%}"
        )


def check_names(truth: Truth) -> None:
    """Question 2."""
    print("\nnames of HGNC, each alone: right gene, wrong gene, left out")
    position = {gene: row for row, gene in enumerate(vocabulary().ensembl_ids)}
    named = {
        "Ensembl id": truth.ensembl,
        "Entrez id": truth.entrez,
        **{f"{level} symbol": truth.unambiguous(level) for level in truth.levels},
    }
    for what, genes in named.items():
        right, wrong, withheld = 0, [], []
        for name, gene in genes.items():
            came, expected = int(resolve([name]).gene[0]), position.get(gene, OUTSIDE)
            right += came == expected
            if came >= 0 and came != expected:
                wrong.append(f"{name}: {shown(came)}, HGNC says {truth.symbol[gene]}")
            elif came != expected and expected >= 0:
                withheld.append(f"{name} of {truth.symbol[gene]}: {shown(came)}")
        print(
            f"{what:16s}{len(genes):8d}{right:8d} right{len(wrong):6d} wrong{len(withheld):6d} out"
        )
        for line in [*wrong, *withheld[:40]]:
            print(f"    {line}")


def compare_halves(corpus: Path, truth: Truth) -> None:
    """Question 3."""
    position = {gene: row for row, gene in enumerate(vocabulary().ensembl_ids)}

    def by_hgnc(number: str) -> str:
        gene = truth.entrez.get(number)
        return "not in HGNC" if gene is None else truth.symbol[gene]

    seen: set[str] = set()
    for name, kind, identifiers in files(corpus):
        if kind != "symbol|entrez":
            continue
        halves: list[Callable[[str], str]] = [
            lambda identifier: identifier.partition("|")[0],
            lambda identifier: identifier.partition("|")[2],
        ]
        by_symbol, by_number = (
            resolve([half(identifier) for identifier in identifiers]).gene for half in halves
        )
        both = resolve(identifiers).gene
        comparable = (by_symbol >= 0) & (by_number >= 0)
        odds = comparable & (by_symbol != by_number)
        # What nobody may do: a third gene, or a gene against HGNC where the symbol agrees with it.
        third = [
            identifier
            for identifier, one, symbol, number in zip(
                identifiers, both, by_symbol, by_number, strict=True
            )
            if one >= 0 and one not in (symbol, number)
        ]
        hgnc = [position.get(truth.entrez.get(halves[1](x), ""), UNKNOWN) for x in identifiers]
        against = sum(
            one >= 0 and told >= 0 and one != told
            for one, told in zip(both.tolist(), hgnc, strict=True)
        )
        print(
            f"\n{name}: symbol and number both in the vocabulary {comparable.sum()}, at odds "
            f"{odds.sum()}; both together against HGNC's gene of the number {against}, a third "
            f"gene {len(third)}"
        )
        times = Counter(halves[1](identifier) for identifier in identifiers)
        for identifier, one, symbol, number in zip(
            identifiers, both.tolist(), by_symbol.tolist(), by_number.tolist(), strict=True
        ):
            at_odds = symbol >= 0 and number >= 0 and symbol != number
            if (at_odds or identifier in third) and identifier not in seen:
                seen.add(identifier)
                told, rows = by_hgnc(halves[1](identifier)), times[halves[1](identifier)]
                print(
                    f"    {identifier}: symbol {shown(symbol)}, number {shown(number)} (HGNC: "
                    f"{told}; in {rows} rows of the file) → {shown(one)}"
                )


def main() -> None:
    """Print three tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--corpus", type=Path, required=True, help="folder with expression/")
    options = parser.parse_args()
    time_mapping()
    truth = Truth(read_sources().approved)
    count_rows(options.corpus, truth)
    check_names(truth)
    compare_halves(options.corpus, truth)


if __name__ == "__main__":
    main()
