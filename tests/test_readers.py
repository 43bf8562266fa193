"""Expression files as people have them, and as they should not."""

import bz2
import gzip
import io
import time
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from specformer_encoder.errors import ExpressionValueError, InputFileError
from specformer_encoder.readers import Limits, read
from specformer_encoder.readers.opening import InflatedStream

CORPUS = Path(__file__).parents[2] / "shared" / "corpus"

ENSEMBL = ["ENSG00000000003.15", "ENSG00000000005.6", "ENSG00000000419.13", "ENSG00000000457.14"]
SYMBOLS = ["TSPAN6", "TNMD", "DPM1", "SCYL3"]
SAMPLES = ["TCGA-05-4244-01A", "TCGA-05-4249-01A", "TCGA-05-4250-01A"]
VALUES = np.array([[120, 0, 340.5, 7], [88, 1, 410, 12.25], [95, 0, 500, 3]], np.float32)

GDC_HEADER = (
    "gene_id\tgene_name\tgene_type\tunstranded\tstranded_first\tstranded_second\t"
    "tpm_unstranded\tfpkm_unstranded\tfpkm_uq_unstranded\n"
)


def table(delimiter="\t", corner="gene_id", genes=ENSEMBL, decimal=".", quote=""):
    cells = [[corner, *SAMPLES]]
    cells += [
        [g, *(f"{v:g}".replace(".", decimal) for v in VALUES[:, i])] for i, g in enumerate(genes)
    ]
    text = [
        [quote + c + quote if i == 0 or j == 0 else c for j, c in enumerate(r)]
        for i, r in enumerate(cells)
    ]
    return "".join(delimiter.join(row) + "\n" for row in text)


def write(folder, name, content):
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def zipped(members):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def assert_is_table(raw, genes=ENSEMBL):
    assert raw.gene_ids == genes
    assert raw.samples == SAMPLES
    assert raw.values.dtype == np.float32
    np.testing.assert_array_equal(raw.values, VALUES)


def with_annotation(text, after, name, cells):
    lines = text.splitlines()
    columns = [[name, *cells][i] for i in range(len(lines))]
    rows = [line.split("\t") for line in lines]
    for row, cell in zip(rows, columns, strict=True):
        row.insert(after, cell)
    return "".join("\t".join(row) + "\n" for row in rows)


@pytest.mark.parametrize(
    "text",
    [
        pytest.param(table(), id="tsv"),
        pytest.param(table(","), id="csv"),
        pytest.param(table(";", decimal=","), id="semicolon and decimal comma"),
        pytest.param(table("\t", decimal=","), id="tab and decimal comma"),
        pytest.param(table(" "), id="space"),
        pytest.param(table(",", quote='"'), id="quoted as R does"),
        pytest.param(table(corner="sample"), id="Xena"),
        pytest.param(table(corner=""), id="unnamed index"),
        pytest.param(table()[len("gene_id\t") :], id="write.table header one short"),
        pytest.param(table().replace("\n", "\r\n"), id="Windows line ends"),
        pytest.param("\ufeff" + table(), id="byte order mark"),
        pytest.param(table().encode("utf-16"), id="UTF-16"),
        pytest.param("# made by a pipeline\n\n" + table(), id="comments"),
        pytest.param(
            "#1.2\n4\t3\n" + with_annotation(table(corner="Name"), 1, "Description", SYMBOLS),
            id="GCT",
        ),
        pytest.param(with_annotation(table(), 1, "gene_name", SYMBOLS), id="gene_name second"),
        pytest.param(with_annotation(table(), 1, "length", list("1987")), id="length second"),
        pytest.param(with_annotation(table(), 0, "", ["0", "1", "2", "3"]), id="row numbers first"),
        pytest.param(table() + "N_unmapped\t1\t2\t3\n__no_feature\t5\t6\t7\n", id="totals"),
        pytest.param(table() + "ENSG00000000938.13\tNA\t\tNA\n", id="a gene never measured"),
    ],
)  # fmt: skip
def test_delimited_layouts(tmp_path, text):
    assert_is_table(read(write(tmp_path, "matrix.txt", text)))


