"""One run of every question on a small release, and the page that is made of it."""

from __future__ import annotations

import json

import numpy as np
import pytest
from planted import small_release
from sklearn.neighbors import KNeighborsClassifier

from specformer_encoder.evaluate import metrics
from specformer_encoder.evaluate.ablations import BOTH
from specformer_encoder.evaluate.doubt_of_release import POOR
from specformer_encoder.evaluate.page import headline, page, text, write_page
from specformer_encoder.evaluate.page.types import ACROSS, leave_out
from specformer_encoder.evaluate.run import PARADIGM, QUESTIONS, QuestionError, evaluate, merge
from specformer_encoder.gene_sets import GeneSets
from specformer_encoder.genes import vocabulary


@pytest.fixture(scope="module")
def release(small_corpus, tmp_path_factory):
    return small_release(small_corpus.corpus, tmp_path_factory.mktemp("paged") / "release")


@pytest.fixture(scope="module")
def results(small_corpus, release, tmp_path_factory):
    """Every question; of the reference folder only some pathways are there."""
    folder = tmp_path_factory.mktemp("reference")
    bundled, symbols = GeneSets.load(), vocabulary().symbols
    sets = {name: [symbols[g] for g in bundled.members(name)] for name in bundled.names[:10]}
    (folder / PARADIGM).write_text(json.dumps(sets))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(metrics, "RESAMPLES", 20)
        found = evaluate(release, small_corpus.corpus, reference=folder, progress=lambda _: None)
    return json.loads(json.dumps(found, allow_nan=False))


def test_every_question_is_answered_or_says_why_not(results):
    assert results["asked"] == [list(QUESTIONS)]
    assert list(results) == ["release", "corpus", "asked", *QUESTIONS]
    assert "left out" not in results["pathways"]
    assert results["simulated types"] == {
        "left out": "The table of published cohort medians was not given."
    }
    assert "left out" in results["subtypes"]["breast, PAM50"]
    assert results["corpus"]["test"] == {"profiles": 20, "patients": 10}


def test_doubt_is_asked_of_odd_profiles_and_poor_ones(results):
    found = results["doubt"]
    kinds = found["novelty"]["kinds"]
    assert kinds["normal tissue beside tumours (TCGA)"]["profiles"] == 4
    assert kinds["all genes scrambled"]["auroc"]["value"] == 1
    assert set(POOR) - set(kinds) == {POOR[0]}, "there are no real panels here"
    assert "leukaemia (TARGET)" not in kinds
    whole = found["calibration"]["100% of the genes"]
    shipped = results["classification"]["methods"]["SpecFormer predictor (shipped)"]
    assert whole["accuracy"]["value"] == shipped["accuracy"]["value"]
    assert found["held out types"] == {}, "of two types none can be held out"


def test_ablations_take_parts_away(results, release, small_corpus):
    parts = results["ablations"]["parts"]
    assert len(parts) == 6
    assert len(results["ablations"]["orderings"]) == 4
    assert results["ablations"]["left out"] is None
    corpus = small_corpus.corpus
    rows = {
        split: [
            i
            for i, one in enumerate(corpus.labels)
            if one.split == split and one.sample_type == "tumor"
        ]
        for split in ("train", "test")
    }
    raw = {split: release.read(corpus.values(some)).raw for split, some in rows.items()}
    everyone = [i for i, one in enumerate(corpus.labels) if one.split == "train"]
    centre = release.read(corpus.values(everyone)).raw.mean(axis=0)
    y = {split: [corpus.labels[i].study for i in some] for split, some in rows.items()}
    # The fitted release stands on the same parts; only its projection is left out here.
    votes = KNeighborsClassifier(5, metric="cosine").fit(raw["train"] - centre, y["train"])
    expected = votes.score(raw["test"] - centre, y["test"])
    assert parts["both, no projection"]["kNN"]["test"]["value"] == pytest.approx(expected)
    assert parts[BOTH]["logistic regression"]["test"]["value"] == 1


