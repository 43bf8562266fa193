"""The ablations of pretraining: what networks are asked, and that nothing is trained twice."""

import json

import numpy as np
import pytest
import torch

from benchmarks.network_alone import FEW, KNN, LINEAR, Questions, pool
from benchmarks.pretraining_ablations import VARIANTS, judged, shortened
from benchmarks.pretraining_ablations_page import WHOLE, page, summary
from specformer_encoder.corpus.labels import SampleLabel
from specformer_encoder.model import SpecFormer
from specformer_encoder.packed import LABELS
from specformer_encoder.recipe import load_recipe


@pytest.fixture(scope="module")
def recipe(small_corpus):
    return shortened(load_recipe("debug", len(small_corpus.packed.vocabulary)), 2)


@pytest.fixture(scope="module")
def questions(small_corpus, recipe):
    return Questions(small_corpus.packed, recipe.model.length)


def test_neighbours_are_those_of_a_plain_loop(questions, recipe):
    torch.manual_seed(0)
    network = SpecFormer(recipe.model)
    answers = questions.judge(network)
    train = pool(network, questions.train.sequences).astype(float)
    centre = train.mean(axis=0)
    right = []
    for sequence, study in zip(questions.few.sequences, questions.few.studies, strict=True):
        vector = pool(network, [sequence])[0] - centre
        cosines = [
            vector @ (x - centre) / np.linalg.norm(vector) / np.linalg.norm(x - centre)
            for x in train
        ]
        names = [questions.train.studies[i] for i in np.argsort(cosines)[::-1][:5]]
        right.append(float(max(set(names), key=names.count) == study))
    assert answers[KNN + FEW] == right
    assert 0 < np.mean(answers[KNN]) <= 1


def test_only_training_and_validation_tumours_of_different_patients_are_asked(
    questions, small_corpus
):
    packed = small_corpus.packed
    labels = [SampleLabel(*row) for row in zip(*(packed.labels[n] for n in LABELS), strict=True)]
    for tumors, split in ((questions.train, "train"), (questions.few, "valid")):
        assert tumors.rows
        assert {labels[row].split for row in tumors.rows} == {split}
        assert {labels[row].sample_type for row in tumors.rows} == {"tumor"}
    assert not set(questions.train.people) & set(questions.few.people)


def test_few_genes_keep_their_order(questions, small_corpus):
    packed = small_corpus.packed
    for row, few in zip(questions.few.rows, questions.few.sequences, strict=True):
        place = {gene: rank for rank, gene in enumerate(packed.sequence(row).tolist())}
        ranks = [place[gene] for gene in few.tolist()]
        assert ranks == sorted(ranks)
        # A tenth of the genes: the first of them lie ten times as deep.
        assert 5 < np.mean(ranks) / np.mean(np.arange(len(ranks))) < 20


def test_a_judged_variant_is_not_trained_again(small_corpus, recipe, questions, tmp_path):
    found = {}
    for key in ("whole", "no-decoding", "untrained"):
        variant = VARIANTS[key]

        def ask(variant=variant, out=tmp_path / key):
            return judged(variant, recipe, small_corpus.packed, questions=questions, out=out)

        result = ask()
        (tmp_path / key / "last.safetensors").unlink(missing_ok=True)
        assert ask() == result
        assert not (tmp_path / key / "last.safetensors").exists()
        found[variant.name] = result | {"changes": variant.changes}
    assert found["no whole-profile decoding"]["losses"]["decode"] is None
    assert found["untrained"]["losses"]["masked"] > found[WHOLE]["losses"]["masked"]
    numbers = summary(found, questions, recipe=recipe, steps=2)
    assert json.loads(json.dumps(numbers)) == numbers
    text = page(numbers)
    for name in found:
        assert f"| {name} |" in text
    value = np.mean(found["untrained"]["answers"][LINEAR])
    assert f"{value:.3f} (" in text


def test_the_schedule_is_compressed():
    recipe = load_recipe("cpu", 19_195)
    short = shortened(recipe, 160)
    assert (short.train.steps, short.train.warmup) == (160, 10)
    assert short.model == recipe.model
    assert VARIANTS["seed"].recipe(short).train.seed == recipe.train.seed + 1
