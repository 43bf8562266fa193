"""A scripted model: for each kind of question a way to solve it with the tools, and no more.

It reads what a model reads, the question and the answers of the tools, and knows nothing else. Its
rules are what the tools' own texts suggest: trust the nearest cohort, name no type that is out of
distribution, open what was refused in another way. So its failures are the tools', or show where a
question needs more judgement than a rule has.
"""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Callable, Generator, Sequence
from typing import Any

from mcp_types import Tool

from benchmarks.agents.harness import Call, Got, Message, ModelError, Said, Wants
from benchmarks.agents.questions import paths_in

Step = tuple[str, dict[str, Any]]
Plan = Generator[list[Step], list[Got], Any]
"""Yields tool calls, is sent their answers, returns the answer."""

EVEN = 0.5
AS_NEAR = 0.01
"""Similarity by which a labelled cohort may lie behind the nearest and still be right."""


class ScriptedAgent:
    """A `Model` that follows a plan, chosen by the wording of the question."""

    name = "scripted agent"

    def __init__(self) -> None:
        self._plan: Plan | None = None

    async def act(self, messages: Sequence[Message], tools: Sequence[Tool]) -> Wants | Said:
        """Send the newest answers to the plan; return its next calls, or its answer.

        Raises
        ------
        ModelError
            The plan needs a tool that the server does not have.
        """
        try:
            if isinstance(messages[-1], Said):
                self._plan = _plan_for(messages[-1].text)
                steps = next(self._plan)
            else:
                assert self._plan is not None
                steps = self._plan.send(_newest(messages))
        except StopIteration as end:
            return Said("assistant", json.dumps({"answer": end.value}))
        if missing := {tool for tool, _ in steps} - {tool.name for tool in tools}:
            raise ModelError(f"the server has no {', '.join(sorted(missing))}")
        calls = (Call(f"c{i}", tool, arguments) for i, (tool, arguments) in enumerate(steps))
        return Wants(tuple(calls))


def _newest(messages: Sequence[Message]) -> list[Got]:
    """The answers to the last turn's calls."""
    newest = itertools.takewhile(lambda m: isinstance(m, Got), reversed(messages))
    return [m for m in newest if isinstance(m, Got)][::-1]


def _plan_for(question: str) -> Plan:
    return next(plan for words, plan in _PLANS if words in question)(question)


def _embed(path: str) -> Generator[list[Step], list[Got], dict[str, str]]:
    """Embed all samples of a file; return name → handle."""
    handles: dict[str, str] = {}
    cursor: dict[str, Any] = {}
    while True:
        [got] = yield [("embed_sample", {"path": path} | cursor)]
        handles |= {sample["name"]: sample["sample"] for sample in got.data.get("samples", [])}
        if "next_cursor" not in got.data:
            return handles
        cursor = {"cursor": got.data["next_cursor"]}


def _only(path: str) -> Generator[list[Step], list[Got], str]:
    """Embed a file of one sample; return its handle."""
    handles = yield from _embed(path)
    return next(iter(handles.values()))


def _nearest(handle: str) -> Step:
    return "nearest_cohorts", {"sample": handle}


def _top(got: Got) -> str:
    return str(got.data["cohorts"][0]["cohort"])


def _lost_label(question: str) -> Plan:
    handle = yield from _only(paths_in(question)[0])
    [near] = yield [_nearest(handle)]
    return _top(near)


def _type(question: str) -> Plan:
    handle = yield from _only(paths_in(question)[0])
    [predicted] = yield [("predict_cancer_type", {"sample": handle})]
    found = predicted.data
    likely = found["prediction_set"] or [found["top_type"]]
    if found["tumor_probability"] < EVEN or found["out_of_distribution"] or len(likely) > 2:
        return []
    return likely


def _label(question: str) -> Plan:
    label = re.findall(r"is labelled '([^']+)'", question)[0]
    handle = yield from _only(paths_in(question)[0])
    predicted, near = yield [("predict_cancer_type", {"sample": handle}), _nearest(handle)]
    similarity = {match["cohort"]: match["similarity"] for match in near.data["cohorts"]}
    # Where two cohorts are as near, the label is the better witness; not between tumour and normal.
    same_kind = {c: s for c, s in similarity.items() if c.split()[-1] == label.split()[-1]}
    right = label == _top(near) or (
        _top(near) in same_kind
        and similarity.get(label, 0) >= similarity[_top(near)] - AS_NEAR
        and label.split()[0] in predicted.data["prediction_set"]
    )
    return {"right": right, "cohort": label if right else _top(near)}


