"""Tables laid out as published files are: the true genes, samples and values come out."""

import re

import numpy as np
import pandas as pd
import pytest

from specformer_encoder.errors import ExpressionValueError, InputFileError
from specformer_encoder.readers import read

ENSEMBL = ["ENSG00000000003.15", "ENSG00000000005.6", "ENSG00000000419.13", "ENSG00000000457.14"]
SYMBOLS = ["TSPAN6", "TNMD", "DPM1", "SCYL3"]
ENTREZ = ["7105", "64102", "8813", "57147"]
SAMPLES = ["TCGA-05-4244-01A", "TCGA-05-4249-01A", "TCGA-05-4250-01A"]
VALUES = np.array([[120, 0, 340.5, 7], [88, 1, 410, 12.25], [95, 0, 500, 3]], np.float32)


def write(folder, text, name="table.txt"):
    path = folder / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def by_gene(genes=ENSEMBL, samples=SAMPLES, corner="gene_id", delimiter="\t"):
    rows = [delimiter.join((corner, *samples))]
    rows += [
        delimiter.join((gene, *(f"{v:g}" for v in VALUES[:, g]))) for g, gene in enumerate(genes)
    ]
    return rows


def by_sample(genes=SYMBOLS, samples=SAMPLES, corner="sample", delimiter=","):
    rows = [delimiter.join((corner, *genes))]
    rows += [
        delimiter.join((sample, *(f"{v:g}" for v in VALUES[s]))) for s, sample in enumerate(samples)
    ]
    return rows


def with_column(rows, at, cells, delimiter="\t"):
    split = [row.split(delimiter) for row in rows]
    for row, cell in zip(split, cells, strict=True):
        row.insert(at, cell)
    return [delimiter.join(row) for row in split]


def text(rows, end="\n"):
    return "".join(row + end for row in rows)


def assert_read(path, genes=ENSEMBL, samples=SAMPLES):
    raw = read(path)
    assert raw.gene_ids == list(genes)
    assert raw.samples == list(samples)
    np.testing.assert_array_equal(raw.values, VALUES)
    return raw


