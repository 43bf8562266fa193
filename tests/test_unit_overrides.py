"""Declared units: right ones are taken silently, doubtful ones with a warning."""

import numpy as np
import pytest

from benchmarks.simulated_libraries import cpm, fpkm, library, quartile_scaled, rarefied
from specformer_encoder.units import detect_unit


@pytest.fixture(scope="module")
def of():
    return library(41, samples=4)


def rsem(of):
    values = quartile_scaled(of)
    return values / np.array([[np.quantile(row[row > 0], 0.75)] for row in values]) * 1000


RIGHT = {
    "counts": lambda of: of.reads,
    "cpm": cpm,
    "tpm": lambda of: of.tpm,
    "fpkm": fpkm,
    "rsem_normalized": rsem,
    "log2(tpm+1)": lambda of: np.log2(of.tpm + 1),
    "ln(fpkm+1)": lambda of: np.log1p(fpkm(of)),
    "log10(tpm+0.001)": lambda of: np.log10(of.tpm + 0.001),
    "log2(cpm+0.5)": lambda of: np.log2(cpm(of) + 0.5),
    "log2(counts+1)": lambda of: np.log2(of.reads + 1),
    "sqrt(tpm)": lambda of: np.sqrt(of.tpm),
}


@pytest.mark.parametrize("declared", RIGHT)
def test_a_right_declaration_is_taken_silently(of, declared):
    values = RIGHT[declared](of)[:, of.coding]
    for rows in (values, values[0]):
        call = detect_unit(
            rows.astype(np.float32), declared=declared, lengths=of.lengths[of.coding]
        )
        assert (call.warnings, call.confidence, call.overridden) == ([], 1.0, True)
        assert call.scale == ("linear" if "(" not in declared else declared.replace(call.unit, "x"))


DOUBTFUL = {
    # declared: (values, whether the order of the genes depends on it)
    "counts, rounded TPM": ("counts", lambda of: np.round(of.tpm), True),
    "tpm, CPM": ("tpm", cpm, True),
    "cpm, TPM": ("cpm", lambda of: of.tpm, True),
    "fpkm, RSEM": ("fpkm", rsem, True),
    "rsem_normalized, FPKM": ("rsem_normalized", fpkm, True),
    "fpkm, TPM": ("fpkm", lambda of: of.tpm, False),
    "rsem_normalized, counts": ("rsem_normalized", lambda of: of.reads, False),
    "log2(tpm+1), ln": ("log2(tpm+1)", lambda of: np.log1p(of.tpm), True),
    "log2(fpkm+1), ln": ("log2(fpkm+1)", lambda of: np.log1p(fpkm(of)), True),
    "ln(counts+1), log2": ("ln(counts+1)", lambda of: np.log2(of.reads + 1), True),
    "tag_counts, counts": ("tag_counts", lambda of: of.reads, True),
}


@pytest.mark.parametrize("name", DOUBTFUL)
def test_a_doubtful_declaration_is_taken_and_questioned(of, name):
    declared, make, changes = DOUBTFUL[name]
    values = make(of)
    call = detect_unit(values.astype(np.float32), declared=declared, lengths=of.lengths)
    assert call.unit in declared
    assert call.overridden
    (told,) = [warning for warning in call.warnings if "Declared as" in warning]
    assert declared in told
    assert call.confidence <= (0.5 if changes else 0.9)


def test_counts_of_a_million_reads_may_be_declared(of):
    values = rarefied(of)
    call = detect_unit(values, declared="counts", lengths=of.lengths)
    assert (call.unit, call.warnings) == ("counts", [])


def test_tag_counts_are_not_divided_by_length_when_declared():
    of = library(42, samples=2, depth=(2e6, 5e6), tags=True)
    call = detect_unit(of.reads, declared="UMI counts", lengths=of.lengths)
    assert (call.unit, call.length_normalised, call.warnings) == ("tag_counts", True, [])
    assert any("tag_counts" in told for told in detect_unit(of.reads, lengths=of.lengths).warnings)
