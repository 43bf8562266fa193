"""The evaluation of agents: questions of real samples, and a scripted agent that answers them."""

import asyncio
import csv
import doctest
import importlib
from collections import Counter, defaultdict

import pyarrow.parquet as pq
import pytest

from benchmarks.agents.agent import ScriptedAgent
from benchmarks.agents.kinds import KINDS
from benchmarks.agents.page import page
from benchmarks.agents.questions import EACH, make_questions, paths_in
from benchmarks.agents.reference import without_test_patients
from benchmarks.agents.run import ask_all, server
from specformer_encoder.corpus import Corpus
from specformer_encoder.corpus.build import build_corpus
from specformer_index.opening import open_table, read_info

# Two data sets that share samples, one of many normal tissues, one of many people of one tumour.
SOURCES = ("firehose.rsem_normalized", "gdc_rnasum.counts", "rnaseqdb.rsem_expected_counts")
MANY = "gdc_htseq.counts"
FEW = {"train": 6, "valid": 1, "test": 20}
"""Profiles of each cohort and data set that the small corpus keeps."""

MODULES = ("checks", "files", "harness", "material", "page", "questions")


@pytest.mark.parametrize("module", MODULES)
def test_the_examples_in_docstrings(module):
    results = doctest.testmod(importlib.import_module(f"benchmarks.agents.{module}"))
    assert results.attempted > 0
    assert results.failed == 0


@pytest.fixture(scope="module")
def corpus(shared_corpus, tmp_path_factory):
    """A part of the real corpus that is built in seconds."""
    folder = tmp_path_factory.mktemp("labelled")
    (folder / "expression").mkdir()
    with (shared_corpus / "samples.tsv").open() as lines:
        rows = list(csv.DictReader(lines, delimiter="\t"))
    kept, seen = defaultdict(list), Counter()
    for row in rows:
        name = f"{row['source']}.{row['unit']}"
        group = name, row["study"], row["tissue"], row["sample_type"], row["split"]
        wanted = name in SOURCES or (name == MANY and row["study"] == "TCGA-PRAD")
        if wanted and seen[group] < FEW.get(row["split"], 0):
            seen[group] += 1
            kept[name].append(row)
    for name, some in kept.items():
        file = shared_corpus / "expression" / f"{name}.parquet"
        genes = pq.read_schema(file).names[0]
        table = pq.read_table(file, columns=[genes, *(row["barcode"] for row in some)])
        pq.write_table(table, folder / "expression" / file.name)
    with (folder / "samples.tsv").open("w") as out:
        writer = csv.DictWriter(out, rows[0].keys(), delimiter="\t")
        writer.writeheader()
        writer.writerows(row for some in kept.values() for row in some)
    out = tmp_path_factory.mktemp("built") / "corpus"
    build_corpus([folder], out)
    return Corpus.open(out)


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    return tmp_path_factory.mktemp("questions")


@pytest.fixture(scope="module")
def questions(corpus, place):
    return make_questions(corpus, place, seed=3)


@pytest.fixture(scope="module")
def reference(tmp_path_factory):
    out = tmp_path_factory.mktemp("reference") / "index"
    without_test_patients(out)
    return out


def test_thirty_questions_of_ten_kinds(questions):
    assert len(questions) == 30
    assert Counter(question.kind for question in questions) == dict.fromkeys(KINDS, EACH)
    assert len({question.id for question in questions}) == 30


def test_the_same_seed_gives_the_same_questions(corpus, questions, place, tmp_path):
    again = make_questions(corpus, tmp_path, seed=3)
    other = [path.relative_to(place) for path in sorted(place.rglob("*.tsv"))]
    assert other
    assert [(q.truth, q.check) for q in again] == [(q.truth, q.check) for q in questions]
    assert all((tmp_path / path).read_bytes() == (place / path).read_bytes() for path in other)


def test_no_file_and_no_question_tells_whose_samples_they_are(corpus, questions, place):
    names = {label.barcode for label in corpus.labels} | {label.person for label in corpus.labels}
    for path in place.rglob("*.tsv"):
        with path.open() as lines:
            header = lines.readline().rstrip("\n").split("\t")
        assert all(name.startswith("sample_") for name in header[1:])
    for question in questions:
        assert paths_in(question.text)
        assert not any(name in question.text for name in names)


def test_the_reference_holds_no_test_patient(corpus, reference):
    columns = ["patient", "split", "kind"]
    rows = open_table_rows(reference, columns)
    test = {label.person for label in corpus.labels if label.split == "test"}
    assert test
    assert not test & {row["patient"] for row in rows}
    bundled = open_table_rows(None, columns)
    assert len(rows) == sum(row["split"] != "test" for row in bundled) < len(bundled)


def open_table_rows(index, columns):
    return open_table(read_info(index)).to_arrow().select(columns).to_pylist()


def test_the_scripted_agent_solves_most_over_stdio(questions, place, reference):
    """One question of each kind, with the tools of a server process and nothing else."""

    async def conversation():
        async with server(place, index=reference) as client:
            return await ask_all(client, ScriptedAgent(), questions[::EACH], tell=False)

    outcomes = asyncio.run(conversation())
    assert [outcome.kind for outcome in outcomes] == list(KINDS)
    assert not [outcome.failure for outcome in outcomes if outcome.failure]
    wrong = [(outcome.truth, outcome.answer) for outcome in outcomes if not outcome.right]
    assert len(wrong) <= 3, wrong
    assert all(o.calls == sum(o.tools.values()) > 0 for o in outcomes)
    assert min(o.read for o in outcomes) > 1000  # the tool list alone is more
    text = page("scripted agent", [outcomes], command="test")
    assert f"{10 - len(wrong)}/10" in text
    assert all(outcome.truth in text for outcome in outcomes if not outcome.right)
