"""Building a corpus: what is in it, whose it is, and that it is whole or not there."""

from __future__ import annotations

import csv
import dataclasses
import hashlib
import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import textwrap
from collections import Counter

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from scipy.stats import spearmanr

from specformer_encoder.corpus import Corpus
from specformer_encoder.corpus.build import build_corpus
from specformer_encoder.corpus.labels import SampleLabel, Splits, patient_of, read_labels
from specformer_encoder.errors import CorpusError, ExpressionValueError
from specformer_encoder.files import only_builder
from specformer_encoder.genes import vocabulary
from specformer_encoder.ordering import gene_sequence, quantile_values, rank_quantiles
from specformer_encoder.packed import LABELS
from specformer_encoder.profiles import load_profiles
from specformer_mcp.cli import main

FILES = {"profiles.arrow", "genes.parquet", "packed.arrow", "corpus.json"}


def hash_split(patient: str) -> str:
    """The documented rule, written down a second time."""
    number = int(hashlib.sha256(patient.encode()).hexdigest()[:16], 16) % 100
    return ["train", "valid", "test"][(number >= 70) + (number >= 80)]


def test_the_values_are_those_of_the_files(small_corpus):
    corpus = small_corpus.corpus
    labels = {(label.barcode, label.unit): i for i, label in enumerate(corpus.labels)}
    assert len(labels) == len(corpus) == 70
    for unit in ("counts", "tpm"):
        path = small_corpus.labelled / "expression" / f"simulated.{unit}.parquet"
        profiles = load_profiles(path, unit=unit)
        rows = [labels[name, unit] for name in profiles.samples]
        assert np.array_equal(corpus.values(rows), profiles.values, equal_nan=True)


def test_statistics_equal_naive_ones_of_the_training_profiles(small_corpus):
    corpus, packed = small_corpus.corpus, small_corpus.packed
    train = [i for i, label in enumerate(corpus.labels) if label.split == "train"]
    values = corpus.values(train).astype(float)
    share = values / np.nansum(values, axis=1, keepdims=True)
    with np.errstate(invalid="ignore", divide="ignore"):
        p = share / np.nansum(share, axis=0)
        entropy = -np.nansum(np.where(p > 0, p * np.log(p), 0), axis=0)
    idf = 1 - entropy / np.log(len(train))
    seen = np.nansum(share, axis=0) > 0
    assert seen.sum() > 15_000
    assert np.allclose(packed.statistics.idf[seen], idf[seen], atol=1e-6)
    measured = ~np.isnan(values).all(axis=0)
    ranks = pd.DataFrame(values).rank(axis=1).to_numpy() - 1
    quantiles = np.round(254 * ranks / (measured.sum() - 1)) / 254
    mean, spread = quantiles[:, measured].mean(axis=0), quantiles[:, measured].std(axis=0)
    assert np.allclose(packed.statistics.mean[measured], mean, atol=1e-6)
    assert np.allclose(packed.statistics.spread[measured], spread, atol=1e-6)

    genes = pd.read_parquet(small_corpus.folder / "genes.parquet")
    logs = np.log2(values[:, measured] + 1)
    assert list(genes["ensembl_id"]) == vocabulary().ensembl_ids
    assert np.allclose(genes["mean_log2"][measured], logs.mean(axis=0), atol=1e-4)
    assert np.allclose(genes["sd_log2"][measured], logs.std(axis=0), atol=1e-4)
    expressed = (values[:, measured] > 0).mean(axis=0)
    assert np.allclose(genes["share_expressed"][measured], expressed, atol=1e-6)
    assert set(genes["profiles"][measured]) == {70}
    assert genes["mean_log2"][~measured].isna().all()
    assert set(genes["profiles"][~measured]) == {0}


