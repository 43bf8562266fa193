"""Training end to end on the debug recipe: it learns, resumes exactly, stops with a reason."""

from __future__ import annotations

import dataclasses
import json
import os
import resource
import shutil
import signal

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from training_support import assert_same_bits, quiet, with_train

from specformer_encoder.batches import Batches
from specformer_encoder.corpus import Corpus
from specformer_encoder.corpus.build import build_corpus
from specformer_encoder.corpus.labels import read_labels
from specformer_encoder.errors import CorpusError, RecipeError, TrainingError
from specformer_encoder.packed import PackedCorpus
from specformer_encoder.pretrain import Run, agreement
from specformer_encoder.recipe import load_recipe


@pytest.fixture
def recipe(small_corpus):
    return load_recipe("debug", len(small_corpus.packed.vocabulary))


def test_training_lowers_the_validation_loss_and_writes_checkpoints(small_corpus, recipe, tmp_path):
    run = Run(recipe, small_corpus.packed, tmp_path, "cpu")
    before = run.validate()
    reports = []
    run.train(reports.append)
    assert run.validate()["total"] < before["total"]
    assert run.best == min(r["valid_total"] for r in reports if "valid_total" in r)
    assert {p.name for p in tmp_path.iterdir()} == {"last.safetensors", "best.safetensors"}


def test_many_short_runs_give_the_same_weights_as_one(small_corpus, recipe, tmp_path):
    Run(recipe, small_corpus.packed, tmp_path / "one", "cpu").train(quiet)
    for stop in (3, 4, 9, None):
        run = Run(recipe, small_corpus.packed, tmp_path / "many", "cpu")
        run.train(quiet, stop_at=stop)
    assert_same_bits(tmp_path / "one", tmp_path / "many")


def test_a_validation_that_was_cut_short_is_made_up_for(small_corpus, recipe, tmp_path):
    """Killed after the save before the validation of step 6, a run validates step 6 first."""
    Run(recipe, small_corpus.packed, tmp_path / "one", "cpu").train(quiet)
    run = Run(recipe, small_corpus.packed, tmp_path / "many", "cpu")
    run.validate = lambda _unwanted: {}
    run.train(quiet, stop_at=6)
    assert not (tmp_path / "many" / "best.safetensors").exists()
    reports = []
    Run(recipe, small_corpus.packed, tmp_path / "many", "cpu").train(reports.append)
    assert [r["step"] for r in reports if "valid_total" in r] == [6, 12]
    best = [load_file(tmp_path / name / "best.safetensors") for name in ("one", "many")]
    assert all(torch.equal(best[0][name], best[1][name]) for name in best[0])


def test_an_interrupt_ends_a_validation_and_saves(small_corpus, recipe, tmp_path):
    run = Run(recipe, small_corpus.packed, tmp_path, "cpu")

    def interrupted_at_4(numbers):
        if numbers["step"] == 4:
            os.kill(os.getpid(), signal.SIGTERM)

    run.train(interrupted_at_4)
    assert run.step == 4
    assert Run(recipe, small_corpus.packed, tmp_path, "cpu").step == 4
    assert run.validate(lambda: True) == {}


def test_a_kill_loses_no_more_than_was_trained_since_the_last_checkpoint(
    small_corpus, recipe, tmp_path, monkeypatch
):
    monkeypatch.setattr("specformer_encoder.pretrain.CHECKPOINT_SECONDS", 0.0)
    run = Run(recipe, small_corpus.packed, tmp_path, "cpu")

    class KilledError(Exception):
        pass

    def killed_in_step_5(numbers):
        if numbers["step"] == 5:
            raise KilledError

    with pytest.raises(KilledError):
        run.train(killed_in_step_5)
    assert Run(recipe, small_corpus.packed, tmp_path, "cpu").step == 4


def test_batches_from_processes_train_the_same(small_corpus, recipe, tmp_path):
    Run(recipe, small_corpus.packed, tmp_path / "one", "cpu").train(quiet, stop_at=3)
    run = Run(recipe, small_corpus.packed, tmp_path / "other", "cpu", workers=2)
    run.train(quiet, stop_at=3)
    assert_same_bits(tmp_path / "one", tmp_path / "other")


def test_batches_hide_only_measured_genes_and_never_drop_a_target(small_corpus, recipe):
    batches = Batches(small_corpus.packed, recipe)
    for step in range(10):
        for view in batches.training(step):
            assert view.measured.gather(1, view.genes).all()
            assert (view.tokens.gather(1, view.hidden) == recipe.model.genes).all()
            visible = view.tokens[view.tokens != recipe.model.genes]
            assert visible.numel() + view.hidden.numel() == view.tokens.numel()
            assert view.decodable.any()


