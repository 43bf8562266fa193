"""Damaged files of every format, and files of no format: an error that names file and place."""

import bz2
import gzip
import json
import sys

import h5py
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.feather as pf
import pytest
from format_writers import (
    WRITERS,
    anndata_object,
    featurecounts,
    gct_1_2,
    gct_1_3,
    gdc_star,
    h5ad,
    h5ad_csc,
    h5ad_csr,
    htseq,
    mtx,
    rsem,
    series_matrix,
    star,
)

from specformer_encoder.errors import ExpressionValueError, InputFileError, SpecformerError
from specformer_encoder.readers import Limits, read

GENES = ["ENSG00000000003.15", "ENSG00000000005.6", "ENSG00000000419.13", "ENSG00000000457.14"]
SAMPLES = ["P1", "P2", "P3"]
COUNTS = np.array([[120, 0, 340, 7], [88, 1, 410, 12], [95, 0, 500, 3]], np.float32)


def refused(path, kind, message, **caps):
    with pytest.raises(kind, match=message) as caught:
        read(path, limits=Limits(**caps)) if caps else read(path)
    assert str(path.parent) not in str(caught.value)
    assert caught.value.remedy.endswith(".")
    return caught.value


def changed(path, old, new):
    content = path.read_text()
    assert old in content
    path.write_text(content.replace(old, new, 1))
    return path


@pytest.mark.parametrize("name", WRITERS)
def test_a_file_cut_anywhere_is_read_or_refused_never_a_crash(tmp_path, name):
    path = WRITERS[name].write(tmp_path, GENES, SAMPLES, COUNTS)
    if path.is_dir():
        path = path / "matrix.mtx.gz"
    whole = path.read_bytes()
    outcomes = set()
    for at in np.linspace(1, len(whole) - 1, 60).astype(int):
        path.write_bytes(whole[:at])
        try:
            raw = read(path)
            assert raw.values.shape == (len(raw.samples), len(raw.gene_ids))
            outcomes.add("read")
        except SpecformerError as error:
            assert path.name in str(error)
            outcomes.add("refused")
    assert "refused" in outcomes
    if name not in ("tsv", "csv", "csv2", "csv_by_sample", "gdc_fpkm") and not WRITERS[name].single:
        cut = whole[: int(len(whole) * 0.7)]
        path.write_bytes(cut)
        refused(path, SpecformerError, path.name)


@pytest.mark.parametrize("name", WRITERS)
def test_limits_hold_for_every_format(tmp_path, name):
    form = WRITERS[name]
    path = form.write(tmp_path, GENES, SAMPLES, COUNTS)
    refused(path, InputFileError, r"\d genes; the limit is 3", max_genes=3)
    if not form.single:
        refused(path, InputFileError, r"3 samples; the limit is 2", max_samples=2)
    refused(path, InputFileError, "limit", max_bytes=10)
    refused(path, InputFileError, "limit", max_inflated_bytes=20)


@pytest.mark.parametrize("write", [star, gdc_star, htseq, featurecounts])
def test_a_negative_count_names_gene_and_sample(tmp_path, write):
    path = changed(write(tmp_path, GENES, SAMPLES, COUNTS), "\t340", "\t-340")
    error = refused(path, ExpressionValueError, f"-340 for gene '{GENES[2]}'")
    assert "never negative" in str(error)


@pytest.mark.parametrize("write", [star, gdc_star, htseq, featurecounts, rsem, gct_1_2, gct_1_3])
def test_a_cell_that_is_no_number_is_named_with_line_and_column(tmp_path, write):
    path = changed(write(tmp_path, GENES, SAMPLES, COUNTS), "\t340", "\tmany")
    line = next(i for i, row in enumerate(path.read_text().splitlines(), 1) if "many" in row)
    refused(path, ExpressionValueError, f"'many' in column '.+', line {line}\\D")


@pytest.mark.parametrize("write", [gdc_star, featurecounts, rsem])
def test_a_header_alone_is_refused(tmp_path, write):
    path = write(tmp_path, [], SAMPLES, np.empty((3, 0), np.float32))
    if write is gdc_star:
        path.write_text("".join(path.read_text().splitlines(keepends=True)[:2]))
    refused(path, InputFileError, "no rows below it")