def test_packed_profiles_are_ordered_by_the_fitted_weight(small_corpus):
    corpus, packed = small_corpus.corpus, small_corpus.packed
    rows = [i for i, label in enumerate(corpus.labels) if label.split != "test"]
    assert len(packed) == len(rows) == 50
    for place, row in enumerate(rows[::7]):
        profile = corpus.values([row])[0]
        packed_row = 7 * place
        # Steps are a quarter of an octave, so the order is that of the profile but for neighbours.
        expected = gene_sequence(profile, packed.statistics.idf, 4096)
        sequence = packed.sequence(packed_row, 4096)
        assert len(np.intersect1d(sequence, expected)) > 0.98 * len(expected)
        place = np.full(len(profile), 4096)
        place[expected] = np.arange(len(expected))
        assert spearmanr(place[sequence], np.arange(len(sequence))).statistic > 0.97
        exact = quantile_values(rank_quantiles(profile))
        error = np.abs(quantile_values(packed.quantile(packed_row)) - exact)
        assert np.nanmean(error) < 0.02
        assert packed.labels["sample_id"][packed_row] == corpus.labels[row].sample_id


def test_quality_numbers_equal_naive_ones(small_corpus):
    corpus = small_corpus.corpus
    table = corpus.table.to_pandas()
    raw = pd.read_parquet(small_corpus.labelled / "expression" / "simulated.counts.parquet")
    mitochondrial = [i for i, s in enumerate(vocabulary().symbols) if s.startswith("MT-")]
    for row in range(0, len(corpus), 5):
        profile = corpus.values([row])[0].astype(float)
        known = profile[~np.isnan(profile)]
        assert table["genes_measured"][row] == len(known)
        assert table["genes_expressed"][row] == (known > 0).sum()
        top = np.sort(known)[-50:].sum() / known.sum()
        assert table["top_50_share"][row] == pytest.approx(top, abs=1e-5)
        share = np.nansum(profile[mitochondrial]) / known.sum()
        assert np.isnan(table["mitochondrial_share"][row]) == np.isnan(profile[mitochondrial]).all()
        if not np.isnan(table["mitochondrial_share"][row]):
            assert table["mitochondrial_share"][row] == pytest.approx(share, abs=1e-5)
        label = corpus.labels[row]
        total = raw[label.barcode].sum() if label.unit == "counts" else 1e6
        assert table["total"][row] == pytest.approx(total, rel=1e-5)
        assert table["called_unit"][row] == label.unit


def test_two_builds_give_the_same_bytes(small_corpus, tmp_path):
    build_corpus([small_corpus.labelled], tmp_path / "again")
    assert {p.name for p in (tmp_path / "again").iterdir()} == FILES
    for name in FILES:
        ours, theirs = (folder / name for folder in (tmp_path / "again", small_corpus.folder))
        assert ours.read_bytes() == theirs.read_bytes(), name


