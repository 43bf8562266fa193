"""Unit detection on values made from known units, and on the files of the corpus."""

from pathlib import Path

import numpy as np
import pytest

from specformer_encoder.errors import ExpressionValueError, SpecformerError
from specformer_encoder.readers import read
from specformer_encoder.units import SCALES, UNITS, detect_unit, odd_samples, parse_unit, to_linear
from specformer_encoder.units.signs import length_slope, steps

CORPUS = Path(__file__).parents[2] / "shared" / "corpus"
needs_corpus = pytest.mark.skipif(
    not CORPUS.is_dir(), reason="no labelled corpus beside the repository"
)

LOGS = {
    "log2(x+1)": lambda x: np.log2(x + 1),
    "log2(x+0.001)": lambda x: np.log2(x + 0.001),
    "ln(x+1)": np.log1p,
    "log10(x+1)": lambda x: np.log10(x + 1),
}


@pytest.fixture(scope="module")
def library():
    """Counts of 6 samples × 18,000 genes, with lengths: molecules are independent of length."""
    rng = np.random.default_rng(1)
    genes = 18_000
    lengths = rng.lognormal(7.9, 0.7, genes)
    molecules = rng.lognormal(0, 2.3, genes) * rng.lognormal(0, 0.6, (6, genes))
    molecules[:, rng.random(genes) < 0.12] = 0
    # Short genes lead in every tissue: ribosomal proteins, mitochondrial genes.
    molecules *= (lengths / lengths.mean()) ** -0.9
    share = molecules * lengths
    depth = rng.uniform(2.5e7, 7e7, (6, 1))
    counts = rng.poisson(share / share.sum(axis=1, keepdims=True) * depth).astype(float)
    return counts, lengths


@pytest.fixture(scope="module")
def quantities(library):
    """The same library in each unit, by the unit's definition."""
    counts, lengths = library
    rate = counts / lengths
    million = counts.sum(axis=1, keepdims=True) / 1e6
    rng = np.random.default_rng(2)
    shared = np.where(rng.random(counts.shape) < 0.15, rng.random(counts.shape), 0.0)
    expected = np.where(counts > 0, counts + shared, 0.0)  # reads shared between genes
    quartile = np.array([np.quantile(row[row > 0], 0.75) for row in expected])[:, None]
    return {
        "counts": counts,
        "expected_counts": expected,
        "rsem_normalized": expected / quartile * 1000,
        "cpm": counts / million,
        "tpm": rate / rate.sum(axis=1, keepdims=True) * 1e6,
        "fpkm": rate * 1e3 / million,
    }


@pytest.mark.parametrize("unit", ["counts", "expected_counts", "rsem_normalized", "tpm", "fpkm"])
@pytest.mark.parametrize("scale", ["linear", *LOGS])
@pytest.mark.parametrize("alone", [True, False])
def test_unit_and_scale_are_found(library, quantities, unit, scale, alone):
    linear = quantities[unit]
    values = linear if scale == "linear" else np.round(LOGS[scale](linear), 4)
    calls = [
        detect_unit(rows.astype(np.float32), lengths=library[1])
        for rows in (values if alone else [values])
    ]
    assert {call.scale for call in calls} == {scale}
    assert {call.unit for call in calls} == {unit}
    assert all(call.length_normalised == (unit in ("tpm", "fpkm")) for call in calls)
    assert all(0.5 < call.confidence <= 1 and call.evidence for call in calls)


def test_rounded_cpm_is_told_from_tpm_by_gene_length_only(library, quantities):
    lengths = library[1]
    cpm, tpm = np.round(quantities["cpm"], 2), quantities["tpm"]
    assert detect_unit(cpm, lengths=lengths).unit == "cpm"
    assert detect_unit(tpm, lengths=lengths).unit == "tpm"
    blind = detect_unit(cpm)
    assert blind.unit == "tpm"
    assert any("cannot tell TPM from CPM" in sentence for sentence in blind.evidence)
    assert blind.confidence < detect_unit(tpm, lengths=lengths).confidence


def test_multiples_of_one_read_tell_cpm_without_gene_lengths(library, quantities):
    counts = library[0]
    call = detect_unit(quantities["cpm"])
    assert (call.unit, call.length_normalised) == ("cpm", False)
    step, share = steps(np.sort(quantities["cpm"][0][counts[0] > 0]))
    assert step == pytest.approx(1e6 / counts[0].sum(), rel=1e-3)
    assert share > 0.95
    tpm = np.sort(quantities["tpm"][0][counts[0] > 0])
    assert not steps(tpm)[1] > 0.3


def test_length_slope_is_least_squares(library):
    counts, lengths = library
    row = counts[0]
    used = row > 0
    x, y = np.log2(lengths[used]), np.log2(row[used])
    x, y = x[y > np.median(y)], y[y > np.median(y)]
    assert length_slope(row, lengths) == pytest.approx(np.polyfit(x, y, 1)[0])
    assert np.isnan(length_slope(row[:100], lengths[:100]))


