"""The committed examples: readable, real, of test patients, and described as they are."""

import csv
import gzip
import re
import tarfile
from pathlib import Path

import pytest

from specformer_encoder.genes import map_genes

ROOT = Path(__file__).parents[1]
EXAMPLES = ROOT / "examples"
CORPUS = ROOT.parent / "shared" / "corpus" / "samples.tsv"
FILES = {
    "luad_tumor.tsv.gz": ("\t", 1),
    "luad_normal.tsv.gz": ("\t", 1),
    "coadread_tumors.csv.gz": (",", 3),
}


def table_of(name):
    delimiter, _ = FILES[name]
    with gzip.open(EXAMPLES / name, "rt", newline="") as file:
        return list(csv.reader(file, delimiter=delimiter))


def all_barcodes():
    return [barcode for name in FILES for barcode in table_of(name)[0][2:]]


@pytest.mark.parametrize("name", FILES)
def test_an_example_is_a_small_matrix_of_real_genes(name):
    assert (EXAMPLES / name).stat().st_size < 300_000
    (_, _, *barcodes), *rows = table_of(name)
    assert len(barcodes) == FILES[name][1]
    assert all(len(row) == 2 + len(barcodes) for row in rows)
    values = [[float(value) for value in row[2:]] for row in rows]
    assert min(map(min, values)) == 0
    assert all(500_000 < sum(column) < 100_000_000 for column in zip(*values, strict=True))
    report = map_genes([row[1] for row in rows], name).report
    assert report.kind == "entrez"
    assert report.coverage > 0.9


def test_the_normal_is_the_tumours_own_patient():
    tumour, normal = (table_of(f"luad_{kind}.tsv.gz")[0][2] for kind in ("tumor", "normal"))
    assert tumour[:12] == normal[:12]
    assert (tumour[13:15], normal[13:15]) == ("01", "11")


def test_the_readme_names_every_sample_and_no_other():
    text = (EXAMPLES / "README.md").read_text()
    assert sorted(re.findall(r"TCGA-\w\w-\w{4}-[\w-]+", text)) == sorted(all_barcodes())
    assert set(re.findall(r"`([\w.]+\.(?:tsv|csv)\.gz)`", text)) == set(FILES)


def test_every_sample_is_of_a_test_patient_and_of_the_study_that_the_readme_says():
    if not CORPUS.exists():
        pytest.skip("the training corpus is not beside the checkout")
    with CORPUS.open(newline="") as file:
        rows = list(csv.DictReader(file, delimiter="\t"))
    text = (EXAMPLES / "README.md").read_text()
    for barcode in all_barcodes():
        patient = [row for row in rows if row["patient"] == barcode[:12]]
        assert {row["split"] for row in patient} == {"test"}, barcode
        (study,) = {row["study"] for row in patient if row["barcode"] == barcode}
        assert f"{barcode} | {study} |" in text


def test_the_builder_copies_cells_and_refuses_what_it_cannot_find(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "encoder" / "scripts")
    from build_examples import take_columns

    lines = ["id\tA\tB\n", "x\t1.50\t2\n", "?\t-0.10\t3e5\n"]
    assert list(take_columns(lines, ["id", "B"])) == [["id", "B"], ["x", "2"], ["?", "3e5"]]
    assert list(take_columns(lines, ["A"]))[2] == ["-0.10"]
    with pytest.raises(RuntimeError, match="'C'"):
        list(take_columns(lines, ["id", "C"]))
    with pytest.raises(RuntimeError, match="'A'"):
        list(take_columns(["A\tA\n"], ["A"]))


def test_the_builder_refuses_another_archive(monkeypatch, tmp_path):
    monkeypatch.syspath_prepend(ROOT / "encoder" / "scripts")
    from build_examples import main

    with tarfile.open(tmp_path / "other.tar.gz", "w:gz"):
        pass
    monkeypatch.setattr("sys.argv", ["build_examples.py", "--luad", str(tmp_path / "other.tar.gz")])
    with pytest.raises(RuntimeError, match="has sha256"):
        main()


def test_a_package_that_is_not_pinned_is_not_fetched(monkeypatch, tmp_path):
    monkeypatch.syspath_prepend(ROOT / "encoder" / "scripts")
    from wheels import fetch_wheel

    with pytest.raises(RuntimeError, match="pin the version"):
        fetch_wheel("TumorDecon", tmp_path)
