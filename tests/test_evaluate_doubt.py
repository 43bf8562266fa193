"""The judges of doubt against scikit-learn and naive counting; the odd profiles are as they say."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score
from test_doubt import TYPES, E, clouds, guesses

from specformer_encoder.doubt import fit_conformal, softmax
from specformer_encoder.evaluate.doubt import (
    KEPT,
    Kind,
    accuracy_by_share,
    auroc,
    calibration,
    coverage,
    held_out_types,
    novelty_by_kind,
)
from specformer_encoder.evaluate.metrics import Estimate, calibration_error
from specformer_encoder.evaluate.odd_profiles import (
    flat,
    noise,
    other_species,
    pure,
    scrambled,
    shallow,
    shifted,
    thinned,
)
from specformer_encoder.lineages import MARKERS
from specformer_encoder.novelty_fit import fit_novelty


def test_area_is_sklearns_with_ties_and_undefined_for_one_class():
    draw = np.random.default_rng(0)
    scores, positive = draw.integers(0, 6, 200).astype(float), draw.random(200) < 0.3
    assert auroc(scores, positive) == pytest.approx(roc_auc_score(positive, scores))
    assert np.isnan(auroc(scores, np.ones(200, bool)))


def test_calibration_counts_every_profile_once():
    logits, truth = guesses(1, 500)
    p = softmax(logits)
    found = calibration(p, truth, [str(i // 2) for i in range(500)])
    bins = found["bins"]
    assert sum(b["profiles"] for b in bins) == 500
    gap = sum(abs(b["right"] - b["confidence"]) * b["profiles"] for b in bins) / 500
    assert found["expected calibration error"].value == pytest.approx(gap)
    right = p.argmax(axis=1) == truth
    assert gap == pytest.approx(calibration_error(p.max(axis=1), right))
    assert found["accuracy"].value == pytest.approx(right.mean())
    middle = next(b for b in bins if b["low"] == 0.5)
    inside = (p.max(axis=1) >= 0.5) & (p.max(axis=1) < 0.6)
    assert middle["right"] == pytest.approx(right[inside].mean())


def test_accuracy_rises_where_confidence_tells_and_not_where_it_does_not():
    draw = np.random.default_rng(2)
    confidence = draw.permutation(1000) / 1000
    people = [str(i) for i in range(1000)]
    points = accuracy_by_share(confidence, draw.random(1000) < confidence, people)
    assert [point["kept"] for point in points] == list(KEPT)
    assert points[0]["accuracy"].value == pytest.approx(0.5, abs=0.04)
    assert points[-1]["accuracy"].value == pytest.approx(0.75, abs=0.04)
    # By hand: the surest tenth is wrong, so what is kept at 0.9 of all is right in 8 of 9.
    right = confidence < 0.9
    by_hand = {p["kept"]: p["accuracy"].value for p in accuracy_by_share(confidence, right, people)}
    assert by_hand[0.9] == pytest.approx(8 / 9)


def test_coverage_counts_members():
    logits, truth = guesses(3, 600)
    p = softmax(logits)
    people = [str(i) for i in range(600)]
    sets = fit_conformal(p[:300], truth[:300], people[:300])
    found = coverage(sets, p[300:], truth[300:], people[300:], types=TYPES)
    members = 1 - p[300:] <= sets.limits[1]
    inside = [bool(row[t]) for row, t in zip(members, truth[300:], strict=True)]
    assert list(found) == ["0.8", "0.9", "0.95"]
    assert found["0.9"]["coverage"].value == pytest.approx(np.mean(inside))
    assert found["0.9"]["types in the set"].value == pytest.approx(members.sum() / 300)
    assert found["0.9"]["empty"].value == pytest.approx(np.mean([not row.any() for row in members]))
    types = found["0.9"]["by type"]
    total = sum(t["coverage"].value * t["profiles"] for t in types.values())
    assert total == pytest.approx(sum(inside))
    named = [i for i, row in zip(inside, members, strict=True) if row.any()]
    assert found["0.9"]["accuracy where not empty"].value == pytest.approx(np.mean(named))


def test_kinds_are_told_from_known_tumours_and_poor_profiles_are_not():
    novelty = fit_novelty(clouds(1, 600), clouds(2, 300), types=TYPES)
    known, other = clouds(3, 300).of_types(TYPES), clouds(4, 200)
    far = other.evidence.vectors + 8 * np.eye(E, dtype=np.float32)[5]
    kinds = {
        "far": Kind(dataclasses.replace(other.evidence, vectors=far), other.people),
        "same": Kind(other.of_types(TYPES).evidence, other.of_types(TYPES).people),
        "none": Kind(other.evidence.rows(np.arange(0)), []),
    }
    found = novelty_by_kind(novelty, Kind(known.evidence, known.people), kinds)
    assert set(found["kinds"]) == {"far", "same"}
    far_area = found["kinds"]["far"]["auroc"]
    oddness = -np.concatenate(
        [novelty.judge(e).typicality for e in (known.evidence, kinds["far"].evidence)]
    )
    expected = roc_auc_score(np.arange(len(oddness)) >= len(known), oddness)
    assert far_area.value == pytest.approx(expected)
    assert far_area.low <= far_area.value <= far_area.high
    assert far_area.value > 0.97
    assert found["kinds"]["far"]["flagged by question"]["distance"] > 0.95
    assert found["kinds"]["same"]["auroc"].value == pytest.approx(0.5, abs=0.08)
    assert found["known"]["flagged"].value < 0.12
    json.dumps(found, default=lambda estimate: estimate.value)


def test_held_out_types_are_fitted_without_and_found():
    train, valid, test = clouds(1, 600), clouds(2, 300), clouds(3, 300)
    asked = []

    def fit(types):
        asked.append(types)
        return fit_novelty(train, valid, types=types), test.evidence.rows

    found = held_out_types(fit, test, types=TYPES, together=())
    assert asked == [[other for other in TYPES if other != name] for name in TYPES]
    assert list(found) == TYPES
    for name in TYPES:
        of = test.tumor & (np.array(test.studies) == name)
        assert found[name]["profiles"] == of.sum()
        assert found[name]["auroc"].value > 0.97
        assert isinstance(found[name]["flagged"], Estimate)


def test_types_that_are_one_disease_leave_together():
    train, valid, test = clouds(1, 600), clouds(2, 300), clouds(3, 300)
    asked = []

    def fit(types):
        asked.append(types)
        return fit_novelty(train, valid, types=TYPES[:2]), test.evidence.rows

    held_out_types(fit, test, types=[*TYPES, "TCGA-DDD"], together=[("TCGA-AAA", "TCGA-DDD")])
    assert asked == [
        ["TCGA-BBB", "TCGA-CCC"],
        ["TCGA-AAA", "TCGA-CCC", "TCGA-DDD"],
        ["TCGA-AAA", "TCGA-BBB", "TCGA-DDD"],
    ]  # no tumour of DDD to judge


@pytest.fixture
def values() -> np.ndarray:
    draw = np.random.default_rng(5)
    x = draw.gamma(0.3, 50, (6, 3000)).astype(np.float32)
    x[draw.random(x.shape) < 0.2] = 0
    x[:, 7::10] = np.nan
    return x


def test_scrambling_moves_a_share_of_the_values_among_measured_genes(values):
    for share in (0.1, 1.0):
        odd = scrambled(values, share, seed=1)
        assert (np.isnan(odd) == np.isnan(values)).all()
        np.testing.assert_array_equal(np.sort(odd, axis=1), np.sort(values, axis=1))
        moved = ((odd != values) & ~np.isnan(values)).sum(axis=1) / (~np.isnan(values)).sum(axis=1)
        # Some genes are given the value they had: silent ones, above all.
        assert (moved <= share).all()
        assert (moved > share * 0.85).all()
    assert not np.array_equal(scrambled(values, 1.0, seed=2), odd, equal_nan=True)


def test_shifted_slips_by_one(values):
    np.testing.assert_array_equal(shifted(values)[:, 1:], values[:, :-1])


def test_other_species_changes_a_gene_alike_in_every_profile(values):
    odd = other_species(values, seed=3)
    lost = np.isnan(odd).all(axis=0)
    assert lost.mean() == pytest.approx(0.1 + 0.9 * 0.2, abs=0.03)
    both = (values > 0) & (odd > 0)
    change = np.where(both, np.log2(np.where(both, odd, 1) / np.where(both, values, 1)), np.nan)
    seen = both.sum(axis=0) >= 2
    assert np.nanstd(change[:, seen], axis=0).max() < 1e-3
    assert np.nanmean(change[:, seen], axis=0).std() == pytest.approx(2, abs=0.15)
    assert (odd[~np.isnan(odd)] > 0).all()  # a silent gene may come out above another


def test_noise_and_flat_profiles_keep_what_is_measured(values):
    for odd, most in ((noise(values), 1.0), (flat(values), 3.0)):
        assert (np.isnan(odd) == np.isnan(values)).all()
        assert np.nanmax(odd) <= most
    assert set(np.unique(flat(values)[~np.isnan(values)])) == {1.0, 2.0, 3.0}


def test_pure_profiles_lack_the_markers_alone(values):
    symbols = [f"X{i}" for i in range(3000)]
    symbols[3] = MARKERS["vessels"].split()[0]
    odd = pure(values, symbols)
    np.testing.assert_allclose(odd[:, 3], values[:, 3] / 32)
    np.testing.assert_array_equal(np.delete(odd, 3, axis=1), np.delete(values, 3, axis=1))


def test_poor_measurements_are_of_the_same_profile(values):
    thin = thinned(values, 0.1)
    assert (~np.isnan(thin)).sum() / (~np.isnan(values)).sum() == pytest.approx(0.1, abs=0.02)
    assert (thin[~np.isnan(thin)] == values[~np.isnan(thin)]).all()
    few = shallow(values, 1e5)
    assert np.nansum(few, axis=1) == pytest.approx(1e5, rel=0.02)
    assert (few[values == 0] == 0).all()
    deep = shallow(values, 1e9)
    measured = values > 1
    assert np.corrcoef(deep[measured], values[measured])[0, 1] > 0.98
