"""Baselines and what is left out for them, on simulated tumours in two pipelines."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import torch
from planted import reading_of
from sklearn.decomposition import PCA

from specformer_encoder.corpus import Corpus
from specformer_encoder.corpus.labels import SampleLabel
from specformer_encoder.errors import CorpusError
from specformer_encoder.evaluate import leave_out, metrics, paired_shift
from specformer_encoder.evaluate.baselines import Bag, Baselines, Centred, Components, Untrained
from specformer_encoder.evaluate.embedded import EmbeddedCorpus
from specformer_encoder.evaluate.methods import named, top
from specformer_encoder.evaluate.views import END, Views, look
from specformer_encoder.model import ModelConfig, SpecFormer
from specformer_encoder.ordering import NOT_MEASURED, gene_sequence, quantile_values, rank_quantiles
from specformer_encoder.packed import GENOME_WIDE
from specformer_encoder.projection import unit_length
from specformer_encoder.reading import Reading

GENES = 300
CONFIG = ModelConfig(genes=GENES, length=64, width=32, layers=2, heads=2, expansion=2)
LUNG = ("TCGA-LUAD", "TCGA-LUSC")


def label(patient: str, study: str, unit: str, split: str, *, source: str = "") -> SampleLabel:
    source = source or f"source_{unit}"
    return SampleLabel(
        f"{source}:{patient}",
        source,
        unit,
        f"{patient}-01A",
        patient,
        study,
        "",
        "tumor",
        split,
        "",
    )


def simulated() -> tuple[list[SampleLabel], np.ndarray]:
    """Three types; UVM in both pipelines, LUAD in RSEM, LUSC in counts and a few times in RSEM.

    A pipeline moves each gene five times as much as a type does.
    """
    draw = np.random.default_rng(5)
    base = np.exp(draw.normal(0, 1.5, GENES))
    kind = {name: np.exp(draw.normal(0, 0.2, GENES)) for name in (*LUNG, "TCGA-UVM")}
    pipeline = {
        "rsem_normalized": np.exp(draw.normal(0, 1, GENES)),
        "counts": np.ones(GENES),
    }
    labels, values = [], []
    for study, units, patients in (
        ("TCGA-UVM", ("rsem_normalized", "counts"), 50),
        ("TCGA-LUAD", ("rsem_normalized",), 50),
        ("TCGA-LUSC", ("counts",), 50),
        ("TCGA-LUSC", ("rsem_normalized", "counts"), 10),
    ):
        for number in range(patients):
            patient = f"TCGA-{len(labels):02d}"[:7] + f"-{len(labels):04d}"
            split = ("train", "train", "train", "valid", "test")[number % 5]
            tumor = base * kind[study] * np.exp(draw.normal(0, 0.1, GENES))
            for unit in units:
                labels.append(label(patient, study, unit, split))
                noise = np.exp(draw.normal(0, 0.05, GENES))
                values.append((tumor * pipeline[unit] * noise).astype(np.float32))
    return labels, np.array(values)


class Stub:
    """What `look` asks of a release; its embedding of row i of the corpus is planted."""

    config, genes = CONFIG, GENES

    def __init__(self, vectors: np.ndarray, idf: np.ndarray) -> None:
        self.vectors, self.idf = vectors, idf
        self.asked: list[int] = []

    def read(self, block: np.ndarray) -> Reading:
        done = sum(self.asked)
        self.asked.append(len(block))
        return reading_of(self.vectors[done : done + len(block)])

    def embeddings(self, reading: Reading) -> np.ndarray:
        return reading.raw


def corpus_of(labels: list[SampleLabel], vectors: np.ndarray) -> EmbeddedCorpus:
    table = pa.table({"genes_measured": np.full(len(labels), GENOME_WIDE, np.int32)})
    return EmbeddedCorpus(Corpus(Path(), {}, labels, table, None), reading_of(vectors), vectors)


@pytest.fixture(scope="module")
def baselines() -> Baselines:
    labels, values = simulated()
    vectors = unit_length(np.log(values[:, :40]).astype(np.float32))
    idf = np.random.default_rng(0).random(GENES).astype(np.float32)
    views = look(lambda rows: values[rows], list(range(len(values))), Stub(vectors, idf))
    return Baselines(corpus_of(labels, vectors), views, config=CONFIG)


def views_of(quantiles: np.ndarray, sequences: np.ndarray) -> Views:
    vectors = np.zeros((len(quantiles), 1), np.float32)
    return Views(quantiles, sequences, reading_of(vectors), vectors)


def splits(corpus: EmbeddedCorpus) -> list[list[int]]:
    return [
        [i for i, one in enumerate(corpus.labels) if one.split == split]
        for split in ("train", "valid", "test")
    ]


def test_views_are_ranks_and_first_genes_whatever_the_block():
    values = np.random.default_rng(1).random((300, GENES)).astype(np.float32)
    values[7, 20:] = np.nan
    idf = np.linspace(0, 1, GENES, dtype=np.float32)
    rows = list(range(299, -1, -1))
    stub = Stub(np.nan_to_num(values[rows][:, :3]), idf)
    stub.config = dataclasses.replace(CONFIG, length=30)
    views = look(lambda some: values[some], rows, stub)
    assert stub.asked == [256, 44]
    for place in (0, 255, 256, 292, 299):
        profile = values[rows[place]]
        assert np.array_equal(views.quantiles[place], rank_quantiles(profile))
        sequence = gene_sequence(profile, idf, 30)
        assert np.array_equal(views.sequences[place, : len(sequence)], sequence)
        assert (views.sequences[place, len(sequence) :] == END).all()
    assert np.array_equal(views.vectors, np.nan_to_num(values[rows][:, :3]))


def test_components_are_those_of_scikit_learn_on_mean_filled_ranks():
    draw = np.random.default_rng(2)
    quantiles = draw.integers(0, 255, (40, 90)).astype(np.uint8)
    quantiles[:5, :30] = NOT_MEASURED
    quantiles[:, 89] = NOT_MEASURED
    ranks = quantile_values(quantiles)[:, :89]
    filled = np.where(np.isnan(ranks), np.nanmean(ranks, axis=0), ranks)
    expected = PCA(39, svd_solver="full").fit(filled)
    found = Components.fit(quantiles, seed=0)
    views = views_of(quantiles, np.zeros((40, 1), np.uint16))
    # The sign of a component means nothing; the last has no variance to speak of.
    np.testing.assert_allclose(
        abs(found.of(views)[:, :20]), abs(expected.transform(filled)[:, :20]), atol=2e-3
    )
    assert not found.axes[:, 89].any()


def test_bag_is_the_set_of_first_genes():
    sequences = np.array([[5, 2, 9], [7, END, END], [END] * 3], np.uint16)
    views = views_of(np.zeros((3, 1), np.uint8), sequences)
    dense = Bag(10).of(views).toarray()
    assert [set(np.flatnonzero(row)) for row in dense] == [{2, 5, 9}, {7}, set()]
    assert dense.max() == 1


def test_untrained_encoder_is_the_whole_network_before_its_first_step(baselines):
    views = baselines.views.take(range(6))
    short = views.sequences.copy()
    short[2, 10:] = END
    views = views_of(views.quantiles, short)
    fresh = Untrained(CONFIG, seed=4)
    found = Centred(fresh, fresh.pooled(short).mean(axis=0)).of(views)
    torch.manual_seed(4)
    network = SpecFormer(CONFIG).eval()
    with torch.inference_mode():
        pooled = np.stack(
            [
                network.pool(network.states(torch.from_numpy(s[s != END].astype(np.int64))[None]))[
                    0
                ]
                for s in short
            ]
        )
    np.testing.assert_allclose(found, unit_length(pooled - pooled.mean(axis=0)), atol=1e-5)


def test_shift_is_the_mean_difference_of_the_samples_in_both(baselines):
    labels, quantiles = baselines.corpus.labels, baselines.views.quantiles.copy()
    train = splits(baselines.corpus)[0]
    quantiles[train[0], 3] = NOT_MEASURED
    extra = [  # none of these may count: corrected values, an unknown patient, a metastasis
        label("TCGA-99-0001", "TCGA-UVM", "rsem_fpkm_combat", "train"),
        label("TCGA-99-0001", "TCGA-UVM", "counts", "train"),
        label("", "TCGA-UVM", "rsem_log2", "train"),
        label("", "TCGA-UVM", "counts", "train"),
        label("TCGA-99-0002", "TCGA-UVM", "rsem_log2", "train"),
    ]
    odd = SampleLabel(
        "m", "s", "counts", "TCGA-99-0002-06A", "TCGA-99-0002", "x", "", "tumor", "train", ""
    )
    everyone = [*labels, *extra, odd]
    rows = [*train, *range(len(labels), len(everyone))]
    padded = np.concatenate([quantiles, np.full((6, GENES), 7, np.uint8)])
    learnt = paired_shift.learn(everyone, padded, rows)
    differences = [
        quantile_values(quantiles[j]) - quantile_values(quantiles[i])
        for i in train
        for j in train
        if labels[i].patient == labels[j].patient
        and (labels[i].unit, labels[j].unit) == ("rsem_normalized", "counts")
    ]
    there = (paired_shift.RSEM, paired_shift.COUNTS)
    assert learnt.samples[there] == len(differences) == 36
    np.testing.assert_allclose(learnt.shifts[there], np.nanmean(differences, axis=0), atol=1e-6)
    np.testing.assert_allclose(learnt.shifts[there[::-1]], -learnt.shifts[there], atol=1e-6)
    assert learnt.partner(paired_shift.RSEM) == paired_shift.COUNTS
    assert learnt.partner(paired_shift.SCALED) is None
    assert learnt.partner(None) is None


def test_paired_shifts_carry_a_type_into_a_pipeline_where_it_was_never_met(baselines, monkeypatch):
    monkeypatch.setattr(metrics, "RESAMPLES", 20)
    (setting,) = leave_out.one_pipeline_only(baselines.corpus)
    found = leave_out.run(baselines.corpus, [setting], [baselines], progress=lambda _: None)
    tests = found[setting.name]["tests"]
    across = tests["TCGA-LUSC from RSEM"]["methods"]
    assert across["PCA-256 + kNN"]["accuracy"].value == 0, "the pipeline hides the type"
    assert across["PCA-256 + paired shifts + kNN"]["accuracy"].value == 1
    at_home = tests["TCGA-LUSC from the GDC"]["methods"]
    assert at_home["PCA-256 + kNN"]["accuracy"].value == 1
    for name, scores in across.items():
        calls = scores["named"]["TCGA-LUSC"]
        assert sum(calls.values()) == 10, name
        assert calls.get("TCGA-LUSC", 0) == pytest.approx(10 * scores["accuracy"].value)


def test_nothing_that_is_left_out_decides_anything(baselines):
    corpus = baselines.corpus
    train, valid, test = splits(corpus)
    draw, views = np.random.default_rng(0), baselines.views
    arrays = (views.quantiles.copy(), views.sequences.copy(), views.reading, views.vectors.copy())
    scrambled = Views(*arrays)
    for array in (scrambled.quantiles, scrambled.sequences, scrambled.vectors):
        array[test] = draw.permuted(array[test], axis=1)
    types = [*LUNG, "TCGA-UVM"]
    asked = views.take(test)
    one = baselines.methods(train, valid, types=types)
    other = Baselines(corpus, scrambled, config=CONFIG).methods(train, valid, types=types)
    assert len(one) == 10
    for name, method in one.items():
        assert np.array_equal(method.of(asked), other[name].of(asked)), name


def test_every_method_tells_types_apart_in_pipelines_that_it_knows(baselines):
    train, valid, test = splits(baselines.corpus)
    fitted = baselines(train, valid, types=["TCGA-LUAD", "TCGA-UVM"])
    rows = [i for i in test if baselines.corpus.labels[i].study != "TCGA-LUSC"]
    true = np.array([baselines.corpus.labels[i].study for i in rows])
    for name, predictor in fitted.items():
        probabilities = predictor.probabilities(rows)
        np.testing.assert_allclose(probabilities.sum(axis=1), 1, atol=1e-6)
        assert (np.array(top(probabilities, predictor.types)) == true).mean() > 0.8, name


def test_without_validation_tumours_of_the_types_nothing_is_chosen(baselines):
    train, _, _ = splits(baselines.corpus)
    with pytest.raises(CorpusError, match="None of 0 validation profiles"):
        baselines.methods(train, [], types=["TCGA-LUAD", "TCGA-UVM"])


def test_left_out_sources_and_their_patients_are_in_no_row(baselines):
    labels = baselines.corpus.labels
    settings = leave_out.sources_left_out(baselines.corpus)
    # RSEM's LUAD has no other source, and all UVM patients are in both: neither can be asked for.
    assert [s.name for s in settings] == ["source_rsem_normalized"]
    (setting,) = settings
    tested = setting.tests["left out"]
    assert {labels[i].study for i in tested} == {"TCGA-LUSC"}
    assert setting.types == ["TCGA-LUSC"]
    used = [*setting.train, *setting.valid]
    assert not {labels[i].source for i in used} & {"source_rsem_normalized"}
    assert not {labels[i].patient for i in used} & {labels[i].patient for i in tested}


def test_one_unit_only_trains_crossed_types_in_that_unit(baselines):
    labels = baselines.corpus.labels
    settings = {s.name: s for s in leave_out.one_unit_only(baselines.corpus)}
    assert set(settings) == {"counts", "rsem_normalized"}
    rsem = settings["rsem_normalized"]
    # LUSC has six training patients in RSEM, too few to be trained there alone.
    assert {labels[i].study for rows in rsem.tests.values() for i in rows} == {"TCGA-UVM"}
    units = {(labels[i].study, labels[i].unit) for i in rsem.train}
    assert ("TCGA-UVM", "counts") not in units
    assert ("TCGA-LUSC", "counts") in units
    assert {labels[i].split for rows in rsem.tests.values() for i in rows} == {"test"}


def test_the_loop_takes_any_fit_and_counts_what_it_says(baselines):
    corpus = baselines.corpus
    seen = {}

    class AlwaysLuad:
        types = ("TCGA-LUAD", "TCGA-UVM")

        def probabilities(self, rows: list[int]) -> np.ndarray:
            return np.tile([0.9, 0.1], (len(rows), 1))

    def fit(train: list[int], valid: list[int], *, types: list[str]) -> AlwaysLuad:
        seen.update(train=train, valid=valid, types=types)
        return AlwaysLuad()

    (setting,) = leave_out.one_pipeline_only(corpus)
    found = leave_out.run(corpus, [setting], [named("constant", fit)], progress=lambda _: None)
    assert seen == {"train": setting.train, "valid": setting.valid, "types": setting.types}
    judged = found[setting.name]
    assert judged["training patients"] == {"TCGA-LUAD": 30, "TCGA-LUSC": 30}
    adeno = judged["tests"]["TCGA-LUAD from RSEM"]
    assert (adeno["profiles"], adeno["patients"], adeno["test patients"]) == (10, 10, 10)
    assert adeno["methods"]["constant"]["accuracy"].value == 1
    squamous = judged["tests"]["TCGA-LUSC from RSEM"]["methods"]["constant"]
    assert squamous["named"] == {"TCGA-LUSC": {"TCGA-LUAD": 10}}
    assert squamous["by type"]["TCGA-LUSC"].high == 0