@pytest.mark.parametrize(
    ("name", "pack"),
    [
        ("m.tsv.gz", gzip.compress),
        ("m.tsv.bz2", bz2.compress),
        ("m.tsv.zst", lambda b: pa.compress(b, "zstd", asbytes=True)),
        ("m.tsv.gz", lambda b: gzip.compress(b[:40]) + gzip.compress(b[40:])),  # as bgzip writes
        ("m.zip", lambda b: zipped({"folder/": b"", "folder/m.tsv": b, "__MACOSX/._m.tsv": b"x"})),
        ("renamed.tsv", gzip.compress),
    ],
)
def test_compressed(tmp_path, name, pack):
    assert_is_table(read(write(tmp_path, name, pack(table().encode()))))


def test_samples_in_rows(tmp_path):
    frame = pd.DataFrame(VALUES, index=SAMPLES, columns=ENSEMBL)
    frame.insert(0, "tissue", "lung")
    path = tmp_path / "m.csv"
    frame.to_csv(path)
    assert_is_table(read(path))


def test_samples_in_rows_with_symbols(tmp_path):
    genes = ["TP53", "EGFR", "ACTB", "GAPDH"]
    path = tmp_path / "m.tsv"
    pd.DataFrame(VALUES, index=SAMPLES, columns=genes).to_csv(path, sep="\t", index_label="sample")
    assert_is_table(read(path), genes)


@pytest.mark.parametrize("index", [True, False])
def test_parquet(tmp_path, index):
    frame = pd.DataFrame(VALUES.T, index=pd.Index(ENSEMBL, name="gene_id"), columns=SAMPLES)
    frame["gene_name"] = SYMBOLS
    (frame if index else frame.reset_index()).to_parquet(tmp_path / "m.parquet")
    assert_is_table(read(tmp_path / "m.parquet"))


def test_parquet_samples_in_rows(tmp_path):
    pd.DataFrame(VALUES, index=SAMPLES, columns=ENSEMBL).to_parquet(tmp_path / "m.parquet")
    assert_is_table(read(tmp_path / "m.parquet"))


@pytest.mark.parametrize("header", ["", "gene\tvalue\n", "gene_id\tcount\n", '"x"\n'])
def test_two_columns_are_one_sample_named_after_the_file(tmp_path, header):
    body = "".join(f"{g}\t{v}\n" for g, v in zip(ENSEMBL, (3, 0, 14, 15), strict=True))
    raw = read(write(tmp_path, "P-17.tumour.tsv", header + body + "__alignment_not_unique\t99\n"))
    assert raw.samples == ["P-17.tumour"]
    assert raw.gene_ids == ENSEMBL
    assert raw.values.tolist() == [[3, 0, 14, 15]]


def test_two_columns_with_a_sample_name_keep_it(tmp_path):
    raw = read(write(tmp_path, "x.tsv", f"gene\t{SAMPLES[0]}\nTP53\t4\nEGFR\t5\n"))
    assert raw.samples == SAMPLES[:1]


def test_cbioportal_keeps_genes_without_a_symbol(tmp_path):
    text = (
        "Hugo_Symbol\tEntrez_Gene_Id\tTCGA-3L-AA1B-01\tTCGA-4N-A93T-01\n"
        "\t100130426\t0\t0.5\nTP53\t7157\t812.1\t640\nUBE2Q2P2\t-1\t3\t4\n"
    )
    raw = read(write(tmp_path, "data_RNA_Seq_v2_expression_median.txt", text))
    assert raw.gene_ids == ["?|100130426", "TP53|7157", "UBE2Q2P2"]
    assert raw.values[1].tolist() == [0.5, 640, 4]


def test_firehose_second_header_is_no_gene(tmp_path):
    text = (
        "Hybridization REF\tTCGA-A\tTCGA-B\ngene_id\tnormalized_count\tnormalized_count\n"
        "?|100130426\t0\t1\nA1BG|1\t38.5\t40\n"
    )
    raw = read(write(tmp_path, "ACC.rnaseqv2.data.txt", text))
    assert raw.gene_ids == ["?|100130426", "A1BG|1"]
    assert raw.samples == ["TCGA-A", "TCGA-B"]


def test_entrez_ids_in_an_unnamed_column(tmp_path):
    raw = read(write(tmp_path, "m.csv", ",S1,S2\n7157,1,2\n1956,3,4\n60,5,6\n"))
    assert raw.gene_ids == ["7157", "1956", "60"]


def test_repeated_genes_are_left_to_the_resolver(tmp_path):
    raw = read(write(tmp_path, "m.csv", "gene,S1\nTP53,1\nTP53,2\n"))
    assert raw.gene_ids == ["TP53", "TP53"]


