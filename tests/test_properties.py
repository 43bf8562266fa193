"""Properties of any table: what was written is read, or refused with an error of our own."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import pytest
from format_writers import PACKERS, WRITERS, pack
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from specformer_encoder.errors import SpecformerError
from specformer_encoder.genes import MINIMUM_GENES, map_genes
from specformer_encoder.genes.rows import resolve as resolve_rows
from specformer_encoder.genes.table import vocabulary
from specformer_encoder.readers import read
from specformer_encoder.units import detect_unit, odd_samples, to_linear

# The same examples in every run: a test that fails now and then would tell less.
settings.register_profile(
    "repeatable",
    derandomize=True,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)
settings.load_profile("repeatable")

IDS = [f"{gene}.{i % 20 + 1}" for i, gene in enumerate(vocabulary().ensembl_ids[:400])]
NAMES = st.text(st.characters(categories=("Lu", "Ll", "Nd"), codec="ascii"), min_size=1)
SAMPLES = st.lists(NAMES.map("S{}".format), min_size=1, max_size=5, unique=True)
GENES = st.lists(st.sampled_from(IDS), min_size=4, max_size=30, unique=True)
COUNTS = st.integers(0, 2**24).map(float)
AMOUNTS = st.floats(0, 2**30, width=32, allow_subnormal=False)


@st.composite
def tables(draw, form):
    genes, samples = draw(GENES), draw(SAMPLES)
    cells = draw(
        arrays(np.float32, (len(samples), len(genes)), elements=COUNTS if form.whole else AMOUNTS)
    )
    if form.missing:
        holes = draw(arrays(bool, cells.shape))
        cells = np.where(holes, np.float32(np.nan), cells)
        assume(not np.isnan(cells).all(axis=1).any())
    return genes, samples, cells


@pytest.mark.parametrize("name", WRITERS)
@settings(max_examples=25)
@given(data=st.data())
def test_what_was_written_is_read(name, data):
    form = WRITERS[name]
    genes, samples, values = data.draw(tables(form))
    with tempfile.TemporaryDirectory() as folder:
        path = form.write(Path(folder), genes, samples, values)
        ending = data.draw(st.sampled_from(["", *PACKERS] if form.text else [""]))
        raw = read(pack(path, ending) if ending else path)
        found = raw.values
    number = 1 if form.single else len(samples)
    there = ~np.isnan(values[:number]).all(axis=0)  # a gene without any value is left out
    assert raw.gene_ids == [gene for gene, kept in zip(genes, there, strict=True) if kept]
    if raw.format != "mtx":  # an empty barcode keeps its place as well
        assert len(raw.samples) == number
    if name == "tcga_rsem":  # through a share of a million and back
        np.testing.assert_allclose(found, values[:number][:, there], rtol=1e-5, atol=1e-30)
    else:
        np.testing.assert_array_equal(found, values[:number][:, there])


@settings(max_examples=300)
@given(
    st.one_of(
        st.binary(max_size=300),
        st.text(max_size=300).map(str.encode),
        st.lists(
            st.lists(st.sampled_from([*IDS[:5], "S1", "", "NA", "1", "-2", "3,5", "x", '"']),
                     max_size=4),
            max_size=8,
        ).map(lambda rows: "\n".join("\t".join(row) for row in rows).encode()),
    )
)  # fmt: skip
def test_any_bytes_are_read_or_refused(content):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "m.tsv"
        path.write_bytes(content)
        try:
            raw = read(path)
        except SpecformerError as error:
            assert error.remedy.endswith(".")
            assert folder not in error.problem
        else:
            assert raw.values.shape == (len(raw.samples), len(raw.gene_ids))


@settings(max_examples=200)
@given(st.lists(st.one_of(st.text(max_size=30), st.sampled_from(IDS)), max_size=40))
def test_every_identifier_is_in_one_group_of_the_account(names):
    filler = vocabulary().ensembl_ids[1000 : 1000 + MINIMUM_GENES]
    try:
        mapping = map_genes([*names, *filler])
    except SpecformerError as error:
        assert error.remedy
        return
    report = mapping.report
    left_out = report.ambiguous + report.unknown + report.outside_vocabulary
    assert report.exact + report.renamed + report.repaired + left_out == report.rows
    assert report.rows == len(names) + len(filler)
    assert (mapping.index >= 0).sum() == report.rows - left_out
    # What stands beside it never moves a plain Ensembl id.
    for name, place in zip(names, mapping.index, strict=False):
        if name in IDS:
            assert place == resolve_rows([name]).gene[0]


@settings(max_examples=150)
@given(
    arrays(
        np.float32,
        st.tuples(st.integers(1, 4), st.integers(1, 60)),
        elements=st.one_of(
            st.floats(-50, 50, width=32),
            st.floats(0, 2**30, width=32),
            st.just(float("nan")),
            st.just(0.0),
        ),
    )
)
def test_any_values_come_back_linear_or_are_refused(values):
    try:
        call = detect_unit(values)
    except SpecformerError as error:
        assert error.remedy.endswith(".")
        return
    assert 0 < call.confidence <= 1
    assert call.evidence
    linear = to_linear(values, call)
    known = ~np.isnan(values)
    assert (linear[known] >= 0).all()
    assert np.isnan(linear[~known]).all()
    assert all(0 <= odd.index < len(values) for odd in odd_samples(values, call))
