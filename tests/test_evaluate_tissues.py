"""Tissues and subtypes: planted answers, and labels that must not be mixed up."""

from __future__ import annotations

import numpy as np
import pytest
from planted import embedded, label, planted
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import balanced_accuracy_score
from sklearn.preprocessing import StandardScaler

from specformer_encoder.errors import InputFileError
from specformer_encoder.evaluate import methods
from specformer_encoder.evaluate import subtypes as module
from specformer_encoder.evaluate.subtypes import (
    OWN_PCA,
    QUESTIONS,
    Question,
    class_of,
    probe,
    read_sample_labels,
    subtypes,
)
from specformer_encoder.evaluate.tissues import (
    GTEX_SAME,
    NORMAL_SAME,
    ORGAN_OF_STUDY,
    REST,
    TUMOR_SAME,
    tissues,
)
from specformer_encoder.ordering import rank_quantiles

PAM50 = next(question for question in QUESTIONS if "PAM50" in question.name)


def draw(seed: int, *shape: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, 1, shape).astype(np.float32)


def body() -> tuple[list, np.ndarray]:
    """GTEx of two organs in two pipelines, TCGA normals and tumours of both; organ of each row."""
    labels, organs = [], []

    def add(organ: int, split: str, **fields: str) -> None:
        labels.append(label(patient=f"p{len(labels)}", split=split, **fields))
        organs.append(organ)

    for split, number in (("train", 8), ("test", 4)):
        for i in range(number):
            for organ, tissue in enumerate(("Kidney - Cortex", "Lung")):
                source = f"gtex{i % 2}"
                add(organ, split, study="GTEX", tissue=tissue, source=source, sample_type="normal")
    for organ, study in enumerate(("TCGA-KIRC", "TCGA-LUAD")):
        for _ in range(5):
            add(organ, "train", study=study, source="one", sample_type="normal")
            add(organ, "train", study=study, source="one")
            add(organ, "test", study=study, source="two", sample_type="normal")
    # GTEx has no eye and no cultured cells: neither is a query nor an organ.
    add(2, "test", study="TCGA-UVM", source="two", sample_type="normal")
    add(2, "train", study="GTEX", tissue="Cells - Transformed fibroblasts", sample_type="normal")
    return labels, np.array(organs)


def test_organs_planted_in_the_vectors_are_found():
    labels, organs = body()
    tumor = np.array([one.sample_type == "tumor" for one in labels])
    place = np.eye(3, dtype=np.float32)[organs]
    # Normals of an organ lie together; its tumours lie a little off.
    by_organ = np.hstack([place, 0.5 * tumor[:, None]]) + 0.01 * draw(0, len(labels), 4)
    # The consortium alone: nothing of the organ is left.
    gtex = np.array([one.study == "GTEX" for one in labels]).astype(int)
    by_consortium = np.eye(2, dtype=np.float32)[gtex] + 0.01 * draw(1, len(labels), 2)
    found = tissues(planted(labels, by_organ), {"organ": by_organ, "place": by_consortium})

    among = found["GTEx"]
    assert among["profiles"] == among["profiles with their tissue in another pipeline"] == 8
    assert among["accuracy of the best constant answer"] == 0.5
    assert {value.value for value in among["spaces"]["organ"].values()} == {1.0}
    assert among["spaces"]["place"]["accuracy"].value < 1

    organ = found["TCGA normals among GTEx"]
    assert organ["organs"] == {"Kidney": 5, "Lung": 5}
    assert organ["organs of GTEx"] == {"Kidney": 8, "Lung": 8}
    assert organ["spaces"]["organ"]["accuracy"].value == 1

    around = found["neighbours of TCGA normals"]
    sizes = {GTEX_SAME: 8, NORMAL_SAME: 5, TUMOR_SAME: 5, REST: 19}
    assert around["candidates of a query"] == sizes
    scores = around["spaces"]["organ"]
    assert sum(scores[group].value for group in sizes) == pytest.approx(1)
    assert scores[GTEX_SAME].value + scores[NORMAL_SAME].value == pytest.approx(1)
    assert scores[f"{GTEX_SAME}, nearer than {TUMOR_SAME}"].value == 1
    assert scores[f"{NORMAL_SAME}, nearer than {TUMOR_SAME}"].value == 1
    apart = around["spaces"]["place"]
    assert apart[f"{NORMAL_SAME}, nearer than {GTEX_SAME}"].value == 1
    assert apart[GTEX_SAME].value == 0
    assert 0.2 < apart[f"{NORMAL_SAME}, nearer than {TUMOR_SAME}"].value < 0.8


