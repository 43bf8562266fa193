"""Matrices larger than the memory set aside for them: the same values, by blocks of samples."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from format_writers import gct_1_2

from specformer_encoder.errors import ExpressionValueError, InputFileError
from specformer_encoder.genes import MINIMUM_GENES, vocabulary
from specformer_encoder.profiles import iter_profiles, load_profiles
from specformer_encoder.raw import InMemory
from specformer_encoder.readers import Limits, parquet, pieces, read
from specformer_encoder.readers.matrix import spool_pieces
from specformer_encoder.readers.spool import Spool

GENES = vocabulary().ensembl_ids[:3000]
SAMPLES = [f"S{i}" for i in range(23)]
TIGHT = Limits(memory_bytes=50_000)


@pytest.fixture(scope="module")
def frame():
    rng = np.random.default_rng(2)
    counts = rng.negative_binomial(1, 0.01, (len(GENES), len(SAMPLES)))
    return pd.DataFrame(counts.astype(np.float32), pd.Index(GENES, name="gene_id"), SAMPLES)


def written(frame, folder, form):
    path = folder / form
    if form.startswith("genes in rows"):
        frame.to_csv(path, sep="\t")
    elif form.startswith("genes in columns"):
        frame.T.to_csv(path, index_label="sample")
    else:
        (frame if "rows" in form else frame.T).to_parquet(path, row_group_size=7)
    return path


FORMS = [
    "genes in rows.tsv",
    "genes in rows.tsv.gz",
    "genes in columns.csv",
    "parquet rows.parquet",
    "parquet columns.parquet",
]


@pytest.mark.parametrize("form", FORMS)
def test_a_matrix_beyond_the_memory_budget_has_the_same_values(frame, tmp_path, monkeypatch, form):
    monkeypatch.setattr(pieces, "_PIECE_BYTES", 20_000)  # many pieces, many tiles
    monkeypatch.setattr(pieces, "_PIECE_ROWS", 3)
    path = written(frame, tmp_path, form)
    raw = read(path, limits=TIGHT)
    assert not isinstance(raw.cells, InMemory)
    assert (raw.gene_ids, raw.samples) == (GENES, SAMPLES)
    expected = frame.to_numpy().T
    np.testing.assert_array_equal(raw.values, expected)
    np.testing.assert_array_equal(raw.rows(5, 9), expected[5:9])
    np.testing.assert_array_equal(raw.rows(22, 23), expected[22:])
    assert isinstance(read(path).cells, InMemory)


@pytest.mark.parametrize("form", FORMS)
def test_profiles_by_blocks_are_the_profiles_at_once(frame, tmp_path, form):
    path = written(frame, tmp_path, form)
    whole = load_profiles(path)
    blocks = list(iter_profiles(path, limits=TIGHT, block=5))
    assert [len(block) for block in blocks] == [5, 5, 5, 5, 3]
    assert [name for block in blocks for name in block.samples] == whole.samples == SAMPLES
    np.testing.assert_array_equal(np.concatenate([b.values for b in blocks]), whole.values)
    assert {(b.unit.unit, b.unit.scale, b.genes.measured) for b in blocks} == {
        (whole.unit.unit, whole.unit.scale, whole.genes.measured)
    }


def test_a_gct_beyond_the_memory_budget_has_the_same_values(frame, tmp_path):
    path = gct_1_2(tmp_path, GENES, SAMPLES, frame.to_numpy().T)
    raw = read(path, limits=TIGHT)
    assert not isinstance(raw.cells, InMemory)
    assert (raw.format, raw.gene_ids, raw.samples) == ("gct", GENES, SAMPLES)
    np.testing.assert_array_equal(raw.values, frame.to_numpy().T)


def test_a_gene_measured_in_no_sample_is_left_out_of_a_spooled_matrix_too(frame, tmp_path):
    holed = frame.copy()
    holed.iloc[4] = np.nan
    holed.iloc[7, 3] = np.nan
    raw = read(written(holed, tmp_path, "genes in rows.tsv"), limits=TIGHT)
    assert GENES[4] not in raw.gene_ids
    assert len(raw.gene_ids) == len(GENES) - 1
    np.testing.assert_array_equal(raw.values, holed.drop(GENES[4]).to_numpy().T)
    assert np.isnan(raw.values[3, 6])


def test_samples_that_cannot_be_ordered_are_left_out_with_the_reason(frame, tmp_path):
    thin = frame.copy()
    thin.loc[GENES[MINIMUM_GENES - 1 :], ["S0", "S22"]] = 0
    profiles = load_profiles(written(thin, tmp_path, "genes in rows.tsv"))
    assert profiles.samples == SAMPLES[1:-1]
    assert list(profiles.left_out) == ["S0", "S22"]
    assert f"at least {MINIMUM_GENES} are needed" in profiles.left_out["S0"]
    np.testing.assert_allclose(np.nansum(profiles.values, axis=1), 1e6, rtol=1e-4)


def test_a_file_without_any_usable_sample_is_refused(frame, tmp_path):
    thin = frame.copy()
    thin.iloc[MINIMUM_GENES - 1 :] = 0
    path = written(thin, tmp_path, "genes in rows.tsv")
    with pytest.raises(ExpressionValueError, match=r"No sample of .* 'S0' has \d+ genes"):
        list(iter_profiles(path, block=4))


def test_a_bad_cell_far_down_is_named_with_its_line(frame, tmp_path, monkeypatch):
    monkeypatch.setattr(pieces, "_PIECE_BYTES", 20_000)
    monkeypatch.setattr(pieces, "_PIECE_ROWS", 3)
    path = written(frame, tmp_path, "genes in rows.tsv")
    lines = path.read_text().splitlines()
    lines[2700] = lines[2700].replace("\t", "\thigh", 1)
    path.write_text("# a comment\n\n" + "\n".join(lines) + "\n")
    with pytest.raises(ExpressionValueError, match=rf"'S0', line 2703 \('{GENES[2699]}'\)"):
        read(path)
    path.write_text("\n".join(lines[:2700]) + "\nENSG")
    with pytest.raises(InputFileError, match=r"Line 2701 .* has 1 cells where 24 were expected"):
        read(path)


def test_old_mac_line_ends(frame, tmp_path, monkeypatch):
    monkeypatch.setattr(pieces, "_PIECE_BYTES", 20_000)
    monkeypatch.setattr(pieces, "_PIECE_ROWS", 3)
    path = written(frame, tmp_path, "genes in rows.tsv")
    expected = read(path).values
    for end in (b"\r", b"\r\n"):
        path.write_bytes(path.read_bytes().replace(b"\r\n", b"\n").replace(b"\n", end))
        np.testing.assert_array_equal(read(path).values, expected)


def test_spool_keeps_tiles_of_either_direction():
    whole = np.arange(60, dtype=np.float32).reshape(6, 10)
    by_genes, by_samples = (whole[:, :3], whole[:, 3:]), (whole[:4], whole[4:])
    for along_genes, tiles in ((True, by_genes), (False, by_samples)):
        for budget in (0, 10_000):
            spool = Spool(budget=budget, along_genes=along_genes, source="x")
            for tile in tiles:
                spool.add(tile)
            cells = spool.cells()
            assert isinstance(cells, InMemory) == (budget > 0)
            np.testing.assert_array_equal(cells.rows(0, 6), whole)
            np.testing.assert_array_equal(cells.rows(2, 5), whole[2:5])
            assert cells.rows(6, 6).shape[0] == 0


def test_a_full_temporary_folder_is_an_error_of_its_own(frame, tmp_path):
    """The operating system refuses the write: the limit on file size stands in for a full disk."""
    path = written(frame, tmp_path, "genes in rows.tsv")
    program = f"""
