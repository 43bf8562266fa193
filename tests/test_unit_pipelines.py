"""Units of simulated pipelines that no test file is at hand of, and values that must be refused."""

import numpy as np
import pytest

from benchmarks.simulated_libraries import library, normalised, vst
from benchmarks.simulated_pipelines import PIPELINES, REFUSED
from specformer_encoder.errors import ExpressionValueError
from specformer_encoder.units import detect_unit, to_linear
from specformer_encoder.units.scales import undo


@pytest.mark.parametrize("name", PIPELINES)
def test_what_a_pipeline_writes_is_read_right(name):
    pipeline = PIPELINES[name]
    values, lengths = pipeline.values(seed=7, samples=5)
    for rows in (values, values[0]):
        call = detect_unit(rows.astype(np.float32), lengths=lengths)
        assert call.unit in pipeline.units
        assert call.scale.startswith(pipeline.scale)
        assert pipeline.divided in (None, call.length_normalised)
        assert 0 < call.confidence <= 1
    whole = detect_unit(values.astype(np.float32), lengths=lengths)
    assert bool(whole.warnings) == pipeline.warned
    linear = to_linear(values, whole)
    assert (linear[~np.isnan(linear)] >= 0).all()


LINEAR_OF = {
    "edgeR log-CPM, prior 2": "edgeR CPM",
    "voom": "edgeR CPM",
    "log2(TPM+0.01)": "Salmon TPM, coding rows",
    "log10(FPKM+0.001)": "FPKM, coding",
    "sqrt(TPM)": "Salmon TPM, all genes",
    "DESeq2 vst": "DESeq2 normalised counts",
}


@pytest.mark.parametrize("name", LINEAR_OF)
def test_a_transformed_file_comes_back_as_what_it_was_taken_of(name):
    values, lengths = PIPELINES[name].values(seed=8, samples=4)
    truth, _ = PIPELINES[LINEAR_OF[name]].values(seed=8, samples=4)
    back = to_linear(values, detect_unit(values, lengths=lengths)).astype(np.float64)
    back *= truth.sum(axis=1, keepdims=True) / back.sum(axis=1, keepdims=True)
    seen = truth > np.quantile(truth[truth > 0], 0.2)
    np.testing.assert_allclose(back[seen], truth[seen], rtol=0.02)
    assert (back[truth == 0] == 0).mean() > 0.99


def test_the_variance_stabilising_transform_is_undone_exactly():
    of = library(3, samples=3)
    floor = float(vst(of).min())
    back = undo(vst(of), f"vst({floor!r})")
    np.testing.assert_allclose(back, normalised(of), rtol=1e-6, atol=1e-9)


@pytest.fixture(scope="module")
def logs():
    of = library(11, samples=9)
    return np.log2(of.tpm[:, of.coding] + 1), of.lengths[of.coding]


@pytest.mark.parametrize("genes", [None, 500])
@pytest.mark.parametrize("kind", REFUSED)
def test_values_without_a_scale_are_refused_alone_and_together(logs, kind, genes):
    log, lengths = logs
    if genes is not None:
        chosen = np.random.default_rng(1).choice(
            np.flatnonzero(log.mean(axis=0) > 0.5), genes, replace=False
        )
        log, lengths = log[:, chosen], lengths[chosen]
    values = REFUSED[kind](log)
    for rows in (values, *values[:4]):
        with pytest.raises(ExpressionValueError) as caught:
            detect_unit(rows.astype(np.float32), lengths=lengths)
        assert caught.value.remedy


def test_centred_values_are_refused_whatever_is_declared(logs):
    centred = REFUSED["centred per gene"](logs[0])
    for declared in ("log2(tpm)", "log10(tpm)", "log2(tpm+0.001)", "logCPM"):
        with pytest.raises(ExpressionValueError):
            detect_unit(centred[0], declared=declared, lengths=logs[1])


def test_plain_log10_is_accepted_when_it_is_declared(logs):
    log, lengths = logs
    tpm = np.exp2(log) - 1
    values = np.log10(np.where(tpm > 0, tpm, np.nan))
    call = detect_unit(values, declared="log10(tpm)", lengths=lengths)
    assert (call.unit, call.scale, call.warnings) == ("tpm", "log10(x)", [])
