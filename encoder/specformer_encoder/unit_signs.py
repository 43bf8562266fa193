"""What a unit leaves behind in the numbers: the statistics that unit detection reads.

Each quantification has a mark of its own. Read counts are whole numbers. TPM and CPM sum to a
million in each sample. TCGA's RSEM "normalized counts" are scaled so that the upper quartile of
the expressed genes is 1,000 (Bullard et al., BMC Bioinformatics 11:94, 2010). Counts grow with
transcript length and TPM and FPKM were divided by it, so among well expressed genes the value of
the latter falls with length: short genes (ribosomal, mitochondrial) lead. The slope of
log₂(value) on log₂(length) in the upper half of the expressed genes tells the two apart
(benchmarks/unit_detection.py measures how well).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.floating]

#: Samples that are looked at; more change no median.
MOST_SAMPLES = 64
#: Whole numbers are looked for below this: larger values are often rounded.
_ROUNDED_FROM = 64.0
#: Fewer small values than this say nothing about whole numbers, so all values are looked at.
_FEW = 20
#: Values closer to a whole number than this share of themselves are whole (log data carry error).
_WHOLE_TOLERANCE = 2e-3
_FEWEST_LENGTHS = 300


@dataclass(frozen=True, slots=True)
class Signs:
    """Statistics of linear values, each the median over samples.

    Attributes
    ----------
    samples, genes
        Samples looked at, and genes measured.
    total
        Sum over genes.
    median, upper_quartile
        Of the values above zero.
    largest
        Largest value.
    whole
        Share of whole numbers among the values between 0 and 64, 0 to 1.
    quartile_spread
        Coefficient of variation of the upper quartile (zeros included) over samples; NaN for
        fewer than five.
    length_slope
        Slope of log₂(value) on log₂(length), upper half of the expressed genes; NaN where lengths
        are not known.
    """

    samples: int
    genes: int
    total: float
    median: float
    upper_quartile: float
    largest: float
    whole: float
    quartile_spread: float
    length_slope: float


def some_samples(values: Array) -> npt.NDArray[np.float64]:
    """At most `MOST_SAMPLES` rows, evenly spread, as float64."""
    rows = np.unique(np.linspace(0, len(values) - 1, min(len(values), MOST_SAMPLES)).astype(int))
    return np.asarray(values[rows], np.float64)


def signs(linear: Array, lengths: Array | None) -> Signs:
    """Statistics of linear values.

    Parameters
    ----------
    linear
        (S, G), not negative, NaN where not measured.
    lengths
        (G,) base pairs, NaN where not known; None if no lengths are at hand.
    """
    rows = []
    for row in linear:
        positive = row[row > 0]  # NaN compares false
        if not len(positive):
            continue
        median, quartile = np.quantile(positive, (0.5, 0.75))
        everywhere = np.nanquantile(row, 0.75)
        slope = np.nan if lengths is None else length_slope(row, lengths)
        rows.append(
            (positive.sum(), median, quartile, positive.max(), whole(positive), everywhere, slope)
        )
    if not rows:
        return Signs(len(linear), linear.shape[1], 0.0, 0.0, 0.0, 0.0, 0.0, np.nan, np.nan)
    table = np.array(rows)
    total, median, quartile, largest, share = np.median(table[:, :5], axis=0)
    quartiles, slopes = table[:, 5], table[:, 6]
    several = len(table) >= 5 and quartiles.mean() > 0
    return Signs(
        samples=len(linear),
        genes=int(np.median((~np.isnan(linear)).sum(axis=1))),
        total=float(total),
        median=float(median),
        upper_quartile=float(quartile),
        largest=float(largest),
        whole=float(share),
        quartile_spread=float(quartiles.std() / quartiles.mean()) if several else float("nan"),
        length_slope=float(np.median(slopes)),
    )


def whole(positive: Array) -> float:
    """Share of whole numbers among the small positive values of one sample."""
    small = positive[positive < _ROUNDED_FROM]
    looked_at = small if len(small) >= _FEW else positive
    off = np.abs(looked_at - np.round(looked_at))
    return float(np.mean(off <= _WHOLE_TOLERANCE * looked_at)) if len(looked_at) else 0.0


def length_slope(row: Array, lengths: Array) -> float:
    """Least-squares slope of log₂(value) on log₂(length) in the upper half of expressed genes.

    Parameters
    ----------
    row
        (G,) linear values of one sample.
    lengths
        (G,) base pairs, NaN where not known.

    Returns
    -------
    float
        NaN if fewer than 300 genes have both.
    """
    usable = (row > 0) & (lengths > 0)
    if usable.sum() < _FEWEST_LENGTHS:
        return float("nan")
    y, x = np.log2(row[usable]), np.log2(lengths[usable])
    upper = y > np.median(y)
    y, x = y[upper] - y[upper].mean(), x[upper] - x[upper].mean()
    return float((x @ y) / (x @ x)) if x.any() else float("nan")
