"""Shifts between pipelines, against shifts that were put in."""

from __future__ import annotations

import numpy as np
import pytest

from specformer_encoder.shifts import (
    LEAST_SAMPLES,
    MOST_SAMPLES,
    SHRINKAGE,
    Shifts,
    find_pairs,
    learn_shifts,
)

GENES = 60


@pytest.fixture
def measured():
    """Twenty samples in pipelines a and b, twelve others in b and c, with known shifts."""
    draw = np.random.default_rng(3)
    true = {name: draw.normal(0, 1, GENES) for name in "abc"}
    values, pipelines, samples = [], [], []
    for number in range(32):
        sample = draw.normal(5, 2, GENES)
        for name in "ab" if number < 20 else "bc":
            scale = draw.normal(0, 3)  # another library size
            noise = draw.normal(0, 0.05, GENES)
            values.append(np.exp2(sample + true[name] + scale + noise).astype(np.float32))
            pipelines.append(name)
            samples.append(number)
    return true, np.array(values), pipelines, samples


def learnt(measured):
    _, values, pipelines, samples = measured
    paired = find_pairs(range(len(values)), pipelines, samples)
    return learn_shifts(values.__getitem__, paired, genes=GENES)


def expected(true, a, b):
    difference = true[b] - true[a]
    return difference - np.median(difference)


def test_a_known_shift_is_found_again_whatever_the_library_size(measured):
    shifts = learnt(measured)
    assert shifts.pairs == (("a", "b"), ("b", "c"))
    assert shifts.samples == (20, 12)
    for (a, b), n in zip(shifts.pairs, shifts.samples, strict=True):
        shrunk = expected(measured[0], a, b) * n / (n + SHRINKAGE)
        assert np.abs(shifts.between(a, b) - shrunk).max() < 0.1
        assert np.array_equal(shifts.between(b, a), -shifts.between(a, b))


def test_pipelines_without_common_samples_are_joined_through_one_other(measured):
    shifts = learnt(measured)
    assert shifts.targets("a") == ["b", "c"]
    assert shifts.targets("b") == ["a", "c"]
    assert shifts.targets("unheard of") == []
    joined = shifts.between("a", "b") + shifts.between("b", "c")
    assert np.allclose(shifts.between("a", "c"), joined, atol=1e-6)
    with pytest.raises(KeyError, match="from a to d"):
        shifts.between("a", "d")


def test_several_bridges_are_weighted_by_their_samples():
    shift = np.array([[1.0], [3.0], [10.0], [10.0]], np.float16)
    pairs = (("a", "m"), ("m", "c"), ("a", "n"), ("n", "c"))
    shifts = Shifts(1, pairs, (10, 10, 30, 30), shift)
    # Half the samples of each link count: 5 for 4 octaves, 15 for 20.
    assert shifts.between("a", "c") == pytest.approx((5 * 4 + 15 * 20) / 20)


def test_two_hops_are_too_many():
    shifts = Shifts(1, (("a", "b"), ("b", "c"), ("c", "d")), (9, 9, 9), np.ones((3, 1), np.float16))
    assert shifts.targets("a") == ["b", "c"]


def test_genes_silent_or_not_measured_take_no_part(measured):
    true, values, pipelines, samples = measured
    values = values.copy()
    a_rows = [i for i, name in enumerate(pipelines) if name == "a"]
    values[a_rows, 0] = 0
    values[a_rows, 1] = np.nan
    values[a_rows[5:], 2] = 0  # five samples left
    shifts = learnt((true, values, pipelines, samples))
    found, put_in = shifts.between("a", "b"), expected(true, "a", "b")
    assert found[0] == found[1] == 0
    assert found[2] == pytest.approx(put_in[2] * 5 / (5 + SHRINKAGE), abs=0.1)


def test_few_samples_say_nothing_and_many_are_enough():
    few = LEAST_SAMPLES - 1
    pipelines, samples = ["a", "b"] * few, np.repeat(range(few), 2).tolist()
    paired = find_pairs(range(2 * few), pipelines, samples)
    assert not paired.rows
    assert not paired.needed
    none = learn_shifts(lambda _row: np.ones(3, np.float32), paired, genes=3)
    assert none.shift.shape == (0, 3)
    assert none.targets("a") == []
    pipelines, samples = ["a", "b"] * 400, np.repeat(range(400), 2).tolist()
    many = find_pairs(range(800), pipelines, samples)
    assert len(many.rows["a", "b"]) == MOST_SAMPLES
    assert len(many.needed) == 2 * MOST_SAMPLES


def test_only_the_given_rows_and_the_first_of_each_sample_are_paired():
    pipelines, samples = ["a", "a", "b"] * 20, np.repeat(range(20), 3).tolist()
    found = find_pairs(range(45), pipelines, samples)
    assert found.rows == {("a", "b"): [(3 * i, 3 * i + 2) for i in range(15)]}
