"""Writers of every expression format that is read, faithful to what the tools themselves write.

Each writes a table (genes, samples, values) into a folder and returns the path to hand to `read`.
Headers, comment lines, quoting and number formats are the tools'. `WRITERS` lists them with what
they can hold, for tests that go through all of them; `pack` compresses what was written.
"""

from __future__ import annotations

import bz2
import gzip
import io
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.ipc as ipc

Values = npt.NDArray[np.float32]  # (samples, genes)
Writer = Callable[[Path, Sequence[str], Sequence[str], Values], Path]

STAR_TOTALS = ("N_unmapped", "N_multimapping", "N_noFeature", "N_ambiguous")
HTSEQ_TOTALS = (
    "__no_feature", "__ambiguous", "__too_low_aQual", "__not_aligned", "__alignment_not_unique",
)  # fmt: skip


def number(value: float, decimal: str = ".", missing: str = "") -> str:
    """The shortest text that gives the same float32 again."""
    if np.isnan(value):
        return missing
    value = np.float32(value)
    text = str(int(value)) if value == np.trunc(value) and abs(value) < 1e15 else str(value)
    return text.replace(".", decimal)


def lines_to(path: Path, lines: Sequence[str]) -> Path:
    path.write_text("".join(line + "\n" for line in lines), newline="")
    return path


def delimited(
    folder: Path,
    genes: Sequence[str],
    samples: Sequence[str],
    values: Values,
    *,
    name: str,
    delimiter: str,
    decimal: str = ".",
    quote: str = "",
    corner: str = "gene_id",
) -> Path:
    rows = [delimiter.join(f"{quote}{cell}{quote}" for cell in (corner, *samples))]
    for gene, column in zip(genes, values.T, strict=True):
        cells = (number(value, decimal, "NA") for value in column)
        rows.append(delimiter.join((f"{quote}{gene}{quote}", *cells)))
    return lines_to(folder / name, rows)


def tsv(folder, genes, samples, values):
    return delimited(folder, genes, samples, values, name="matrix.tsv", delimiter="\t")


def csv(folder, genes, samples, values):
    """As R's write.csv does: quoted names, an empty corner."""
    return delimited(
        folder, genes, samples, values, name="matrix.csv", delimiter=",", quote='"', corner=""
    )


def csv2(folder, genes, samples, values):
    """As R's write.csv2 and a German spreadsheet do."""
    return delimited(
        folder, genes, samples, values, name="m.csv", delimiter=";", decimal=",", quote='"'
    )


def frame(genes, samples, values):
    return pd.DataFrame(values.T, index=pd.Index(genes, name="gene_id"), columns=list(samples))


def csv_by_sample(folder, genes, samples, values):
    """As pandas writes samples × genes."""
    path = folder / "by_sample.csv"
    frame(genes, samples, values).T.to_csv(path)
    return path


def parquet(folder, genes, samples, values):
    path = folder / "matrix.parquet"
    frame(genes, samples, values).to_parquet(path)
    return path


def feather(folder, genes, samples, values):
    path = folder / "matrix.feather"
    frame(genes, samples, values).reset_index().to_feather(path, compression="zstd")
    return path


def arrow_stream(folder, genes, samples, values):
    path = folder / "matrix.arrows"
    table = pa.Table.from_pandas(frame(genes, samples, values).reset_index(), preserve_index=False)
    options = ipc.IpcWriteOptions(compression="lz4")
    with ipc.new_stream(str(path), table.schema, options=options) as stream:
        stream.write_table(table, max_chunksize=1000)
    return path


def gct_1_2(folder, genes, samples, values):
    """As GTEx writes it."""
    rows = ["#1.2", f"{len(genes)}\t{len(samples)}", "\t".join(("Name", "Description", *samples))]
    for gene, column in zip(genes, values.T, strict=True):
        rows.append("\t".join((gene, "na", *(number(v, missing="na") for v in column))))
    return lines_to(folder / "matrix.gct", rows)


def gct_1_3(folder, genes, samples, values):
    """As cmapR and cmapPy write it, with two columns and two rows of metadata."""
    rows = ["#1.3", f"{len(genes)}\t{len(samples)}\t2\t2"]
    rows.append("\t".join(("id", "pr_gene_title", "pr_is_lm", *samples)))
    rows.append("\t".join(("tissue", "na", "na", *("lung" for _ in samples))))
    rows.append("\t".join(("dose", "na", "na", *(str(i) for i, _ in enumerate(samples)))))
    for i, (gene, column) in enumerate(zip(genes, values.T, strict=True)):
        rows.append(
            "\t".join((gene, f"title {i}", str(i % 2), *(number(v, missing="na") for v in column)))
        )
    return lines_to(folder / "matrix_n2x2.gct", rows)


def anndata_object(genes, samples, values):
    import anndata

    return anndata.AnnData(
        values.copy(),
        obs=pd.DataFrame({"tissue": ["lung"] * len(samples)}, index=list(samples)),
        var=pd.DataFrame({"highly_variable": [True] * len(genes)}, index=list(genes)),
    )