def test_corpus_json_says_what_it_was_built_from(small_corpus):
    info = small_corpus.corpus.info
    assert info["counts"]["by_split"] == {"train": 38, "valid": 12, "test": 20}
    assert info["counts"]["patients"] == info["counts"]["samples"] == 60
    assert info["counts"]["by_cohort"]["TCGA-COAD tumor"] == {"train": 15, "valid": 5, "test": 8}
    (counts, tpm) = info["files"]
    path = small_corpus.labelled / "expression" / "simulated.counts.parquet"
    assert counts["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()
    assert (counts["bytes"], counts["profiles"]) == (path.stat().st_size, 60)
    assert tpm["unit_call"]["unit"] == "tpm"
    assert tpm["unit_call"]["evidence"]
    assert "modulo 100: 0-69 train, 70-79 valid, 80-99 test" in info["split_rule"]


# --- labels and splits ---------------------------------------------------------------------------


def edited(small_corpus, folder, change):
    """A copy of the labelled folder whose rows of samples.tsv were changed."""
    shutil.copytree(small_corpus.labelled, folder)
    with (folder / "samples.tsv").open(newline="") as handle:
        rows = list(csv.DictReader(handle, delimiter="\t"))
    rows = [new for row in rows if (new := change(row)) is not None]
    with (folder / "samples.tsv").open("w", newline="") as handle:
        writer = csv.DictWriter(handle, LABELS, delimiter="\t", lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    return folder


def test_an_empty_split_is_a_hash_of_the_patient(small_corpus, tmp_path):
    folder = edited(small_corpus, tmp_path / "labelled", lambda row: row | {"split": ""})
    build_corpus([folder], tmp_path / "corpus")
    corpus = Corpus.open(tmp_path / "corpus")
    assert len(corpus) == 70
    assert {label.split for label in corpus.labels} == {"train", "valid", "test"}
    for label in corpus.labels:
        assert label.split == hash_split(label.patient)


def test_a_stated_split_holds_for_every_profile_of_the_patient(small_corpus, tmp_path):
    """TPM rows state nothing; the counts of the same patients do."""
    folder = edited(
        small_corpus,
        tmp_path / "labelled",
        lambda row: row | {"split": "" if row["unit"] == "tpm" else row["split"]},
    )
    build_corpus([folder], tmp_path / "corpus")
    splits = [label.split for label in Corpus.open(tmp_path / "corpus").labels]
    assert Counter(splits) == {"train": 38, "valid": 12, "test": 20}


def test_barcodes_name_the_patient_in_every_source():
    blank = dict.fromkeys(LABELS, "")
    assert patient_of("TCGA-A6-5664-01A-21R-1839-07") == "TCGA-A6-5664"
    assert patient_of("TCGA-A6-5664") == "TCGA-A6-5664"
    assert patient_of("TCGA-COAD-tumor-3") == patient_of("TCGA-A6-56645-01") == ""
    assert patient_of("TARGET-20-PABLDZ-04A") == "TARGET-20-PABLDZ"
    assert patient_of("GTEX-1117F-0226-SM-5GZZ7") == "GTEX-1117F"
    one = SampleLabel(**blank | {"sample_id": "a:1", "patient": "P", "split": "valid"})
    Splits([one, dataclasses.replace(one, sample_id="b:1")])
    with pytest.raises(CorpusError, match="Patient P is in valid and, with sample b:1, in test"):
        Splits([one, dataclasses.replace(one, sample_id="b:1", split="test")])
    alone = Splits([]).put(dataclasses.replace(one, patient="", split=""))
    assert alone.split == hash_split("a:1"), "without a patient the sample stands for itself"


def test_a_barcode_overrules_the_patient_column(small_corpus, tmp_path):
    """Two barcodes of one TCGA patient under two names, in two splits: the leak is found."""
    folder = tmp_path / "labelled"
    barcodes = {"TCGA-COAD-tumor-0": "TCGA-A6-5664-01A", "TCGA-COAD-tumor-3": "TCGA-A6-5664-06A"}
    edited(
        small_corpus,
        folder,
        lambda row: row | {"barcode": barcodes.get(row["barcode"], row["barcode"])},
    )
    table = pq.read_table(folder / "expression" / "simulated.counts.parquet")
    names = [barcodes.get(name, name) for name in table.column_names]
    pq.write_table(table.rename_columns(names), folder / "expression" / "simulated.counts.parquet")
    with pytest.raises(CorpusError, match="Patient TCGA-A6-5664 is in train and"):
        build_corpus([folder], tmp_path / "corpus")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda row: row | {"split": "holdout"}, "line 2: sample .* has split 'holdout'"),
        (lambda row: row | {"sample_type": "cell"}, "has sample_type 'cell'"),
        (lambda row: row | {"barcode": ""}, "line 2: barcode is empty"),
        (lambda row: row | {"patient": "one"}, "Patient one is in train and"),
        (lambda row: row | {"source": "absent"}, r"has no absent\.counts\.parquet"),
        (lambda row: row | {"barcode": "nobody"}, "stands there twice"),
        (
            lambda row: row | {"barcode": "x"} if row["barcode"] == "TCGA-LUAD-tumor-1" else row,
            r"simulated\.counts\.parquet lacks 1 samples of samples\.tsv, x first",
        ),
        (lambda row: row | {"split": "train"}, "70 training .* 0 validation profiles"),
        (lambda row: row | {"study": ""}, "0 training profiles"),
        (lambda _: None, "samples.tsv has no rows"),
    ],
)
def test_contradictions_are_named(small_corpus, tmp_path, change, said):
    folder = edited(small_corpus, tmp_path / "labelled", change)
    with pytest.raises(CorpusError, match=said):
        build_corpus([folder], tmp_path / "corpus")
    assert [path.name for path in tmp_path.iterdir()] == ["labelled"]


