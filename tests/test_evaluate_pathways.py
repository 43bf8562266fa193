"""Pathway probes: the gene sets, the correlations against SciPy, and planted answers."""

from __future__ import annotations

import json

import numpy as np
import pytest
from places import SHARED
from planted import embedded
from scipy.stats import pearsonr
from sklearn.linear_model import Ridge

from specformer_encoder.errors import InputFileError
from specformer_encoder.evaluate import pathways as module
from specformer_encoder.evaluate.paradigm import read_paradigm
from specformer_encoder.evaluate.pathways import (
    PER_PATHWAY,
    PER_SAMPLE,
    PER_SAMPLE_UNSCALED,
    TRAINING_MEAN,
    TRUE_TYPE,
    WITHIN_TYPE,
    pathways,
    ridge_probe,
)
from specformer_encoder.evaluate.resampling import GroupCorrelation, row_correlation
from specformer_encoder.gene_sets import GeneSets
from specformer_encoder.genes import vocabulary
from specformer_encoder.ssgsea import ssgsea

KEPT = {"cycle": ["CDK1", "CCNB1", "PLK1", "AURKA", "MKI67", "Cyclin_A_(family)"]}


def written(folder, content):
    path = folder / "pathways.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


def test_members_that_are_no_gene_are_dropped_and_counted(tmp_path):
    content = KEPT | {
        "few": ["CDK1", "CCNB1", "PLK1", "ATP_(smallMolecule)"],
        # A former symbol, an isoform of a gene that is there already, a thing, an unknown name.
        "old": ["ATP5B", "AURKA-2", "AURKA", "CDK1", "PLK1", "MKI67", "Apoptosis_(abstract)", "Qq"],
    }
    found = read_paradigm(written(tmp_path, content))
    assert found.sets.names == ["cycle", "old"]
    symbols = {vocabulary().symbols[g] for g in found.sets.members("old")}
    assert symbols == {"ATP5F1B", "AURKA", "CDK1", "PLK1", "MKI67"}
    assert (found.published, found.no_gene, found.unresolved) == (3, 3, 1)
    assert found.genes == 7, "seven names: those of six genes and one isoform"
    assert found.members == found.no_gene + found.genes + found.outside + found.unresolved


def test_the_published_pathways():
    path = SHARED / "reference" / "paradigm_1387.json"
    if not path.is_file():
        pytest.skip("needs ../shared/reference, which is not there")
    found = read_paradigm(path)
    assert found.published == 1387
    assert 1150 <= len(found.sets) <= 1200
    # Nothing of the names without a mark is lost in any number but what is no gene's name.
    assert found.genes > 0.9 * (found.members - found.no_gene)


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ("{", "is not JSON"),
        ([1], "does not map names to lists"),
        ({"a": "TP53"}, "does not map names to lists"),
        ({"a": ["TP53", 7]}, "does not map names to lists"),
        ({"a": ["TP53"]}, "None of the 1 pathways"),
    ],
)
def test_another_file_is_refused(tmp_path, content, problem):
    with pytest.raises(InputFileError, match=problem):
        read_paradigm(written(tmp_path, content))


def test_no_file_is_refused(tmp_path):
    with pytest.raises(InputFileError, match="cannot be read"):
        read_paradigm(tmp_path / "nothing.json")


def with_gaps(seed: int, n: int, p: int) -> tuple[np.ndarray, np.ndarray]:
    draw = np.random.default_rng(seed)
    truth = draw.normal(3, 1, (n, p)).astype(np.float32)
    guess = (truth + draw.normal(0, 1, (n, p))).astype(np.float32)
    truth[draw.random((n, p)) < 0.2] = np.nan
    return truth, guess


def test_row_correlation_is_pearson_over_what_is_known():
    truth, guess = with_gaps(0, 8, 30)
    expected = [
        pearsonr(t[~np.isnan(t)], g[~np.isnan(t)]).statistic
        for t, g in zip(truth, guess, strict=True)
    ]
    assert np.allclose(row_correlation(truth, guess), expected)
    assert (row_correlation(truth, np.ones_like(guess)) == 0).all(), "a constant guess says nothing"
    assert np.isnan(row_correlation(np.ones_like(guess), guess)).all()


