"""What is true of planted differences, found without the code that the server answers with."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from benchmarks.agents.material import Material
from specformer_encoder.gene_sets import GeneSets

FloatArray = npt.NDArray[np.float32]
Scores = npt.NDArray[np.float64]

TRAINING_PROFILES = 60
ALWAYS_HIGH = 0.85
"""Rank, 0 to 1, that a gene to switch off has in nearly all members of the cohort, at least."""
NEARLY = 0.05
"""Share of the cohort's members that may be exceptions."""


def hallmark_scores(values: FloatArray) -> tuple[list[str], Scores]:
    """Score the Hallmark sets by gseapy, another implementation of ssGSEA than the server's.

    Parameters
    ----------
    values
        (n, V) expression; genes that one of the profiles lacks are left out.

    Returns
    -------
    P names and (n, P) enrichment scores.
    """
    import gseapy
    import pandas as pd

    sets = GeneSets.load()
    hallmark = [n for n, c in zip(sets.names, sets.collections, strict=True) if c == "hallmark"]
    known = np.flatnonzero(~np.isnan(values).any(axis=0))
    frame = pd.DataFrame(values[:, known].T, [f"G{gene}" for gene in known])
    result = gseapy.ssgsea(
        frame,
        {name: [f"G{gene}" for gene in sets.members(name)] for name in hallmark},
        outdir=None,
        sample_norm_method="rank",
        correl_norm_type="rank",
        weight=0.25,
        min_size=1,
        max_size=1000,
        threads=1,
        no_plot=True,
    ).res2d
    table = result.pivot_table(index="Name", columns="Term", values="ES", aggfunc="first")
    return hallmark, table.reindex(index=frame.columns, columns=hallmark).to_numpy(float)


def welch_t(a: Scores, b: Scores) -> Scores:
    """(P,) Welch's t of the columns of (n, P) and (m, P)."""
    error = a.var(axis=0, ddof=1) / len(a) + b.var(axis=0, ddof=1) / len(b)
    return np.asarray((a.mean(axis=0) - b.mean(axis=0)) / np.sqrt(error))


def gene_to_switch(material: Material, profile: FloatArray, cohort: str, *, off: bool) -> int:
    """Draw a gene that a member of a cohort should have, or should not.

    To switch off: one that lies high in nearly all training members and in the profile. To switch
    on: one that is silent in nearly all training members and in the profile.

    Returns
    -------
    Its vocabulary position.
    """
    members = material.values(material.training_rows(cohort, most=TRAINING_PROFILES))
    measured = ~np.isnan(np.vstack([members, profile])).any(axis=0)
    if off:
        # Share of the genes that lie below, ties aside: what a reader of the table would see.
        order = np.sort(np.nan_to_num(members), axis=1)
        level = np.quantile(order, ALWAYS_HIGH, axis=1)[:, None]
        usual = (np.nan_to_num(members) < level).mean(axis=0) <= NEARLY
        here = profile > np.nanquantile(profile, ALWAYS_HIGH)
    else:
        usual = (np.nan_to_num(members) > 0.1).mean(axis=0) <= NEARLY
        here = profile <= 0
    return int(material.random.choice(np.flatnonzero(measured & usual & here)))


def switched(profile: FloatArray, gene: int, *, off: bool) -> FloatArray:
    """(V,) the profile with one gene at zero, or as high as its 200th highest; the rest as it was.

    Its sum is 10⁶ again.
    """
    changed = profile.copy()
    highest = np.sort(profile[~np.isnan(profile)])
    changed[gene] = 0 if off else highest[-200]
    return changed * np.float32(1e6 / np.nansum(changed))
