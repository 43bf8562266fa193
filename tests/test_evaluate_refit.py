"""Readouts fitted anew: on the rows that they are given, and on nothing of the others."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from planted import label, planted, reading_of

from specformer_encoder.evaluate.embedded import EmbeddedCorpus
from specformer_encoder.evaluate.refit import (
    REFITTED,
    REFITTED_KNN,
    WITH_FACTORS,
    AlteredViews,
    Reader,
    Refitted,
    RefittedFactors,
    material_of,
)
from specformer_encoder.evaluate.views import Views
from specformer_encoder.factors import fit_factors
from specformer_encoder.readout import fit_readout

TYPES = ["TCGA-AAA", "TCGA-BBB", "TCGA-CCC"]
GENES, NETWORK, FACTORS = 60, 4, 5


def made() -> tuple[EmbeddedCorpus, Views, AlteredViews]:
    """Three types, normals and a panel from two sources; ranks and raw vectors tell the type."""
    draw = np.random.default_rng(0)
    labels, kinds = [], []
    for split, people in (("train", 120), ("valid", 60), ("test", 60)):
        for number in range(people):
            kind = number % 4
            fields = {
                "patient": f"{split}{number}",
                "split": split,
                "study": TYPES[kind % 3],
                "sample_type": "tumor" if kind < 3 else "normal",
                "source": f"source{number // 4 % 2}",
            }
            labels.append(label(**fields))
            kinds.append(kind)
    centres = draw.normal(0, 2, (4, NETWORK + FACTORS))
    raw = centres[kinds] + draw.normal(0, 1, (len(kinds), NETWORK + FACTORS))
    corpus = planted(labels, raw)
    levels = draw.normal(0, 1, (4, GENES))
    values = levels[kinds] + draw.normal(0, 1, (len(kinds), GENES))
    ranks = values.argsort(axis=1).argsort(axis=1)
    quantiles = np.round(ranks * 254 / (GENES - 1)).astype(np.uint8)
    sequences = np.zeros((len(kinds), 3), np.uint16)
    views = Views(quantiles, sequences, corpus.reading, corpus.vectors)
    valid = [i for i, one in enumerate(labels) if one.split == "valid"]
    train = [i for i, one in enumerate(labels) if one.split == "train"]
    place = {row: k for k, row in enumerate(valid + train)}
    moves = [(row, f"source{1 - (k // 4 % 2)}.tpm") for k, row in enumerate(train)]
    both = views.take(valid + train)
    altered = AlteredViews(views.take(valid), both, place, views.take(train), moves)
    return corpus, views, altered


@pytest.fixture(scope="module")
def parts() -> tuple[EmbeddedCorpus, Views, AlteredViews]:
    return made()


def rows_of(corpus: EmbeddedCorpus, split: str, source: str = "source") -> list[int]:
    return [
        i
        for i, one in enumerate(corpus.labels)
        if one.split == split and one.source.startswith(source)
    ]


def test_material_is_of_the_given_rows_and_moved_to_their_pipelines_only(parts):
    corpus, views, altered = parts
    reader = Reader(corpus, views, altered, NETWORK)
    train, valid = rows_of(corpus, "train"), rows_of(corpus, "valid")
    both = material_of(reader, train, valid)
    assert [len(both.train), len(both.valid), len(both.shifted)] == [120, 60, 120]
    assert [label.person for label in both.thinned.labels] == [f"train{i}" for i in range(120)]
    assert [len(both.thinned_valid), len(both.shallow_valid), len(both.simulated)] == [60, 60, 0]
    one = material_of(reader, rows_of(corpus, "train", "source0"), valid)
    # Each can be moved to the other source alone, which is left out.
    assert len(one.train) == 60
    assert len(one.shifted) == 0


def test_refitting_on_all_rows_is_fitting_a_readout(parts):
    corpus, views, altered = parts
    train, valid, test = (rows_of(corpus, split) for split in ("train", "valid", "test"))
    fitted = Refitted(corpus, views, altered, NETWORK)(train, valid, types=TYPES)
    assert set(fitted) == {REFITTED, REFITTED_KNN}
    material = material_of(Reader(corpus, views, altered, NETWORK), train, valid)
    readout = fit_readout(material, TYPES, network=NETWORK)
    read = corpus.reading.rows(test)
    expected = readout.heads.probabilities(readout.embeddings(read), read.measured)
    assert np.array_equal(fitted[REFITTED].probabilities(test), expected)
    tumors = [i for i in test if corpus.labels[i].sample_type == "tumor"]
    truth = np.array([corpus.labels[i].study for i in tumors])
    for predictor in fitted.values():
        found = predictor.probabilities(tumors)
        assert np.allclose(found.sum(axis=1), 1)
        assert (np.array(predictor.types)[found.argmax(axis=1)] == truth).mean() > 0.85


def test_rows_that_are_not_given_decide_nothing(parts):
    corpus, views, altered = parts
    train, valid = rows_of(corpus, "train", "source0"), rows_of(corpus, "valid", "source0")
    given = set(train) | set(valid)
    others = [i for i in range(len(corpus.labels)) if i not in given]
    raw = corpus.reading.raw.copy()
    raw[others] = np.random.default_rng(1).permuted(raw[others], axis=1)
    scrambled = dataclasses.replace(views, reading=reading_of(raw))
    asked = sorted(given)
    first, second = (
        Refitted(corpus, some, altered, NETWORK)(train, valid, types=TYPES)[REFITTED]
        for some in (views, scrambled)
    )
    assert np.array_equal(first.probabilities(asked), second.probabilities(asked))


def test_new_factors_are_those_of_the_training_rows_and_take_the_place_of_the_old(parts):
    corpus, views, altered = parts
    train, valid, test = (rows_of(corpus, split) for split in ("train", "valid", "test"))
    fitted = RefittedFactors(corpus, views, altered, NETWORK)(train, valid, types=TYPES)
    predictor = fitted[WITH_FACTORS]
    factors = fit_factors(views.quantiles[train])
    read = predictor.reader.whole(test[:5]).reading
    for row, raw, misfit in zip(test, read.raw, read.misfit, strict=False):
        z, expected = factors.read(views.quantiles[row])
        assert np.array_equal(raw, np.concatenate([corpus.reading.raw[row, :NETWORK], z]))
        assert misfit == np.float32(expected)
    tumors = [i for i in test if corpus.labels[i].sample_type == "tumor"]
    truth = np.array([corpus.labels[i].study for i in tumors])
    named = np.array(predictor.types)[predictor.probabilities(tumors).argmax(axis=1)]
    assert (named == truth).mean() > 0.85
