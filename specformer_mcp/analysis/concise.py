"""What a concise answer keeps of a full one: what decides, and the doubt; at most 600 tokens.

What is cut is countable (the first so many) and can be had with ``detail=full``, and the answer
says so.
"""

from __future__ import annotations

from functools import singledispatch
from typing import Any

from specformer_mcp.results import (
    Answer,
    Cohort,
    CohortContrast,
    Cohorts,
    Comparison,
    Embedded,
    Gene,
    Group,
    Pathway,
    PathwayContrast,
    Pathways,
    Prediction,
    UnexpectedGenes,
)

TYPES = 5
COHORTS = 6
GENE_SETS = 10
GENES = 10
COMPARED = 5
"""Gene sets in a comparison."""
NAMED = 0.01
"""Probability from which on it is told where a type is known from."""
TEXT = 240
"""Characters of one note."""


@singledispatch
def concise(answer: Answer) -> Answer:
    """Return the answer with only what a first reading needs."""
    return answer


@concise.register
def _(answer: Embedded) -> Answer:
    unit = answer.unit.model_copy(update={"evidence": []})
    genes = answer.genes.model_copy(update={"account": []})
    notes = [note if len(note) <= TEXT else f"{note[: TEXT - 1]}…" for note in answer.notes[:4]]
    summary = answer.summary.model_copy(update={"top_types": _first(answer.summary.top_types)})
    return _with(answer, unit=unit, genes=genes, summary=summary, notes=notes)


@concise.register
def _(answer: Cohorts) -> Answer:
    kept = [
        Cohort(
            cohort=match.cohort,
            name=match.name,
            similarity=round(match.similarity, 3),
            percentile=match.percentile,
            support=match.support,
            n_patients=match.n_patients,
        )
        for match in answer.cohorts[:COHORTS]
    ]
    return _with(
        answer,
        cohorts=kept,
        too_small=[],
        published_medians=[],
        nearest_profiles=[],
        notes=answer.notes + _cut(len(kept), len(answer.cohorts), "cohorts"),
    )


@concise.register
def _(answer: Prediction) -> Answer:
    shown = dict(list(answer.probabilities.items())[:TYPES])
    named = [name for name in answer.types_from_statistics if shown.get(name, 0) >= NAMED]
    empty = not answer.prediction_set
    return _with(
        answer,
        probabilities=shown,
        # The larger sets are kept where they are all that names a type.
        prediction_sets=answer.prediction_sets if empty else {},
        types_from_statistics=named,
    )


@concise.register
def _(answer: Pathways) -> Answer:
    found = sorted(answer.higher + answer.lower, key=lambda pathway: -abs(pathway.z))
    kept = [Pathway(gene_set=p.gene_set, score=p.score, z=p.z) for p in found[:GENE_SETS]]
    return _with(
        answer,
        higher=[pathway for pathway in kept if pathway.z > 0],
        lower=[pathway for pathway in kept if pathway.z <= 0],
        notes=answer.notes + _cut(len(kept), len(found), "gene sets"),
    )


@concise.register
def _(answer: UnexpectedGenes) -> Answer:
    def short(genes: list[Gene]) -> list[Gene]:
        return [
            Gene(symbol=g.symbol, z=g.z, rank=g.rank, expected=g.expected) for g in genes[:GENES]
        ]

    cut = _cut(GENES, max(len(answer.has), len(answer.lacks)), "genes of each")
    return _with(answer, has=short(answer.has), lacks=short(answer.lacks), notes=answer.notes + cut)


@concise.register
def _(answer: Comparison) -> Answer:
    found = [*answer.higher_in_a, *answer.higher_in_b]

    def short(sets: list[PathwayContrast], most: int) -> list[PathwayContrast]:
        return [
            PathwayContrast(gene_set=s.gene_set, effect=s.effect, low=s.low, high=s.high, q=s.q)
            for s in sets[:most]
        ]

    half = COMPARED // 2
    from_b = min(len(answer.higher_in_b), max(half, COMPARED - len(answer.higher_in_a)))
    kept_a = short(answer.higher_in_a, COMPARED - from_b)
    kept_b = short(answer.higher_in_b, from_b)
    return _with(
        answer,
        a=_group(answer.a),
        b=_group(answer.b),
        between=None,
        cohorts=[
            cohort.model_copy(update={"difference": None}) for cohort in _telling(answer.cohorts)
        ],
        higher_in_a=kept_a,
        higher_in_b=kept_b,
        notes=answer.notes + _cut(len(kept_a) + len(kept_b), len(found), "gene sets"),
    )


def _group(group: Group) -> Group:
    names = group.names if group.n == 1 else []
    return group.model_copy(update={"names": names, "top_types": _first(group.top_types)})


def _telling(cohorts: list[CohortContrast]) -> list[CohortContrast]:
    """The three that differ most, in the order they stand in."""
    most = sorted(cohorts, key=lambda c: -abs(c.a - c.b))[:3]
    return [cohort for cohort in cohorts if cohort in most]


def _first(counts: dict[str, int]) -> dict[str, int]:
    """The most frequent types, and how many samples have another."""
    shown = dict(list(counts.items())[:TYPES])
    rest = sum(counts.values()) - sum(shown.values())
    return shown | ({"others": rest} if rest else {})


def _with(answer: Answer, **update: Any) -> Answer:
    return answer.model_copy(update=update)


def _cut(kept: int, found: int, what: str) -> list[str]:
    return [f"{kept} of {found} {what}; detail=full gives all."] if found > kept else []