def test_training_batches_hold_training_patients_only(small_corpus):
    packed = small_corpus.packed
    assert set(packed.labels["split"]) == {"train", "valid"}
    train = {packed.labels["patient"][row] for row in packed.rows("train")}
    valid = {packed.labels["patient"][row] for row in packed.rows("valid")}
    assert not train & valid


def test_statistics_come_from_training_patients_alone(small_corpus, tmp_path):
    """Scramble every profile outside train: nothing fitted may change."""
    import pyarrow.parquet as pq

    shutil.copytree(small_corpus.labelled, tmp_path, dirs_exist_ok=True)
    table = pq.read_table(small_corpus.labelled / "expression" / "simulated.counts.parquet")
    draw = np.random.default_rng(0)
    for label in read_labels(tmp_path):
        if label.split != "train" and label.unit == "counts":
            place = table.column_names.index(label.barcode)
            values = draw.permutation(table[label.barcode].to_numpy())
            table = table.set_column(place, label.barcode, [values])
    pq.write_table(table, tmp_path / "expression" / "simulated.counts.parquet")
    build_corpus([tmp_path], tmp_path / "built")
    scrambled = Corpus.open(tmp_path / "built").packed()
    for name in ("idf", "mean", "spread"):
        ours = getattr(small_corpus.packed.statistics, name)
        assert np.array_equal(ours, getattr(scrambled.statistics, name)), name


def test_agreement_is_low_when_views_find_each_other():
    torch.manual_seed(0)
    u = torch.randn(16, 8)
    assert agreement(u, u + 0.01 * torch.randn_like(u), 0.1) < 0.1
    assert agreement(u, torch.randn(16, 8), 0.1) > 2


def test_nan_loss_stops_with_the_reason(small_corpus, recipe, tmp_path):
    run = Run(recipe, small_corpus.packed, tmp_path, "cpu")
    run.save("last")
    with torch.no_grad():
        run.model.encoder.gene.weight.fill_(float("nan"))
    with pytest.raises(TrainingError, match="loss became nan at step 0"):
        run.train_step()
    assert load_file(tmp_path / "last.safetensors")["model.encoder.gene.weight"].isfinite().all()


def test_a_full_disk_stops_with_the_reason_and_keeps_the_checkpoint(small_corpus, recipe, tmp_path):
    run = Run(recipe, small_corpus.packed, tmp_path, "cpu")
    run.save("last")
    before = (tmp_path / "last.safetensors").read_bytes()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    # No file may grow past 100 kB, which is what a full disk or a quota looks like to a writer.
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))
    try:
        with pytest.raises(TrainingError, match="could not be written"):
            run.save("last")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert (tmp_path / "last.safetensors").read_bytes() == before
    assert not list(tmp_path.glob("*.partial-*"))


def test_a_damaged_checkpoint_and_an_unusable_device_are_named(small_corpus, recipe, tmp_path):
    (tmp_path / "last.safetensors").write_bytes(b"torn")
    with pytest.raises(TrainingError, match="not a whole checkpoint"):
        Run(recipe, small_corpus.packed, tmp_path, "cpu")
    with pytest.raises(TrainingError, match="cannot compute on 'gpu'"):
        Run(recipe, small_corpus.packed, tmp_path / "new", "gpu")


def test_a_run_of_another_recipe_is_not_resumed(small_corpus, recipe, tmp_path):
    Run(recipe, small_corpus.packed, tmp_path, "cpu").save("last")
    other = dataclasses.replace(recipe, train=dataclasses.replace(recipe.train, seed=2))
    with pytest.raises(TrainingError, match="another recipe"):
        Run(other, small_corpus.packed, tmp_path, "cpu")


def test_unknown_recipes_and_corpora_say_what_there_is(tmp_path):
    with pytest.raises(RecipeError, match="cpu, debug, gpu, paper"):
        load_recipe("huge", 100)
    with pytest.raises(CorpusError, match="no packed corpus"):
        PackedCorpus(tmp_path / "none.arrow")
    junk = tmp_path / "junk.arrow"
    junk.write_bytes(json.dumps({"not": "arrow"}).encode())
    with pytest.raises(CorpusError, match="not a packed corpus"):
        PackedCorpus(junk)


def test_a_run_is_not_resumed_on_another_ordering(small_corpus, recipe, tmp_path):
    run = Run(recipe, small_corpus.packed, tmp_path, "cpu")
    run.save("last")
    other = small_corpus.corpus.packed()
    other.idf_sha256 = "0" * 64
    with pytest.raises(TrainingError, match="another corpus"):
        Run(recipe, other, tmp_path, "cpu")


