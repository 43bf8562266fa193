"""What a unit leaves behind in the numbers, and the unit that it points to.

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

from specformer_encoder.unit_names import LENGTH_NORMALISED, UnitCall

Array = npt.NDArray[np.floating]

MILLION = 1e6
#: Upper quartile of the expressed genes in TCGA's RSEM values.
RSEM_QUARTILE = 1000.0
#: Above this slope on gene length values are counts-like, below it divided by length.
_LENGTH_SLOPE = -0.2
#: Shares of whole numbers from which values are counts, and expected counts.
WHOLE, NEARLY_WHOLE = 0.985, 0.6
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


def name_unit(marks: Signs, evidence: list[str]) -> UnitCall:
    """Name the unit of linear values from their marks.

    Parameters
    ----------
    marks
        Statistics of the values.
    evidence
        Sentences that come first.
    """

    def call(unit: str, confidence: float, *sentences: str) -> UnitCall:
        told = [*evidence, *sentences]
        if slope == slope:  # not NaN
            told.append(
                f"Among well expressed genes the value changes with gene length by a slope of "
                f"{slope:.2f} (counts: about -0.05, divided by length: about -0.3)."
            )
        return UnitCall(unit, "linear", LENGTH_NORMALISED[unit], confidence, told, False)

    slope = marks.length_slope
    counts_like, divided = slope > _LENGTH_SLOPE + 0.08, slope < _LENGTH_SLOPE  # NaN: neither
    if marks.whole >= WHOLE:
        return call("counts", 0.98, f"{100 * marks.whole:.1f} % of small values are whole.")
    if marks.whole >= NEARLY_WHOLE:
        return call(
            "expected_counts",
            0.95,
            f"{100 * marks.whole:.0f} % of small values are whole: counts with reads shared "
            "between genes.",
        )
    million = marks.total / MILLION
    full = abs(million - 1) < 0.02
    if full or (0.65 < million < 1.02 and marks.genes >= 12_000):
        told = f"The values of a sample sum to {marks.total:,.0f}, about a million."
        if counts_like:
            return call("cpm", 0.75, told, "They do not fall with gene length: CPM.")
        if divided:
            return call("tpm", 0.95, told, "They fall with gene length: TPM.")
        return call("tpm", 0.8, told, "The sum alone cannot tell TPM from CPM; taken as TPM.")
    quartile = f"The upper quartile of the expressed genes is {marks.upper_quartile:,.4g}"
    if abs(marks.upper_quartile / RSEM_QUARTILE - 1) < 0.07:
        return call("rsem_normalized", 0.95, f"{quartile}, as TCGA's RSEM values are scaled.")
    if marks.total > 1e9:
        return call("fpkm_uq", 0.7, f"{quartile}, far above counts, as older FPKM-UQ files have.")
    if marks.median > 60 or marks.total > 3e6:
        # A quartile near 1,000 speaks for RSEM, so the slope has to speak louder against it.
        if slope < (_LENGTH_SLOPE if marks.upper_quartile < 900 else _LENGTH_SLOPE - 0.1):
            return call("fpkm", 0.6, f"{quartile}, as counts have, yet values fall with length.")
        if 600 < marks.upper_quartile < 2000:
            return call("rsem_normalized", 0.75, f"{quartile}, near the 1,000 of RSEM values.")
        return call("expected_counts", 0.65, f"{quartile}: normalised counts of some kind.")
    if marks.quartile_spread < 0.05:
        return call("fpkm_uq", 0.85, f"{quartile}, nearly the same in all samples: FPKM-UQ.")
    if counts_like and marks.genes < 12_000:
        return call("cpm", 0.5, f"{quartile}, and values do not fall with gene length.")
    return call("fpkm", 0.8, f"{quartile} and the sum {marks.total:,.0f}, as FPKM has.")