def test_neighbours_of_the_own_pipeline_do_not_count():
    labels, organs = body()
    moved = [
        label(
            patient=one.patient,
            split=one.split,
            study=one.study,
            tissue=one.tissue,
            sample_type=one.sample_type,
            source="one" if one.source == "two" else one.source,
        )
        for one in labels
    ]
    vectors = np.eye(3, dtype=np.float32)[organs] + 0.01 * draw(2, len(labels), 3)
    found = tissues(planted(moved, vectors), {"x": vectors})["neighbours of TCGA normals"]
    assert set(found) == {"left out"}, "their tumours are all of their own pipeline"


def test_tumours_of_the_own_pipeline_are_no_neighbours_however_near():
    labels, organs = body()
    tumor = np.array([[one.sample_type == "tumor"] for one in labels], np.float32)
    vectors = np.hstack([np.eye(3, dtype=np.float32)[organs], 0.5 * tumor])
    vectors += 0.01 * draw(3, len(labels), 4)
    before = tissues(planted(labels, vectors), {"x": vectors})
    # Tumours of the queries' own pipeline that lie right where the normals do.
    more = [
        label(patient=f"n{i}", split="train", study="TCGA-KIRC", source="two") for i in range(9)
    ]
    place = np.repeat([[1, 0, 0, 0]], 9, axis=0).astype(np.float32)
    both = np.vstack([vectors, place])
    after = tissues(planted([*labels, *more], both), {"x": both})
    part = "neighbours of TCGA normals"
    assert before[part]["spaces"]["x"][TUMOR_SAME].value == 0
    assert after[part]["spaces"] == before[part]["spaces"]


def test_without_normal_tissue_the_questions_are_left_out():
    labels = [label(patient=f"p{i}", split="test", study="TCGA-LUAD") for i in range(3)]
    found = tissues(planted(labels, draw(0, 3, 2)), {})
    assert all(set(part) == {"left out"} for part in found.values())


def test_every_organ_of_a_study_is_an_organ_of_gtex():
    from specformer_encoder.evaluate.tissues import organ_of_tissue

    gtex = """Adrenal Gland;Bladder;Brain - Cortex;Breast - Mammary Tissue;Cervix - Ectocervix;
    Colon - Sigmoid;Esophagus - Mucosa;Kidney - Cortex;Liver;Lung;Ovary;Pancreas;Prostate;
    Skin - Sun Exposed (Lower leg);Stomach;Testis;Thyroid;Uterus"""
    assert set(ORGAN_OF_STUDY.values()) == {organ_of_tissue(t.strip()) for t in gtex.split(";")}


TABLE = """sample\tpatient_id\thistological_type\tsubtype
TCGA-AA-0001-01\tTCGA-AA-0001\tInfiltrating Ductal Carcinoma\tBRCA.Basal
TCGA-AA-0001-11\tTCGA-AA-0001\t\tBRCA.Normal
TCGA-AA-0002-01\tTCGA-AA-0002\tColon Mucinous Adenocarcinoma\tGI.CIN
TCGA-AA-0003-01\tTCGA-AA-0003\t[Discrepancy]\tGBM_LGG.NA
"""


def test_a_class_is_that_of_the_sample_and_not_of_the_patient(tmp_path):
    path = tmp_path / "labels.tsv"
    path.write_text(TABLE)
    table = read_sample_labels(path)

    def found(question: Question, study: str, barcode: str) -> str:
        return class_of(label(study=study, barcode=barcode, patient=barcode[:12]), question, table)

    assert found(PAM50, "TCGA-BRCA", "TCGA-AA-0001-01A-11R-A12P-07") == "Basal"
    assert found(PAM50, "TCGA-BRCA", "TCGA-AA-0001-11A") == "Normal"
    assert found(PAM50, "TCGA-BRCA", "TCGA-AA-0001") == "Basal", "a patient's is the primary's"
    assert found(PAM50, "TCGA-LUAD", "TCGA-AA-0001-01A") == ""
    assert found(PAM50, "TCGA-BRCA", "TCGA-AA-0002-01A") == "", "another system of classes"
    assert found(PAM50, "TCGA-BRCA", "unknown") == ""
    by_name = {question.name: question for question in QUESTIONS}
    mucinous = by_name["colon and rectum, mucinous or not"]
    assert found(mucinous, "TCGA-COAD", "TCGA-AA-0002-01") == "mucinous"
    assert found(mucinous, "TCGA-COAD", "TCGA-AA-0003-01") == ""
    assert found(by_name["diffuse glioma, by methylation"], "TCGA-GBM", "TCGA-AA-0003-01") == ""
    assert found(QUESTIONS[0], "TCGA-LUSC", "anything") == "LUSC"


