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
from specformer_mcp.analysis.pathways import (
    LARGEST_TOP,
    SMALLEST_COMPARISON,
    check_collection,
    reference_cohort,
)
from specformer_mcp.engine import Engine
from specformer_mcp.results import CohortContrast, Comparison, Group, PathwayContrast

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from specformer_encoder.profiles import FloatArray
    from specformer_mcp.samples import Sample

    DoubleArray = npt.NDArray[np.float64]

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

    Raises
    ------
    SpecformerError
        A group is empty or too large, the groups share a sample, the collection is unknown, or
        `top` is out of range.
    """
    check_range("top", top, LARGEST_TOP)
    _check_groups(a, b)
    check_collection(engine, collection)
    vectors_a, vectors_b = vectors_of(engine, a), vectors_of(engine, b)
    mean_a, mean_b = vectors_a.mean(axis=0), vectors_b.mean(axis=0)
    found = _pathways(engine, a, b, collection, between=mean_a + mean_b)
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


class _Pathways:
    """Contrasts of gene sets, and how strong each is; the order is by strength."""

    def __init__(
        self,
        contrasts: list[PathwayContrast],
        strength: Sequence[float],
        effect_size: str,
        against: str | None = None,
        against_name: str | None = None,
    ) -> None:
        self.contrasts = contrasts
        self.strength = strength
        self.effect_size = effect_size
        self.against = against
        self.against_name = against_name


def _pathways(
    engine: Engine,
    a: Sequence[Sample],
    b: Sequence[Sample],
    collection: str,
    *,
    between: FloatArray,
) -> _Pathways:
    import numpy as np

    gene_sets = engine.loaded().gene_sets
    scores_a = np.stack([engine.pathway_scores(s) for s in a]).astype(np.float64)  # (A, P)
    scores_b = np.stack([engine.pathway_scores(s) for s in b]).astype(np.float64)  # (B, P)
    # A set that one sample cannot be scored for is not compared: the others would decide alone.
    scored = np.isfinite(scores_a).all(axis=0) & np.isfinite(scores_b).all(axis=0)
    wanted = np.flatnonzero(scored & (np.array(gene_sets.collections) == collection))
    if min(len(a), len(b)) < 2:
        return _against_reference(engine, scores_a, scores_b, wanted, between)
    return _between_groups(engine, scores_a[:, wanted], scores_b[:, wanted], wanted)


def _between_groups(
    engine: Engine, a: DoubleArray, b: DoubleArray, wanted: npt.NDArray[np.intp]
) -> _Pathways:
    import numpy as np

    from specformer_mcp.analysis.effects import benjamini_hochberg, hedges_g, mann_whitney

    effects = hedges_g(a, b)
    # Where neither group varies at all there is no unit to measure the difference in.
    usable = np.flatnonzero(np.isfinite(effects.g))
    p = mann_whitney(a, b)[usable]
    q = benjamini_hochberg(p)
    certain = effects.certain()
    names = engine.loaded().gene_sets.names
    contrasts = [
        PathwayContrast(
            gene_set=names[int(wanted[i])],
            effect=round(float(effects.g[i]), 2),
            low=round(float(effects.low[i]), 2),
            high=round(float(effects.high[i]), 2),
            p=float(f"{p[at]:.2g}"),
            q=float(f"{q[at]:.2g}"),
            a=round(float(a[:, i].mean()), 4),
            b=round(float(b[:, i].mean()), 4),
        )
        for at, i in enumerate(usable)
    ]
    # Ties, all that the interval leaves nothing of, are ordered by the p value.
    strength = [float(certain[i]) - 1e-3 * float(p[at]) for at, i in enumerate(usable)]
    return _Pathways(contrasts, strength, "hedges_g")


def _against_reference(
    engine: Engine,
    a: DoubleArray,
    b: DoubleArray,
    wanted: npt.NDArray[np.intp],
    between: FloatArray,
) -> _Pathways:
    stats = reference_cohort(engine, between, "nearest")
    names = engine.loaded().gene_sets.names
    contrasts = []
    for i in wanted.tolist():
        place = stats.gene_sets.get(names[i])
        if place is None or stats.n[place] < SMALLEST_COMPARISON or not stats.sd[place] > 0:
            continue
        mean_a, mean_b = float(a[:, i].mean()), float(b[:, i].mean())
        contrasts.append(
            PathwayContrast(
                gene_set=names[i],
                effect=round((mean_a - mean_b) / float(stats.sd[place]), 2),
                a=round(mean_a, 4),
                b=round(mean_b, 4),
            )
        )
    strength = [abs(contrast.effect) for contrast in contrasts]
    return _Pathways(contrasts, strength, "delta_z", stats.cohort, stats.name)


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