DEPMAP = [f"{symbol} ({number})" for symbol, number in zip(SYMBOLS, ENTREZ, strict=True)]
GENES_IN_ROWS = {
    "Xena": (by_gene(corner="sample"), ENSEMBL),
    "Xena, Ensembl_ID": (by_gene(corner="Ensembl_ID"), ENSEMBL),
    "Toil": (by_gene(corner="sample"), ENSEMBL),
    "DESeq2 normalized counts": (by_gene(corner='""', delimiter=","), ENSEMBL),
    "edgeR, quoted names": (
        [re.sub(r"([^,]*[A-Z][^,]*)", r'"\1"', row) for row in by_gene(corner="", delimiter=",")],
        ENSEMBL,
    ),
    "pandas row numbers and gene column": (
        with_column(by_gene(corner="gene"), 0, ["Unnamed: 0", "0", "1", "2", "3"]),
        ENSEMBL,
    ),
    "R row numbers and gene column": (
        with_column(by_gene(SYMBOLS, corner="gene"), 0, ["", "1", "2", "3", "4"]),
        SYMBOLS,
    ),
    "annotation as featureCounts has it": (
        with_column(
            with_column(by_gene(corner="Geneid"), 1, ["Chr", "chr1", "chrX", "20", "1"]),
            2,
            ["Length", "1200", "800", "900", "3000"],
        ),
        ENSEMBL,
    ),
    "biomaRt columns": (
        with_column(
            with_column(by_gene(corner="ensembl_gene_id"), 1, ["hgnc_symbol", *SYMBOLS]),
            2,
            ["gene_biotype", *["protein_coding"] * 4],
        ),
        ENSEMBL,
    ),
    "gene_name at the end": (with_column(by_gene(), 4, ["gene_name", *SYMBOLS]), ENSEMBL),
    "recount3, row names and gene_id later": (
        with_column(
            with_column(by_gene(corner=""), 1, ["gene_type", *["protein_coding"] * 4]),
            2,
            ["bp_length", "100", "200", "300", "400"],
        ),
        ENSEMBL,
    ),
    "TARGET, Entrez": (by_gene(ENTREZ, corner="entrez_id"), ENTREZ),
    "CCLE, gene_id and transcript_ids": (
        with_column(by_gene(), 1, ["transcript_ids", *[f"ENST{i:011d}.1" for i in range(4)]]),
        ENSEMBL,
    ),
    "trailing delimiter, header too": ([row + "," for row in by_gene(delimiter=",")], ENSEMBL),
    "trailing delimiter, rows only": (
        [row + "\t" * (i > 0) for i, row in enumerate(by_gene())],
        ENSEMBL,
    ),
    "spreadsheet's empty columns and rows": (
        [row + ",,," for row in by_gene(delimiter=",")] + [",,,,,,"] * 3,
        ENSEMBL,
    ),
    "blank lines between": (
        [line for row in by_gene() for line in (row, "")],
        ENSEMBL,
    ),
    "two header rows, label below": (
        [by_gene()[0], "group\ttumor\ttumor\tnormal", *by_gene()[1:]],
        ENSEMBL,
    ),
    "pandas column levels": (
        [
            "tissue,lung,lung,liver",
            ",".join(("sample", *SAMPLES)),
            "gene_id,,,",
            *by_gene(delimiter=",")[1:],
        ],
        ENSEMBL,
    ),
    "test results beside the samples": (
        with_column(
            with_column(by_gene(), 1, ["log2FoldChange", "1.5", "-2", "0.1", "NA"]),
            2,
            ["padj", "0.01", "1e-5", "NA", "0.5"],
        ),
        ENSEMBL,
    ),
    "samples that are called as genes are": (
        by_gene(samples=["C2", "C3", "TP53"]), ENSEMBL, ["C2", "C3", "TP53"],
    ),
    "samples that are numbers": (
        by_gene(SYMBOLS, samples=["101", "102", "104"]), SYMBOLS, ["101", "102", "104"],
    ),
    "symbols and samples that are genes": (
        by_gene(SYMBOLS, samples=["C2", "T", "S1"], corner=""), SYMBOLS, ["C2", "T", "S1"],
    ),
    "ensembl|symbol": (
        by_gene([f"{a}|{b}" for a, b in zip(ENSEMBL, SYMBOLS, strict=True)]),
        [f"{a}|{b}" for a, b in zip(ENSEMBL, SYMBOLS, strict=True)],
    ),
    "DepMap, turned": (by_gene(DEPMAP, corner=""), DEPMAP),
}  # fmt: skip


@pytest.mark.parametrize("name", GENES_IN_ROWS)
def test_genes_in_rows(tmp_path, name):
    rows, genes, *samples = GENES_IN_ROWS[name]
    assert_read(write(tmp_path, text(rows)), genes, *samples)


CLINICAL = ["age,os_time,Stage,sex", "61,1200,II,male", "70,88.5,IV,female", "48,3111,I,male"]
#: Enough Entrez ids that a header of numbers is believed.
MORE_ENTREZ = [
    *("7157", "1956", "672", "675", "3845", "4609", "595", "1029", "5728", "5925", "207", "208"),
    *("3479", "3480", "2064", "2065", "4233", "5290", "5156", "5159", "7422", "7424", "1499"),
]


def beside(left, right, delimiter=","):
    return [delimiter.join(pair) for pair in zip(left, right, strict=True)]


