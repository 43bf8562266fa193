"""The heads against scikit-learn and against what they promise."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file
from sklearn.metrics import log_loss

from specformer_encoder.errors import CorpusError
from specformer_encoder.evaluate.metrics import (
    accuracy,
    balanced_accuracy,
    bootstrap,
    calibration_error,
    macro_f1,
)
from specformer_encoder.heads import (
    COVERAGE,
    Heads,
    LabelledEmbeddings,
    conformal_quantile,
    fit_heads,
    known_types,
)

TYPES = ["TCGA-AAA", "TCGA-BBB", "TCGA-CCC"]


def patients(seed: int, n: int) -> LabelledEmbeddings:
    """Three overlapping clouds of tumours and one of normals, in eight dimensions."""
    draw = np.random.default_rng(seed)
    centres = np.random.default_rng(1).normal(0, 1.2, (4, 8))
    kind = draw.integers(0, 4, n)
    vectors = (centres[kind] + draw.normal(0, 1, (n, 8))).astype(np.float32)
    studies = [TYPES[k] if k < 3 else "TCGA-AAA" for k in kind]
    return LabelledEmbeddings(vectors, studies, kind < 3, [f"{seed}-{i}" for i in range(n)])


def known(embeddings: LabelledEmbeddings) -> tuple[np.ndarray, np.ndarray]:
    tumors = embeddings.of_types(TYPES)
    return tumors.vectors, tumors.numbers(TYPES)


@pytest.fixture(scope="module")
def heads() -> Heads:
    return fit_heads(patients(2, 800), patients(3, 600), TYPES)


def test_probabilities_are_calibrated_and_better_than_uncalibrated(heads):
    test, y = known(patients(4, 4000))
    p = heads.probabilities(test)
    assert np.allclose(p.sum(axis=1), 1)
    assert calibration_error(p.max(axis=1), p.argmax(axis=1) == y) < 0.04
    hot = dataclasses.replace(heads, temperature=heads.temperature * 3)
    assert log_loss(y, p) < log_loss(y, hot.probabilities(test))


def test_prediction_sets_cover_and_hold_the_top_type(heads):
    test, y = known(patients(5, 4000))
    predictions = heads.predict(test)
    covered = np.mean(
        [heads.types[k] in p.prediction_set for k, p in zip(y, predictions, strict=True)]
    )
    assert COVERAGE - 0.03 < covered < COVERAGE + 0.06
    for prediction in predictions[:50]:
        assert prediction.top_type == prediction.prediction_set[0]
        assert list(prediction.probabilities.values()) == sorted(
            prediction.probabilities.values(), reverse=True
        )


def test_what_is_far_from_every_type_is_flagged_with_a_reason(heads):
    far = np.full((1, 8), 40, np.float32)
    prediction = heads.predict(far)[0]
    assert prediction.out_of_distribution
    assert "farther from every known tumour type" in prediction.reasons[0]
    ordinary, _ = known(patients(6, 1000))
    distances = heads.distance(ordinary)
    assert (distances > heads.distance_limit).mean() < 0.06


def test_distance_is_mahalanobis(heads):
    test = patients(7, 20).vectors.astype(np.float64)
    precision = heads.whitening.T.astype(np.float64) @ heads.whitening
    expected = [
        min(np.sqrt((z - m) @ precision @ (z - m)) for m in heads.means.astype(np.float64))
        for z in test
    ]
    assert np.allclose(heads.distance(test.astype(np.float32)), expected, rtol=1e-4)


def test_normal_tissue_is_told_from_tumour(heads):
    test = patients(8, 2000)
    right = (heads.tumor_probability(test.vectors) > 0.5) == test.tumor
    assert right.mean() > 0.8


def test_heads_survive_a_file(heads, tmp_path):
    # safetensors writes the bytes of an array as they lie, whatever their order in memory.
    turned = dataclasses.replace(
        heads,
        **{name: np.asfortranarray(array) for name, array in heads.tensors().items()},
    )
    save_file(turned.tensors(), tmp_path / "heads.safetensors")
    settings = json.loads(json.dumps(turned.settings()))
    again = Heads(**load_file(tmp_path / "heads.safetensors"), **settings)
    test = patients(9, 10).vectors
    assert again.predict(test) == heads.predict(test)


def test_types_need_ten_tumours_and_a_corpus_two_types():
    assert known_types({"TCGA-A": 10, "TCGA-B": 9, "TARGET-ALL": 50}) == ["TCGA-A"]
    people = [f"p{i % 11}" for i in range(12)]
    one = LabelledEmbeddings(
        np.zeros((12, 4), np.float32), ["TCGA-A"] * 12, np.full(12, True), people
    )
    assert one.tumor_patients() == {"TCGA-A": 11}
    with pytest.raises(CorpusError, match="1 cancer types"):
        fit_heads(one, one, known_types(one.tumor_patients()))


def test_conformal_quantile_by_hand():
    scores = np.array([0.5, 0.1, 0.3, 0.2, 0.4])
    assert conformal_quantile(scores, 0.5) == 0.3
    assert conformal_quantile(scores, 0.8) == 0.5
    assert conformal_quantile(scores, 0.9) == 1, "five scores cannot vouch for 90 %"


def test_metrics_against_scikit_learn():
    from sklearn import metrics

    draw = np.random.default_rng(0)
    truth = np.array(list("aabbbcccc") * 20)
    guess = np.where(draw.random(180) < 0.7, truth, draw.choice(list("abc"), 180))
    assert accuracy(truth, guess) == pytest.approx(metrics.accuracy_score(truth, guess))
    expected = metrics.balanced_accuracy_score(truth, guess)
    assert balanced_accuracy(truth, guess) == pytest.approx(expected)
    assert macro_f1(truth, guess) == pytest.approx(metrics.f1_score(truth, guess, average="macro"))


def test_bootstrap_draws_patients_not_profiles():
    right = np.repeat(np.random.default_rng(0).random(30) < 0.5, 10).astype(float)
    same = [f"patient-{i // 10}" for i in range(300)]
    every = [str(i) for i in range(300)]
    by_patient = bootstrap(lambda r: right[r].mean(), same)
    by_profile = bootstrap(lambda r: right[r].mean(), every)
    assert by_patient.value == by_profile.value
    assert by_patient.high - by_patient.low > 2 * (by_profile.high - by_profile.low)
