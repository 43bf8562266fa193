"""Thirty questions, three of each of ten kinds, of samples of test patients.

A question is what a user would ask of files that lie in a folder; the names in the files say
nothing. What is right is decided here, before anybody answers (`checks`, `truth`). The same corpus
and seed give the same questions.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from benchmarks.agents.checks import Check
from benchmarks.agents.kinds import KINDS
from benchmarks.agents.material import Material
from specformer_encoder.corpus import Corpus

EACH = 3


@dataclass(frozen=True, slots=True)
class Question:
    """A question about files, and what is right.

    Attributes
    ----------
    id
        As ``q07``; also the folder that its files lie in.
    kind
        What is asked; the answerer is not told.
    text
        What the answerer is asked.
    check
        Decides; the answerer does not see it.
    truth
        Where the samples come from, for who reads about a failure.
    """

    id: str
    kind: str
    text: str
    check: Check
    truth: str


def make_questions(corpus: Corpus, folder: Path, *, seed: int = 0) -> list[Question]:
    """Write the files of all questions into a folder, and return the questions.

    Parameters
    ----------
    corpus
        A built corpus with test patients of many cohorts.
    folder
        An existing folder; each question gets a folder of its own in it.
    """
    material = Material(corpus, seed=seed)
    questions: list[Question] = []
    for kind, make in KINDS.items():
        for number in range(EACH):
            name = f"q{len(questions) + 1:02d}"
            place = folder / name
            place.mkdir()
            material.fresh()
            asked = make(material, place, number)
            people = f" ({', '.join(material.taken)})" if 0 < len(material.taken) <= 6 else ""
            truth = asked.truth + people
            questions.append(Question(name, kind, asked.text, asked.check, truth))
    return questions


def paths_in(text: str) -> list[str]:
    """Return the paths that a question names, in order.

    Examples
    --------
    >>> paths_in("The sample in '/a/b.tsv' is labelled 'TCGA-ACC tumor'.")
    ['/a/b.tsv']
    """
    return re.findall(r"'([^']+\.tsv)'", text)