def test_a_missing_column_and_an_empty_folder_are_named(small_corpus, tmp_path):
    shutil.copytree(small_corpus.labelled, tmp_path / "labelled")
    table = tmp_path / "labelled" / "samples.tsv"
    table.write_text(table.read_text().replace("patient", "person", 1))
    with pytest.raises(CorpusError, match="lacks the columns patient"):
        build_corpus([tmp_path / "labelled"], tmp_path / "corpus")
    (tmp_path / "empty").mkdir()
    with pytest.raises(CorpusError, match=r"empty has neither samples\.tsv nor a file of profiles"):
        build_corpus([tmp_path / "empty"], tmp_path / "corpus")
    with pytest.raises(CorpusError, match="There is no folder nowhere"):
        build_corpus([tmp_path / "nowhere"], tmp_path / "corpus")
    with pytest.raises(CorpusError, match="is a built corpus already"):
        build_corpus([small_corpus.folder], tmp_path / "corpus")


def test_one_class_and_files_that_nobody_labels_are_told(small_corpus, tmp_path, capsys):
    folder = edited(
        small_corpus,
        tmp_path / "labelled",
        lambda row: row if (row["study"], row["unit"]) == ("TCGA-COAD", "counts") else None,
    )
    assert main(["data", "build", "--from", str(folder), "--out", str(tmp_path / "corpus")]) == 0
    out, err = capsys.readouterr()
    assert "24 profiles (15 train, 5 valid, 4 test) of 24 samples, 24 patients" in out
    assert "warning: All training profiles are TCGA-COAD tumor" in err
    assert "warning: 1 files were not used" in err
    info = json.loads((tmp_path / "corpus" / "corpus.json").read_text())
    assert info["unused_files"] == ["simulated.tpm.parquet"]
    (file,) = info["files"]
    assert len(file["dropped"]["not in samples.tsv"]) == 36
    assert file["samples"] == 60


def test_profiles_that_cannot_be_ordered_are_left_out_by_name(small_corpus, tmp_path):
    folder = tmp_path / "labelled"
    shutil.copytree(small_corpus.labelled, folder)
    path = folder / "expression" / "simulated.counts.parquet"
    table = pq.read_table(path)
    few = np.zeros(table.num_rows)
    few[:200] = 9
    for name, values in (("TCGA-COAD-tumor-1", few), ("TCGA-LUAD-tumor-2", 0 * few)):
        table = table.set_column(table.column_names.index(name), name, [values])
    pq.write_table(table, path)
    info = build_corpus([folder], tmp_path / "corpus")
    assert info["counts"]["by_split"]["train"] == 36
    told = {name: why for why, names in info["files"][0]["dropped"].items() for name in names}
    assert set(told) == {"TCGA-COAD-tumor-1", "TCGA-LUAD-tumor-2"}
    assert "It has 0 genes with a value above zero" in told["TCGA-LUAD-tumor-2"]
    assert not set(told) & {label.barcode for label in Corpus.open(tmp_path / "corpus").labels}


def test_a_unit_that_the_values_rule_out_is_an_error_with_the_file(small_corpus, tmp_path):
    folder = edited(
        small_corpus,
        tmp_path / "labelled",
        lambda row: row | {"unit": "log2_tpm"} if row["unit"] == "counts" else None,
    )
    expression = folder / "expression"
    (expression / "simulated.counts.parquet").rename(expression / "simulated.log2_tpm.parquet")
    with pytest.raises(ExpressionValueError, match=r"^simulated\.log2_tpm\.parquet: "):
        build_corpus([folder], tmp_path / "corpus")


# --- whole or not at all -------------------------------------------------------------------------

