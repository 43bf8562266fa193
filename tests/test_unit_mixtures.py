"""Files that mix units: noticed, refused where it matters, and no good file accused."""

import numpy as np
import pytest

from benchmarks.simulated_libraries import cpm, fpkm, library, quartile_scaled
from benchmarks.simulated_pipelines import PIPELINES, REFUSED
from specformer_encoder.errors import ExpressionValueError
from specformer_encoder.units import detect_unit, odd_samples, report_mixture

TRANSFORMS = {
    "counts": lambda of: of.reads,
    "cpm": cpm,
    "normalised": quartile_scaled,
    "tpm": lambda of: of.tpm,
    "fpkm": fpkm,
    "log2(tpm+1)": lambda of: np.log2(of.tpm + 1),
    "ln(tpm+1)": lambda of: np.log1p(of.tpm),
    "log10(tpm+1)": lambda of: np.log10(of.tpm + 1),
    "log2(tpm+0.001)": lambda of: np.log2(of.tpm + 0.001),
    "log2(fpkm+1)": lambda of: np.log2(fpkm(of) + 1),
    "ln(fpkm+1)": lambda of: np.log1p(fpkm(of)),
    "log2(counts+1)": lambda of: np.log2(of.reads + 1),
    "z-scores": lambda of: REFUSED["z-score per gene"](np.log2(of.tpm + 1)),
}
PAIRS = [(a, b) for a in TRANSFORMS for b in TRANSFORMS if a != b and a != "z-scores"]


@pytest.fixture(scope="module")
def units():
    """The same six samples in every unit."""
    of = library(21, samples=6)
    return {name: make(of) for name, make in TRANSFORMS.items()}, of.lengths


def matters(one, other):
    """Another scale, or length-normalised beside not: what would be computed wrongly."""
    scales = [
        name.replace("tpm", "x").replace("fpkm", "x").replace("counts", "x")
        for name in (one, other)
    ]
    free = ["tpm" in name or "fpkm" in name for name in (one, other)]
    logs = ["(" in name or name == "z-scores" for name in (one, other)]
    return (any(logs) and scales[0] != scales[1]) or free[0] != free[1]


@pytest.mark.parametrize(("one", "other"), PAIRS, ids=lambda name: name)
def test_a_sample_of_another_unit_in_a_later_block_is_noticed(units, one, other):
    values, lengths = units
    call = detect_unit(values[one], lengths=lengths)
    block = values[one][2:5].copy()
    block[1] = values[other][3]
    odd = odd_samples(block.astype(np.float32), call, lengths)
    assert [found.index for found in odd] == [1]
    assert odd[0].matters == matters(one, other)
    assert odd[0].why
    assert odd[0].looks_like


HALVES = [pair for pair in PAIRS if pair[0] in ("counts", "cpm", "log2(tpm+1)", "ln(fpkm+1)")]


@pytest.mark.parametrize(("one", "other"), HALVES, ids=lambda name: name)
def test_half_a_file_in_another_unit_is_refused_or_reported(units, one, other):
    values, lengths = units
    mixed = values[one].copy()
    mixed[1::2] = values[other][1::2]
    if not matters(one, other):
        assert detect_unit(mixed, lengths=lengths).warnings
        return
    with pytest.raises(ExpressionValueError) as caught:
        detect_unit(mixed, lengths=lengths)
    assert caught.value.remedy


@pytest.mark.parametrize("name", [name for name in PIPELINES if name != "microarray"])
def test_no_sample_of_a_pipeline_is_accused(name):
    values, lengths = PIPELINES[name].values(seed=31, samples=8)
    call = detect_unit(values[:4], lengths=lengths)
    # Scaled to the median library, that library keeps its whole counts: told, and harmless.
    odd = [one for one in odd_samples(values, call, lengths) if one.matters]
    assert odd == []


def test_a_mixture_that_matters_is_refused_with_names(units):
    values, lengths = units
    call = detect_unit(values["tpm"], lengths=lengths)
    block = values["tpm"].copy()
    block[[1, 2, 4, 5]] = values["counts"][[1, 2, 4, 5]]
    names = [f"patient-{i}" for i in range(len(block))]
    with pytest.raises(ExpressionValueError) as caught:
        report_mixture(odd_samples(block, call, lengths), names, call, source="merged.tsv")
    text = str(caught.value)
    named = "4 of 6 samples in merged.tsv (patient-1, patient-2, patient-4 ...) look like counts"
    assert named in text
    assert "Split the file" in caught.value.remedy


def test_a_mixture_that_changes_nothing_is_a_warning(units):
    values, lengths = units
    call = detect_unit(values["tpm"], lengths=lengths)
    block = values["tpm"].copy()
    block[4] = values["fpkm"][4]
    odd = odd_samples(block, call, lengths)
    (told,) = report_mixture(odd, [f"s{i}" for i in range(6)], call)
    assert "1 of 6 samples" in told
    assert "s4" in told
    assert report_mixture([], ["s0"], call) == []


def test_values_that_cannot_be_ordered_are_noticed_in_a_later_block(units):
    values, lengths = units
    call = detect_unit(values["counts"], lengths=lengths)
    block = values["counts"][:4].copy()
    block[1, np.argmax(block[1])] = np.inf
    block[2, 7] = -5
    odd = odd_samples(block, call, lengths)
    assert [(one.index, one.matters) for one in odd] == [(1, True), (2, True)]
    assert "infinite" in odd[0].why
    assert "negative" in odd[1].why


def test_a_batch_corrected_file_may_have_a_sample_with_one_negative_value():
    values, lengths = PIPELINES["ComBat of FPKM"].values(seed=5, samples=6)
    call = detect_unit(values, lengths=lengths)
    assert "negative" in call.warnings[0]
    one = np.maximum(values[:1], 0)
    one[0, np.argmin(one[0])] = -0.01
    assert odd_samples(one, call, lengths) == []


def test_a_panel_that_sums_to_a_million_by_chance_is_no_tpm():
    values, lengths = PIPELINES["panel of 500, counts"].values(seed=6, samples=6)
    values[2] = np.round(values[2] * 1e6 / values[2].sum())
    call = detect_unit(values, lengths=lengths)
    assert (call.unit, call.warnings) == ("counts", [])
    assert odd_samples(values, call, lengths) == []
    assert detect_unit(values[2], lengths=lengths).unit == "counts"