def test_the_page_says_all_of_it_and_is_the_same_each_time(results, tmp_path):
    made = []
    for name in ("one", "two"):
        path = tmp_path / name / "evaluation.md"
        path.parent.mkdir()
        write_page(path, results)
        images = sorted((path.parent / "img" / "evaluation").iterdir())
        made.append([path.read_bytes(), *(image.read_bytes() for image in images)])
    assert made[0] == made[1]
    names = {image.stem for image in images}
    assert names == {"accuracy_coverage", "confusion", "genes", "novelty", "reliability"}
    assert all(len(content) < 150_000 for content in made[0])
    written = made[0][0].decode()
    assert written.count("\n## ") == len(QUESTIONS) + 1, "a section for each, and the summary"
    for name in names:
        assert f"(img/evaluation/{name}.png)" in written
    assert "leave_out.png" not in written
    assert "\n\n\n" not in written
    found = results["classification"]["methods"]["PCA-256 + kNN"]["macro-F1"]
    assert text.number(found) in written
    widths = {line.count("|") for line in headline(results).splitlines()}
    assert widths == {5}


def test_a_page_in_pieces_says_so(results):
    first = {k: v for k, v in results.items() if k in ("release", "corpus", "geometry", "tissues")}
    second = {k: v for k, v in results.items() if k in ("release", "corpus", "tissues", "panels")}
    joined = merge(first | {"asked": [["geometry", "tissues"]]}, second | {"asked": [["panels"]]})
    assert list(joined) == ["release", "corpus", "asked", "panels", "geometry", "tissues"]
    assert "asked in 2 runs: geometry, tissues; panels." in page(joined)
    assert "not asked: classification" in page(joined)
    again = merge(joined, evaluate_nothing(joined))
    assert again == joined, "the page is written again from what is there"
    with pytest.raises(QuestionError, match="another release or corpus"):
        merge(joined | {"release": {"id": "x", "sha256": "0" * 64}}, joined)


def evaluate_nothing(like: dict) -> dict:
    return {"release": like["release"], "corpus": like["corpus"], "asked": [[]]}


def scores(value: float, low: float, high: float) -> dict[str, dict[str, float]]:
    return {key: {"value": value, "low": low, "high": high} for key in ("accuracy", ACROSS)}


def test_verdicts_are_read_off_the_numbers_also_when_they_are_bad():
    methods = {
        "SpecFormer predictor": scores(0.9, 0.88, 0.92),
        "PCA": scores(0.95, 0.94, 0.96),
        "bag": scores(0.8, 0.7, 0.9),
    }
    said = text.verdict(methods, "accuracy", ours="SpecFormer predictor")
    assert "5.0 points **below** the best baseline (PCA, 0.950 (0.940–0.960))." in said
    del methods["PCA"]
    said = text.verdict(methods, "accuracy", ours="SpecFormer predictor")
    assert "10.0 points above the best baseline (bag, 0.800 (0.700–0.900)); the intervals" in said
    assert text.verdict({"PCA": scores(1, 1, 1)}, "accuracy", ours="SpecFormer predictor") == ""
    assert text.number({"value": None, "low": None, "high": None}) == "–"


def test_sources_left_out_are_summed_up(tmp_path):
    def setting(ours: float, theirs: float, patients: int = 30) -> dict:
        methods = {
            "SpecFormer predictor (refitted)": scores(ours, ours, ours),
            "PCA-256 + kNN": scores(theirs, theirs, theirs),
        }
        test = {"types": {"TCGA-LUAD": patients}, "patients": patients, "methods": methods}
        return {"tests": {"left out": test}}

    found = {
        "sources": {
            "a": setting(0.9, 0.8),
            "b": setting(0.5, 0.8),
            "c": setting(1, 1),
            "few": setting(0, 1, 3),
        },
        "one pipeline": {},
        "one unit": {},
    }
    said = "\n".join(leave_out(found))
    assert "| a | LUAD 30 | 30 | 0.900 (0.900–0.900) | 0.800 (0.800–0.800) |" in said
    assert "in 1 of 3, level in 1, and on average 6.7 points **below** it." in said
    from specformer_encoder.evaluate.page import plots

    plots.draw(tmp_path, {"leave out": found})
    picture = (tmp_path / "leave_out.png").read_bytes()
    assert picture.startswith(b"\x89PNG")
    assert np.frombuffer(picture[16:24], ">u4").min() > 100