KILLED = """
import os, signal, sys
from pathlib import Path
from specformer_encoder import files
from specformer_encoder.corpus import build as corpus_build
folders, out, after, replace = [Path(sys.argv[1])], Path(sys.argv[2]), sys.argv[3], sys.argv[4]

def die(*_args, **_more):
    os.kill(os.getpid(), signal.SIGKILL)

lines = 0
def tell(_line):
    global lines
    lines += 1
    if after == str(lines):
        die()

if after == "written":
    corpus_build.move_into_place = die
if after == "moved":
    files.shutil.rmtree = die
corpus_build.build_corpus(folders, out, replace=replace == "replace", progress=tell)
"""


def killed_build(labelled, out, after, *, replace=False):
    """Run a build that kills itself; give the exit status."""
    words = [str(labelled), str(out), after, "replace" if replace else ""]
    return subprocess.run([sys.executable, "-c", KILLED, *words], check=False).returncode


@pytest.mark.parametrize("after", ["1", "3", "written"])
def test_a_killed_build_leaves_nothing_and_the_next_one_works(small_corpus, tmp_path, after):
    out = tmp_path / "corpus"
    assert killed_build(small_corpus.labelled, out, after) == -signal.SIGKILL
    assert not out.exists()
    assert (tmp_path / "corpus.partial").is_dir()
    build_corpus([small_corpus.labelled], out)
    assert len(Corpus.open(out)) == 70
    assert [path.name for path in tmp_path.iterdir()] == ["corpus"]


@pytest.mark.parametrize("after", ["2", "written", "moved"])
def test_a_killed_replacement_leaves_a_whole_corpus(small_corpus, tmp_path, after):
    out = tmp_path / "corpus"
    shutil.copytree(small_corpus.folder, out)
    (out / "marker").touch()
    assert killed_build(small_corpus.labelled, out, after, replace=True) == -signal.SIGKILL
    assert len(Corpus.open(out)) == 70
    assert (out / "marker").exists() == (after != "moved")
    (out / "marker").unlink(missing_ok=True)
    if after == "moved":  # what waits to be removed is the old corpus
        (tmp_path / "corpus.partial" / "marker").unlink()
    build_corpus([small_corpus.labelled], out, replace=True)
    assert {path.name for path in out.iterdir()} == FILES
    assert [path.name for path in tmp_path.iterdir()] == ["corpus"]


def test_a_build_in_another_process_is_left_alone(small_corpus, tmp_path):
    out = tmp_path / "corpus"
    hold = """
        import sys
        from pathlib import Path
        from specformer_encoder.files import only_builder
        with only_builder(Path(sys.argv[1])) as alone:
            print(alone, flush=True)
            sys.stdin.read()
    """
    other = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(hold), str(out)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with other:
        assert other.stdout.readline() == "True\n"
        (tmp_path / "corpus.partial").mkdir()
        (tmp_path / "corpus.partial" / "profiles.arrow").write_text("half")
        with pytest.raises(CorpusError, match="Another process is building corpus"):
            build_corpus([small_corpus.labelled], out)
        assert (tmp_path / "corpus.partial" / "profiles.arrow").read_text() == "half"
        other.kill()
    with only_builder(out) as alone:
        assert alone, "the lock ends with the process"
    assert not (tmp_path / "corpus.lock").exists()


def test_what_is_there_stays_unless_it_is_a_corpus_to_replace(small_corpus, tmp_path):
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter.txt").touch()
    with pytest.raises(CorpusError, match="thesis exists and is not a corpus"):
        build_corpus([small_corpus.labelled], tmp_path / "thesis", replace=True)
    with pytest.raises(CorpusError, match="exists already"):
        build_corpus([small_corpus.labelled], small_corpus.folder)
    (tmp_path / "corpus.partial").mkdir()
    (tmp_path / "corpus.partial" / "mine.txt").touch()
    with pytest.raises(CorpusError, match=r"mine\.txt, which no build left"):
        build_corpus([small_corpus.labelled], tmp_path / "corpus")
    with pytest.raises(CorpusError, match="The folder nowhere does not exist"):
        build_corpus([small_corpus.labelled], tmp_path / "nowhere" / "corpus")
    assert (tmp_path / "thesis" / "chapter.txt").exists()
    assert (tmp_path / "corpus.partial" / "mine.txt").exists()