SAMPLES_IN_ROWS = {
    "Ensembl, unnamed index": (by_sample(ENSEMBL, corner=""), ENSEMBL),
    "symbols": (by_sample(), SYMBOLS),
    "DepMap": (by_sample(DEPMAP, ["ACH-000001", "ACH-000002", "ACH-000004"], corner=""), DEPMAP),
    "clinical columns after the genes": (beside(by_sample(), CLINICAL), SYMBOLS),
    "clinical columns before the genes": (
        [
            ",".join((a.split(",")[0], b, *a.split(",")[1:]))
            for a, b in zip(by_sample(corner="patient"), CLINICAL, strict=True)
        ],
        SYMBOLS,
    ),
    "clinical columns between the genes": (
        [
            ",".join((*a.split(",")[:3], b, *a.split(",")[3:]))
            for a, b in zip(by_sample(), CLINICAL, strict=True)
        ],
        SYMBOLS,
    ),
    "clinical columns between Ensembl ids": (
        [
            ",".join((*a.split(",")[:3], b, *a.split(",")[3:]))
            for a, b in zip(by_sample(ENSEMBL), CLINICAL, strict=True)
        ],
        ENSEMBL,
    ),
    "row numbers, label, sample": (
        beside(["Unnamed: 0,label", "0,LUAD", "1,LUAD", "2,LUSC"], by_sample()),
        SYMBOLS,
    ),
    "label first": (beside(["label", "LUAD", "LUAD", "LUSC"], by_sample()), SYMBOLS),
    "label last": (beside(by_sample(), ["label", "0", "1", "1"]), SYMBOLS),
    "an unknown symbol among known": (
        by_sample(["TSPAN6", "AC004556.3", "DPM1", "SCYL3"]),
        ["TSPAN6", "AC004556.3", "DPM1", "SCYL3"],
    ),
    "tab and write.table": (
        [row.removeprefix("sample\t") for row in by_sample(delimiter="\t")],
        SYMBOLS,
    ),
    "patients as numbers": (
        by_sample(samples=["1012", "1044", "2301"], corner="patient_id"),
        SYMBOLS,
        ["1012", "1044", "2301"],
    ),
    "ENSG and symbol rows": (
        [",".join(("sample", *ENSEMBL)), ",".join(("", *SYMBOLS)), *by_sample()[1:]],
        ENSEMBL,
    ),
    "spreadsheet's empty columns": ([row + ",," for row in by_sample()], SYMBOLS),
    "spreadsheet's empty rows": ([*by_sample(), ",,,,", ",,,,"], SYMBOLS),
}


@pytest.mark.parametrize("name", SAMPLES_IN_ROWS)
def test_samples_in_rows(tmp_path, name):
    rows, genes, *samples = SAMPLES_IN_ROWS[name]
    if "DepMap" in name:
        samples = [["ACH-000001", "ACH-000002", "ACH-000004"]]
    assert_read(write(tmp_path, text(rows)), genes, *samples)


def test_clinical_columns_that_were_left_out_are_named(tmp_path):
    raw = read(write(tmp_path, text(beside(by_sample(), CLINICAL))))
    assert raw.notes == (
        "4 columns hold no expression and were left out: 'age', 'os_time', 'Stage', 'sex'.",
    )


@pytest.mark.parametrize("genes", [MORE_ENTREZ, [f"{n}|{n}" for n in MORE_ENTREZ]])
@pytest.mark.parametrize("corner", ["", "sample", "bcr_patient_barcode"])
def test_samples_in_rows_with_entrez_ids(tmp_path, genes, corner):
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(rng.poisson(9, (3, len(genes))), ["a", "b", "c"], genes)
    frame.to_csv(tmp_path / "m.csv", index_label=corner)
    raw = read(tmp_path / "m.csv")
    assert raw.gene_ids == genes
    assert raw.samples == ["a", "b", "c"]
    np.testing.assert_array_equal(raw.values, frame.to_numpy(np.float32))


def test_entrez_rows_with_numbered_samples(tmp_path):
    rng = np.random.default_rng(0)
    samples = [str(n) for n in rng.choice(20_000, 30, replace=False)]
    frame = pd.DataFrame(rng.poisson(9, (len(MORE_ENTREZ), 30)), MORE_ENTREZ, samples)
    frame.to_csv(tmp_path / "m.csv")
    raw = read(tmp_path / "m.csv")
    assert raw.gene_ids == MORE_ENTREZ
    assert raw.samples == samples