def test_a_loss_of_weight_0_is_not_computed(small_corpus, recipe, tmp_path):
    bare = with_train(recipe, decode_weight=0.0, agree_weight=0.0)
    run = Run(bare, small_corpus.packed, tmp_path, "cpu")
    assert run.train_step().keys() == {"masked", "named", "total", "tokens"}
    assert run.model.decoder.weight.grad is None
    assert run.validate().keys() == {"masked", "named", "total"}
    run.save("last")
    assert Run(bare, small_corpus.packed, tmp_path, "cpu").step == 1


def test_hidden_genes_are_masked_replaced_and_kept_in_the_shares_of_the_recipe(
    small_corpus, recipe
):
    bert = with_train(recipe, random_share=0.1, kept_share=0.1, batch=16)
    batches = Batches(small_corpus.packed, bert)
    shown, genes = [], []
    for step in range(20):
        for view in batches.training(step):
            shown.append(view.tokens.gather(1, view.hidden).flatten())
            genes.append(view.genes.flatten())
            assert (view.tokens == recipe.model.genes).sum() < view.hidden.numel()
    shown, genes = torch.cat(shown), torch.cat(genes)
    masked, kept = shown == recipe.model.genes, shown == genes
    assert masked.float().mean() == pytest.approx(0.8, abs=0.015)
    assert kept.float().mean() == pytest.approx(0.1, abs=0.015)
    other = shown[~masked & ~kept]
    assert len(other.unique()) > 0.9 * len(other)  # of the whole vocabulary
    for view in batches.validation():
        assert (view.tokens.gather(1, view.hidden) == recipe.model.genes).all()


def test_windows_begin_at_multiples_of_the_stride_and_cover_the_sequence(small_corpus, recipe):
    """Nothing is altered, so a view's sequence is a stretch of its profile's."""
    off = dict.fromkeys(
        ("shift_probability", "noise_probability", "thin_probability", "dropout_probability"), 0.0
    )
    windowed = with_train(recipe, window_stride=64, dither=0.0, **off)
    packed = small_corpus.packed
    whole = [packed.sequence(row).tolist() for row in packed.rows("train")]
    places = {}
    for step in range(30):
        for view in Batches(packed, windowed).training(step):
            tokens = view.tokens.scatter(1, view.hidden, view.genes)
            assert tokens.shape[1] == recipe.model.length
            for sequence in tokens.tolist():
                candidates = ((w, w.index(sequence[0])) for w in whole if sequence[0] in w)
                starts = {i for w, i in candidates if w[i : i + len(sequence)] == sequence}
                (start,) = starts
                places[start] = places.get(start, 0) + 1
    assert all(start % 64 == 0 for start in places)
    longest = max(map(len, whole))
    assert max(places) > 0.9 * (longest - 128)
    first = Batches(packed, windowed).validation()[0]
    tokens = first.tokens.scatter(1, first.hidden, first.genes)
    for row, sequence in zip(packed.rows("valid"), tokens.tolist(), strict=False):
        assert packed.sequence(row, 128).tolist() == sequence


def test_a_corpus_without_a_split_or_with_a_patient_in_both_is_refused(
    small_corpus, recipe, tmp_path
):
    packed = small_corpus.corpus.packed()
    packed.labels["split"] = ["train"] * len(packed)
    with pytest.raises(CorpusError, match="no profile of the split valid"):
        Run(recipe, packed, tmp_path, "cpu")
    packed = small_corpus.corpus.packed()
    train, valid = (packed.rows(split)[0] for split in ("train", "valid"))
    packed.labels["patient"][valid] = packed.labels["patient"][train]
    with pytest.raises(CorpusError, match="1 patients of the corpus are in train and in valid"):
        Run(recipe, packed, tmp_path, "cpu")


def test_a_checkpoint_of_another_vocabulary_is_not_resumed(small_corpus, recipe, tmp_path):
    Run(recipe, small_corpus.packed, tmp_path, "cpu").save("last")
    other = small_corpus.corpus.packed()
    other.vocabulary_sha256 = "0" * 64
    with pytest.raises(TrainingError, match="vocabulary_sha256 differs"):
        Run(recipe, other, tmp_path, "cpu")


def test_a_gradient_that_is_not_finite_changes_no_weight(small_corpus, recipe, tmp_path):
    run = Run(recipe, small_corpus.packed, tmp_path, "cpu")
    before = {name: value.clone() for name, value in run.model.state_dict().items()}
    run.model.encoder.gene.weight.register_hook(lambda grad: grad * float("inf"))
    with pytest.raises(TrainingError, match="gradient became"):
        run.train_step()
    for name, value in run.model.state_dict().items():
        assert torch.equal(value, before[name]), name
