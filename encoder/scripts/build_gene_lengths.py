"""Recover the exonic length of every gene from samples that come in counts and in FPKM.

    python encoder/scripts/build_gene_lengths.py --from DIR

Dividing counts by gene length is what makes them comparable with TPM and FPKM, and it has to be
the length that such pipelines divide by: all exons of a gene laid side by side. GENCODE's table in
the pinned package has the median over transcripts instead, which is 614 bp for COL1A1 and
104,301 bp for TTN. But FPKM = 10⁹ · c / (N · L), so where the same library comes with counts c and
with FPKM, the length L follows. With TPM it follows up to one factor for all genes, which the genes
that FPKM covers fix. Training patients only. Writes `specformer_encoder/data/gene_lengths.parquet`;
genes that these samples do not express are not in it, and keep GENCODE's length.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from specformer_encoder.corpus.labels import Splits, read_labels
from specformer_encoder.genes import map_genes, vocabulary

OUT = Path(__file__).parents[1] / "specformer_encoder" / "data" / "gene_lengths.parquet"
#: A gene needs this many reads over all samples; below it the rounding of FPKM shows.
MINIMUM_READS = 200
#: Earlier pairs win; the newest annotation comes first.
PAIRS = (
    (("gdc_star_paad", "counts"), ("gdc_star_paad", "fpkm")),
    (("gdc_star_paad", "counts"), ("gdc_star_paad", "tpm")),
    (("gdc_htseq", "counts"), ("gdc_htseq_fpkm", "fpkm")),
)
Values = npt.NDArray[np.float64]


def read(corpus: Path, source: str, unit: str, keep: set[str]) -> tuple[list[str], Values]:
    """Barcodes and (S, V) values as they stand in the file; NaN where not measured."""
    table = pq.read_table(corpus / "expression" / f"{source}.{unit}.parquet")
    index = map_genes(table.column(0).to_pylist()).index
    names = [name for name in table.column_names[1:] if name in keep]
    values = np.full((len(names), len(vocabulary())), np.nan)
    for i, name in enumerate(names):
        values[i, index[index >= 0]] = table[name].to_numpy()[index >= 0]
    return names, values


def lengths_of(counts: Values, normalised: Values, absolute: bool) -> Values:
    """(V,) length in bp, or up to one factor where `absolute` is false; NaN where not known."""
    reads = np.nansum(counts, axis=1, keepdims=True)  # N: reads on protein-coding genes
    scaled = normalised * reads / 1e9
    if not absolute:
        known = (counts > 100) & (normalised > 0)
        ratio = np.where(known, counts / np.where(known, normalised, 1), np.nan)
        scaled = normalised * np.nanmedian(ratio, axis=1, keepdims=True)
    both = ~np.isnan(counts) & ~np.isnan(scaled)
    c = np.where(both, counts, 0).sum(axis=0)
    d = np.where(both, scaled, 0).sum(axis=0)
    return np.where((c >= MINIMUM_READS) & (d > 0), c / np.where(d > 0, d, 1), np.nan)


def main() -> None:
    """Write the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument(
        "--from", type=Path, required=True, dest="folder", help="folder of labelled matrices"
    )
    corpus = parser.parse_args().folder
    labels = read_labels(corpus)
    splits = Splits(labels)
    train = {label.barcode for label in labels if splits.put(label).split == "train"}
    lengths = np.full(len(vocabulary()), np.nan)
    for (source, unit), (other, other_unit) in PAIRS:
        names, counts = read(corpus, source, unit, train)
        others, normalised = read(corpus, other, other_unit, train)
        shared = [name for name in names if name in set(others)]
        found = lengths_of(
            counts[[names.index(name) for name in shared]],
            normalised[[others.index(name) for name in shared]],
            other_unit == "fpkm",
        )
        if other_unit == "tpm":
            found *= np.nanmedian(lengths / found)
        agree = np.nanstd(np.log2(found / lengths)) if (~np.isnan(lengths)).any() else 0.0
        new = np.isnan(lengths) & ~np.isnan(found)
        lengths[new] = found[new]
        print(
            f"{source} {unit} / {other_unit}: {len(shared)} samples, {new.sum()} genes new, "
            f"log2 deviation from those before {agree:.2f}"
        )
    known = ~np.isnan(lengths)
    table = pa.table(
        {
            "ensembl_id": np.array(vocabulary().ensembl_ids)[known],
            "length": np.round(lengths[known]).astype(np.int32),
        }
    ).replace_schema_metadata({"source": "paired counts and FPKM or TPM of training patients"})
    pq.write_table(table, OUT, compression="zstd")
    print(f"{OUT.name}: {known.sum()} of {len(known)} genes, median {np.nanmedian(lengths):.0f} bp")


if __name__ == "__main__":
    main()
