"""Geometry and the spaces themselves, against SciPy, scikit-learn, naive loops and the network."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from planted import embedded, label, planted
from scipy.stats import entropy
from sklearn.decomposition import PCA
from sklearn.metrics import silhouette_score
from sklearn.neighbors import NearestNeighbors

from specformer_encoder.evaluate.baselines import Baselines, Components
from specformer_encoder.evaluate.geometry import (
    effective_rank,
    geometry,
    pairs_of_one_sample,
    uniformity,
)
from specformer_encoder.evaluate.neighbours import nearest
from specformer_encoder.evaluate.spaces import (
    EMBEDDING,
    PCA_OF_RANKS,
    RANDOM_PROJECTION,
    UNTRAINED,
    all_spaces,
)
from specformer_encoder.evaluate.views import END, Views
from specformer_encoder.model import ModelConfig, SpecFormer
from specformer_encoder.ordering import gene_sequence, quantile_values, rank_quantiles
from specformer_encoder.projection import unit_length


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
    found = geometry(embedded(corpus, vectors), {"x": vectors})
    assert found["pairs of one sample"] == len(by_sample)
    assert found["spaces"]["x"]["alignment"].value == pytest.approx(expected, rel=1e-5)


def test_spaces(small_corpus):
    corpus = small_corpus.corpus
    vectors = draw(0, len(corpus), 2)
    found = embedded(corpus, vectors)
    values = corpus.values(range(len(corpus)))
    idf = corpus.packed().statistics.idf
    quantiles = np.stack([rank_quantiles(v) for v in values])
    sequences = np.full((len(corpus), 32), END, np.uint16)
    for row, profile in zip(sequences, values, strict=True):
        ordered = gene_sequence(profile, idf, 32)
        row[: len(ordered)] = ordered
    config = ModelConfig(genes=values.shape[1], length=32, width=16, layers=2)
    views = Views(quantiles, sequences, found.reading, vectors)
    spaces = all_spaces(found, Baselines(found, views, config=config, seed=4), seed=4)
    assert spaces[EMBEDDING] is found.vectors

    ranks = np.nan_to_num(quantile_values(quantiles))  # genes that no profile here measures
    train = np.array([label.split == "train" for label in corpus.labels])
    exact = PCA(train.sum() - 1, svd_solver="full").fit(ranks[train])
    components = spaces[PCA_OF_RANKS]
    assert components.shape == (len(corpus), train.sum() - 1)
    leading = np.abs(exact.transform(ranks)[:, :3])  # the sign of a component is free
    assert np.allclose(np.abs(components[:, :3]), leading, atol=1e-2 * leading.max())
    fitted = Components.fit(quantiles[train], seed=4)
    assert np.allclose(fitted.project(quantiles, fitted.axes), components, atol=1e-3)
    # Johnson-Lindenstrauss: distances survive a random projection to 256 directions.
    true = np.linalg.norm(ranks[:20, None] - ranks[None, 20:40], axis=2)
    projected = spaces[RANDOM_PROJECTION]
    kept = np.linalg.norm(projected[:20, None] - projected[None, 20:40], axis=2)
    assert np.abs(kept / true - 1).max() < 0.3

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(4)
        network = SpecFormer(config).eval()
    with torch.inference_mode():
        tokens = torch.from_numpy(sequences.astype(np.int64))
        pooled = network.pool(network.states(tokens)).numpy()
    expected = unit_length(pooled - pooled[train].mean(axis=0))
    assert np.allclose(spaces[UNTRAINED], expected, atol=1e-5)
