"""Heads and readout against scikit-learn, and against what they promise, on planted tumours."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest
from planted import label, reading_of
from safetensors.numpy import load_file, save_file
from scipy.special import softmax
from sklearn.linear_model import LogisticRegression

from specformer_encoder import readout as module
from specformer_encoder.errors import CorpusError
from specformer_encoder.heads import PARTIAL, Heads, class_weights, known_types
from specformer_encoder.projection import fit_projection, unit_length
from specformer_encoder.reading import Labelled, Reading, evidence
from specformer_encoder.readout import MEAN_WEIGHT, Material, Readout, fit_readout

TYPES = ["TCGA-AAA", "TCGA-BBB", "TCGA-CCC"]
WIDTH = 8


def profiles(seed: int, n: int, *, share: float = 1.0, spread: float = 1.0) -> Labelled:
    """Three overlapping clouds of tumours and one of normals; fewer genes blur them."""
    draw = np.random.default_rng(seed)
    centres = np.random.default_rng(1).normal(0, 1.2, (4, WIDTH))
    kind = draw.integers(0, 4, n)
    raw = centres[kind] + draw.normal(0, spread / share**0.25, (n, WIDTH))
    read = dataclasses.replace(reading_of(raw), measured=np.full(n, share, np.float32))
    labels = [
        label(
            patient=f"{seed}-{i}",
            study=TYPES[k % 3],
            sample_type="tumor" if k < 3 else "normal",
        )
        for i, k in enumerate(kind)
    ]
    return Labelled(read, labels)


def nothing() -> Labelled:
    return profiles(0, 0)


def material(**given: Labelled) -> Material:
    parts = {
        "train": profiles(2, 600),
        "valid": profiles(3, 500),
        "panels": nothing(),
        "valid_panels": nothing(),
        "shifted": nothing(),
        "thinned": profiles(9, 300, share=0.1),
        "thinned_valid": profiles(4, 300, share=0.1),
        "shallow_valid": profiles(5, 100),
        "simulated": nothing(),
    }
    return Material(**parts | given)


@pytest.fixture(scope="module")
def fitted() -> Readout:
    return fit_readout(material(), TYPES, network=0)


def asked(fitted: Readout, read: Reading) -> list:
    found = evidence(read, fitted.projection)
    return fitted.heads.predict(fitted.embeddings(read), found)


def test_types_are_told_as_scikit_learn_tells_them_on_the_projected_profiles(monkeypatch):
    monkeypatch.setattr(module, "STRENGTHS", (0.3,))
    monkeypatch.setattr(module, "_TOLERANCE", 1e-8)
    monkeypatch.setattr(module, "MEAN_WEIGHT", 0.0)
    given = material(thinned=nothing())
    found = fit_readout(given, TYPES, network=0)
    projection = fit_projection(
        given.train.reading.raw,
        [f"{x.study} {x.sample_type}" for x in given.train.labels],
        network=0,
    )
    known = given.train.of_types(TYPES)
    x = unit_length(projection.apply(known.reading.raw, known.reading.measured)).astype(np.float64)
    scale = x.std(axis=0).mean()
    weight = class_weights(known.studies)
    model = LogisticRegression(C=0.3, max_iter=5000, tol=1e-8)
    model.fit(x / scale, known.studies, sample_weight=weight)
    test = profiles(6, 400).of_types(TYPES).reading
    vectors = found.embeddings(test)
    assert np.allclose(vectors, unit_length(projection.apply(test.raw, test.measured)), atol=1e-6)
    expected = model.decision_function(vectors / scale)
    got = found.heads.logits(vectors)
    # Softmax does not see what all logits have in common.
    assert np.allclose(
        got - got.mean(axis=1, keepdims=True),
        expected - expected.mean(axis=1, keepdims=True),
        atol=0.01,
    )
    probabilities = found.heads.probabilities(vectors, test.measured)
    assert np.allclose(
        probabilities, softmax(got * np.exp(found.heads.calibration.log_scale), axis=1), atol=1e-6
    )


def test_the_regression_is_drawn_to_the_means_of_the_types(monkeypatch):
    monkeypatch.setattr(module, "STRENGTHS", (0.3,))
    given = material()
    drawn = fit_readout(given, TYPES, network=0)
    monkeypatch.setattr(module, "MEAN_WEIGHT", 0.0)
    alone = fit_readout(given, TYPES, network=0)
    parts = [given.train.of_types(TYPES), given.shifted.of_types(TYPES)]
    for k, study in enumerate(TYPES):
        means = []
        for part in parts:
            members = part.of_types([study])
            if len(members):
                means.append(alone.embeddings(members.reading).mean(axis=0))
        direction = np.mean(means, axis=0)
        expected = MEAN_WEIGHT * direction / np.linalg.norm(direction)
        assert np.allclose(drawn.heads.weight[k] - alone.heads.weight[k], expected, atol=1e-4)


def test_what_is_answered_is_what_the_parts_say(fitted):
    test = profiles(7, 300).of_types(TYPES)
    predictions = asked(fitted, test.reading)
    p = fitted.heads.probabilities(fitted.embeddings(test.reading), test.reading.measured)
    right = np.array(fitted.heads.types)[p.argmax(axis=1)] == test.studies
    assert right.mean() > 0.7
    covered = dict.fromkeys(fitted.heads.sets.levels, 0)
    for row, prediction, study in zip(p, predictions, test.studies, strict=True):
        assert prediction.top_type == fitted.heads.types[row.argmax()]
        assert list(prediction.probabilities.values()) == sorted(row, reverse=True)
        for level, members in prediction.prediction_sets.items():
            covered[level] += study in members
            assert members == [name for name in prediction.probabilities if name in members]
    for level, count in covered.items():
        assert count / len(test) == pytest.approx(level, abs=0.07)


def test_a_partial_profile_has_the_sets_of_partial_profiles(fitted):
    test = profiles(8, 200, share=0.1).of_types(TYPES)
    heads = fitted.heads
    assert not np.allclose(heads.sets.limits, heads.partial_sets.limits)
    for share, sets in ((0.1, heads.partial_sets), (PARTIAL, heads.sets)):
        read = dataclasses.replace(test.reading, measured=np.full(len(test), share, np.float32))
        p = heads.probabilities(fitted.embeddings(read), read.measured)
        expected = sets.members(p, 0.9).sum(axis=1)
        assert [len(x.prediction_set) for x in asked(fitted, read)] == expected.tolist()


def test_what_is_far_from_every_type_is_flagged_with_a_reason_and_has_a_set_all_the_same(fitted):
    far = reading_of(np.full((1, WIDTH), 40))
    (prediction,) = asked(fitted, far)
    assert prediction.out_of_distribution
    assert prediction.typicality <= 0.05
    assert any("farther from every known tumour type" in reason for reason in prediction.reasons)
    usual = asked(fitted, profiles(9, 300).of_types(TYPES).reading)
    assert np.mean([x.out_of_distribution for x in usual]) < 0.12
    assert all(bool(x.reasons) == x.out_of_distribution for x in usual)


def test_a_set_may_be_empty_where_no_type_is_likely_enough(fitted):
    limits = np.zeros_like(fitted.heads.sets.limits)
    strict = dataclasses.replace(fitted.heads.sets, limits=limits)
    heads = dataclasses.replace(fitted.heads, sets=strict)
    read = profiles(10, 20).reading
    found = evidence(read, fitted.projection)
    predictions = heads.predict(fitted.embeddings(read), found)
    assert all(x.prediction_set == [] for x in predictions)
    assert all(x.top_type in TYPES for x in predictions)


def test_normal_tissue_is_told_from_tumour(fitted):
    test = profiles(11, 600)
    called = np.array([x.tumor_probability > 0.5 for x in asked(fitted, test.reading)])
    tumor = np.array([x.sample_type == "tumor" for x in test.labels])
    assert (called == tumor).mean() > 0.8


def test_a_type_may_be_learnt_from_simulated_tumours_and_is_named_as_such():
    real = profiles(2, 600)
    kept = [i for i, x in enumerate(real.labels) if x.study != TYPES[2] or x.sample_type != "tumor"]
    made = profiles(12, 300).of_types(TYPES[2:])
    found = fit_readout(material(train=real.rows(kept), simulated=made), TYPES, network=0)
    assert found.heads.simulated == [TYPES[2]]
    test = profiles(13, 400).of_types(TYPES[2:])
    named = [x.top_type == TYPES[2] for x in asked(found, test.reading)]
    assert np.mean(named) > 0.6


def test_heads_survive_a_file(fitted, tmp_path):
    # safetensors writes the bytes of an array as they lie, whatever their order in memory.
    weight = np.asfortranarray(fitted.heads.weight)
    turned = dataclasses.replace(fitted.heads, weight=weight)
    save_file(turned.tensors(), tmp_path / "heads.safetensors")
    settings = json.loads(json.dumps(turned.settings()))
    heads = Heads.of(load_file(tmp_path / "heads.safetensors"), settings)
    again = Readout(fitted.projection, heads)
    read = profiles(14, 10).reading
    assert asked(again, read) == asked(fitted, read)


def test_types_need_ten_patients_and_a_readout_two_types():
    assert known_types({"TCGA-A": 10, "TCGA-B": 9, "TARGET-ALL": 50}) == ["TCGA-A"]
    with pytest.raises(CorpusError, match="1 cancer types"):
        fit_readout(material(), TYPES[:1], network=0)
    with pytest.raises(CorpusError, match="0 validation tumours"):
        fit_readout(material(valid=nothing()), TYPES, network=0)


def test_metrics_of_names_match_scikit_learn():
    from sklearn import metrics

    from specformer_encoder.evaluate.metrics import accuracy, balanced_accuracy, macro_f1

    draw = np.random.default_rng(0)
    truth = np.array(list("aabbbcccc") * 20)
    guess = np.where(draw.random(180) < 0.7, truth, draw.choice(list("abc"), 180))
    assert accuracy(truth, guess) == pytest.approx(metrics.accuracy_score(truth, guess))
    expected = metrics.balanced_accuracy_score(truth, guess)
    assert balanced_accuracy(truth, guess) == pytest.approx(expected)
    assert macro_f1(truth, guess) == pytest.approx(metrics.f1_score(truth, guess, average="macro"))
