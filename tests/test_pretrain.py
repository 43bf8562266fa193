"""Training end to end on the debug recipe: it learns, resumes exactly, stops with a reason."""

from __future__ import annotations

import dataclasses
import json
import resource
import shutil

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from specformer_encoder.batches import Batches
from specformer_encoder.corpus import Corpus
from specformer_encoder.corpus.build import build_corpus
from specformer_encoder.corpus.labels import read_labels
from specformer_encoder.errors import CorpusError, RecipeError, TrainingError
from specformer_encoder.packed import PackedCorpus
from specformer_encoder.pretrain import Run, agreement
from specformer_encoder.recipe import RECIPES, load_recipe


@pytest.fixture
def recipe(small_corpus):
    return load_recipe("debug", len(small_corpus.packed.vocabulary))


def quiet(_numbers):
    pass


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
    one = load_file(tmp_path / "one" / "last.safetensors")
    many = load_file(tmp_path / "many" / "last.safetensors")
    assert one.keys() == many.keys()
    for name in one:
        assert torch.equal(one[name], many[name]), name


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


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda text: text.replace("mask =", "masc ="), "unknown key 'masc'"),
        (lambda text: text.replace("seed = 1\n", ""), "lacks the keys seed"),
        (lambda text: text.replace("steps = 12", 'steps = "12"'), "should be int"),
        (lambda text: text.replace("heads = 2", "heads = 3"), "not a multiple of heads"),
        (lambda text: text.replace("heads = 2", "heads = 0"), "heads = 0 must be above zero"),
        (lambda text: text.replace("mask = 0.2", "mask = 1.2"), "must be in"),
        (lambda text: text.replace("length = 128", "length = 201"), "exceeds the 200"),
        (lambda text: text.replace("panel_share = 0.5", "panel_share = -1"), "must be in"),
        (lambda text: text.replace("tilt = 0.2", "tilt = -1"), "must not be below 0"),
        (lambda text: text.replace("[model]", "[model]\ngenes = 7"), "the corpus decides"),
        (lambda text: text + "[extra]\n", "unknown table 'extra'"),
        (lambda text: text + "seed = = 1\n", "not valid TOML"),
    ],
)
def test_recipes_are_checked(change, said, tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text(change((RECIPES / "debug.toml").read_text()))
    with pytest.raises(RecipeError, match=said):
        load_recipe(str(path), 200)


def test_unknown_recipes_and_corpora_say_what_there_is(tmp_path):
    with pytest.raises(RecipeError, match="cpu, debug"):
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