@pytest.mark.parametrize("write", [star, htseq])
def test_totals_alone_are_refused(tmp_path, write):
    path = write(tmp_path, [], SAMPLES, np.empty((3, 0), np.float32))
    refused(path, InputFileError, "no gene with a value")


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("4\t3\n", "5\t3\n", "promises 5 genes in its second line and has 4"),
        ("4\t3\n", "3\t3\n", "promises 3 genes in its second line and has 4"),
        ("4\t3\n", "4\t9\n", "promises 9 samples in its second line and has 3"),
        ("4\t3\n", "4\n", "second line of 'matrix.gct' is '4'"),
        ("4\t3\n", "four\tthree\n", "second line of 'matrix.gct' is 'four three'"),
        ("\tP3\n", "\tP2\n", "more than once.*'P2'"),
    ],
)
def test_gct_that_breaks_its_promise(tmp_path, old, new, message):
    path = changed(gct_1_2(tmp_path, GENES, SAMPLES, COUNTS), old, new)
    refused(path, InputFileError, message)


def test_gct_1_3_that_breaks_its_promise(tmp_path):
    path = changed(gct_1_3(tmp_path, GENES, SAMPLES, COUNTS), "4\t3\t2\t2", "4\t3\t1\t2")
    refused(path, InputFileError, "promises 3 samples in its second line and has 4")


MTX_FAULTS = {
    "cut off": ("3 3 500\n", "", InputFileError, "promises 10 entries and has 9: it was cut off"),
    "row outside": ("3 3 500", "5 3 500", InputFileError, "'5 3 500' in line 10"),
    "column outside": ("3 3 500", "3 4 500", InputFileError, "'3 4 500' in line 10"),
    "from zero": ("3 3 500", "0 3 500", InputFileError, "'0 3 500' in line 10"),
    "negative": ("3 3 500", "3 3 -500", ExpressionValueError, "'3 3 -500' in line 10"),
    "a word": ("3 3 500", "3 3 many", ExpressionValueError, "'many' in line 10"),
    "two cells": ("3 3 500", "3 3", InputFileError, "not row, column and value"),
    "too many": ("4 3 10", "4 3 9", InputFileError, "promises 9 entries and has more"),
    "impossible": ("4 3 10", "4 3 99", InputFileError, "promises 99 entries in 4 × 3 places"),
    "no dimensions": ("4 3 10\n", "", InputFileError, "which|another size|names 4 genes|files"),
    "pattern": ("integer general", "pattern general", InputFileError, "'matrix coordinate pattern"),
    "array": ("coordinate integer", "array integer", InputFileError, "'matrix array integer"),
    "symmetric": ("integer general", "integer symmetric", InputFileError, "symmetric"),
    "not finite": ("3 3 500", "3 3 inf", ExpressionValueError, "'3 3 inf' in line 10"),
}


@pytest.mark.parametrize("fault", MTX_FAULTS)
def test_mtx_faults(tmp_path, fault):
    old, new, kind, message = MTX_FAULTS[fault]
    path = changed(mtx(tmp_path, GENES, SAMPLES, COUNTS, packed=False), old, new)
    refused(path, kind, message)


def test_mtx_without_its_siblings(tmp_path):
    path = mtx(tmp_path, GENES, SAMPLES, COUNTS, prefix="GSM1_")
    (tmp_path / "GSM1_features.tsv.gz").rename(tmp_path / "elsewhere.tsv.gz")
    refused(path, InputFileError, "'GSM1_features.tsv'")
    (tmp_path / "elsewhere.tsv.gz").rename(tmp_path / "GSM1_features.tsv.gz")
    (tmp_path / "GSM1_barcodes.tsv.gz").unlink()
    refused(path, InputFileError, "barcodes")


def test_mtx_siblings_outside_the_folder_are_not_read(tmp_path):
    inside = tmp_path / "inside"
    inside.mkdir()
    path = mtx(inside, GENES, SAMPLES, COUNTS)
    (inside / "barcodes.tsv.gz").rename(tmp_path / "barcodes.tsv.gz")
    (inside / "barcodes.tsv.gz").symlink_to(tmp_path / "barcodes.tsv.gz")
    refused(path, InputFileError, "no file with its barcodes")


def test_mtx_siblings_of_another_size(tmp_path):
    path = mtx(tmp_path, GENES, SAMPLES, COUNTS, packed=False)
    (tmp_path / "barcodes.tsv").write_text("P1\nP2\nP3\nP4\nP5\n")
    refused(path, InputFileError, "4 × 3, and the files beside it name 4 genes and 5 barcodes")
    (tmp_path / "barcodes.tsv").write_text("P1\nP2\nP1\n")
    refused(path, InputFileError, "more than once.*'P1'")
    (tmp_path / "barcodes.tsv").write_text("")
    refused(path, InputFileError, "'barcodes.tsv' is empty")


