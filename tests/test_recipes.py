"""Recipes: what is refused, and that the bundled ones are what they say."""

from __future__ import annotations

import dataclasses
import json

import pytest
from training_support import with_train

from specformer_encoder.errors import RecipeError
from specformer_encoder.pretrain import Run
from specformer_encoder.recipe import RECIPES, load_recipe, stored_recipe


@pytest.fixture
def recipe(small_corpus):
    return load_recipe("debug", len(small_corpus.packed.vocabulary))


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


def test_every_bundled_recipe_is_valid_and_paper_is_what_was_published():
    recipes = {path.stem: load_recipe(path.stem, 19_195) for path in RECIPES.glob("*.toml")}
    assert recipes.keys() == {"debug", "cpu", "gpu", "paper"}
    model, train = recipes["paper"].model, recipes["paper"].train
    assert (model.layers, model.width, model.heads, model.length) == (12, 768, 12, 512)
    assert (train.mask, train.random_share, train.kept_share) == (0.15, 0.1, 0.1)
    assert (train.window_stride, train.decode_weight, train.agree_weight) == (256, 0, 0)


def test_the_paper_recipe_runs_when_it_is_made_small(small_corpus, tmp_path):
    text = (RECIPES / "paper.toml").read_text()
    for line, smaller in (("layers = 12", "layers = 1"), ("width = 768", "width = 24")):
        assert line in text
        text = text.replace(line, smaller)
    path = tmp_path / "paper.toml"
    path.write_text(text)
    recipe = load_recipe(str(path), len(small_corpus.packed.vocabulary))
    run = Run(with_train(recipe, batch=2), small_corpus.packed, tmp_path / "run", "cpu")
    assert run.train_step()["masked"] > 0


def test_a_checkpoint_from_before_a_key_of_the_recipe_is_resumed(recipe):
    stored = dataclasses.asdict(recipe)
    for key in ("random_share", "kept_share", "window_stride"):
        del stored["train"][key]
    assert stored_recipe(json.dumps(stored)) == recipe
    stored["train"]["from_the_future"] = 1
    assert stored_recipe(json.dumps(stored)) is None
