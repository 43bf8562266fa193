"""What a unit leaves behind in the numbers of one sample.

Each quantification has a mark of its own. Read counts are whole numbers. TPM and CPM sum to a
million. TCGA's RSEM "normalized counts" are scaled so that the upper quartile of the expressed
genes is 1,000 (Bullard et al., BMC Bioinformatics 11:94, 2010). Counts that were divided by a
factor of the library (CPM, DESeq2, TMM, RSEM) are no longer whole, but their small values are
still multiples of one step, the value of a single read; TPM and FPKM, divided by another length in
each gene, have no such step. By definition FPKM times gene length sums to 10⁹ over the genes that
were counted. Last, counts grow with transcript length and TPM and FPKM were divided by it, so among
well expressed genes the latter fall with length: the slope of log₂(value) on log₂(length) in the
upper half of the expressed genes tells the two apart where nothing better does
(benchmarks/unit_detection.py measures how well).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import astuple, dataclass, replace

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.floating]

#: Whole numbers are looked for below this: larger values are often rounded.
_ROUNDED_FROM = 64.0
#: Fewer small values than this say nothing about whole numbers, so all values are looked at.
_FEW = 20
#: Values closer to a whole number than this share of themselves are whole (log data carry error),
#: up to a distance at which fractions could not be told from whole numbers.
_WHOLE_TOLERANCE, _WHOLE_DISTANCE = 2e-3, 0.05
_FEWEST_LENGTHS = 300
#: The step is the commonest value among the lowest fifth, in bins of 0.4 % (files keep 2-3 digits).
_BIN = 0.004
_STEP_TOLERANCE = 0.01
#: In deep libraries more genes have two or three reads than one: so many may the commonest have.
_READS = (1, 2, 3, 4)
#: Multiples of the step that are looked at: beyond, the tolerance covers too much of the line.
_MULTIPLES = 20.5


@dataclass(frozen=True, slots=True)
class Signs:
    """Statistics of one sample's linear values, or their medians over samples.

    Attributes
    ----------
    genes
        Genes with a value.
    total
        Sum over genes.
    median, upper_quartile
        Of the values above zero.
    largest
        Largest value.
    top
        Mean of log₂(value + 1) at the quantiles 0.95, 0.99 and 0.999 of the values above zero: what
        another base of the logarithm stretches.
    quartile_of_all
        Upper quartile, zeros included.
    whole
        Share of whole numbers among the values between 0 and 64, 0 to 1.
    step, on_step
        The commonest small value, and the share of the values up to 20 steps that are multiples of
        it, 0 to 1; NaN where that says nothing (too few values, or values rounded to decimals).
    length_slope
        Slope of log₂(value) on log₂(length), upper half of the expressed genes; NaN where lengths
        are not known.
    length_sum
        Sum of value times gene length, in 10⁹ base pairs: 1 for FPKM; NaN as above.
    quartile_spread
        Coefficient of variation of `quartile_of_all` over samples; NaN for fewer than five.
    negative
        Share of the file's linear values that were negative and count as zero.
    """

    genes: int
    total: float
    median: float
    upper_quartile: float
    largest: float
    top: float
    quartile_of_all: float
    whole: float
    step: float
    on_step: float
    length_slope: float
    length_sum: float
    quartile_spread: float = float("nan")
    negative: float = 0.0


_NOTHING = Signs(0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, np.nan, np.nan, np.nan, np.nan)


def signs(row: Array, lengths: Array | None) -> Signs:
    """Statistics of one sample.

    Parameters
    ----------
    row
        (G,) linear values, not negative, NaN where not measured.
    lengths
        (G,) base pairs, NaN where not known; None if no lengths are at hand.
    """
    positive = np.sort(row[row > 0])  # NaN compares false
    if not len(positive):
        return _NOTHING
    median, quartile, *upper = np.quantile(positive, (0.5, 0.75, 0.95, 0.99, 0.999))
    step, on_step = steps(positive)
    slope = length_sum = float("nan")
    if lengths is not None:
        slope = length_slope(row, lengths)
        length_sum = float(np.nansum(row * lengths)) / 1e9
    genes = int((~np.isnan(row)).sum())
    # Of all genes, zeros first: the quantile falls among the positive values or is zero.
    place = 0.75 * (genes - 1) - (genes - len(positive))
    return Signs(
        genes=genes,
        total=float(positive.sum()),
        median=float(median),
        upper_quartile=float(quartile),
        largest=float(positive[-1]),
        top=float(np.log2(np.array(upper) + 1.0).mean()),
        quartile_of_all=float(positive[int(place)]) if place >= 0 else 0.0,
        whole=whole(positive),
        step=step,
        on_step=on_step,
        length_slope=slope,
        length_sum=length_sum,
    )


def typical(samples: Sequence[Signs]) -> Signs:
    """Medians over samples that have any value above zero, and the spread of their quartiles."""
    table = np.array([astuple(one)[:-2] for one in samples if one.total > 0])
    if not len(table):
        return _NOTHING
    values = [
        float(np.median(column[~np.isnan(column)])) if (~np.isnan(column)).any() else float("nan")
        for column in table.T
    ]
    quartiles = np.array([one.quartile_of_all for one in samples if one.total > 0])
    several = len(quartiles) >= 5 and quartiles.mean() > 0
    return replace(
        Signs(int(values[0]), *values[1:]),
        quartile_spread=float(quartiles.std() / quartiles.mean()) if several else float("nan"),
    )


def whole(positive: Array) -> float:
    """Share of whole numbers among the small positive values of one sample."""
    small = positive[positive < _ROUNDED_FROM]
    looked_at = small if len(small) >= _FEW else positive
    off = np.abs(looked_at - np.round(looked_at))
    allowed = np.minimum(_WHOLE_TOLERANCE * looked_at, _WHOLE_DISTANCE)
    return float(np.mean(off <= allowed)) if len(looked_at) else 0.0


def steps(positive: Array) -> tuple[float, float]:
    """Find the value of a single read, and how many small values are multiples of it.

    Parameters
    ----------
    positive
        Values above zero in rising order.

    Returns
    -------
    step, share
        NaN for both where there are too few small values, or the step is that of decimals.
    """
    lowest = positive[: max(len(positive) // 5, 100)]
    bins, tally = np.unique(np.floor(np.log(lowest) / _BIN), return_counts=True)
    # A value that lies on the edge of two bins counts in both.
    joined = tally.astype(float)
    beside = np.flatnonzero(np.diff(bins) == 1)
    joined[beside] += tally[beside + 1]
    middle = (bins[np.argmax(joined)] + 1.0) * _BIN
    common = float(np.median(lowest[np.abs(np.log(lowest) - middle) <= 1.5 * _BIN]))
    best = float("nan"), float("nan")
    if _decimal(common):
        return best
    for reads in _READS:
        found = _on_multiples(positive, common / reads)
        if found == found and not found < best[1] + 0.05:  # NaN compares false
            best = common / reads, found
    return best


def _on_multiples(positive: Array, step: float) -> float:
    """Share of the values up to 20 steps that are multiples of the step; NaN if it says nothing."""
    start, stop = np.searchsorted(positive, (0.5 * step, _MULTIPLES * step))
    if stop - start < 5 * _FEW or 4 * step > positive[len(positive) * 3 // 4] or _decimal(step):
        return float("nan")
    ratio = positive[start:stop] / step
    near = np.round(ratio)
    return float(np.mean(np.abs(ratio - near) <= _STEP_TOLERANCE * near))


def _decimal(step: float) -> bool:
    """Whether values rounded to decimals would have this step too."""
    mantissa = step / 10.0 ** np.floor(np.log10(step * 1.015))
    return step < 0.5 and any(abs(mantissa / digit - 1) < 0.015 for digit in (1, 2, 3))


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
