"""Questions asked of a small release, on the simulated patients around real tumours."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from planted import small_release
from scipy.stats import kendalltau

from specformer_encoder.evaluate import metrics
from specformer_encoder.evaluate.baselines import Baselines
from specformer_encoder.evaluate.classification import SHIPPED, classification, fit_methods
from specformer_encoder.evaluate.embedded import EmbeddedCorpus
from specformer_encoder.evaluate.panels import SHARES, panels
from specformer_encoder.evaluate.pipelines import same_sample, tau
from specformer_encoder.ordering import gene_sequence


@pytest.fixture(scope="module")
def asked(small_corpus, tmp_path_factory):
    embedder = small_release(small_corpus.corpus, tmp_path_factory.mktemp("small") / "release")
    corpus = EmbeddedCorpus.of(small_corpus.corpus, embedder)
    baselines = Baselines.of(corpus, embedder)
    return corpus, embedder, baselines, fit_methods(corpus, embedder, baselines)


@pytest.fixture(autouse=True)
def _few_draws(monkeypatch):
    monkeypatch.setattr(metrics, "RESAMPLES", 20)


def test_classification_says_the_same_in_scores_and_confusion(asked):
    corpus, embedder, baselines, methods = asked
    found = classification(corpus, embedder, baselines=baselines, methods=methods)
    assert next(iter(found["methods"])) == SHIPPED
    assert len(found["methods"]) == 9, "no sample is in two pipelines, so there are no shifts"
    for name, scores in found["methods"].items():
        counts = np.array(found["confusion"][name])
        assert counts.shape == (len(found["types"]), len(found["types"]) + 1)
        assert counts.sum() == found["profiles"] == 16
        accuracy = np.trace(counts[:, :-1]) / counts.sum()
        assert scores["accuracy"].value == pytest.approx(accuracy), name
        assert len(scores) == 8
    # Two clouds around two real tumours: a method that cannot tell them apart is broken.
    assert found["methods"]["PCA-256 + logistic regression"]["accuracy"].value == 1
    assert found["methods"]["PCA-256 + logistic regression"]["macro AUC"].value == 1


def test_shipped_predictor_is_what_the_release_answers(asked):
    corpus, embedder, baselines, methods = asked
    rows = corpus.select("test")
    found = methods[SHIPPED].of(baselines.views.take(rows))
    for place, prediction in enumerate(embedder.predict(corpus.reading.rows(rows))):
        expected = [prediction.probabilities[name] for name in methods[SHIPPED].types]
        assert found[place].tolist() == expected


def test_orderings_of_one_sample_are_compared_over_the_genes_in_both(asked):
    corpus, embedder, _, _ = asked
    found = same_sample(corpus, embedder)
    assert (found["pairs"], found["patients"]) == (8, 8)
    assert list(found["by units"]) == ["counts, tpm"]
    assert found["by units"]["counts, tpm"]["Kendall's tau"] == found["Kendall's tau"]
    taus = []
    labels = corpus.labels
    for i in corpus.select("test"):
        for j in corpus.select("test"):
            if labels[i].patient == labels[j].patient and labels[i].unit < labels[j].unit:
                one, other = (
                    gene_sequence(v, embedder.idf).tolist() for v in corpus.values([i, j])
                )
                both = sorted(set(one) & set(other))
                places = [{gene: k for k, gene in enumerate(side)} for side in (one, other)]
                taus.append(
                    kendalltau(*[[where[gene] for gene in both] for where in places]).statistic
                )
    assert found["Kendall's tau"].value == pytest.approx(np.mean(taus))
    assert found["Kendall's tau"].value > 0.95, "TPM is counts over length: the same ordering"
    assert found["first genes in common"].value > 0.95


def test_tau_counts_discordant_pairs():
    one, other = [3, 1, 4, 8, 5, 9], [9, 1, 3, 8, 7, 4]
    both = [gene for gene in one if gene in other]
    signs = [
        np.sign(other.index(b) - other.index(a)) for k, a in enumerate(both) for b in both[k + 1 :]
    ]
    assert tau(np.array(one, np.uint16), np.array(other, np.uint16)) == pytest.approx(
        np.mean(signs)
    )
    assert np.isnan(tau(np.array([1], np.uint16), np.array([1], np.uint16)))


def test_fewer_genes_cost_accuracy_and_whole_profiles_agree_with_classification(asked):
    corpus, embedder, baselines, methods = asked
    found = panels(corpus, embedder, baselines=baselines, methods=methods)
    assert list(found) == [f"{share:.0%} of the genes" for share in SHARES], "no real panels here"
    whole = classification(corpus, embedder, baselines=baselines, methods=methods)
    for name, scores in found["100% of the genes"]["methods"].items():
        assert scores["accuracy"] == whole["methods"][name]["accuracy"]
    measured = [group["genes"] for group in found.values()]
    assert measured == sorted(measured, reverse=True)
    assert measured[-1] == pytest.approx(0.05 * measured[0], rel=0.01)
    for group in found.values():
        assert group["accuracy"] == group["methods"][SHIPPED]["accuracy"]
        for estimate in (group["accuracy"], group["coverage"], group["flagged"]):
            low, value, high = (dataclasses.asdict(estimate)[k] for k in ("low", "value", "high"))
            assert 0 <= low <= value <= high <= 1