import resource, signal
from pathlib import Path
from specformer_encoder.errors import InputFileError
from specformer_encoder.readers import Limits, read
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
try:
    read(Path({str(path)!r}), limits=Limits(memory_bytes=50_000))
except InputFileError as error:
    print(error)
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert "temporary folder cannot take its values" in done.stdout
    assert "TMPDIR" in done.stdout


@pytest.mark.parametrize("delimiter", [",", "\t"])
def test_lines_of_more_than_a_hundred_kilobytes(tmp_path, delimiter):
    genes = vocabulary().ensembl_ids[:12_000]
    values = np.random.default_rng(4).integers(0, 9_000, (3, len(genes)))
    path = tmp_path / "wide.csv"
    pd.DataFrame(values, SAMPLES[:3], genes).to_csv(path, sep=delimiter)
    assert len(path.read_text().splitlines()[0]) > 131_072
    raw = read(path)
    assert raw.gene_ids == genes
    np.testing.assert_array_equal(raw.values, values)


def test_a_table_without_a_row_keeps_its_text_columns():
    texts, cells = spool_pieces([], "x", text_columns=2, genes_in_rows=True, limits=TIGHT)
    assert texts == [[], []]
    assert cells.rows(0, 0).shape == (0, 0)


def test_a_parquet_file_with_other_rows_than_it_announces_is_refused(frame, tmp_path):
    file = pq.ParquetFile(written(frame, tmp_path, "parquet rows.parquet"))
    cells = parquet._ColumnCells(file, SAMPLES, len(GENES) + 1, "m.parquet")
    with pytest.raises(InputFileError, match="3000 rows where 3001 were announced"):
        cells.rows(0, 2)