def test_folders_without_one_matrix(tmp_path):
    refused(tmp_path, InputFileError, "folder without a matrix.mtx")
    mtx(tmp_path, GENES, SAMPLES, COUNTS, prefix="A_")
    mtx(tmp_path, GENES, SAMPLES, COUNTS, prefix="B_")
    refused(tmp_path, InputFileError, "2 matrices: 'A_matrix.mtx.gz', 'B_matrix.mtx.gz'")


def test_feather_version_1_and_packed_feather(tmp_path):
    path = tmp_path / "m.feather"
    path.write_bytes(b"FEA1" + bytes(100))
    refused(path, InputFileError, "version 1")
    table = pa.table({"gene_id": GENES, "P1": [1.0, 2.0, 3.0, 4.0]})
    pf.write_feather(table, path)
    path.write_bytes(gzip.compress(path.read_bytes()))
    refused(path, InputFileError, "inside another compression")


def test_feather_with_texts_for_values_and_with_no_rows(tmp_path):
    path = tmp_path / "m.feather"
    prices = pa.array([1.5, 2, 3, 4]).cast(pa.decimal128(9, 2))
    pf.write_feather(pa.table({"gene_id": GENES, "P1": prices}), path)
    refused(path, ExpressionValueError, "'P1' of 'm.feather' has type decimal128")
    pf.write_feather(
        pa.table({"gene_id": pa.array([], pa.string()), "P1": pa.array([], "f4")}), path
    )
    refused(path, InputFileError, "no rows")


def test_a_feather_bomb_is_not_decoded(tmp_path, monkeypatch):
    rows = 300_000
    columns = {f"S{i}": np.zeros(rows, np.float32) for i in range(20)}
    table = pa.table({"gene_id": pa.array(GENES[:1] * rows), **columns})
    path = tmp_path / "b.feather"
    pf.write_feather(table, path, compression="zstd", chunksize=rows)
    assert path.stat().st_size < table.nbytes / 30
    before = pa.total_allocated_bytes()
    monkeypatch.setattr(pa.ipc, "open_file", None)  # must not be reached
    refused(path, InputFileError, "once decoded", max_inflated_bytes=20_000_000)
    assert pa.total_allocated_bytes() - before < 1_000_000


def edit(path, change):
    with h5py.File(path, "r+") as file:
        change(file)
    return path


def replace(place, **made):
    def change(file):
        attributes = dict(file[place].attrs)
        del file[place]
        file.create_dataset(place, **made)
        file[place].attrs.update(attributes)

    return change


def remove(place):
    def change(file):
        del file[place]

    return change


H5AD_FAULTS = {
    "no var": (h5ad, remove("var"), InputFileError, "no obs and var"),
    "no matrix": (h5ad, remove("X"), InputFileError, "no matrix"),
    "texts": (
        h5ad,
        replace("X", data=np.full((3, 4), b"high")),
        ExpressionValueError,
        "type .S4, where numbers",
    ),
    "another shape": (
        h5ad,
        replace("X", data=COUNTS[:, :3]),
        InputFileError,
        "X of 'matrix.h5ad' is 3 × 3, and obs and var name 3 samples and 4 genes",
    ),
    "one dimension": (h5ad, replace("X", data=COUNTS[0]), InputFileError, "X of .* is no matrix"),
    "infinite": (
        h5ad,
        replace("X", data=np.where(COUNTS == 410, np.inf, COUNTS)),
        ExpressionValueError,
        f"'{GENES[2]}', sample 'P2'",
    ),
    "columns outside": (
        h5ad_csr,
        replace("X/indices", data=np.full(10, 7)),
        InputFileError,
        "outside its 4 columns",
    ),
    "rows outside": (
        h5ad_csc,
        replace("X/indices", data=np.full(10, -1)),
        InputFileError,
        "outside its 3 rows",
    ),
    "broken index": (
        h5ad_csr,
        replace("X/indptr", data=np.array([0, 9, 3, 10])),
        InputFileError,
        "broken index",
    ),
    "no entries": (h5ad_csr, remove("X/data"), InputFileError, "cannot be read as .h5ad"),
    "no index": (
        h5ad,
        lambda file: file["obs"].attrs.pop("_index"),
        InputFileError,
        "cannot be read as .h5ad",
    ),
    "link to a file": (
        h5ad,
        lambda file: (
            remove("X")(file),
            file.__setitem__("X", h5py.ExternalLink("other.h5", "/secret")),
        ),
        InputFileError,
        "X of 'matrix.h5ad' is a link",
    ),
    "data in a file": (
        h5ad,
        replace("X", shape=(3, 4), dtype="u1", external=[("/etc/hostname", 0, 12)]),
        InputFileError,
        "X of 'matrix.h5ad' keeps its data in another file",
    ),
    "virtual": (
        h5ad,
        lambda file: (
            remove("X")(file),
            file.create_virtual_dataset("X", virtual()),
        ),
        InputFileError,
        "X of 'matrix.h5ad' keeps its data in another file",
    ),
}