@pytest.mark.parametrize("scale", LOGS)
def test_to_linear_undoes_the_logarithm(quantities, scale):
    tpm = quantities["tpm"]
    values = np.round(LOGS[scale](tpm), 5).astype(np.float32)  # as a file would hold them
    values[2, 7] = np.nan
    back = to_linear(values, detect_unit(values))
    assert back.dtype == np.float32
    assert np.isnan(back[2, 7])
    measured = ~np.isnan(back)
    np.testing.assert_allclose(back[measured], tpm[measured], rtol=2e-4, atol=1e-4)
    assert (back[measured & (tpm == 0)] == 0).all()
    assert (back[measured] >= 0).all()


def test_to_linear_of_linear_values_is_a_copy(quantities):
    values = quantities["tpm"].astype(np.float32)
    back = to_linear(values, detect_unit(values))
    np.testing.assert_array_equal(back, values)
    assert not np.shares_memory(back, values)


def test_log2_without_an_offset(quantities):
    rsem = quantities["rsem_normalized"]
    values = np.log2(np.where(rsem > 0, rsem, np.nan))  # its zeros have no logarithm
    call = detect_unit(values)
    assert (call.scale, call.unit) == ("log2(x)", "rsem_normalized")
    known = rsem > 0
    np.testing.assert_allclose(to_linear(values, call)[known], rsem[known], rtol=1e-5)


def test_fpkm_uq_shows_in_a_matrix_only(library):
    counts, lengths = library
    quartile = np.quantile(counts, 0.75, axis=1, keepdims=True)
    values = counts / lengths / quartile * 1e9 / 19_029  # as the GDC defines it
    assert detect_unit(values, lengths=lengths).unit == "fpkm_uq"
    one = detect_unit(values[0], lengths=lengths)
    assert (one.unit, one.length_normalised) == ("fpkm", True)


def test_missing_genes_do_not_change_the_call(quantities):
    values = quantities["rsem_normalized"].copy()
    values[:, ::7] = np.nan
    assert detect_unit(values).unit == "rsem_normalized"
    assert detect_unit(values).scale == "linear"


@pytest.fixture(scope="module")
def log_matrix(quantities):
    rng = np.random.default_rng(5)
    base = np.log2(quantities["rsem_normalized"] + 1)
    return np.maximum(np.vstack([base, base + rng.normal(0, 1, base.shape)]), 0)


@pytest.mark.parametrize("alone", [True, False])
@pytest.mark.parametrize("how", ["z-scored", "centred"])
def test_values_set_against_other_samples_are_refused(log_matrix, how, alone):
    centred = log_matrix - log_matrix.mean(axis=0)
    values = centred / np.maximum(log_matrix.std(axis=0), 0.1) if how == "z-scored" else centred
    with pytest.raises(ExpressionValueError, match="share of its own sample is lost"):
        detect_unit(values[0] if alone else values)


BAD_VALUES = {
    "negative counts": (lambda x: np.where(x == x.max(), -5, x), "never negative|negative"),
    "constant sample": (lambda x: np.vstack([x[:2], np.full(x.shape[1], 4.0)]), "Sample 3 of 3"),
    "scaled to 0-1": (lambda x: x / x.max(), "common range"),
    "infinite": (lambda x: np.where(x == x.max(), np.inf, x), "infinite"),
    "empty sample": (lambda x: np.vstack([x[:1], np.full(x.shape[1], np.nan)]), "no value at all"),
    "log and linear mixed": (lambda x: np.vstack([x[0], np.log2(x[1] + 1)]), "1 of 2 samples look"),
}


@pytest.mark.parametrize("name", BAD_VALUES)
def test_values_that_cannot_be_ordered_are_refused(library, name):
    spoil, message = BAD_VALUES[name]
    with pytest.raises(ExpressionValueError, match=message) as caught:
        detect_unit(spoil(library[0]))
    assert caught.value.remedy


@pytest.mark.parametrize(
    ("text", "unit", "base", "offset"),
    [
        ("counts", "counts", "linear", None),
        ("Raw counts", "counts", "linear", None),
        ("expected_counts", "expected_counts", "linear", None),
        ("rsem", "rsem_normalized", "linear", None),
        ("rsem_normalized", "rsem_normalized", "linear", None),
        ("rsem_log2", "rsem_normalized", "log2", None),
        ("rsem_raw_counts", "expected_counts", "linear", None),
        ("rsem_expected_counts", "expected_counts", "linear", None),
        ("rsem_fpkm_combat", "fpkm", "linear", None),
        ("TPM", "tpm", "linear", None),
        ("log2tpm", "tpm", "log2", None),
        ("log2p1_tpm", "tpm", "log2", 1.0),
        ("log2(fpkm+1)", "fpkm", "log2", 1.0),
        ("log2(TPM + 0.001)", "tpm", "log2", 0.001),
        ("RPKM", "fpkm", "linear", None),
        ("FPKM-UQ", "fpkm_uq", "linear", None),
        ("ln(CPM+1)", "cpm", "ln", 1.0),
        ("log10(counts+1)", "counts", "log10", 1.0),
        ("log1p(tpm)", "tpm", "ln", 1.0),
        ("log2", None, "log2", None),
        ("log2_vst", "counts", "vst", None),
        ("rlog", "counts", "log2", None),
        ("logCPM", "cpm", "log2", None),
        ("log2(cpm + 0.5)", "cpm", "log2", 0.5),
        ("log2(fpkm+1e-4)", "fpkm", "log2", 1e-4),
        ("log10(tpm)", "tpm", "log10", None),
        ("sqrt(counts)", "counts", "sqrt", None),
        ("UMI counts", "tag_counts", "linear", None),
        ("lengthScaledTPM", "expected_counts", "linear", None),
    ],
)
def test_units_as_people_write_them(text, unit, base, offset):
    said = parse_unit(text)
    assert (said.unit, said.base, said.offset) == (unit, base, offset)