@pytest.mark.parametrize(
    "pack",
    [
        pytest.param(lambda t: ("\ufeff" + t).encode(), id="byte order mark"),
        pytest.param(lambda t: t.replace("\n", "\r").encode(), id="CR only"),
        pytest.param(lambda t: t.replace("\n", "\r\n").encode(), id="CRLF"),
        pytest.param(lambda t: t.rstrip("\n").encode(), id="no last line end"),
        pytest.param(lambda t: t.encode("utf-16"), id="UTF-16"),
        pytest.param(lambda t: (t + "\n\n").encode(), id="blank lines at the end"),
    ],
)
@pytest.mark.parametrize("rows", [by_gene(), by_sample(ENSEMBL)])
def test_line_ends_and_encodings(tmp_path, pack, rows):
    assert_read(write(tmp_path, pack(text(rows))))


@pytest.mark.parametrize(
    ("cell", "value"),
    [("1.2e+03", 1200), ("1E5", 1e5), ("1e-05", 1e-5), (".5", 0.5), ("5.", 5), ("+3", 3)],
)
def test_how_numbers_are_written(tmp_path, cell, value):
    raw = read(write(tmp_path, f"gene,S1,S2\nTP53,{cell},1\nEGFR,2,{cell}\n"))
    np.testing.assert_array_equal(raw.values, np.array([[value, 2], [1, value]], np.float32))


@pytest.mark.parametrize("cell", ["1,2e+03", "1E5", "0,5", "12,25", "1,5E3"])
def test_decimal_commas(tmp_path, cell):
    raw = read(write(tmp_path, f"gene;S1;S2\nTP53;{cell};1,5\nEGFR;2,25;{cell}\n"))
    value = float(cell.replace(",", "."))
    np.testing.assert_array_equal(raw.values, np.array([[value, 2.25], [1.5, value]], np.float32))


REFUSED = {
    "thousands, quoted": ('gene,S1,S2\nTP53,"1,234.5",2\nEGFR,"2,345",3\n', "thousands"),
    "thousands, all columns": ('gene,S1,S2\nTP53,"1,234.5","2,001"\nEGFR,"2,345",3\n', "thousands"),
    "thousands, German": ("gene;S1\nTP53;1.234.567,5\nEGFR;2.345.678\n", "thousands"),
    "thousands, apostrophe": ("gene\tS1\nTP53\t1'234\nEGFR\t2'345\n", "thousands"),
    "DESeq2 results": (
        "gene,baseMean,log2FoldChange,lfcSE,stat,pvalue,padj\nTP53,1,2,3,4,5,6\nEGFR,1,2,3,4,5,6\n",
        "results of a test between groups",
    ),
    "limma results": (
        "gene\tlogFC\tAveExpr\tt\tP.Value\tadj.P.Val\tB\nTP53\t1\t2\t3\t4\t5\t6\n",
        "results of a test between groups",
    ),
    "samples without names": (
        "\n".join(",".join(row.split(",")[1:]) for row in by_sample(ENSEMBL)) + "\n",
        "no column that names the samples",
    ),
    "labels that repeat": (
        text(by_sample(samples=["LUAD", "LUAD", "LUSC"], corner="label")),
        "more than once.*'LUAD'",
    ),
    "spreadsheet errors": (
        "gene,S1,S2\n" + "".join(f"{gene},#DIV/0!,2\n" for gene in SYMBOLS * 2),
        "'S1'.*'#DIV/0!'",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refused_with_the_reason(tmp_path, name):
    content, message = REFUSED[name]
    with pytest.raises((InputFileError, ExpressionValueError), match=message):
        read(write(tmp_path, content, "bad.csv"))