def virtual():
    layout = h5py.VirtualLayout(shape=(3, 4), dtype="f4")
    layout[:] = h5py.VirtualSource("other.h5", "secret", shape=(3, 4))
    return layout


@pytest.mark.parametrize("fault", H5AD_FAULTS)
def test_h5ad_faults(tmp_path, fault):
    write, change, kind, message = H5AD_FAULTS[fault]
    path = edit(write(tmp_path, GENES, SAMPLES, COUNTS), change)
    refused(path, kind, message)


def test_an_hdf5_bomb_is_not_decoded(tmp_path):
    path = h5ad(tmp_path, GENES, SAMPLES, COUNTS)
    edit(
        path,
        replace(
            "X", shape=(2000, 20_000), dtype="f4", chunks=(500, 20_000), compression="gzip",
            fillvalue=1,
        ),
    )  # fmt: skip
    assert path.stat().st_size < 100_000
    error = refused(path, InputFileError, "X of", max_inflated_bytes=100_000_000)
    assert "160,000,000" in str(error)


def make_hdf5(path, *places):
    with h5py.File(path, "w") as file:
        for place in places:
            file[place] = np.arange(3)
    return path


HDF5_KINDS = {
    "10x": (("matrix/barcodes", "matrix/data", "matrix/indptr"), "10x feature-barcode matrix"),
    "loom": (("matrix", "row_attrs/Gene", "col_attrs/CellID"), "a loom file"),
    "ARCHS4": (("data/expression", "meta/genes"), "an ARCHS4 archive"),
    "MuData": (("mod/rna/X", "obs/_index"), "MuData"),
    "kallisto": (("aux/ids", "est_counts"), "kallisto"),
    "a network": (("model_weights/w",), "not .h5ad: it has no obs and var, it holds model_weights"),
}


@pytest.mark.parametrize("kind", HDF5_KINDS)
def test_other_hdf5_files_are_refused_by_name(tmp_path, kind):
    places, message = HDF5_KINDS[kind]
    refused(make_hdf5(tmp_path / "file.h5", *places), InputFileError, message)


def test_h5ad_without_anndata_says_how_to_install_it(tmp_path, monkeypatch):
    path = h5ad(tmp_path, GENES, SAMPLES, COUNTS)
    monkeypatch.setitem(sys.modules, "anndata", None)
    error = refused(path, InputFileError, "anndata")
    assert "pip install 'specformer-mcp[h5ad]'" in error.remedy


def test_series_matrix_without_genes(tmp_path):
    path = series_matrix(tmp_path, ["1007_s_at", "1053_at", "117_at", "121_at"], SAMPLES, COUNTS)
    refused(path, InputFileError, "matrix of probes.*'1007_s_at'")
    path = series_matrix(tmp_path, [], SAMPLES, np.empty((3, 0), np.float32))
    refused(path, InputFileError, "table is empty")
    path.write_text('!Series_title\t"A study"\n!Series_type\t"x"\n')
    refused(path, InputFileError, "without a table")


