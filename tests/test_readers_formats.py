"""Every format, as its tool writes it: the genes, samples and values that went in come out."""

import numpy as np
import pandas as pd
import pytest
from format_writers import PACKERS, WRITERS, pack
from places import EXAMPLES

from specformer_encoder.profiles import load_profiles
from specformer_encoder.readers import read

GENES = ["ENSG00000000003.15", "ENSG00000000005.6", "ENSG00000000419.13", "ENSG00000000457.14"]
SAMPLES = ["P1", "P2-tumour", "P3"]
COUNTS = np.array([[120, 0, 340, 7], [88, 1, 410, 12], [95, 0, 500, 3]], np.float32)
VALUES = np.array([[120.5, 0, 3e-7, 7], [88, 1.25, 410, 1234567], [0.1, 0, 50, 3]], np.float32)


def expected_of(form, samples, values):
    return (samples[:1], values[:1]) if form.single else (samples, values)


def assert_holds(raw, form, genes, samples, values):
    names, wanted = expected_of(form, samples, values)
    assert raw.gene_ids == list(genes)
    assert raw.samples == list(names)
    assert raw.format == form.name
    assert raw.declared_unit == form.declares
    got = raw.rows(0, len(names))
    assert got.dtype == np.float32
    if form.write.__name__ == "tcga_rsem":  # divided and multiplied by a million
        np.testing.assert_allclose(got, wanted, rtol=1e-6)
    else:
        np.testing.assert_array_equal(got, wanted)


@pytest.mark.parametrize("name", WRITERS)
def test_a_small_table_comes_back(tmp_path, name):
    form = WRITERS[name]
    values = COUNTS if form.whole else VALUES
    path = form.write(tmp_path, GENES, SAMPLES, values)
    assert_holds(read(path), form, GENES, SAMPLES, values)


@pytest.mark.parametrize("ending", PACKERS)
@pytest.mark.parametrize("name", [name for name, form in WRITERS.items() if form.text])
def test_a_compressed_table_comes_back(tmp_path, name, ending):
    form = WRITERS[name]
    values = COUNTS if form.whole else VALUES
    path = pack(form.write(tmp_path, GENES, SAMPLES, values), ending)
    assert_holds(read(path), form, GENES, SAMPLES, values)


@pytest.mark.parametrize("name", [name for name, form in WRITERS.items() if form.missing])
def test_a_missing_cell_is_not_zero(tmp_path, name):
    values = VALUES.copy()
    values[1, 2] = np.nan
    raw = read(WRITERS[name].write(tmp_path, GENES, SAMPLES, values))
    np.testing.assert_array_equal(raw.values, values)


@pytest.fixture(scope="module")
def real():
    """The real lung tumour: 20,531 genes named SYMBOL|ENTREZ, and a made-up second sample."""
    table = pd.read_csv(EXAMPLES / "luad_tumor.tsv.gz", sep="\t", dtype={"EntrezID": str})
    genes = (table["GeneSymbol"] + "|" + table["EntrezID"]).tolist()
    one = table.iloc[:, 2].to_numpy(np.float32)
    return genes, [table.columns[2], "reversed"], np.stack([one, one[::-1]])


@pytest.mark.parametrize("name", WRITERS)
def test_the_real_example_comes_back_and_gives_the_same_profile(tmp_path, name, real):
    genes, samples, values = real
    form = WRITERS[name]
    values = np.round(values) if form.whole else values
    path = form.write(tmp_path, genes, samples, values)
    raw = read(path)
    assert_holds(raw, form, genes, samples, values)
    names, wanted = expected_of(form, samples, values)
    profiles = load_profiles(path, unit="rsem_normalized")
    reference = pd.DataFrame(wanted.T, index=genes, columns=names)
    reference.to_parquet(tmp_path / "reference.parquet")
    again = load_profiles(tmp_path / "reference.parquet", unit="rsem_normalized")
    assert profiles.samples == again.samples
    np.testing.assert_allclose(profiles.values, again.values, rtol=1e-5)