def test_a_value_missing_in_some_samples_is_nan_not_zero(tmp_path):
    raw = read(write(tmp_path, "m.tsv", "gene\tS1\tS2\nTP53\tNA\t2\nEGFR\t3\t\n"))
    np.testing.assert_array_equal(raw.values, np.array([[np.nan, 3], [2, np.nan]], np.float32))


def test_gdc_star_reads_unstranded_counts(tmp_path):
    text = "# gene-model: GENCODE v36\n" + GDC_HEADER
    for i, name in enumerate(("unmapped", "multimapping", "noFeature", "ambiguous")):
        text += f"N_{name}\t\t\t{i}99\t{i}99\t{i}99\t\t\t\n"
    for i, (gene, symbol) in enumerate(zip(ENSEMBL, SYMBOLS, strict=True)):
        text += f"{gene}\t{symbol}\tprotein_coding\t{i + 10}\t5\t6\t1.5\t0.5\t0.6\n"
    name = "0f5a2c1e-9b1d.rna_seq.augmented_star_gene_counts.tsv"
    raw = read(write(tmp_path, name, text))
    assert raw.format == "gdc_star"
    assert raw.declared_unit == "counts"
    assert raw.samples == ["0f5a2c1e-9b1d"]
    assert raw.gene_ids == ENSEMBL
    assert raw.values.tolist() == [[10, 11, 12, 13]]


def test_agrees_with_pandas_on_random_numbers(tmp_path):
    rng = np.random.default_rng(3)
    genes = [f"ENSG{i:011d}" for i in range(500)]
    frame = pd.DataFrame(rng.lognormal(3, 2, (500, 7)), genes, [f"S{i}" for i in range(7)])
    frame.to_csv(tmp_path / "m.csv.gz", index_label="gene_id")
    expected = pd.read_csv(tmp_path / "m.csv.gz", index_col=0)
    raw = read(tmp_path / "m.csv.gz")
    np.testing.assert_array_equal(raw.values, expected.to_numpy(np.float32).T)
    assert raw.samples == list(expected.columns)


def test_a_20k_gene_file_is_read_fast(tmp_path):
    rng = np.random.default_rng(4)
    counts = rng.negative_binomial(1, 0.001, 20_000)
    text = "gene_id\tS1\n" + "".join(f"ENSG{i:011d}.4\t{n}\n" for i, n in enumerate(counts))
    path = write(tmp_path, "one.tsv.gz", gzip.compress(text.encode()))
    times = []
    for _ in range(3):
        start = time.process_time()
        raw = read(path)
        times.append(time.process_time() - start)
    assert raw.values.shape == (1, 20_000)
    assert min(times) < 0.15


