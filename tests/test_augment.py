"""Augmentation: each alteration against its distribution; batches against the step alone."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
import textwrap
import threading
import time

import numpy as np
import pytest
import torch
from scipy import stats

from specformer_encoder import augment
from specformer_encoder.batches import Batches
from specformer_encoder.ordering import gene_sequence, rank_quantiles
from specformer_encoder.packed import NOT_MEASURED, leading_genes, levels_of
from specformer_encoder.recipe import load_recipe
from specformer_encoder.shifts import Shifts

SILENT = -np.inf


@pytest.fixture
def draw():
    return np.random.default_rng(5)


@pytest.fixture
def recipe(small_corpus):
    return load_recipe("debug", len(small_corpus.packed.vocabulary))


def with_train(recipe, **changes):
    return dataclasses.replace(recipe, train=dataclasses.replace(recipe.train, **changes))


OFF = {
    "dither": 0.0,
    "shift_probability": 0.0,
    "noise_probability": 0.0,
    "thin_probability": 0.0,
    "dropout_probability": 0.0,
}


def profile(draw, genes=4000):
    log2 = draw.normal(4, 3, genes).astype(np.float32)
    log2[:100], log2[100:200] = SILENT, np.nan
    return log2


def untouched(before, after):
    """Silent genes stay silent and unmeasured ones unmeasured; the argument is not changed."""
    assert np.array_equal(after == SILENT, before == SILENT)
    assert np.array_equal(np.isnan(after), np.isnan(before))


def test_dither_fills_the_step_evenly(draw):
    log2 = profile(draw)
    width = np.full(len(log2), 0.25, np.float32)
    moved = augment.dither(log2, width, draw)
    untouched(log2, moved)
    by = (moved[200:] - log2[200:]) / 0.25 + 0.5
    assert stats.kstest(by, "uniform").pvalue > 0.01


def test_a_shift_leads_to_a_reachable_pipeline_or_else_anywhere(draw):
    shift = np.stack([np.full(5, 1.0), np.full(5, 100.0)]).astype(np.float16)
    shifts = Shifts(5, (("a", "b"), ("c", "d")), (9, 9), shift)
    known = np.array([augment.pipeline_shift("a", shifts, draw)[0] for _ in range(2000)])
    assert stats.kstest(known, stats.uniform(0.5, 0.7).cdf).pvalue > 0.01
    back = [augment.pipeline_shift("b", shifts, draw)[0] for _ in range(100)]
    assert -1.2 <= min(back) <= max(back) <= -0.5
    unknown = np.array([augment.pipeline_shift("x", shifts, draw)[0] for _ in range(2000)])
    of_first = unknown[np.abs(unknown) <= 1]
    assert 900 < len(of_first) < 1150
    assert stats.kstest(unknown[np.abs(unknown) > 1], stats.uniform(-100, 200).cdf).pvalue > 0.01
    none = Shifts(5, (), (), np.zeros((0, 5), np.float16))
    assert augment.pipeline_shift("a", none, draw) is None


def test_pipeline_noise_has_the_spread_and_the_slopes_that_were_asked_for(draw):
    log2 = profile(draw)
    slopes = tuple(draw.standard_normal(len(log2)).astype(np.float32) for _ in range(2))
    spreads, tilts = [], []
    for _ in range(150):
        noisy = augment.pipeline_noise(log2, draw, sigma=0.4, tilt=0.2, slopes=slopes)
        untouched(log2, noisy)
        design = np.stack([s[200:] for s in slopes], axis=1)
        by = noisy[200:] - log2[200:]
        slope, rest, *_ = np.linalg.lstsq(design, by)
        tilts += slope.tolist()
        spreads.append(np.sqrt(rest[0] / len(by)))
    assert stats.kstest(spreads, stats.uniform(0, 0.4).cdf).pvalue > 0.01
    assert stats.kstest(tilts, stats.norm(0, 0.2).cdf).pvalue > 0.01


def test_thinning_counts_reads_in_proportion_to_expression_and_length(draw):
    genes = 300
    log2 = draw.normal(4, 2, genes).astype(np.float32)
    log2[:5], log2[5:10] = SILENT, np.nan
    lengths = draw.uniform(300, 9000, genes).astype(np.float32)
    weight = np.nan_to_num(np.exp2(log2.astype(float)) * lengths)
    expected = 3000 * weight / weight.sum()
    counts = []
    for _ in range(400):
        thinned = augment.thin(log2, lengths, 3000, draw)
        assert np.array_equal(np.isnan(thinned), np.isnan(log2))
        counts.append(expected[10:] * np.exp2(thinned[10:] - log2[10:]))
    counts = np.array(counts)
    assert np.allclose(counts, np.round(counts), atol=0.01)  # whole reads
    expected = expected[10:]
    error = np.sqrt(expected / 400)
    assert np.abs((counts.mean(axis=0) - expected) / error).max() < 5
    some = expected > 1
    assert np.median(counts.var(axis=0)[some] / expected[some]) == pytest.approx(1, abs=0.05)
    silent = (counts == 0).mean(axis=0)
    assert np.abs(silent - np.exp(-expected)).max() < 0.12


def test_very_many_reads_change_nothing(draw):
    log2 = np.array([20.0, 19.0, 5.0, SILENT, np.nan], np.float32)
    lengths = np.ones(5, np.float32)
    assert np.array_equal(augment.thin(log2, lengths, 1e9, draw), log2, equal_nan=True)


def test_a_random_panel_keeps_its_share_of_the_vocabulary(draw):
    measured = np.arange(10_000) < 6000
    kept = augment.random_panel(measured, 0.3, draw)
    assert not (kept & ~measured).any()
    assert kept.sum() == pytest.approx(3000, abs=5 * np.sqrt(6000 * 0.25))
    assert augment.random_panel(measured, 0.7, draw) is measured


def test_leading_genes_are_those_of_a_full_sort(draw):
    score = np.round(draw.normal(0, 1, 3000), 1).astype(np.float32)  # many ties
    score[::7], score[::11] = SILENT, np.nan
    naive = sorted(np.flatnonzero(score > SILENT), key=lambda gene: (-score[gene], gene))
    for length in (1, 10, 500, 2900, 3000, 5000, None):
        assert leading_genes(score, length).tolist() == naive[:length]


def test_levels_keep_log_expression_within_half_a_step(small_corpus):
    corpus, packed = small_corpus.corpus, small_corpus.packed
    rows = [i for i, label in enumerate(corpus.labels) if label.split != "test"]
    for place in (0, 20, 49):
        values = corpus.values([rows[place]])[0]
        log2, width = packed.log_expression(place), packed.step_width(place)
        assert np.array_equal(np.isnan(log2), np.isnan(values))
        assert np.array_equal(packed.measured(place), ~np.isnan(values))
        assert np.array_equal(log2 == SILENT, values == 0)
        well = values > 1
        assert well.sum() > 5000
        error = np.abs(log2[well] - np.log2(values[well]))
        assert (error < 0.55 * width[well]).all()
        assert width[well].max() < 0.4
        # Ranks are exactly those of the levels.
        levels = levels_of(values)
        assert np.array_equal(levels, packed.levels(place))
        ranked = np.where(levels == NOT_MEASURED, np.nan, levels).astype(np.float32)
        assert np.array_equal(packed.quantile(place), rank_quantiles(ranked))
        exact = gene_sequence(values, packed.statistics.idf, 512)
        ours = packed.sequence(place, 512)
        assert len(np.intersect1d(exact, ours)) > 0.95 * 512
        assert np.array_equal(packed.sequence(place)[:512], ours)


def test_switched_off_nothing_is_altered(small_corpus, recipe):
    packed = small_corpus.packed
    batches = Batches(packed, with_train(recipe, **OFF))
    one, _ = batches.training(0)
    whole = one.tokens.scatter(1, one.hidden, one.genes)
    sequences = {
        tuple(packed.sequence(row, recipe.model.length).tolist()) for row in packed.rows("train")
    }
    assert all(tuple(tokens) in sequences for tokens in whole.tolist())


@pytest.mark.parametrize("name", ["dither", "noise_probability", "thin_probability"])
def test_each_switch_alone_alters_sequences_and_never_targets(small_corpus, recipe, name):
    still = Batches(small_corpus.packed, with_train(recipe, **OFF))
    moving = Batches(small_corpus.packed, with_train(recipe, **OFF | {name: 1.0}))
    before, after = still.training(3)[0], moving.training(3)[0]
    assert before.target.equal(after.target)
    assert before.decodable.equal(after.decodable)
    assert before.measured.equal(after.measured)

    def whole(batch):
        return batch.tokens.scatter(1, batch.hidden, batch.genes)

    assert not whole(before).equal(whole(after))


def test_shifts_of_the_corpus_reach_the_sequences(small_corpus, recipe):
    packed = small_corpus.corpus.packed()
    genes = len(packed.vocabulary)
    raised = np.zeros((1, genes), np.float16)
    raised[0, :400] = 60.0
    packed.shifts = Shifts(genes, (("simulated.counts", "simulated.tpm"),), (9,), raised)
    batches = Batches(packed, with_train(recipe, **OFF | {"shift_probability": 1.0}))
    one, _ = batches.training(0)
    assert (one.genes < 400).all()


def test_dropped_views_measure_less_and_decode_all(small_corpus, recipe):
    whole = Batches(small_corpus.packed, with_train(recipe, **OFF))
    dropping = Batches(small_corpus.packed, with_train(recipe, **OFF | {"dropout_probability": 1}))
    assert not dropping._panels  # the simulated corpus has none
    before, after = whole.training(1)[0], dropping.training(1)[0]
    assert after.measured.sum() < 0.95 * before.measured.sum()
    assert before.target.equal(after.target)
    assert before.decodable.equal(after.decodable)
    panel = small_corpus.packed.measured(0) & (np.arange(len(small_corpus.packed.vocabulary)) < 5e3)
    dropping._panels = [panel]
    dropping.recipe = with_train(recipe, **OFF | {"dropout_probability": 1, "panel_share": 1.0})
    real = dropping.training(1)[0]
    assert real.measured.equal(torch.from_numpy(panel).expand(len(real.measured), -1))


def equal(one, other):
    return all(
        getattr(a, f.name).equal(getattr(b, f.name))
        for a, b in zip(one, other, strict=True)
        for f in dataclasses.fields(a)
    )


def test_batches_are_a_function_of_the_step_and_prefetching_changes_nothing(small_corpus, recipe):
    batches, again = (Batches(small_corpus.packed, recipe) for _ in range(2))
    ahead = list(batches.prefetch(2, 7))
    assert len(ahead) == 5
    for step in (6, 2, 4):  # out of order
        assert equal(ahead[step - 2], again.training(step))
    assert not equal(ahead[0], ahead[1])
    assert list(batches.prefetch(5, 5)) == []


def test_prefetching_stops_early_and_passes_errors_on(small_corpus, recipe, monkeypatch):
    batches = Batches(small_corpus.packed, recipe)

    def threads():
        return [t for t in threading.enumerate() if t.name == "batches"]

    steps = batches.prefetch(0, 1000)
    next(steps)
    assert threads()
    time.sleep(0.3)  # the queue is full
    steps.close()
    assert not threads()

    def broken(step):
        if step == 2:
            raise OSError("torn")
        return step

    monkeypatch.setattr(batches, "training", broken)
    steps = batches.prefetch(0, 5)
    assert [next(steps), next(steps)] == [0, 1]
    with pytest.raises(OSError, match="torn"):
        next(steps)
    assert not threads()


def test_views_without_dropped_genes_are_equally_long(small_corpus, recipe):
    lengthy = dataclasses.replace(recipe.model, length=19_000)  # all that is expressed
    changed = dataclasses.replace(with_train(recipe, **OFF | {"thin_probability": 0.5}))
    batches = Batches(small_corpus.packed, dataclasses.replace(changed, model=lengthy))
    lengths = {tuple(v.tokens.shape[1] for v in batches.training(step)) for step in range(4)}
    assert len(lengths) > 1
    assert all(one == other for one, other in lengths)


def test_training_imports_nothing_but_its_few_libraries(small_corpus):
    code = """
        import sys
        from pathlib import Path
        for absent in ("pandas", "scipy", "sklearn", "lancedb", "specformer_encoder.genes"):
            sys.modules[absent] = None  # importing it fails
        from specformer_encoder.packed import PackedCorpus
        from specformer_encoder.pretrain import Run
        from specformer_encoder.recipe import load_recipe
        corpus = PackedCorpus(Path(sys.argv[1]))
        recipe = load_recipe("debug", len(corpus.vocabulary))
        run = Run(recipe, corpus, Path(sys.argv[2]), "cpu")
        run.train_step()
    """
    packed, out = small_corpus.folder / "packed.arrow", small_corpus.folder.parent / "run"
    command = [sys.executable, "-c", textwrap.dedent(code), str(packed), str(out)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
