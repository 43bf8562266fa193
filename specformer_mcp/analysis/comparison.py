"""What tells two samples, or two groups of samples, apart.

Distance
    Cosine distance of the embeddings (of the mean embeddings, for groups), beside the mean distance
    of two samples within a group: what is no larger than that is no difference.
Cohorts
    Differences of the mean similarity to reference cohorts, over the cohorts near to either side.
Pathways
    Differences of ssGSEA scores. Two groups of two or more: Hedges' g with its interval, and a
    Mann-Whitney test (`effects`), ordered by what the interval leaves standing. Where a side has
    one sample: delta z, the difference of scores in standard deviations of the reference cohort
    that lies nearest between the two sides. Two random members of that cohort differ by more than
    1.96 * sqrt(2) = 2.8 in one set of twenty.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from specformer_encoder.errors import SpecformerError
from specformer_mcp.analysis.common import (
    check_range,
    provenance,
    shares_of_types,
    vectors_of,
)
from specformer_mcp.analysis.contrasts import contrast, scores_of
from specformer_mcp.analysis.pathways import LARGEST_TOP, check_collection
from specformer_mcp.engine import Engine, Watch
from specformer_mcp.results import CohortContrast, Comparison, Group

if TYPE_CHECKING:
    from specformer_encoder.profiles import FloatArray
    from specformer_mcp.samples import Sample

LARGEST_GROUP = 200
NEAR = 10
"""Cohorts nearest to each side among which the telling ones are looked for."""
COHORTS_SHOWN = 6
NAMES_SHOWN = 5
SMALL_GROUP = 10
"""Samples in a group below which its doubt is told."""
_UNUSUAL = 1.96 * math.sqrt(2)


def compare(
    engine: Engine,
    a: Sequence[Sample],
    b: Sequence[Sample],
    *,
    collection: str = "hallmark",
    top: int = 10,
    watch: Watch | None = None,
) -> Comparison:
    """Compare two groups of samples; a group may be one sample.

    Parameters
    ----------
    a, b
        1 to `LARGEST_GROUP` samples each, none twice.
    collection
        Gene sets to compare.
    top
        Gene sets to return.
    watch
        Is told of every batch that has to be embedded, and between samples; what it raises stops
        the work.

    Raises
    ------
    SpecformerError
        A group is empty or too large, the groups share a sample, the collection is unknown, or
        `top` is out of range.
    """
    check_range("top", top, LARGEST_TOP)
    _check_groups(a, b)
    check_collection(engine, collection)
    engine.embed([*a, *b], watch=watch)
    vectors_a, vectors_b = vectors_of(engine, a), vectors_of(engine, b)
    mean_a, mean_b = vectors_a.mean(axis=0), vectors_b.mean(axis=0)
    scores = scores_of(engine, a, watch), scores_of(engine, b, watch)
    found = contrast(engine, *scores, collection, between=mean_a + mean_b)
    sets = found.contrasts
    order = sorted(range(len(sets)), key=lambda i: -found.strength[i])[:top]
    group_a, group_b = _group(engine, a), _group(engine, b)
    return Comparison(
        a=group_a,
        b=group_b,
        distance=round(1 - _cosine(mean_a, mean_b), 4),
        within_a=_within(vectors_a),
        within_b=_within(vectors_b),
        between=round(1 - float((vectors_a @ vectors_b.T).mean()), 4),
        cohorts=_cohorts(engine, vectors_a, vectors_b),
        collection=collection,
        effect_size=found.effect_size,
        against=found.against,
        against_name=found.against_name,
        higher_in_a=[sets[i] for i in order if sets[i].effect > 0],
        higher_in_b=[sets[i] for i in order if sets[i].effect <= 0],
        tested=len(sets),
        notes=[*_doubt(a, b, group_a, group_b), *_reading(engine, a, b, vectors_a, vectors_b)],
        next="another collection (reactome, wikipathways), or unexpected_genes on one sample",
        provenance=provenance(engine),
    )


def _cohorts(engine: Engine, a: FloatArray, b: FloatArray) -> list[CohortContrast]:
    """The cohorts near to either side whose similarity differs most."""
    index = engine.loaded().index
    means = []
    for vectors in (a, b):
        each = [index.cohort_similarities(vector) for vector in vectors]
        means.append({name: sum(one[name] for one in each) / len(each) for name in each[0]})
    of_a, of_b = means
    near = {name for of in means for name in sorted(of, key=lambda n: -of[n])[:NEAR]}
    telling = sorted(near, key=lambda name: -abs(of_a[name] - of_b[name]))[:COHORTS_SHOWN]
    return [
        CohortContrast(
            cohort=name,
            name=index.cohorts[name],
            a=round(of_a[name], 3),
            b=round(of_b[name], 3),
            difference=round(of_a[name] - of_b[name], 3),
        )
        for name in sorted(telling, key=lambda name: of_b[name] - of_a[name])
    ]


def _group(engine: Engine, samples: Sequence[Sample]) -> Group:
    types, odd = shares_of_types(engine, samples)
    return Group(
        n=len(samples),
        names=[sample.name for sample in samples[:NAMES_SHOWN]],
        top_types=types,
        out_of_distribution=odd,
    )


def _within(vectors: FloatArray) -> float | None:
    """Mean cosine distance of two different samples of a group; None for one sample."""
    n = len(vectors)
    if n < 2:
        return None
    products = float((vectors @ vectors.T).sum()) - n  # unit vectors: the diagonal is n
    return round(1 - products / (n * (n - 1)), 4)


def _cosine(a: FloatArray, b: FloatArray) -> float:
    import numpy as np

    return float(a @ b / (np.linalg.norm(a) * np.linalg.norm(b)))


def _check_groups(a: Sequence[Sample], b: Sequence[Sample]) -> None:
    for name, group in (("a", a), ("b", b)):
        if not 1 <= len(group) <= LARGEST_GROUP:
            raise SpecformerError(
                f"Group {name} holds {len(group)} samples; 1 to {LARGEST_GROUP} are taken.",
                "Give the handles that embed_sample returned.",
            )
        if len({sample.handle for sample in group}) < len(group):
            raise SpecformerError(
                f"A handle stands twice in group {name}.", "Give every sample once."
            )
    if both := {sample.handle for sample in a} & {sample.handle for sample in b}:
        raise SpecformerError(
            f"{len(both)} handles stand in both groups, as {min(both)}.",
            "A sample belongs to one group; samples of equal values have the same handle.",
        )


def _doubt(a: Sequence[Sample], b: Sequence[Sample], group_a: Group, group_b: Group) -> list[str]:
    from specformer_mcp.analysis.effects import smallest_p

    notes = []
    m, n = len(a), len(b)
    if min(m, n) < 2:
        notes.append(
            "One sample on a side: no test. Two random members of the reference cohort differ by "
            f"|delta_z| > {_UNUSUAL:.1f} in 5 % of the sets."
        )
    elif min(m, n) < SMALL_GROUP:
        notes.append(
            f"Small groups ({m} and {n}): for hypotheses only. The smallest p the test can reach "
            f"is {smallest_p(m, n):.2g}, before correction."
        )
    units = [sorted({sample.unit.unit for sample in group}) for group in (a, b)]
    if units[0] != units[1]:
        notes.append(
            f"The units differ ({', '.join(units[0])} against {', '.join(units[1])}): pipelines "
            "differ too, and part of the difference may come from them."
        )
    if odd := group_a.out_of_distribution + group_b.out_of_distribution:
        notes.append(f"{odd} of {m + n} samples are out of distribution: check them first.")
    return notes


def _reading(
    engine: Engine, a: Sequence[Sample], b: Sequence[Sample], va: FloatArray, vb: FloatArray
) -> list[str]:
    """For two single samples: how many reference profiles lie nearer to a than b does."""
    if len(a) > 1 or len(b) > 1:
        return []
    index = engine.loaded().index
    depth = min(1000, index.info.counts.get("profiles", 1000))
    near = index.nearest_profiles(va[0], k=max(1, depth))
    nearer = sum(neighbor.similarity > _cosine(va[0], vb[0]) for neighbor in near)
    more = f"{nearer} or more" if nearer == len(near) else str(nearer)
    return [f"{more} reference profiles lie nearer to a than b does."]