FILE, VALUE = InputFileError, ExpressionValueError
HEADER = b"gene\tS1\tS2\n"
BAD_TEXT = {
    "empty": (b"", FILE, "empty"),
    "blank": (b"\n\n  \n", FILE, "holds no table"),
    "prose": (b"once upon a time\nthere was\n", FILE, "is no table"),
    "binary": (bytes(range(256)) * 40, FILE, "binary data"),
    "random": (np.random.default_rng(0).bytes(5000), FILE, "binary data"),
    "broken zip": (b"PK\x03\x04" + bytes(60), FILE, "zip archive and cannot be read"),
    "xlsx": (zipped({"[Content_Types].xml": b"<x/>", "xl/a.xml": b"<x/>"}), FILE, "Excel"),
    "zip of two": (zipped({"a.tsv": b"x", "b.tsv": b"y"}), FILE, "2 files .'a.tsv', 'b.tsv'"),
    "zip of none": (zipped({"__MACOSX/a.tsv": b"x"}), FILE, "0 files; one was"),
    "zip in zip": (zipped({"a.zip": zipped({"b": b"x"})}), FILE, "inside an archive"),
    "zip of gzip": (zipped({"a.tsv.gz": gzip.compress(b"x")}), FILE, "compressed twice"),
    "xls": (b"\xd0\xcf\x11\xe0" + bytes(60), FILE, "Excel"),
    "rds": (gzip.compress(b"X\n\x00\x00\x00\x03" + bytes(60)), FILE, r"\.rds"),
    "h5ad": (b"\x89HDF\r\n\x1a\n" + bytes(60), FILE, "HDF5"),
    "pickle": (b"\x80\x04\x95" + bytes(60), FILE, "never read"),
    "web page": (b"<!DOCTYPE html><html>", FILE, "web page"),
    "gzip of nothing": (gzip.compress(b""), FILE, "holds nothing"),
    "truncated gzip": (gzip.compress(table().encode() * 99)[:-12], FILE, "truncated"),
    "broken parquet": (b"PAR1" + bytes(100), FILE, "Parquet"),
    "header only": (HEADER + b"", FILE, "no rows"),
    "no gene column": (b"S1\tS2\n1.5\t2\n3.25\t4\n", FILE, "no gene column"),
    "row numbers": (b"\tS1\n1\t5\n2\t6\n3\t7\n", FILE, "no gene column"),
    "no numbers": (b"gene\tsymbol\nENSG00000000003\tTSPAN6\n", FILE, "no column of num"),
    "no header": (b"ENSG00000000003\t1\t2\nENSG00000000005\t3\t4\n", FILE, "no header"),
    "short row": (HEADER + b"TP53\t1\t2\nEGFR\t3\n", FILE, "2 cells where 3"),
    "word": (HEADER + b"TP53\t1\t2\nEGFR\t3\thigh\n", VALUE, "'high' in column 'S2', line 3"),
    "nan": (HEADER + b"TP53\t1\tNaN\nEGFR\t3\t4\n", VALUE, "'S2', line 2 \\('TP53'\\)"),
    "inf": (HEADER + b"TP53\t1\t2\nEGFR\t-Inf\t4\n", VALUE, "'S1', line 3 \\('EGFR'\\)"),
    "repeated sample": (b"gene\tS1\tS2\tS1\nTP53\t1\t2\t3\n", FILE, "more than once.*'S1'"),
    "unnamed sample": (b"gene\tS1\t\nTP53\t1\t2\n", FILE, "without a name"),
    "silent sample": (HEADER + b"TP53\t1\tNA\nEGFR\t3\t\n", VALUE, "'S2'.*no value"),
    "thousands": (b"gene\tS1\nTP53\t1,234\nEGFR\t2,345\n", FILE, "thousands"),
    "several units": (b"gene_id\tlength\tTPM\tFPKM\nENSG00000000003\t9\t1\t2", FILE, "one sample"),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD_TEXT)
def test_bad_files_say_what_is_wrong_and_what_to_do(tmp_path, name):
    content, kind, message = BAD_TEXT[name]
    with pytest.raises(kind, match=message) as caught:
        read(write(tmp_path, "bad.tsv", content))
    assert caught.value.remedy.endswith(".")
    assert str(tmp_path) not in str(caught.value)


def test_missing_file_and_folder(tmp_path):
    with pytest.raises(InputFileError, match=r"no file 'nowhere\.tsv'"):
        read(tmp_path / "nowhere.tsv")
    with pytest.raises(InputFileError, match="is a folder"):
        read(tmp_path)


def test_infinite_value_in_parquet_names_gene_and_sample(tmp_path):
    values = VALUES.copy()
    values[1, 2] = np.inf
    pd.DataFrame(values.T, ENSEMBL, SAMPLES).to_parquet(tmp_path / "m.parquet")
    with pytest.raises(ExpressionValueError, match=f"{ENSEMBL[2]}.*{SAMPLES[1]}"):
        read(tmp_path / "m.parquet")


@pytest.mark.parametrize(
    ("limits", "message"),
    [
        (Limits(max_bytes=20), "bytes; the limit is 20"),
        (Limits(max_inflated_bytes=50), "more than 50 bytes once decompressed"),
        (Limits(max_samples=2), "3 samples; the limit is 2"),
        (Limits(max_genes=3), "4 genes; the limit is 3"),
    ],
)
def test_limits(tmp_path, limits, message):
    with pytest.raises(InputFileError, match=message):
        read(write(tmp_path, "m.tsv", table()), limits=limits)


def test_a_decompression_bomb_is_stopped_while_it_inflates(tmp_path, monkeypatch):
    bomb = gzip.compress(b"gene_id\tS1\n" + b"ENSG00000000003\t1\n" * 5_000_000)
    path = write(tmp_path, "bomb.tsv.gz", bomb)
    inflated = []
    original = InflatedStream.read

    def counting(stream, size=-1, /):
        block = original(stream, size)
        inflated.append(len(block))
        return block

    monkeypatch.setattr(InflatedStream, "read", counting)
    with pytest.raises(InputFileError, match="once decompressed"):
        read(path, limits=Limits(max_inflated_bytes=4_000_000))
    assert len(bomb) < 400_000
    assert 0 < sum(inflated) < 8_000_000  # of 90,000,000