def h5ad(folder, genes, samples, values):
    path = folder / "matrix.h5ad"
    anndata_object(genes, samples, values).write_h5ad(path, compression="gzip")
    return path


def h5ad_csr(folder, genes, samples, values, kind="csr"):
    import scipy.sparse

    data = anndata_object(genes, samples, values)
    data.X = getattr(scipy.sparse, f"{kind}_matrix")(values)
    path = folder / f"matrix.{kind}.h5ad"
    data.write_h5ad(path)
    return path


def h5ad_csc(folder, genes, samples, values):
    return h5ad_csr(folder, genes, samples, values, kind="csc")


def mtx(folder, genes, samples, values, *, packed=True, prefix="", columns=3):
    """As Cell Ranger 3 writes it; `columns=2` and genes.tsv is Cell Ranger 2."""
    names = [(gene, gene, "Gene Expression")[:columns] for gene in genes]
    places = np.argwhere(values.T != 0)
    integer = bool((values == np.trunc(values)).all())
    rows = [
        f"%%MatrixMarket matrix coordinate {'integer' if integer else 'real'} general",
        '%metadata_json: {"software_version": "cellranger-7.1.0", "format_version": 2}',
        f"{len(genes)} {len(samples)} {len(places)}",
    ]
    rows += [f"{g + 1} {s + 1} {number(values[s, g])}" for g, s in places]
    texts = {
        "matrix.mtx": rows,
        "features.tsv" if columns == 3 else "genes.tsv": ["\t".join(row) for row in names],
        "barcodes.tsv": list(samples),
    }
    for name, content in texts.items():
        path = lines_to(folder / f"{prefix}{name}", content)
        if packed:
            (folder / f"{prefix}{name}.gz").write_bytes(gzip.compress(path.read_bytes()))
            path.unlink()
    return folder / f"{prefix}matrix.mtx{'.gz' if packed else ''}"


def mtx_folder(folder, genes, samples, values):
    where = folder / "filtered_feature_bc_matrix"
    where.mkdir(exist_ok=True)
    mtx(where, genes, samples, values)
    return where


def star(folder, genes, samples, values, *, first=0.5):
    """STAR --quantMode GeneCounts; `first` is the share of reads on the first strand."""
    rows = [f"{total}\t{i}00\t{i}10\t{i}20" for i, total in enumerate(STAR_TOTALS, start=1)]
    for gene, value in zip(genes, values[0], strict=True):
        one = int(value * first)
        rows.append(f"{gene}\t{number(value)}\t{one}\t{int(value) - one}")
    return lines_to(folder / f"{samples[0]}ReadsPerGene.out.tab", rows)


def gdc_star(folder, genes, samples, values, *, comment=True):
    rows = ["# gene-model: GENCODE v36"] if comment else []
    rows.append(
        "gene_id\tgene_name\tgene_type\tunstranded\tstranded_first\tstranded_second\t"
        "tpm_unstranded\tfpkm_unstranded\tfpkm_uq_unstranded"
    )
    rows += [f"{total}\t\t\t{i}\t{i}\t{i}\t\t\t" for i, total in enumerate(STAR_TOTALS)]
    for gene, value in zip(genes, values[0], strict=True):
        half = int(value) // 2
        rows.append(
            f"{gene}\tNAME\tprotein_coding\t{number(value)}\t{half}\t{int(value) - half}"
            "\t0.5000\t0.2500\t0.3000"
        )
    return lines_to(folder / f"{samples[0]}.rna_seq.augmented_star_gene_counts.tsv", rows)


def htseq(folder, genes, samples, values):
    rows = [f"{gene}\t{number(value)}" for gene, value in zip(genes, values[0], strict=True)]
    rows += [f"{total}\t{i}0" for i, total in enumerate(HTSEQ_TOTALS)]
    return lines_to(folder / f"{samples[0]}.htseq.counts", rows)


def gdc_fpkm(folder, genes, samples, values, *, kind="FPKM"):
    """The GDC's former FPKM files: HTSeq's form without totals."""
    rows = [f"{gene}\t{number(value)}" for gene, value in zip(genes, values[0], strict=True)]
    path = lines_to(folder / f"{samples[0]}.{kind}.txt", rows)
    packed = path.with_name(path.name + ".gz")
    packed.write_bytes(gzip.compress(path.read_bytes()))
    path.unlink()
    return packed


def featurecounts(folder, genes, samples, values, *, bam="/data/bam/{}.sorted.bam"):
    bams = [bam.format(sample) for sample in samples]
    quoted = " ".join(f'"{path}"' for path in bams)
    rows = [
        '# Program:featureCounts v2.0.1; Command:"featureCounts" "-T" "4" "-p" "-a" '
        f'"gencode.v36.gtf" "-o" "counts.txt" {quoted} ',
        "\t".join(("Geneid", "Chr", "Start", "End", "Strand", "Length", *bams)),
    ]
    for i, (gene, column) in enumerate(zip(genes, values.T, strict=True)):
        place = f"chr1;chr1\t{11869 + i};{12613 + i}\t{12227 + i};{12721 + i}\t+;+\t{468 + i}"
        rows.append("\t".join((gene, place, *(number(value) for value in column))))
    return lines_to(folder / "counts.txt", rows)


