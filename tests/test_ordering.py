"""TF-IDF ordering against a naive loop, and the properties that it promises."""

from __future__ import annotations

import math

import numpy as np

from specformer_encoder.ordering import (
    NOT_MEASURED,
    InformationWeight,
    gene_sequence,
    rank_quantiles,
)


def naive_weight(values: np.ndarray) -> list[float]:
    shares = [[x / np.nansum(row) for x in row] for row in values.astype(float)]
    weights = []
    for g in range(values.shape[1]):
        column = [row[g] for row in shares if not math.isnan(row[g])]
        total = sum(column)
        if len(column) < 2 or total == 0:
            weights.append(0.0)
            continue
        entropy = -sum(x / total * math.log(x / total) for x in column if x > 0)
        weights.append(1 - entropy / math.log(len(column)))
    return weights


def some_profiles() -> np.ndarray:
    draw = np.random.default_rng(0)
    values = draw.gamma(0.3, 100, (12, 40)).astype(np.float32)
    values[draw.random(values.shape) < 0.2] = 0
    values[draw.random(values.shape) < 0.1] = np.nan
    values[:, 3] = np.nan
    values[:, 4] = 0
    return values


def weight_of(values: np.ndarray) -> np.ndarray:
    """The idf, summed up in three unequal blocks."""
    weight = InformationWeight(values.shape[1])
    for block in np.split(values, [1, 5]):
        weight.add(block)
    return weight.result()


def test_weight_is_one_minus_normalised_entropy():
    values = some_profiles()
    assert np.allclose(weight_of(values), naive_weight(values), atol=1e-6)


def test_weight_spans_everywhere_to_one_profile():
    values = np.full((8, 3), 10.0, np.float32)
    values[:, 1] = 0
    values[2, 1] = 5
    values[:, 2] = 20 - values[:, 1]
    weight = weight_of(values)
    assert weight[1] > 0.99
    assert weight[0] < 0.01


def test_sequence_ignores_a_constant_factor_and_leaves_out_what_is_missing_or_silent():
    profile = some_profiles()[0]
    idf = weight_of(some_profiles())
    sequence = gene_sequence(profile, idf)
    assert np.array_equal(sequence, gene_sequence(profile * np.float32(37.5), idf))
    assert not np.isnan(profile[sequence]).any()
    assert (profile[sequence] > 0).all()
    score = (profile * idf)[sequence]
    assert (np.diff(score) <= 0).all()
    assert np.array_equal(gene_sequence(profile, idf, 5), sequence[:5])


def test_a_missing_gene_does_not_move_the_others():
    profile = some_profiles()[1]
    idf = weight_of(some_profiles())
    whole = gene_sequence(profile, idf)
    without = profile.copy()
    without[whole[::3]] = np.nan
    rest = [gene for gene in whole if not np.isnan(without[gene])]
    assert gene_sequence(without, idf).tolist() == rest


def test_quantiles_mark_missing_genes_and_share_ranks_among_ties():
    quantiles = rank_quantiles(np.array([0, 0, np.nan, 5, 1], np.float32))
    assert quantiles.tolist() == [42, 42, NOT_MEASURED, 254, 169]