def test_a_parquet_file_that_decodes_past_the_cap_is_not_decoded(tmp_path):
    rows = 150_000  # run-length encoded to almost nothing
    columns = {f"S{i}": np.zeros(rows, np.float32) for i in range(40)}
    pq.write_table(
        pa.table({"gene_id": ["ENSG00000000003"] * rows, **columns}), tmp_path / "b.parquet"
    )
    assert (tmp_path / "b.parquet").stat().st_size < 200_000
    with pytest.raises(InputFileError, match="once decoded"):
        read(tmp_path / "b.parquet", limits=Limits(max_inflated_bytes=1_000_000))


def corpus_files():
    return sorted((CORPUS / "expression").glob("*.parquet"))


@pytest.mark.skipif(not CORPUS.is_dir(), reason=f"no labelled corpus at {CORPUS.name}/")
def test_every_corpus_file_is_read_as_pyarrow_sees_it():
    files = corpus_files()
    assert files
    for path in files:
        raw = read(path)
        table = pq.read_table(path)
        assert raw.gene_ids == table.column(0).to_pylist()
        assert raw.samples == table.column_names[1:]
        last = table.column(table.num_columns - 1).to_numpy()
        np.testing.assert_array_equal(raw.values[-1], last.astype(np.float32))


@pytest.mark.skipif(not CORPUS.is_dir(), reason=f"no labelled corpus at {CORPUS.name}/")
@pytest.mark.parametrize("by_sample", [False, True])
def test_corpus_matrix_as_text_gives_the_same_values(tmp_path, by_sample):
    raw = read(CORPUS / "expression" / "gdc_ov_small.counts.parquet")
    frame = pd.DataFrame(raw.values, raw.samples, raw.gene_ids)
    (frame if by_sample else frame.T).to_csv(tmp_path / "m.tsv.gz", sep="\t")
    again = read(tmp_path / "m.tsv.gz")
    assert again.gene_ids == raw.gene_ids
    assert again.samples == raw.samples
    np.testing.assert_array_equal(again.values, raw.values)


def test_damaged_files_raise_nothing_but_their_own_errors(tmp_path):
    rng = np.random.default_rng(6)
    sources = [table().encode(), table(";", decimal=",").encode(), table().encode("utf-16")]
    sources += [gzip.compress(table().encode()), table(",", quote='"').encode("latin-1")]
    pieces = [
        b"\t",
        b",",
        b"\n",
        b'"',
        b";",
        b"NaN",
        b"1e400",
        b"\x00",
        b"\r",
        b"NA",
        b"\xff",
        b" ",
    ]
    outcomes = {"read": 0, "refused": 0}
    for _ in range(400):
        content = bytearray(sources[rng.integers(len(sources))])
        for _ in range(rng.integers(1, 5)):
            at = int(rng.integers(len(content)))
            content[at : at + int(rng.integers(0, 4))] = pieces[rng.integers(len(pieces))]
        try:
            read(write(tmp_path, "damaged.tsv", bytes(content)))
            outcomes["read"] += 1
        except (InputFileError, ExpressionValueError):
            outcomes["refused"] += 1
    assert min(outcomes.values()) > 20


def test_a_unit_that_the_format_states_is_no_override(tmp_path):
    from specformer_encoder.genes import vocabulary
    from specformer_encoder.profiles import load_profiles

    genes = vocabulary()
    rows = ["# gene-model: GENCODE v36"]
    names = ["gene_id", "gene_name", "gene_type", "unstranded", "stranded_first"]
    names += ["stranded_second", "tpm_unstranded", "fpkm_unstranded", "fpkm_uq_unstranded"]
    rows.append("\t".join(names))
    rows += [f"N_{what}\t\t\t{9}\t9\t9\t\t\t" for what in ("unmapped", "noFeature")]
    for place, (gene, symbol) in enumerate(zip(genes.ensembl_ids, genes.symbols, strict=True)):
        count = (place * 7919) % 4001 if place % 3 else 0
        rows.append(f"{gene}.5\t{symbol}\tprotein_coding\t{count}\t0\t0\t0.5\t0.2\t0.3")
    path = tmp_path / "abc.rna_seq.augmented_star_gene_counts.tsv"
    path.write_text("\n".join(rows) + "\n")
    profiles = load_profiles(path)
    assert (profiles.unit.unit, profiles.unit.overridden) == ("counts", False)
    assert profiles.genes.measured == len(genes)
    assert load_profiles(path, unit="counts").unit.overridden
