"""Metrics against scikit-learn; the bootstrap against drawing patients one by one."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from sklearn.metrics import (
    balanced_accuracy_score,
    confusion_matrix,
    f1_score,
    roc_auc_score,
)

from specformer_encoder.evaluate.classification import aligned, judge
from specformer_encoder.evaluate.metrics import (
    RESAMPLES,
    MacroAUC,
    bootstrap,
    bootstrap_mean,
    confusion,
    of_confusion,
)

TYPES = ["TCGA-COAD", "TCGA-LUAD", "TCGA-READ", "TCGA-UVM"]


@pytest.fixture(scope="module")
def judged() -> tuple[np.ndarray, np.ndarray]:
    """True numbers and coarse probabilities, so that there are ties."""
    draw = np.random.default_rng(3)
    truth = draw.integers(0, 4, 120)
    scores = draw.dirichlet(np.ones(4), 120) + 0.4 * np.eye(4)[truth]
    return truth, np.round(scores, 1)


def test_confusion_and_what_is_read_off_it_match_scikit_learn(judged):
    truth, scores = judged
    true, guess = (np.array(TYPES)[k] for k in (truth, scores.argmax(axis=1)))
    counts = confusion(true, guess, TYPES)
    assert np.array_equal(counts[:, :-1], confusion_matrix(true, guess, labels=TYPES))
    assert not counts[:, -1].any()
    found = of_confusion(counts)
    assert found["accuracy"] == pytest.approx((true == guess).mean())
    assert found["balanced accuracy"] == pytest.approx(balanced_accuracy_score(true, guess))
    assert found["macro-F1"] == pytest.approx(f1_score(true, guess, average="macro"))


def test_a_name_that_is_no_type_is_counted_apart_and_wrong():
    counts = confusion(["TCGA-LUAD", "TCGA-UVM"], ["TCGA-XXX", "TCGA-UVM"], TYPES)
    assert counts[1, -1] == 1
    assert of_confusion(counts)["accuracy"] == 0.5


def test_auc_matches_scikit_learn_ties_and_repeats_included(judged):
    truth, scores = judged
    auc = MacroAUC(truth, scores)
    for seed in range(3):
        rows = np.random.default_rng(seed).integers(0, 120, 90)
        expected = [roc_auc_score(truth[rows] == k, scores[rows, k]) for k in range(4)]
        assert auc(rows) == pytest.approx(np.mean(expected), abs=1e-12)


def test_auc_leaves_out_types_that_a_draw_does_not_hold(judged):
    truth, scores = judged
    rows = np.flatnonzero(truth < 2)
    expected = [roc_auc_score(truth[rows] == k, scores[rows, k]) for k in range(2)]
    assert MacroAUC(truth, scores)(rows) == pytest.approx(np.mean(expected))
    assert np.isnan(MacroAUC(truth, scores)(np.flatnonzero(truth == 1)))


def test_bootstrap_draws_patients_with_all_their_profiles():
    patients = ["b", "a", "b", "c", "c", "c", "d"]
    values = np.array([0.0, 5.0, 1.0, 2.0, 2.5, 9.0, 4.0])
    draw, means = np.random.default_rng(0), []
    rows_of = [[k for k, p in enumerate(patients) if p == who] for who in "abcd"]
    for _ in range(RESAMPLES):
        rows = [row for who in draw.integers(0, 4, 4) for row in rows_of[who]]
        means.append(values[rows].mean())
    found = bootstrap(lambda rows: float(values[rows].mean()), patients)
    assert found.value == pytest.approx(values.mean())
    assert [found.low, found.high] == pytest.approx(np.quantile(means, [0.025, 0.975]))
    at_once = bootstrap_mean(values, patients)
    assert dataclasses.astuple(at_once) == pytest.approx(dataclasses.astuple(found))


def test_bootstrap_of_what_is_never_defined_is_nan_without_a_warning():
    found = bootstrap(lambda _: float("nan"), ["a", "b"])
    assert np.isnan([found.value, found.low, found.high]).all()


def test_merging_colon_and_rectum_forgives_that_confusion_only():
    probabilities = np.array([[0.4, 0.1, 0.5, 0.0], [0.3, 0.4, 0.2, 0.1], [0.0, 0.1, 0.2, 0.7]])
    true = ["TCGA-COAD", "TCGA-READ", "TCGA-UVM"]
    found = judge(probabilities, true, types=TYPES, patients=["a", "b", "c"])
    assert found["accuracy"].value == pytest.approx(1 / 3)
    # The second is called lung, as its unmerged answer is, though colon and rectum add up to more.
    assert found["accuracy, COAD/READ merged"].value == pytest.approx(2 / 3)
    assert found["macro AUC, COAD/READ merged"].value == 1


def test_probabilities_are_put_in_the_order_asked_for():
    found = aligned(np.array([[0.7, 0.3]]), ["TCGA-UVM", "TCGA-COAD"], TYPES)
    assert found.tolist() == [[0.3, 0.0, 0.0, 0.7]]
