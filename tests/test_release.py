"""From a labelled corpus to a release that answers, by the documented commands."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest

from specformer_encoder.corpus import Corpus
from specformer_encoder.corpus.labels import read_labels
from specformer_encoder.embedder import Embedder
from specformer_encoder.errors import ExpressionValueError, ReleaseError, SpecformerError
from specformer_encoder.release import open_release
from specformer_index.search import ReferenceIndex
from specformer_mcp.cli import main


@pytest.fixture(scope="module")
def made(small_corpus, tmp_path_factory):
    """A release and an index of the debug recipe, made as the documentation says."""
    folder = tmp_path_factory.mktemp("made")
    corpus, run, release, index = (
        str(folder / name) for name in ("corpus", "run", "release", "index")
    )
    evaluate = ["evaluate", release, "--corpus", corpus, "--write", "--questions"]
    inputs = ["--run", run, "--corpus", corpus]
    for line in (
        ["data", "build", "--from", str(small_corpus.labelled), "--out", corpus],
        ["pretrain", "debug", "--corpus", corpus, "--out", run],
        ["release", "build", *inputs, "--out", release, "--id", "specformer-debug"],
        [*evaluate, "classification"],
        [*evaluate, "panels,same sample", "--page", str(folder / "docs" / "evaluation.md")],
        ["index", "build", "--release", release, "--corpus", corpus, "--out", index],
    ):
        assert main(line) == 0, line
    return folder


def test_release_is_whole_and_says_what_it_is(made):
    release = open_release(made / "release")
    assert release.id == "specformer-debug"
    assert release.heads.types == ["TCGA-COAD", "TCGA-LUAD"]
    assert not list(made.glob("*.partial-*"))
    suffixes = {path.suffix for path in (made / "release").iterdir()}
    assert suffixes == {".safetensors", ".json", ".txt", ".md"}, "nothing pickled"


def test_rebuilding_gives_the_same_release(made):
    again = made / "again"
    command = ["release", "build", "--run", str(made / "run")]
    command += ["--corpus", str(made / "corpus"), "--out", str(again)]
    assert main([*command, "--id", "specformer-debug"]) == 0
    assert open_release(again).sha256 == open_release(made / "release").sha256


def test_card_page_and_evaluation_agree(made):
    results = json.loads((made / "release" / "evaluation.json").read_text())
    card = (made / "release" / "MODEL_CARD.md").read_text()
    page = (made / "docs" / "evaluation.md").read_text()
    assert results["asked"] == [["classification"], ["panels", "same sample"]], "two runs, merged"
    assert results["release"]["sha256"] == open_release(made / "release").sha256
    methods = results["classification"]["methods"]
    assert len(methods) == 9
    for method, scores in methods.items():
        line = next(line for line in page.splitlines() if line.startswith(f"| {method} |"))
        assert f"{scores['accuracy']['value']:.3f}" in line
        assert scores["accuracy"]["low"] <= scores["accuracy"]["value"]
    row = next(line for line in card.splitlines() if line.startswith("| accuracy, unseen"))
    for method in ("SpecFormer predictor (shipped)", "SpecFormer embedding + kNN"):
        assert f"{methods[method]['accuracy']['value']:.3f}" in row
    assert "These questions were not asked: leave out, doubt" in page
    pictures = {path.name for path in (made / "docs" / "img" / "evaluation").iterdir()}
    assert pictures == {"confusion.png", "genes.png"}
    for name in pictures:
        assert f"(img/evaluation/{name})" in page
    pairs = results["same sample"]
    assert pairs["pairs"] == 8, "counts and TPM of every test tumour"
    assert pairs["cosine"]["value"] > 0.95, "TPM is counts over length: the same ordering"
    assert "real panels" not in results["panels"], "the simulated corpus has none"
    # Two clouds of simulated patients around two real tumours: any method must tell them apart.
    assert methods["PCA-256 + logistic regression"]["accuracy"]["value"] == 1
    assert methods["SpecFormer predictor (shipped)"]["accuracy"]["value"] > 0.9


def test_the_page_is_written_again_from_what_is_there(made, tmp_path):
    page = tmp_path / "evaluation.md"
    command = ["evaluate", str(made / "release"), "--corpus", str(made / "corpus")]
    assert main([*command, "--questions", "", "--page", str(page)]) == 0
    assert page.read_text() == (made / "docs" / "evaluation.md").read_text()


def test_results_of_another_release_are_not_added_to(made, tmp_path, capsys):
    copy = tmp_path / "release"
    shutil.copytree(made / "release", copy)
    results = json.loads((copy / "evaluation.json").read_text())
    results["release"]["sha256"] = "0" * 64
    (copy / "evaluation.json").write_text(json.dumps(results))
    command = ["evaluate", str(copy), "--corpus", str(made / "corpus"), "--questions"]
    assert main([*command, "same sample", "--write"]) == 1
    assert "are of another release or corpus" in capsys.readouterr().err
    assert main([*command, "taste"]) == 1
    assert "There is no question taste" in capsys.readouterr().err


def test_index_belongs_to_the_release_and_finds_the_cohort(made):
    embedder = Embedder.load(made / "release")
    index = ReferenceIndex.open(made / "index", release_sha256=embedder.release.sha256)
    corpus = Corpus.open(made / "corpus")
    row = next(i for i, label in enumerate(corpus.labels) if label.split == "test")
    vector = embedder.embed(corpus.values([row]))[0]
    neighbors = index.nearest_profiles(vector, k=5)
    assert neighbors[0].similarity == pytest.approx(1, abs=1e-5)
    with pytest.raises(SpecformerError, match="cannot be compared"):
        ReferenceIndex.open(made / "index", release_sha256="0" * 64)


def test_a_profile_in_a_batch_has_the_bits_it_has_alone(made, small_corpus):
    embedder = Embedder.load(made / "release")
    values = small_corpus.corpus.values(range(6))
    batch = embedder.embed(values)
    for i in range(6):
        assert np.array_equal(embedder.embed(values[i : i + 1])[0], batch[i])
    assert np.allclose(np.linalg.norm(batch, axis=1), 1, atol=1e-5)
    with pytest.raises(ExpressionValueError, match=r"vocabulary genes; got shape \(1, 299\)"):
        embedder.embed(np.ones((1, 299), np.float32))


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda d: (d / "heads.json").write_text("{}"), "heads.json was changed"),
        (lambda d: (d / "encoder.safetensors").unlink(), "lacks encoder.safetensors"),
        (lambda d: (d / "release.json").write_text("{"), "is damaged"),
        (lambda d: (d / "release.json").unlink(), "no model release"),
        (lambda d: (d / "release.json").write_text('{"format": 99}'), "release format 99"),
    ],
)
def test_a_damaged_release_is_refused_with_the_reason(made, tmp_path, damage, said):
    copy = tmp_path / "release"
    shutil.copytree(made / "release", copy)
    damage(copy)
    with pytest.raises(ReleaseError, match=said):
        open_release(copy)


def test_a_folder_that_is_no_release_is_never_replaced(made, tmp_path, capsys):
    (tmp_path / "notes.txt").write_text("mine")
    command = ["release", "build", "--run", str(made / "run"), "--corpus", str(made / "corpus")]
    assert main([*command, "--out", str(tmp_path), "--id", "x"]) == 1
    assert "is not a release" in capsys.readouterr().err
    assert (tmp_path / "notes.txt").read_text() == "mine"


def test_commands_name_what_is_missing(made, tmp_path, capsys):
    command = ["release", "build", "--run", str(tmp_path), "--corpus", str(made / "corpus")]
    command += ["--out", str(tmp_path / "r"), "--id", "x"]
    assert main(command) == 1
    assert "no best.safetensors" in capsys.readouterr().err


@pytest.mark.parametrize(
    "command",
    [
        ["pretrain", "debug", "--out", "RUN"],
        ["release", "build", "--run", "RUN", "--out", "R", "--id", "x"],
        ["evaluate", "RELEASE"],
        ["index", "build", "--release", "RELEASE", "--out", "I"],
    ],
    ids=lambda command: command[0],
)
def test_later_steps_ask_for_a_built_corpus(made, small_corpus, tmp_path, capsys, command):
    places = {"RUN": str(made / "run"), "RELEASE": str(made / "release")}
    words = [places.get(word, word) for word in command]
    assert main([*words, "--corpus", str(small_corpus.labelled)]) == 1
    said = capsys.readouterr().err
    assert "is a folder of labelled matrices" in said
    assert "specformer data build --from" in said
    assert main([*words, "--corpus", str(tmp_path)]) == 1
    assert "is not a built corpus" in capsys.readouterr().err


def test_the_bundled_release_is_no_larger_than_the_repository_may_hold():
    release = open_release()
    size = sum(path.stat().st_size for path in release.path.iterdir())
    assert size < 60e6
    assert len(release.heads.types) >= 25


def test_no_test_patient_is_an_example_for_training(shared_corpus):
    labels = read_labels(shared_corpus)
    examples = ("TCGA-44-3396", "TCGA-A6-5664", "TCGA-A6-6138", "TCGA-AF-A56L")
    splits = {label.patient: label.split for label in labels}
    assert {splits[patient] for patient in examples} == {"test"}
