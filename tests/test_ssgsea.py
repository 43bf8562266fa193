"""Direct ssGSEA against gseapy, against the running sum written out, and against its own rules."""

import csv
import gzip
import itertools
from pathlib import Path

import gseapy
import numpy as np
import pandas as pd
import pytest

from specformer_encoder.gene_sets import GeneSets
from specformer_encoder.genes import map_genes, vocabulary
from specformer_encoder.ssgsea import average_ranks, ssgsea

EXAMPLES = Path(__file__).parents[1] / "examples"


@pytest.fixture(scope="module")
def bundled():
    return GeneSets.load()


def read_example(name, *, delimiter):
    """A real example over the vocabulary, (S, V) float64, NaN = not in the file."""
    with gzip.open(EXAMPLES / name, "rt", newline="") as file:
        header, *rows = csv.reader(file, delimiter=delimiter)
    values = np.full((len(header) - 2, len(vocabulary())), np.nan)
    for position, row in zip(map_genes([row[1] for row in rows]).index, rows, strict=True):
        if position >= 0:
            values[:, position] = np.nan_to_num(values[:, position]) + np.array(row[2:], float)
    return values


@pytest.fixture(scope="module")
def tumours():
    """Two real colon tumours, (2, V)."""
    return read_example("coadread_tumors.csv.gz", delimiter=",")[:2]


def gseapy_scores(values, order, gene_sets):
    """gseapy's enrichment scores per step, with the measured genes given in `order`."""
    genes = [f"G{gene}" for gene in order]
    frame = pd.DataFrame(values[:, order].T, index=genes, columns=list(range(len(values))))
    members = {name: [f"G{gene}" for gene in gene_sets.members(name)] for name in gene_sets.names}
    result = gseapy.ssgsea(
        frame,
        members,
        outdir=None,
        sample_norm_method="rank",
        correl_norm_type="rank",
        weight=0.25,
        min_size=1,
        max_size=1000,
        threads=1,
        no_plot=True,
    ).res2d
    table = result.pivot(index="Name", columns="Term", values="ES").reindex(columns=gene_sets.names)
    return table.to_numpy(float) / len(order)


def running_sum(ordering, weights, members):
    """The mean running difference, step by step, from the most expressed gene down."""
    inside = set(members)
    total = sum(weights[gene] for gene in members)
    outside = len(ordering) - len(members)
    hit = miss = score = 0.0
    for gene in ordering:
        if gene in inside:
            hit += weights[gene] / total
        else:
            miss += 1 / outside
        score += hit - miss
    return score / len(ordering)


def test_a_real_profile_without_ties_scores_as_gseapy_does(bundled, tumours):
    measured = np.flatnonzero(~np.isnan(tumours[0]))
    # Adding the smallest distinct amounts breaks the ties and leaves every other order as it is.
    values = tumours + np.linspace(0, 1e-6, tumours.shape[1])
    assert all(len(np.unique(row[measured])) == len(measured) for row in values)
    ours = ssgsea(values, bundled)
    oracle = gseapy_scores(values, measured, bundled)
    scored = ~np.isnan(ours)
    assert scored.mean() > 0.99
    np.testing.assert_allclose(ours[scored], oracle[scored], atol=1e-6)


def test_a_real_profile_with_ties_agrees_with_gseapy(bundled, tumours):
    # gseapy takes tied genes in the order of its table; ours is the mean over all orders.
    measured = np.flatnonzero(~np.isnan(tumours[0]))
    assert (tumours[:, measured] == 0).mean() > 0.1, "the example has no ties to speak of"
    ours = ssgsea(tumours, bundled)
    oracle = gseapy_scores(tumours, measured, bundled)
    for mine, theirs in zip(ours, oracle, strict=True):
        scored = ~np.isnan(mine)
        assert np.corrcoef(mine[scored], theirs[scored])[0, 1] > 0.9995
        assert np.abs(mine[scored] - theirs[scored]).max() < 0.05


def test_gseapy_converges_to_our_scores_when_its_gene_order_is_shuffled(bundled, tumours):
    measured = np.flatnonzero(~np.isnan(tumours[0]))
    rng = np.random.default_rng(7)
    one = tumours[:1]
    shuffled = [gseapy_scores(one, rng.permutation(measured), bundled)[0] for _ in range(9)]
    ours = ssgsea(one, bundled)[0]
    scored = ~np.isnan(ours)
    single = np.abs(np.array(shuffled) - ours)[:, scored].mean()
    mean = np.abs(np.mean(shuffled, axis=0) - ours)[scored].mean()
    assert mean < single / 2, "the mean of 9 orders should be about 3 times closer"


def test_ties_score_the_mean_over_every_order_of_the_tied_genes():
    values = np.array([0, 5, 0, 2, 0, 9, 2, 1, 0, 0.5])
    members = [0, 2, 3, 5, 7]
    sets = GeneSets.from_members(["a"], [members], vocabulary_size=10)
    weights = average_ranks(values) ** 0.25
    groups = [np.flatnonzero(values == value) for value in sorted(set(values), reverse=True)]
    orders = itertools.product(*(itertools.permutations(group) for group in groups))
    scores = [
        running_sum(list(itertools.chain(*order)), dict(enumerate(weights)), members)
        for order in orders
    ]
    assert len(scores) == 48
    assert ssgsea(values[None], sets)[0, 0] == pytest.approx(np.mean(scores), abs=1e-6)