def rsem(folder, genes, samples, values):
    rows = ["gene_id\ttranscript_id(s)\tlength\teffective_length\texpected_count\tTPM\tFPKM"]
    for i, (gene, value) in enumerate(zip(genes, values[0], strict=True)):
        transcripts = f"ENST{i:011d}.1,ENST{i:011d}.2"
        rows.append(f"{gene}\t{transcripts}\t1500.00\t1301.50\t{i}.00\t{number(value)}\t0.25")
    return lines_to(folder / f"{samples[0]}.genes.results", rows)


def tcga_rsem(folder, genes, samples, values):
    """TCGA RNASeqV2, `values` as TPM: the file has shares of transcripts."""
    rows = ["gene_id\traw_count\tscaled_estimate\ttranscript_id"]
    for gene, value in zip(genes, values[0], strict=True):
        rows.append(f"{gene}\t{float(value):.2f}\t{float(value) / 1e6!r}\tuc011lsn.1,uc010unu.1")
    return lines_to(folder / f"{samples[0]}.rsem.genes.results", rows)


def tcga_rsem_normalized(folder, genes, samples, values):
    rows = ["gene_id\tnormalized_count"]
    rows += [f"{gene}\t{float(v)!r}" for gene, v in zip(genes, values[0], strict=True)]
    return lines_to(folder / f"{samples[0]}.rsem.genes.normalized_results", rows)


def series_matrix(folder, genes, samples, values):
    """A GEO series matrix whose table is not empty."""
    rows = ['!Series_title\t"A study"', '!Series_geo_accession\t"GSE1"', ""]
    rows.append("\t".join(("!Sample_title", *(f'"sample {i}"' for i, _ in enumerate(samples)))))
    rows.append("!series_matrix_table_begin")
    rows.append("\t".join(('"ID_REF"', *(f'"{sample}"' for sample in samples))))
    for gene, column in zip(genes, values.T, strict=True):
        rows.append("\t".join((f'"{gene}"', *(number(v, missing="null") for v in column))))
    rows.append("!series_matrix_table_end")
    return lines_to(folder / "GSE1_series_matrix.txt", rows)


@dataclass(frozen=True)
class Format:
    """A format and what it can hold.

    `name` is what the reader calls it; `single` formats hold the first sample only; `whole` ones
    hold counts only; `missing` tells whether a cell may be empty; `text` whether `pack` may be
    used on it; `declares` is the unit that the format itself states.
    """

    write: Writer
    name: str
    single: bool = False
    whole: bool = False
    missing: bool = False
    text: bool = True
    declares: str | None = None


WRITERS: dict[str, Format] = {
    "tsv": Format(tsv, "matrix", missing=True),
    "csv": Format(csv, "matrix", missing=True),
    "csv2": Format(csv2, "matrix", missing=True),
    "csv_by_sample": Format(csv_by_sample, "matrix", missing=True),
    "parquet": Format(parquet, "matrix", missing=True, text=False),
    "feather": Format(feather, "matrix", missing=True, text=False),
    "arrow_stream": Format(arrow_stream, "matrix", missing=True, text=False),
    "gct_1_2": Format(gct_1_2, "gct", missing=True),
    "gct_1_3": Format(gct_1_3, "gct", missing=True),
    "h5ad": Format(h5ad, "h5ad", missing=True, text=False),
    "h5ad_csr": Format(h5ad_csr, "h5ad", text=False),
    "h5ad_csc": Format(h5ad_csc, "h5ad", text=False),
    "mtx": Format(mtx, "mtx", text=False),
    "mtx_folder": Format(mtx_folder, "mtx", text=False),
    "star": Format(star, "star", single=True, whole=True, declares="counts"),
    "gdc_star": Format(gdc_star, "gdc_star", single=True, whole=True, declares="counts"),
    "htseq": Format(htseq, "htseq", single=True, whole=True, declares="counts"),
    "gdc_fpkm": Format(gdc_fpkm, "htseq", single=True, text=False, declares="fpkm"),
    "featurecounts": Format(featurecounts, "featurecounts", whole=True, declares="counts"),
    "rsem": Format(rsem, "rsem", single=True, declares="tpm"),
    "tcga_rsem": Format(tcga_rsem, "rsem", single=True, declares="tpm"),
    "tcga_rsem_normalized": Format(
        tcga_rsem_normalized, "rsem", single=True, declares="rsem_normalized"
    ),
    "series_matrix": Format(series_matrix, "series_matrix", missing=True),
}


def zipped(content: bytes, name: str) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(name, content)
    return buffer.getvalue()


PACKERS: dict[str, Callable[[bytes, str], bytes]] = {
    ".gz": lambda content, _: gzip.compress(content),
    ".bz2": lambda content, _: bz2.compress(content),
    ".zst": lambda content, _: pa.compress(content, "zstd", asbytes=True),
    ".zip": zipped,
}


def pack(path: Path, ending: str) -> Path:
    """Compress a file; the original is removed."""
    packed = path.with_name(path.name + ending)
    packed.write_bytes(PACKERS[ending](path.read_bytes(), path.name))
    path.unlink()
    return packed