def test_group_correlation_is_pearson_of_the_resample():
    truth, guess = with_gaps(1, 40, 7)
    guess[:, 3] = 2.0  # says nothing: counts as 0
    truth[:, 5] = 1.0  # nothing to correlate with: left out
    guess[:, 6] = 1000 + 10 * guess[:, 6]  # no unit is asked for
    groups = [np.arange(0, 15), np.arange(15, 36)]
    rows = np.random.default_rng(2).integers(0, 40, 60)
    expected = []
    for group in groups:
        chosen = rows[np.isin(rows, group)]
        found = []
        for p in (0, 1, 2, 4, 6):
            known = chosen[~np.isnan(truth[chosen, p])]
            found.append(pearsonr(truth[known, p], guess[known, p]).statistic)
        expected.append(np.mean([0, *found]))
    assert GroupCorrelation(truth, guess, groups)(rows) == pytest.approx(
        np.mean(expected), abs=1e-5
    )


def test_the_probe_is_ridge_at_the_strength_that_validation_chooses():
    draw = np.random.default_rng(3)
    weights = draw.normal(0, 1, (6, 4))
    x = {s: draw.normal(5, 3, (n, 6)) for s, n in (("train", 40), ("valid", 30), ("test", 20))}
    y = {s: (v - 5) @ weights + draw.normal(0, 4, (len(v), 4)) for s, v in x.items()}
    alpha, guess = ridge_probe(x, y)
    mean, deviation = x["train"].mean(axis=0), x["train"].std(axis=0)
    scaled = {s: (v - mean) / deviation for s, v in x.items()}

    def fitted(strength: float, split: str) -> np.ndarray:
        one_by_one = [Ridge(strength).fit(scaled["train"], t) for t in y["train"].T]
        return np.stack([fit.predict(scaled[split]) for fit in one_by_one], axis=1)

    errors = {a: ((fitted(a, "valid") - y["valid"]) ** 2).mean() for a in module.ALPHAS}
    assert alpha == min(errors, key=errors.get)
    assert np.allclose(guess, fitted(alpha, "test"), atol=1e-4)


@pytest.fixture(scope="module")
def paradigm(tmp_path_factory):
    """Forty bundled sets, written as PARADIGM is."""
    bundled = GeneSets.load()
    symbols = vocabulary().symbols
    content = {
        name: [symbols[gene] for gene in bundled.members(name)] for name in bundled.names[:40]
    }
    return written(tmp_path_factory.mktemp("paradigm"), content)


def test_scores_in_the_vector_are_found_and_noise_is_not(small_corpus, paradigm, monkeypatch):
    monkeypatch.setattr(module, "MINIMUM_PATIENTS", 3)
    corpus = small_corpus.corpus
    scores = corpus.map(lambda values: ssgsea(values, read_paradigm(paradigm).sets))
    noise = np.random.default_rng(0).normal(0, 1, scores.shape).astype(np.float32)
    found = pathways(embedded(corpus, noise), {"scores": scores, "noise": noise}, paradigm=paradigm)
    assert found["sets"]["pathways scored"] == 40
    assert set(found["types"]) == {"TCGA-COAD", "TCGA-LUAD"}
    kept, lost = found["methods"]["scores"], found["methods"]["noise"]
    # Within a type the simulated tumours differ by noise alone, of which 28 patients teach little.
    for metric, least in ((PER_SAMPLE, 0.9), (PER_PATHWAY, 0.9), (WITHIN_TYPE, 0.6)):
        assert kept[metric].value > least
        assert abs(lost[metric].value) < 0.4
        assert kept[metric].low <= kept[metric].value <= kept[metric].high
    # Two tumours were simulated: their type says much across types and nothing within.
    assert found["methods"][TRUE_TYPE][PER_PATHWAY].value > 0.5
    assert WITHIN_TYPE not in found["methods"][TRUE_TYPE]
    # One constant for all samples already looks good on scores as they are.
    assert set(found["methods"][TRAINING_MEAN]) == {PER_SAMPLE_UNSCALED}
    assert found["methods"][TRAINING_MEAN][PER_SAMPLE_UNSCALED].value > 0.7


def test_without_pathways_the_question_is_left_out(small_corpus):
    corpus = embedded(small_corpus.corpus, np.zeros((len(small_corpus.corpus), 2)))
    assert set(pathways(corpus, {}, paradigm=None)) == {"left out"}