@pytest.mark.parametrize("unit", UNITS)
def test_every_unit_name_is_understood_on_every_scale(unit):
    assert parse_unit(unit).unit == unit
    for scale in SCALES[1:]:
        assert parse_unit(scale.replace("x", unit)).unit == unit


@pytest.mark.parametrize("text", ["furlongs", "", "log2(furlongs+1)", "z-score", "median centred"])
def test_unknown_or_centred_units_are_refused(text):
    with pytest.raises(ExpressionValueError):
        parse_unit(text)


def test_a_declared_unit_is_taken_and_said_so(quantities):
    cpm = np.round(quantities["cpm"], 2)
    call = detect_unit(cpm, declared="CPM")
    assert (call.unit, call.length_normalised, call.overridden) == ("cpm", False, True)
    assert "look like tpm" in call.evidence[0]
    assert not detect_unit(quantities["cpm"]).overridden
    log = detect_unit(np.log1p(quantities["fpkm"]), declared="ln(fpkm+1)")
    assert (log.scale, log.unit) == ("ln(x+1)", "fpkm")


@pytest.mark.parametrize(
    ("unit", "log", "declared", "message"),
    [
        ("rsem_normalized", False, "counts", "whole numbers"),
        ("tpm", True, "counts", r"that is a logarithm.*log2\(counts\+1\)"),
        ("tpm", True, "tpm", "that is a logarithm"),
        ("counts", False, "log2(counts+1)", "no logarithm"),
        ("counts", False, "tpm", "more than a million"),
        ("counts", True, "log2(tpm+1)", "more than a million"),
        ("tpm", True, "log10(tpm+1)", "more than a million"),
    ],
)
def test_an_impossible_declaration_is_refused(quantities, unit, log, declared, message):
    values = np.log2(quantities[unit] + 1) if log else quantities[unit]
    with pytest.raises(ExpressionValueError, match=message):
        detect_unit(values, declared=declared)


#: Corpus unit → (unit, logarithmic, divided by gene length); no gene lengths are given here, so
#: the ComBat-adjusted FPKM, which only lengths can tell from RSEM values, are left out.
TRUTH = {
    "counts": ("counts", False, False),
    "rsem_raw_counts": ("expected_counts", False, False),
    "rsem_expected_counts": ("expected_counts", False, False),
    "rsem_normalized": ("rsem_normalized", False, False),
    "fpkm": ("fpkm", False, True),
    "fpkm_uq": ("fpkm_uq", False, True),
    "tpm": ("tpm", False, True),
    "rsem_log2": ("rsem_normalized", True, False),
    "log2": ("rsem_normalized", True, False),
    "log2_vst": ("counts", True, False),
    "log2p1_tpm": ("tpm", True, True),
}


@needs_corpus
def test_corpus_units_are_found():
    seen = set()
    for path in sorted((CORPUS / "expression").glob("*.parquet")):
        stated = path.name.split(".")[-2]
        if stated not in TRUTH:
            continue
        seen.add(stated)
        unit, logarithmic, divided = TRUTH[stated]
        values = read(path).values
        call = detect_unit(values)
        assert (call.unit, call.scale != "linear") == (unit, logarithmic), path.name
        assert odd_samples(values[::5], call) == [], path.name
        assert call.length_normalised == divided, path.name
        for row in values[:: max(1, len(values) // 5)]:
            one = detect_unit(row)
            assert (one.scale != "linear") == logarithmic, path.name
            assert one.length_normalised == divided, path.name
    assert seen == set(TRUTH)


@needs_corpus
def test_corpus_units_are_accepted_as_declarations():
    for path in sorted((CORPUS / "expression").glob("*.parquet")):
        stated = path.name.split(".")[-2]
        values = read(path).values[:20]
        try:
            call = detect_unit(values, declared=stated)
        except SpecformerError as error:
            pytest.fail(f"{path.name}: {error}")
        assert call.overridden
        assert not [said for said in call.warnings if "Declared as" in said], path.name
        linear = to_linear(values, call)
        assert (linear[~np.isnan(linear)] >= 0).all()
        np.testing.assert_array_equal(np.isnan(linear), np.isnan(values))