FASTQ = "@SRR1.1 1/1\nACGTNACGT\n+\nIIIIIIIII\n"
GTF = 'chr1\tHAVANA\tgene\t11869\t14409\t.\t+\t.\tgene_id "ENSG00000223972.5"; gene_name "X";\n'
FOREIGN = {
    "VCF": ("##fileformat=VCFv4.2\n#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\n", "VCF"),
    "MAF": (
        "#version 2.4\nHugo_Symbol\tEntrez_Gene_Id\tVariant_Classification\nTP53\t7157\tx\n",
        "MAF",
    ),
    "MAF, columns moved": (
        "Chromosome\tHugo_Symbol\tVariant_Classification\n17\tTP53\tSilent\n",
        "MAF",
    ),
    "FASTQ": (FASTQ * 5, "FASTQ"),
    "FASTA": (">ENST00000456328.2|x\nACGTACGTACGTACGT\nACGTACGTACGTACGT\n", "FASTA"),
    "SAM": ("@HD\tVN:1.6\tSO:coordinate\n@SQ\tSN:chr1\tLN:248956422\n", "SAM"),
    "GTF": ("#!genome-build GRCh38\n" + GTF, "GTF"),
    "GTF without comments": (GTF * 3, "GTF"),
    "GFF": ("##gff-version 3\nchr1\t.\tgene\t1\t2\t.\t+\t.\tID=x\n", "GFF"),
    "JSON": (json.dumps({"genes": {"TP53": 1}}), "JSON"),
    "JSON list": (json.dumps([{"gene": "TP53", "value": 1}]), "JSON"),
    "XML": ("<?xml version='1.0'?>\n<a/>\n", "XML"),
    "web page": ("\n<!doctype HTML>\n<html><body>404</body></html>", "a web page"),
    "SOFT": ("^DATABASE = GeoMiame\n!Database_name = GEO\n^SERIES = GSE1\n", "SOFT"),
    "CEL, text": ("[CEL]\nVersion=3\n\n[HEADER]\n", "CEL"),
    "CEL": (b"\x40\x00\x00\x00\x04\x00\x00\x00" + bytes(100), "CEL"),
    "IDAT": (b"IDAT\x03\x00" + bytes(100), "IDAT"),
    "PNG": (b"\x89PNG\r\n\x1a\n" + bytes(100), "image"),
    "JPEG": (b"\xff\xd8\xff\xe0" + bytes(100), "image"),
    "PDF": (b"%PDF-1.7\n%\xe2\xe3", "PDF"),
    "BAM": (gzip.compress(b"BAM\x01" + bytes(100)), "BAM"),
    "CRAM": (b"CRAM\x03\x00" + bytes(100), "CRAM"),
    "rds": (gzip.compress(b"X\n\x00\x00\x00\x03" + bytes(60)), "rds"),
    "rds, bzip2": (bz2.compress(b"X\n\x00\x00\x00\x03" + bytes(60)), "rds"),
    "bedGraph": ("track type=bedGraph\nchr1\t0\t100\t1\n", "genome track"),
    "STAR log": ("                                 Started job on |\tMar 29\n", "STAR's log"),
    "STAR junctions": ("chr1\t14830\t14969\t2\t2\t1\t0\t12\t38\n" * 4, "splice junctions"),
    "featureCounts summary": (
        "Status\t/d/a.bam\nAssigned\t10\nUnassigned_Unmapped\t5\n",
        "summary",
    ),
    "LFS pointer": ("version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 1\n", "LFS"),
    "SQLite": (b"SQLite format 3\x00" + bytes(100), "SQLite"),
}


@pytest.mark.parametrize("kind", FOREIGN)
@pytest.mark.parametrize("packed", [False, True])
def test_files_that_are_no_expression_are_refused_by_name(tmp_path, kind, packed):
    content, message = FOREIGN[kind]
    content = content if isinstance(content, bytes) else content.encode()
    packed = packed and not content.startswith(b"\x1f\x8b") and not content.startswith(b"BZ")
    path = tmp_path / "file.txt"
    path.write_bytes(gzip.compress(content) if packed else content)
    refused(path, InputFileError, message)


def test_bytes_changed_anywhere_raise_nothing_but_our_own_errors(tmp_path):
    rng = np.random.default_rng(83)
    outcomes = {"read": 0, "refused": 0}
    for name, form in WRITERS.items():
        where = tmp_path / name
        where.mkdir()
        path = form.write(where, GENES, SAMPLES, COUNTS)
        if path.is_dir():
            path = path / "matrix.mtx.gz"
        whole = path.read_bytes()
        for _ in range(40):
            content = bytearray(whole)
            for at in rng.integers(len(content), size=rng.integers(1, 5)):
                content[at] = rng.integers(256)
            path.write_bytes(content)
            try:
                assert read(path).values.ndim == 2
                outcomes["read"] += 1
            except SpecformerError:
                outcomes["refused"] += 1
    assert min(outcomes.values()) > 100


def test_anndata_can_read_what_the_writer_wrote(tmp_path):
    import anndata

    path = h5ad(tmp_path, GENES, SAMPLES, COUNTS)
    again = anndata.read_h5ad(path)
    pd.testing.assert_frame_equal(
        again.to_df(), anndata_object(GENES, SAMPLES, COUNTS).to_df(), check_names=False
    )