def test_a_full_disk_is_told_with_the_bytes_and_leaves_nothing(small_corpus, tmp_path):
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    # No file may grow past 100 kB, which is what a full disk or a quota looks like to a writer.
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))
    try:
        with pytest.raises(CorpusError, match=r"could not be written .* needs up to [\d,]+ bytes"):
            build_corpus([small_corpus.labelled], tmp_path / "corpus")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert list(tmp_path.iterdir()) == []


def test_too_little_room_is_told_before_anything_is_read(small_corpus, tmp_path, monkeypatch):
    free = shutil.disk_usage(tmp_path)._replace(free=1000)
    monkeypatch.setattr(shutil, "disk_usage", lambda _path: free)
    with pytest.raises(CorpusError, match=r"needs up to 8,\d{3},\d{3} bytes, .* 1,000 bytes free"):
        build_corpus([small_corpus.labelled], tmp_path / "corpus")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_an_unwritable_folder_is_named(small_corpus, tmp_path):
    (tmp_path / "locked").mkdir(mode=0o500)
    with pytest.raises(CorpusError, match="could not be written in locked"):
        build_corpus([small_corpus.labelled], tmp_path / "locked" / "corpus")


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda d: (d / "corpus.json").write_text("{"), "is damaged"),
        (lambda d: (d / "corpus.json").write_text('{"format": 9}'), "corpus format 9"),
        (lambda d: (d / "profiles.arrow").unlink(), "has no profiles.arrow"),
        (lambda d: os.truncate(d / "profiles.arrow", 5000), "is damaged"),
        (
            lambda d: (d / "corpus.json").write_text('{"format": 1, "vocabulary_sha256": "0"}'),
            "another gene vocabulary",
        ),
    ],
)
def test_a_damaged_corpus_is_refused_with_the_reason(small_corpus, tmp_path, damage, said):
    shutil.copytree(small_corpus.folder, tmp_path / "corpus")
    damage(tmp_path / "corpus")
    with pytest.raises(CorpusError, match=said):
        Corpus.open(tmp_path / "corpus")


def test_training_reads_one_file_with_few_imports(small_corpus):
    """Nothing but numpy and pyarrow is needed to open the packed file."""
    code = """
        import sys
        from pathlib import Path
        for absent in ("torch", "pandas", "sklearn", "lancedb"):
            sys.modules[absent] = None  # importing it fails
        from specformer_encoder.packed import PackedCorpus
        corpus = PackedCorpus(Path(sys.argv[1]))
        assert len(corpus) == 50
        assert len(corpus.sequence(0, 512)) == 512
        ours = {name for name in sys.modules if name.startswith("specformer")}
        print(*sorted(ours))
    """
    path = small_corpus.folder / "packed.arrow"
    command = [sys.executable, "-c", textwrap.dedent(code), str(path)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    modules = {name.removeprefix("specformer_encoder.") for name in done.stdout.split()}
    assert modules == {"specformer_encoder", "errors", "ordering", "packed", "shifts"}


def test_the_real_corpus_keeps_every_profile_and_split(shared_corpus):
    labels = read_labels(shared_corpus)
    splits = Splits(labels)
    assert len(labels) > 8000
    assert all(splits.put(label) == label for label in labels)


def test_values_are_mapped_not_read(small_corpus):
    table = pa.ipc.open_file(pa.memory_map(str(small_corpus.folder / "profiles.arrow"))).read_all()
    before = pa.total_allocated_bytes()
    values = table["values"].chunk(0).flatten().to_numpy(zero_copy_only=True)
    assert values.nbytes > 1e6
    assert pa.total_allocated_bytes() - before < 1e5


def test_labels_are_the_columns_of_the_table():
    assert tuple(field.name for field in dataclasses.fields(SampleLabel)) == LABELS
