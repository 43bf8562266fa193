"""Calibration, prediction sets, novelty, lineages: against naive loops, scipy, their promise."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file
from scipy.spatial.distance import mahalanobis

from specformer_encoder.doubt import (
    Calibration,
    ConformalSets,
    fit_calibration,
    fit_conformal,
    patient_weights,
    softmax,
)
from specformer_encoder.errors import CorpusError
from specformer_encoder.evaluate.metrics import calibration_error
from specformer_encoder.lineages import MARKERS, lineage_content
from specformer_encoder.novelty import QUESTIONS, Evidence, Novelty, p_values
from specformer_encoder.novelty_fit import LabelledEvidence, fit_novelty
from specformer_encoder.ordering import NOT_MEASURED

TYPES = ["TCGA-AAA", "TCGA-BBB", "TCGA-CCC"]
E = 12


def guesses(seed: int, n: int, *, share: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
    """True logits of three types, and truths drawn from them: calibrated by construction."""
    draw = np.random.default_rng(seed)
    logits = draw.normal(0, 2.5, (n, 3)) * share**0.5
    truth = np.array([draw.choice(3, p=p) for p in softmax(logits)])
    return logits, truth


def test_calibration_finds_the_scale_and_its_fall_with_the_share_of_genes():
    shares = (1.0, 0.3, 0.1, 0.03)
    parts = [guesses(i, 1500, share=share) for i, share in enumerate(shares)]
    true = np.concatenate([logits for logits, _ in parts])
    truth = np.concatenate([t for _, t in parts])
    share = np.repeat(shares, 1500)
    # Logits that are three times too sure, and more so with fewer genes.
    claimed = true * 3 / share[:, None] ** 0.5
    found = fit_calibration(claimed, truth, share, np.ones(len(truth)))
    assert found.log_scale == pytest.approx(np.log(1 / 3), abs=0.1)
    assert found.per_log_share == pytest.approx(0.5, abs=0.06)
    few = share == 0.03
    p = found.probabilities(claimed, share)
    assert calibration_error(p[few].max(axis=1), p[few].argmax(axis=1) == truth[few]) < 0.04
    assert json.loads(json.dumps(found.settings())) == found.settings()


def test_fewer_genes_never_make_a_prediction_surer():
    logits, truth = guesses(1, 1000)
    share = np.where(np.arange(1000) < 500, 1.0, 0.05)
    # Too timid with few genes: the best b would be negative.
    logits = logits * np.where(share < 1, 0.2, 1.0)[:, None]
    assert fit_calibration(logits, truth, share, np.ones(1000)).per_log_share == 0


def test_limits_are_the_weibull_quantiles_of_each_type():
    logits, truth = guesses(2, 400)
    p = softmax(logits)
    sets = fit_conformal(p, truth, [str(i) for i in range(400)], levels=(0.8, 0.9))
    for k in range(3):
        score = (1 - p[np.arange(400), truth])[truth == k]
        for level, limits in zip(sets.levels, sets.limits, strict=True):
            expected = np.quantile(score, level, method="weibull")
            assert limits[k] == pytest.approx(expected, rel=1e-6)


def test_sets_hold_the_true_type_as_often_as_they_say_also_where_the_guess_is_better():
    draw = np.random.default_rng(3)
    # 19 of 20 guesses are right, so sets that always hold the guess would cover 95 %.
    truth = draw.integers(0, 3, 9000)
    wrong = draw.random(9000) < 0.05
    logits = draw.gamma(2, 2, (9000, 1)) * np.eye(3)[np.where(wrong, (truth + 1) % 3, truth)]
    p = softmax(logits)
    people = [str(i) for i in range(9000)]
    sets = fit_conformal(p[:3000], truth[:3000], people[:3000])
    for level in (0.8, 0.9, 0.95):
        members = sets.members(p[3000:], level)
        for k in range(3):
            rows = truth[3000:] == k
            assert members[rows, k].mean() == pytest.approx(level, abs=0.03)
    assert (sets.members(p, 0.9).sum(axis=1) == 0).mean() > 0.02  # it abstains
    assert (sets.members(p, 0.8) <= sets.members(p, 0.95)).all()


def test_types_with_few_patients_share_a_limit_and_patients_weigh_the_same():
    draw = np.random.default_rng(4)
    truth = np.repeat([0, 1, 2], [60, 5, 5])
    p = softmax(draw.normal(0, 1, (70, 3)) + 2 * np.eye(3)[truth])
    people = [f"p{i}" for i in range(70)]
    sets = fit_conformal(p, truth, people)
    assert sets.patients == [60, 0, 0]
    assert (sets.limits[:, 1] == sets.limits[:, 2]).all()
    assert (sets.limits[:, 0] != sets.limits[:, 1]).any()
    # Ten patients cannot show 95 %: what covers all 70 has to do.
    score = 1 - p[np.arange(70), truth]
    alone = fit_conformal(p, truth, people, levels=[0.95])
    assert alone.limits[0, 1] == pytest.approx(np.quantile(score, 0.95, method="weibull"))
    assert fit_conformal(p[60:], truth[60:], people[60:]).limits[2].tolist() == [1, 1, 1]
    # A patient measured eleven times counts as one measured once.
    again = np.concatenate([np.arange(70), np.zeros(10, int)])
    repeated = fit_conformal(p[again], truth[again], [people[i] for i in again])
    np.testing.assert_allclose(repeated.limits, sets.limits, atol=0.01)
    strangers = fit_conformal(p[again], truth[again], [str(i) for i in range(80)])
    assert np.abs(strangers.limits - sets.limits).max() > 0.05
    assert patient_weights([people[i] for i in again], truth[again])[0] == pytest.approx(1 / 11)


def test_a_limit_below_what_float32_tells_from_one_still_lets_the_type_in():
    truth = np.arange(40) % 2
    p = softmax(25.0 * np.eye(2)[truth])
    sets = fit_conformal(p, truth, [str(i) for i in range(40)])
    assert 0 < sets.limits.max() < 1e-10
    surer = softmax(np.array([[26.0, 0.0]]))
    assert sets.members(surer, 0.8).tolist() == [[True, False]]


def test_sets_go_through_files_and_name_a_level_that_is_not_there(tmp_path):
    logits, truth = guesses(5, 100)
    sets = fit_conformal(softmax(logits), truth, [str(i) for i in range(100)])
    save_file(sets.tensors(), tmp_path / "s.safetensors")
    back = ConformalSets(
        **load_file(tmp_path / "s.safetensors"), **json.loads(json.dumps(sets.settings()))
    )
    assert (back.members(softmax(logits), 0.9) == sets.members(softmax(logits), 0.9)).all()
    with pytest.raises(ValueError, match="not in list"):
        sets.members(softmax(logits), 0.5)
    with pytest.raises(CorpusError, match="there is none"):
        fit_conformal(np.zeros((0, 3)), np.zeros(0, int), [])


def clouds(seed: int, n: int, *, pipeline_shift: float = 0.0) -> LabelledEvidence:
    """Three types and their normal tissue; every other profile from a second pipeline."""
    draw = np.random.default_rng(seed)
    centres = np.random.default_rng(0).normal(0, 3, (3, E))
    kind, tumor, second = draw.integers(0, 3, n), draw.random(n) < 0.75, np.arange(n) % 2 == 1
    vectors = centres[kind] + draw.normal(0, 1, (n, E))
    vectors[~tumor, 0] += 9
    vectors[second, 1] += pipeline_shift
    return LabelledEvidence(
        Evidence(
            vectors.astype(np.float32),
            draw.uniform(0.1, 0.4, n).astype(np.float32),
            draw.uniform(0.4, 0.8, n).astype(np.float32),
            np.ones(n, np.float32),
        ),
        [TYPES[k] for k in kind],
        tumor,
        [f"{TYPES[k]} {t}" for k, t in zip(kind, tumor, strict=True)],
        ["b" if s else "a" for s in second],
        [f"{seed}-{i}" for i in range(n)],
    )


@pytest.fixture(scope="module")
def novelty() -> Novelty:
    return fit_novelty(clouds(1, 900), clouds(2, 500), types=TYPES)


def test_p_values_are_counts():
    draw = np.random.default_rng(6)
    scores, reference = draw.integers(0, 9, 50), np.sort(draw.integers(0, 9, 30))
    naive = [(1 + sum(r >= s for r in reference)) / 31 for s in scores]
    found = p_values(scores.astype(np.float32), reference.astype(np.float32))
    assert found.tolist() == pytest.approx(naive)
    assert p_values(np.array([np.nan], np.float32), reference.astype(np.float32)) == [1.0]
    assert p_values(np.array([3.0], np.float32), np.zeros(0, np.float32)) == [1.0]


def test_distance_is_scipys_mahalanobis(novelty):
    x = clouds(3, 5).evidence.vectors
    inverse = novelty.whitening.T.astype(np.float64) @ novelty.whitening
    expected = [
        [
            mahalanobis(row, mean, inverse) ** 2 / (1 + 1 / n)
            for mean, n in zip(novelty.means, novelty.sizes, strict=True)
        ]
        for row in x
    ]
    np.testing.assert_allclose(novelty.distances(x), expected, rtol=1e-4)


def test_scatter_within_types_is_sklearns_with_what_is_added(novelty):
    from sklearn.covariance import empirical_covariance

    train = clouds(1, 900).of_types(TYPES)
    residuals = []
    for name in TYPES:
        x = train.evidence.vectors[np.array(train.studies) == name].astype(np.float64)
        residuals.append((x - x.mean(axis=0)) * np.sqrt(60 / len(x) * len(x) / (len(x) - 1)))
    within = empirical_covariance(np.concatenate(residuals), assume_centered=True)
    within *= len(train) / (3 * 60)
    covariance = np.linalg.inv(novelty.whitening.T.astype(np.float64) @ novelty.whitening)
    added = covariance - within
    ridge = np.trace(within) / E
    # The rest is the identity, and a little scatter of pipelines that do not differ here.
    np.testing.assert_allclose(added, ridge * np.eye(E), atol=0.15)


def test_few_fresh_tumours_are_flagged_and_every_kind_of_odd_profile_is_with_its_reason(novelty):
    fresh = clouds(4, 3000).of_types(TYPES).evidence
    assert novelty.judge(fresh).flagged().mean() == pytest.approx(0.05, abs=0.02)
    one = fresh.rows(np.arange(200))
    fine, stroma = np.full(200, 0.2, np.float32), np.full(200, 0.6, np.float32)
    well, axis = dataclasses.replace(one, misfit=fine, lineages=stroma), np.eye(E, dtype=np.float32)
    odd = {
        "farther": dataclasses.replace(well, vectors=one.vectors + 9 * axis[5]),
        "normal": dataclasses.replace(well, vectors=one.vectors + 9 * axis[0]),
        "gene-to-gene": dataclasses.replace(one, misfit=fine + 0.6, lineages=stroma),
        "cell line": dataclasses.replace(one, misfit=fine, lineages=stroma - 0.5),
    }
    for reason, evidence in odd.items():
        oddness = novelty.judge(evidence)
        assert oddness.flagged().mean() > 0.97
        said = [" ".join(oddness.reasons(i)) for i in range(200)]
        assert np.mean([reason in text for text in said]) > 0.9
        assert all(bool(text) == flag for text, flag in zip(said, oddness.flagged(), strict=True))
    assert novelty.judge(one).nearest.tolist() == [
        novelty.types.index(s) for s in clouds(4, 3000).of_types(TYPES).studies[:200]
    ]


def test_a_partial_profile_is_held_against_partial_ones():
    """Few genes leave a profile nearer to the centre, farther from its type."""

    def with_few_genes(of: Evidence) -> Evidence:
        few = np.full(len(of), 0.1, np.float32)
        return dataclasses.replace(of, vectors=of.vectors * 0.4, measured=few)

    valid = clouds(2, 500)
    views = with_few_genes(valid.of_types(TYPES).evidence)
    both = fit_novelty(clouds(1, 900), valid, types=TYPES, partial=views)
    whole = fit_novelty(clouds(1, 900), valid, types=TYPES)
    fresh = clouds(4, 3000).of_types(TYPES).evidence
    few = with_few_genes(fresh)
    assert whole.judge(few).flagged().mean() > 0.3
    assert both.judge(few).flagged().mean() == pytest.approx(0.05, abs=0.02)
    assert np.array_equal(both.judge(fresh).parts, whole.judge(fresh).parts)
    odd = dataclasses.replace(few, vectors=few.vectors + 9 * np.eye(E, dtype=np.float32)[5])
    assert both.judge(odd).flagged().mean() > 0.9


def test_what_cannot_be_asked_is_no_reason(novelty):
    known = clouds(5, 300).of_types(TYPES).evidence
    silent = dataclasses.replace(known, lineages=np.full(len(known), np.nan, np.float32))
    asked, unasked = novelty.judge(known), novelty.judge(silent)
    assert (unasked.parts[:, list(QUESTIONS).index("lineages")] == 1).all()
    assert (unasked.typicality >= asked.typicality).all()


def test_a_shift_between_pipelines_that_was_seen_is_less_odd():
    new = clouds(6, 400, pipeline_shift=7).of_types(TYPES).evidence
    shares = [
        fit_novelty(clouds(1, 900, pipeline_shift=s), clouds(2, 500), types=TYPES)
        .judge(new)
        .flagged()
        .mean()
        for s in (0, 7)
    ]
    assert shares[0] > 0.45
    assert shares[1] < 0.2


def test_shallow_views_extend_the_reference_of_misfit_alone(novelty):
    poor = dataclasses.replace(
        clouds(2, 500).of_types(TYPES).evidence.rows(np.arange(100)),
        misfit=np.linspace(0.5, 0.7, 100, dtype=np.float32),
        lineages=np.full(100, 0.6, np.float32),
    )
    with_poor = fit_novelty(clouds(1, 900), clouds(2, 500), types=TYPES, shallow=poor)
    assert len(with_poor.whole.misfit) == len(novelty.whole.misfit) + 100
    assert (with_poor.whole.distance == novelty.whole.distance).all()
    assert (
        not with_poor.judge(dataclasses.replace(poor, vectors=with_poor.means[[0] * 100]))
        .flagged()[:90]
        .any()
    )
    assert novelty.judge(poor).flagged().all()


def test_a_corpus_without_normal_tissue_or_tumours():
    train = clouds(1, 900)
    tumours = fit_novelty(train.of_types(TYPES), clouds(2, 500), types=TYPES)
    oddness = tumours.judge(clouds(3, 50).evidence)
    assert (oddness.parts[:, list(QUESTIONS).index("normal")] == 1).all()
    with pytest.raises(CorpusError, match="two types"):
        fit_novelty(train, clouds(2, 500), types=["TCGA-AAA"])
    with pytest.raises(CorpusError, match="smallest with 0"):
        fit_novelty(train, clouds(2, 500), types=["TCGA-AAA", "TCGA-ZZZ"])


def test_novelty_goes_through_files(novelty, tmp_path):
    save_file(novelty.tensors(), tmp_path / "n.safetensors")
    settings = json.loads(json.dumps(novelty.settings()))
    back = Novelty.of(load_file(tmp_path / "n.safetensors") | settings)
    evidence = clouds(3, 50).evidence
    assert (back.judge(evidence).typicality == novelty.judge(evidence).typicality).all()


def test_lineages_are_the_median_of_the_means_of_marker_ranks():
    markers = [name.split() for name in MARKERS.values()]
    symbols = [name for names in markers for name in names] + [f"X{i}" for i in range(40)]
    assert len(symbols) == len(set(symbols))
    draw = np.random.default_rng(7)
    q = draw.integers(0, 255, (4, len(symbols))).astype(np.uint8)
    q[1, :30] = NOT_MEASURED  # T and B cells are not measured
    q[2, : len(symbols) * 2 // 3] = NOT_MEASURED  # a panel
    q[3, 0] = NOT_MEASURED
    found = lineage_content(q, symbols)
    naive = []
    for row in (0, 3):
        means = []
        for names in markers:
            ranks = [q[row, symbols.index(n)] / 254 for n in names]
            means.append(np.mean([r for r in ranks if r <= 1]))
        naive.append(sorted(means)[2])
    assert found[[0, 3]].tolist() == pytest.approx(naive, rel=1e-5)
    assert np.isnan(found[[1, 2]]).all()
    # Silent markers of three lineages are enough to show; of two they are not.
    silent = np.full((2, len(symbols)), 200, np.uint8)
    for row, lineages in enumerate((2, 3)):
        for names in markers[:lineages]:
            silent[row, [symbols.index(n) for n in names]] = 10
    assert lineage_content(silent, symbols).tolist() == pytest.approx([200 / 254, 10 / 254])


def test_markers_are_genes_of_the_vocabulary():
    from specformer_encoder.genes.table import vocabulary

    symbols = set(vocabulary().symbols)
    assert [n for names in MARKERS.values() for n in names.split() if n not in symbols] == []


def test_scale_of_one_changes_nothing():
    logits, _ = guesses(8, 20)
    plain = Calibration(0.0, 0.0).probabilities(logits, np.full(20, 0.1))
    np.testing.assert_allclose(plain, softmax(logits))
