"""Which gene sets score differently in two groups: effect sizes, tests, and their order."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from specformer_mcp.analysis.pathways import SMALLEST_COMPARISON, reference_cohort
from specformer_mcp.engine import Engine, Watch
from specformer_mcp.results import PathwayContrast

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from specformer_encoder.profiles import FloatArray
    from specformer_mcp.samples import Sample

    DoubleArray = npt.NDArray[np.float64]


class Contrasts:
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


def scores_of(engine: Engine, samples: Sequence[Sample], watch: Watch | None) -> DoubleArray:
    """(S, P) ssGSEA scores."""
    import numpy as np

    rows: list[FloatArray] = []
    for sample in samples:
        if watch is not None:
            watch(len(rows), 1)
        rows.append(engine.pathway_scores(sample))
    return np.stack(rows).astype(np.float64)


def contrast(
    engine: Engine,
    scores_a: DoubleArray,
    scores_b: DoubleArray,
    collection: str,
    *,
    between: FloatArray,
) -> Contrasts:
    """Contrast the gene sets of a collection between two groups.

    Parameters
    ----------
    scores_a, scores_b
        (A, P) and (B, P) ssGSEA scores, NaN where a set could not be scored.
    between
        (E,) a vector between the groups; the cohort nearest to it gives the unit where a group has
        one sample.
    """
    import numpy as np

    gene_sets = engine.loaded().gene_sets
    # A set that one sample cannot be scored for is not compared: the others would decide alone.
    scored = np.isfinite(scores_a).all(axis=0) & np.isfinite(scores_b).all(axis=0)
    wanted = np.flatnonzero(scored & (np.array(gene_sets.collections) == collection))
    if min(len(scores_a), len(scores_b)) < 2:
        return _against_reference(engine, scores_a, scores_b, wanted, between)
    return _between_groups(engine, scores_a[:, wanted], scores_b[:, wanted], wanted)


def _between_groups(
    engine: Engine, a: DoubleArray, b: DoubleArray, wanted: npt.NDArray[np.intp]
) -> Contrasts:
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
    return Contrasts(contrasts, strength, "hedges_g")


def _against_reference(
    engine: Engine,
    a: DoubleArray,
    b: DoubleArray,
    wanted: npt.NDArray[np.intp],
    between: FloatArray,
) -> Contrasts:
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
    return Contrasts(contrasts, strength, "delta_z", stats.cohort, stats.name)
