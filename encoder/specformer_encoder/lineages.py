"""How many of the cell lineages that every tissue holds a profile shows.

A piece of tissue, tumour or not, is made of more than its own cells: blood vessels, connective
tissue, macrophages, lymphocytes. Cells grown in a dish are of one lineage, so the marker genes of
all the others are silent in them. Of each of five lineages the mean rank quantile of its marker
genes says how much there is of it; the median of the five is high as long as three lineages are
there, whichever they are, and a leukaemia or a fibroblast line, which has one or two of them by
itself, does not reach it.

The markers are in common use for deconvolving bulk expression (E. Becht et al., Genome Biology
17:218, 2016; P. Danaher et al., J. ImmunoTherapy of Cancer 5:18, 2017) and were chosen before any
number was seen.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from specformer_encoder.ordering import NOT_MEASURED, quantile_values

FloatArray = npt.NDArray[np.float32]

MARKERS = {
    "T cells": "CD2 CD3D CD3E CD3G CD5 CD6 CD247 TRAT1 ITK SH2D1A GZMK CD8A CD27",
    "B cells": "CD19 MS4A1 CD79A CD79B BLK FCRL5 TNFRSF17 MZB1 CD22 FCRLA PAX5",
    "macrophages": "CD14 CD68 CD163 C1QA C1QB C1QC MS4A4A MS4A7 VSIG4 MRC1 CSF1R LILRB4 FCGR3A "
    "CD86 TYROBP",
    "vessels": "PECAM1 VWF CDH5 CLDN5 EMCN ESAM TIE1 TEK ROBO4 CLEC14A MMRN2 KDR PLVAP",
    "connective tissue": "COL1A1 COL1A2 COL3A1 DCN LUM FBN1 PDGFRB FAP THY1 COL6A3 MMP2 COL5A1",
}
#: Ranks within a panel are not ranks within a whole profile: with a smaller share of the
#: vocabulary measured, nothing is said.
_LEAST_SHARE = 0.5
#: Markers of a lineage that must be measured for a mean.
_LEAST_MARKERS = 3


def lineage_content(quantiles: npt.NDArray[np.uint8], symbols: Sequence[str]) -> FloatArray:
    """The median over five lineages of the mean rank quantile of their markers.

    Parameters
    ----------
    quantiles
        (S, V) of `ordering.rank_quantiles`.
    symbols
        V gene symbols of the vocabulary.

    Returns
    -------
    (S,) from 0 to 1; NaN for a panel, or where a lineage has too few markers measured.
    """
    at = {symbol: i for i, symbol in enumerate(symbols)}
    means = []
    for names in MARKERS.values():
        columns = [at[name] for name in names.split() if name in at]
        ranks = quantile_values(quantiles[:, columns])  # (S, markers)
        known = (~np.isnan(ranks)).sum(axis=1)
        mean = np.nansum(ranks, axis=1) / np.maximum(known, 1)
        means.append(np.where(known >= _LEAST_MARKERS, mean, np.nan))
    whole = (quantiles != NOT_MEASURED).mean(axis=1) >= _LEAST_SHARE
    # The median of a row with a NaN is NaN, and that is meant.
    return np.where(whole, np.median(np.stack(means), axis=0), np.nan).astype(np.float32)