def test_the_closed_form_is_the_running_sum_over_the_measured_genes_only():
    rng = np.random.default_rng(3)
    values = rng.permutation(400).astype(float)
    values[rng.choice(400, 120, replace=False)] = np.nan
    members = [rng.choice(400, size, replace=False) for size in (12, 40, 150)]
    sets = GeneSets.from_members(["a", "b", "c"], members, vocabulary_size=400)
    measured = np.flatnonzero(~np.isnan(values))
    ordering = measured[np.argsort(-values[measured])].tolist()
    weights = {gene: (len(ordering) - step) ** 0.25 for step, gene in enumerate(ordering)}
    expected = [running_sum(ordering, weights, sorted(set(m) & set(ordering))) for m in members]
    np.testing.assert_allclose(ssgsea(values[None], sets)[0], expected, atol=1e-6)


def test_unmeasured_genes_are_not_silent_genes(bundled, tumours):
    missing = np.random.default_rng(1).choice(tumours.shape[1], 3000, replace=False)
    absent, silent = tumours[:1].copy(), tumours[:1].copy()
    absent[:, missing] = np.nan
    silent[:, missing] = 0
    whole, without, zeroed = (ssgsea(values, bundled) for values in (tumours[:1], absent, silent))
    both = ~(np.isnan(whole) | np.isnan(without))
    assert np.abs(without - whole)[both].mean() < np.abs(zeroed - whole)[both].mean() / 2


@pytest.mark.parametrize(
    ("size", "measured", "scored"),
    [(5, 5, True), (5, 4, False), (12, 6, True), (12, 5, False), (4, 4, False)],
)
def test_too_few_measured_members_give_no_score(size, measured, scored):
    values = np.arange(50.0)
    values[measured:size] = np.nan
    sets = GeneSets.from_members(["a"], [range(size)], vocabulary_size=50)
    assert np.isfinite(ssgsea(values[None], sets)[0, 0]) == scored


def test_a_set_of_all_measured_genes_has_no_score():
    values = np.full(40, np.nan)
    values[:20] = np.arange(20)
    sets = GeneSets.from_members(["a"], [range(20)], vocabulary_size=40)
    assert np.isnan(ssgsea(values[None], sets)[0, 0])


def test_a_profile_without_a_measured_gene_has_no_scores(bundled):
    assert np.isnan(ssgsea(np.full((1, bundled.vocabulary_size), np.nan), bundled)).all()


def test_the_scale_is_the_documented_one():
    n = 18_000
    evenly, top, bottom = range(0, n, 60), range(n - 30, n), range(30)
    sets = GeneSets.from_members(["e", "t", "b"], [evenly, top, bottom], vocabulary_size=n)
    scores = ssgsea(np.arange(n, dtype=float)[None], sets)[0]
    np.testing.assert_allclose(scores, [1 / 18, 0.5, -0.5], atol=0.003)


def test_a_score_depends_on_its_profile_alone(bundled, tumours):
    rng = np.random.default_rng(5)
    alone = ssgsea(tumours[:1], bundled)
    crowd = np.vstack([rng.random((3, tumours.shape[1])), tumours[:1]])
    np.testing.assert_array_equal(ssgsea(crowd, bundled)[3], alone[0])


def test_a_monotone_change_of_unit_changes_nothing(bundled, tumours):
    # Dense ranks are exact in float32, where a logarithm would make ties of neighbouring values.
    ranks = np.full(tumours.shape, np.nan)
    for row, into in zip(tumours, ranks, strict=True):
        known = ~np.isnan(row)
        into[known] = np.unique(row[known], return_inverse=True)[1]
    np.testing.assert_array_equal(ssgsea(ranks, bundled), ssgsea(tumours * 0.125, bundled))


def test_average_ranks_are_those_of_pandas():
    values = np.array([3.0, np.nan, 0, 0, 7, 3, 0, np.nan, 3])
    expected = pd.Series(values).rank(method="average").fillna(0)
    np.testing.assert_array_equal(average_ranks(values), expected)


def test_wrong_shapes_and_infinities_are_refused(bundled):
    with pytest.raises(ValueError, match="got shape"):
        ssgsea(np.zeros((2, 10)), bundled)
    with pytest.raises(ValueError, match="got shape"):
        ssgsea(np.zeros(bundled.vocabulary_size), bundled)
    with pytest.raises(ValueError, match="infinity"):
        ssgsea(np.full((1, bundled.vocabulary_size), np.inf), bundled)


def test_a_tumour_proliferates_more_than_the_adjacent_normal_of_the_same_patient(bundled):
    tumour, normal = (
        ssgsea(read_example(f"luad_{kind}.tsv.gz", delimiter="\t"), bundled)[0]
        for kind in ("tumor", "normal")
    )
    for pathway in ("HALLMARK_G2M_CHECKPOINT", "HALLMARK_E2F_TARGETS"):
        column = bundled.names.index(pathway)
        assert tumour[column] > normal[column] + 0.02
