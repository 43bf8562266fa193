"""Geometry and the spaces themselves, against SciPy, scikit-learn, naive loops and the network."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from planted import label, planted
from scipy.stats import entropy
from sklearn.decomposition import PCA
from sklearn.metrics import silhouette_score
from sklearn.neighbors import NearestNeighbors

from specformer_encoder.embedder import Embedder, unit_length
from specformer_encoder.evaluate.classification import EmbeddedCorpus
from specformer_encoder.evaluate.geometry import (
    effective_rank,
    geometry,
    pairs_of_one_sample,
    uniformity,
)
from specformer_encoder.evaluate.neighbours import nearest
from specformer_encoder.evaluate.spaces import (
    PCA_OF_RANKS,
    RANDOM_PROJECTION,
    rank_components,
    rank_spaces,
    untrained_encoder,
)
from specformer_encoder.model import ModelConfig, SpecFormer
from specformer_encoder.ordering import quantile_values, rank_quantiles


def draw(seed: int, *shape: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, 1, shape).astype(np.float32)


def test_effective_rank():
    x = draw(0, 30, 8)
    values = np.linalg.svd(x, compute_uv=False)
    assert effective_rank(x) == pytest.approx(np.exp(entropy(values)), rel=1e-5)
    line = np.outer(draw(1, 20), draw(2, 8))
    assert effective_rank(line) == pytest.approx(1, abs=1e-4)
    # A direction that all share counts only in vectors as they are.
    assert effective_rank(line + 5, centred=True) == pytest.approx(1, abs=1e-4)
    assert effective_rank(line + 5) > 1.05


def test_nearest_against_scikit_learn_and_with_some_forbidden():
    queries, candidates = draw(3, 12, 5), draw(4, 40, 5)
    index = NearestNeighbors(n_neighbors=6, metric="cosine").fit(candidates)
    assert np.array_equal(nearest(queries, candidates, k=6), index.kneighbors(queries)[1])
    allowed = np.zeros((12, 40), np.bool_)
    allowed[:, [7, 3]] = True
    found = nearest(queries, candidates, k=4, allowed=allowed)
    assert {tuple(sorted(row)) for row in found[:, :2].tolist()} == {(3, 7)}
    assert (found[:, 2:] == -1).all()
    assert nearest(queries, candidates[:3], k=5).shape == (12, 5)


def test_uniformity_is_over_pairs_of_different_patients():
    x = draw(5, 9, 4)
    patients = list("aabbccdde")
    unit = x / np.linalg.norm(x, axis=1, keepdims=True)
    potential = [
        np.exp(-2 * np.sum((unit[i] - unit[j]) ** 2))
        for i in range(9)
        for j in range(9)
        if patients[i] != patients[j]
    ]
    assert uniformity(x, patients).value == pytest.approx(np.log(np.mean(potential)), abs=1e-5)


def test_pairs_are_of_one_sample_in_two_units_or_sources():
    labels = [
        label(patient="p", source="a", barcode="TCGA-AA-0001-01A"),
        label(patient="p", source="b", barcode="TCGA-AA-0001-01A"),
        label(patient="p", source="a", unit="counts", barcode="TCGA-AA-0001"),
        label(patient="p", source="b", unit="counts", barcode="TCGA-AA-0001-06A"),
        label(patient="p", source="c", barcode="TCGA-AA-0001-11A", sample_type="normal"),
        label(patient="q", source="a"),
        label(patient="g", study="GTEX", tissue="Lung", sample_type="normal"),
        label(patient="g", study="GTEX", tissue="Skin", sample_type="normal", source="b"),
        label(patient="", source="a"),
        label(patient="", source="b"),
    ]
    corpus = planted(labels, draw(0, 10, 3))
    # Row 2 does not say whether it is the primary or the metastasis, so it goes with either.
    assert pairs_of_one_sample(corpus, list(range(10))) == [(0, 1), (0, 2), (1, 2), (2, 3)]


def cohort() -> tuple[list, np.ndarray]:
    """Two studies, each from two sources; the vectors tell the study in 0-1, the source in 2-3."""
    labels, kinds = [], []
    for split, people in (("train", 30), ("test", 12)):
        for number in range(people):
            study, source = number % 2, number // 2 % 2
            fields = {
                "patient": f"{split}{number}",
                "split": split,
                "study": f"TCGA-{study}",
                "source": f"source{source}",
            }
            labels.append(label(**fields))
            kinds.append((study, source))
    return labels, np.array(kinds)


def test_purity_among_other_sources_sees_through_the_pipeline():
    labels, kinds = cohort()
    one_hot = np.eye(2, dtype=np.float32)
    noise = 0.001 * draw(6, len(labels), 4)
    study = np.hstack([one_hot[kinds[:, 0]], 0 * one_hot[kinds[:, 1]]]) + noise
    # Each study of each source is a corner of its own; corners of one source lie together.
    mixed = np.hstack([0.1 * one_hot[kinds[:, 0] ^ kinds[:, 1]], one_hot[kinds[:, 1]]]) + noise
    found = geometry(planted(labels, study), {"study": study, "mixed": mixed})
    assert found["tumors"] == found["tumors with their study in another source"] == 12
    assert found["pairs of one sample"] == 0
    assert "alignment" not in found["spaces"]["study"]
    own, other = "neighbour purity", "neighbour purity, other sources"
    assert found["spaces"]["study"][own].value == found["spaces"]["study"][other].value == 1
    assert found["spaces"]["mixed"][own].value > 0.7
    assert found["spaces"]["mixed"][other].value < 0.2
    test = [i for i, one in enumerate(labels) if one.split == "test"]
    expected = silhouette_score(mixed[test], kinds[test, 0], metric="cosine")
    assert found["spaces"]["mixed"]["silhouette by study"].value == pytest.approx(expected)


def test_purity_asks_for_no_more_neighbours_than_could_be_right():
    labels = [
        label(patient="q", split="test", study="TCGA-0"),
        label(patient="r", split="test", study="TCGA-0"),
        label(patient="s", split="test", study="TCGA-1"),
        label(patient="t", split="test", study="TCGA-1"),
        *(label(patient=f"a{i}", split="train", study="TCGA-0") for i in range(3)),
        *(label(patient=f"b{i}", split="train", study="TCGA-1") for i in range(20)),
    ]
    vectors = np.array([[1, 0]] * 2 + [[0, 1]] * 2 + [[1, 0]] * 3 + [[0, 1]] * 20, np.float32)
    vectors += 0.01 * draw(0, 27, 2)
    found = geometry(planted(labels, vectors), {"x": vectors})
    assert found["spaces"]["x"]["neighbour purity"].value == 1
    assert found["tumors with their study in another source"] == 0
    assert "neighbour purity, other sources" not in found["spaces"]["x"]


def test_alignment_of_a_corpus(small_corpus):
    """The test patients of the small corpus stand in it twice, in counts and in TPM."""
    corpus = small_corpus.corpus
    vectors = draw(8, len(corpus), 6)
    by_sample: dict[str, list[int]] = {}
    for i, one in enumerate(corpus.labels):
        if one.split == "test":
            by_sample.setdefault(one.barcode, []).append(i)
    unit = unit_length(vectors)
    expected = np.mean([np.sum((unit[i] - unit[j]) ** 2) for i, j in by_sample.values()])
    found = geometry(EmbeddedCorpus(corpus, vectors), {"x": vectors})
    assert found["pairs of one sample"] == len(by_sample)
    assert found["spaces"]["x"]["alignment"].value == pytest.approx(expected, rel=1e-5)


def test_rank_spaces(small_corpus):
    corpus = small_corpus.corpus
    embedded = EmbeddedCorpus(corpus, draw(0, len(corpus), 2))
    ranks = quantile_values(
        np.stack([rank_quantiles(v) for v in corpus.values(range(len(corpus)))])
    )
    train = np.array([label.split == "train" for label in corpus.labels])
    ranks = np.where(np.isnan(ranks), 0, ranks)  # genes that no profile here measures
    spaces = rank_spaces(embedded)
    exact = PCA(train.sum() - 1, svd_solver="full").fit(ranks[train])
    found = spaces[PCA_OF_RANKS]
    assert found.shape == (len(corpus), train.sum() - 1)
    expected = exact.transform(ranks)
    leading = np.abs(expected[:, :3])  # the sign of a component is free
    assert np.allclose(np.abs(found[:, :3]), leading, atol=1e-2 * leading.max())
    own = rank_components(embedded, range(len(corpus)), fit=train)
    assert np.allclose(own, found, atol=1e-3)
    # Johnson-Lindenstrauss: distances survive a random projection to 256 directions.
    true = np.linalg.norm(ranks[:20, None] - ranks[None, 20:40], axis=2)
    projected = spaces[RANDOM_PROJECTION]
    kept = np.linalg.norm(projected[:20, None] - projected[None, 20:40], axis=2)
    assert np.abs(kept / true - 1).max() < 0.3


def test_the_untrained_encoder_is_the_whole_network_before_its_first_step(small_corpus):
    corpus = small_corpus.corpus
    embedded = EmbeddedCorpus(corpus, draw(0, len(corpus), 2))
    config = ModelConfig(genes=len(corpus.packed().vocabulary), length=32, width=16, layers=2)
    idf = corpus.packed().statistics.idf
    vectors = untrained_encoder(embedded, config=config, idf=idf, seed=4)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(4)
        weights = SpecFormer(replace(config, layers=0)).state_dict()
    whole = SpecFormer(config)
    missing = whole.load_state_dict(weights, strict=False).missing_keys
    assert missing
    assert all(name.startswith("blocks.") for name in missing)
    pooled = Embedder(whole, idf, np.zeros(16, np.float32), None).pooled(
        corpus.values(range(len(corpus)))
    )
    train = [label.split == "train" for label in corpus.labels]
    assert np.allclose(vectors, unit_length(pooled - pooled[train].mean(axis=0)), atol=1e-5)