@pytest.mark.parametrize(
    ("content", "problem"),
    [(b"sample\tsubtype\n", "lacks histological_type"), (b"\xff\xfe\x00", "is no table")],
)
def test_another_table_is_refused(tmp_path, content, problem):
    path = tmp_path / "labels.tsv"
    path.write_bytes(content)
    with pytest.raises(InputFileError, match=problem):
        read_sample_labels(path)
    with pytest.raises(InputFileError, match="cannot be read"):
        read_sample_labels(tmp_path / "none.tsv")


def test_the_probe_is_logistic_regression_at_the_strength_that_validation_chooses(monkeypatch):
    monkeypatch.setattr(methods, "STRENGTHS", (1e-4, 1.0))
    split = np.repeat(["train", "valid", "test"], 60)
    kind = np.random.default_rng(0).integers(0, 3, 180)
    x = draw(1, 180, 5) + 2 * np.eye(5, dtype=np.float32)[kind]
    y = np.array(list("abc"))[kind]
    scaler = StandardScaler().fit(x[:60])
    expected = LogisticRegression(C=1.0).fit(scaler.transform(x[:60]), y[:60])
    assert np.array_equal(probe(x, y, split), expected.predict(scaler.transform(x[120:])))


def test_two_simulated_tumours_are_told_apart(small_corpus, monkeypatch):
    studies = ("TCGA-COAD", "TCGA-LUAD")
    monkeypatch.setattr(module, "QUESTIONS", (Question("which", studies), PAM50))
    monkeypatch.setattr(module, "MINIMUM_PATIENTS", {"train": 10, "valid": 1, "test": 4})
    corpus = small_corpus.corpus
    told = np.array([[one.study == studies[0]] * 3 for one in corpus.labels], np.float32)
    told += 0.1 * draw(3, len(corpus), 3)
    noise = draw(4, len(corpus), 3)
    spaces = {"told": told, "noise": noise}
    quantiles = np.stack([rank_quantiles(v) for v in corpus.values(range(len(corpus)))])
    found = subtypes(embedded(corpus, told), spaces, quantiles=quantiles, labels=None)
    assert set(found[PAM50.name]) == {"left out"}
    assert "left out" in found["which"]["panel"]
    wide = found["which"]["genome-wide"]
    assert wide["classes"]["COAD"] == {"train": 15, "valid": 5, "test": 4}
    assert (wide["profiles"], wide["patients"]) == (16, 8), "tumours only, each in two units"
    assert wide["mixed pipelines profiles"] == 16
    assert wide["methods"]["told"]["balanced accuracy"].value == 1
    assert wide["methods"][OWN_PCA]["accuracy"].value == 1
    test = [
        i for i, o in enumerate(corpus.labels) if o.split == "test" and o.sample_type == "tumor"
    ]
    rows = [i for i, o in enumerate(corpus.labels) if o.sample_type == "tumor"]
    y = np.array([corpus.labels[i].study for i in rows])
    guess = probe(noise[rows], y, np.array([corpus.labels[i].split for i in rows]))
    expected = balanced_accuracy_score([corpus.labels[i].study for i in test], guess)
    assert wide["methods"]["noise"]["balanced accuracy"].value == pytest.approx(expected)


def test_a_class_with_too_few_patients_is_named_and_left_out(small_corpus, monkeypatch):
    monkeypatch.setattr(module, "QUESTIONS", (Question("which", ("TCGA-COAD", "TCGA-LUAD")),))
    corpus = embedded(small_corpus.corpus, draw(0, len(small_corpus.corpus), 3))
    none = np.zeros((len(corpus.labels), 1), np.uint8)
    wide = subtypes(corpus, {}, quantiles=none, labels=None)["which"]["genome-wide"]
    assert wide["classes"] == {}
    assert wide["too few"]["LUAD"]["test"] == 4
    assert "10 train, 1 valid, 5 test" in wide["left out"]