def _swap(question: str) -> Plan:
    cohort = re.findall(r"should all be '([^']+)'", question)[0]
    handles = yield from _embed(paths_in(question)[0])
    ranked = yield [("nearest_cohorts", {"sample": h, "k": 10}) for h in handles.values()]
    behind = {}
    for name, near in zip(handles, ranked, strict=True):
        similarity = {match["cohort"]: match["similarity"] for match in near.data["cohorts"]}
        # How far the cohort lies behind the nearest; off the list, behind the last of it.
        last = min(similarity.values()) - 1
        behind[name] = similarity[_top(near)] - similarity.get(cohort, last)
    return max(behind, key=lambda name: behind[name])


def _pathway(question: str) -> Plan:
    groups = [re.findall(r"sample_\d+", part) for part in re.split(r"; b is ", question)[:2]]
    handles = yield from _embed(paths_in(question)[0])
    a, b = ([handles[name] for name in group] for group in groups)
    [got] = yield [("compare_samples", {"a": a, "b": b, "collection": "hallmark"})]
    sets = [*got.data["higher_in_a"], *got.data["higher_in_b"]]
    clearest = max(sets, key=lambda s: max(s["low"], -s["high"]))  # what the interval leaves
    return {"gene_set": clearest["gene_set"], "higher_in": "a" if clearest["effect"] > 0 else "b"}


def _twins(question: str) -> Plan:
    one, other = paths_in(question)
    first = yield from _embed(one)
    second = yield from _embed(other)
    pairs = [(i, j) for i in first for j in second]
    compared = yield [("compare_samples", {"a": first[i], "b": second[j]}) for i, j in pairs]
    distance = {pair: got.data["distance"] for pair, got in zip(pairs, compared, strict=True)}
    nearest = min(distance, key=lambda pair: distance[pair])
    return list(nearest)


def _tissue(question: str) -> Plan:
    handles = yield from _embed(paths_in(question)[0])
    arguments = {"k": 6, "sample_type": "normal"}
    ranked = yield [("nearest_cohorts", {"sample": h} | arguments) for h in handles.values()]
    shares: dict[str, dict[str, float]] = {}
    for name, near in zip(handles, ranked, strict=True):
        cohorts = near.data["cohorts"]
        # What a cohort is nearer than the last of the list, so that the order counts.
        beyond = {c["cohort"]: c["similarity"] - cohorts[-1]["similarity"] for c in cohorts}
        total = sum(beyond.values()) or 1.0
        shares[name] = {cohort: value / total for cohort, value in beyond.items()}

    def common(pair: tuple[str, ...]) -> float:
        one, other = (shares[name] for name in pair)
        return sum(min(value, other.get(cohort, 0.0)) for cohort, value in one.items())

    most_alike = max(itertools.combinations(handles, 2), key=common)
    return list(most_alike)


def _unit(question: str) -> Plan:
    [got] = yield [("embed_sample", {"path": paths_in(question)[0]})]
    unit = got.data["unit"]
    # A scale is told as log2(x+1), of the unit x.
    return unit["name"] if unit["scale"] == "linear" else unit["scale"].replace("x", unit["name"])


_REASONS = {
    r"z-scored": "z-scores",
    r"mouse|rat|human gene identifiers were expected": "not human",
    r"at least \d+ are needed": "too few genes",
}


def _refused(question: str) -> Plan:
    first, second = list(dict.fromkeys(paths_in(question)))
    [got] = yield [("embed_sample", {"path": first})]
    reason = None
    if got.is_error:
        reason = next((r for words, r in _REASONS.items() if re.search(words, got.text)), None)
        handles = yield from _embed(second)
    else:
        handles = yield from _embed(first)
    ranked = yield [_nearest(handle) for handle in handles.values()]
    tops = [_top(near) for near in ranked]
    return {"refused": reason, "cohort": max(tops, key=tops.count)}


def _normals(question: str) -> Plan:
    [got] = yield [("embed_sample", {"path": paths_in(question)[0]})]
    return got.data["summary"]["likely_normal"]


def _gene(question: str) -> Plan:
    handle = yield from _only(paths_in(question)[0])
    [got] = yield [("unexpected_genes", {"sample": handle})]
    listed = got.data["lacks" if "set to zero" in question else "has"]
    return listed[0]["symbol"] if listed else ""


_PLANS: list[tuple[str, Callable[[str], Plan]]] = [
    ("label of the sample", _lost_label),
    ("Which cancer type", _type),
    ("is labelled", _label),
    ("one was swapped", _swap),
    ("Hallmark gene set", _pathway),
    ("Two laboratories", _twins),
    ("same tissue", _tissue),
    ("which unit", _unit),
    ("cannot be used", _refused),
    ("How many", _normals),
    ("tampered", _gene),
]
