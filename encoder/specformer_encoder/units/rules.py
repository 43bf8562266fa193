"""The unit that the marks of linear values point to.

From the marks that nothing else leaves (whole numbers, a sum of a million, an upper quartile of
1,000, multiples of one read) to those that are only likely (the size of the values, their change
with gene length). `signs` says where each mark comes from.
"""

from __future__ import annotations

from dataclasses import replace

from specformer_encoder.units.names import LENGTH_NORMALISED, UnitCall
from specformer_encoder.units.signs import Signs

MILLION = 1e6
#: Upper quartile of the expressed genes in TCGA's RSEM values.
RSEM_QUARTILE = 1000.0
#: Upper quartiles after batch correction, and of gene panels.
_RSEM_LIKE = (600.0, 2000.0)
#: Shares of whole numbers from which values are counts, and expected counts.
WHOLE, NEARLY_WHOLE = 0.985, 0.6
#: Share of small values on multiples of one read, from which values are counts over a factor.
#: TCGA's RSEM values have 0.66 and more, TPM and FPKM at most 0.2.
ON_STEP = 0.6
#: More than any sample has, bases covered included.
_LARGEST_TOTAL = 1e12
#: Genes from which a file covers the genome, so that its sums mean something.
GENOME_WIDE = 12_000
#: Above the first slope on gene length values are counts-like, below the second they were divided
#: by length, and below the third even counts are suspicious. Counts of the corpus have -0.38 to
#: 0.59 (median -0.02), TPM and FPKM -0.88 to -0.24 (median -0.5).
COUNTS_SLOPE, DIVIDED_SLOPE, STEEP_SLOPE = -0.12, -0.2, -0.4
#: Sum of FPKM times length, in 10⁹: 1, up to other lengths and genes that were not counted.
_FPKM_SUM = (0.4, 1.3)


def exact_mark(marks: Signs) -> bool:
    """Whether the values carry a mark that no wrong scale and no centred data would leave."""
    return marks.total < _LARGEST_TOTAL and (
        marks.whole >= NEARLY_WHOLE
        or near(marks.total, MILLION, 0.005)
        or (marks.genes >= GENOME_WIDE and near(marks.total, MILLION / 100, 0.005))
        or near(marks.upper_quartile, RSEM_QUARTILE, 0.03)
    )


def fpkm_mark(marks: Signs) -> bool:
    """Whether value times gene length sums over the genome to what FPKM sums to."""
    return marks.genes >= GENOME_WIDE and _FPKM_SUM[0] < marks.length_sum < _FPKM_SUM[1]


def near(value: float, target: float, tolerance: float) -> bool:
    """Whether a value is within a share of the target."""
    return abs(value / target - 1.0) <= tolerance


def name_unit(marks: Signs) -> UnitCall:
    """Name the unit of linear values from their marks."""
    found = _decide(marks)
    evidence = list(found.evidence)
    if marks.on_step >= ON_STEP and marks.whole < NEARLY_WHOLE:
        evidence.append(
            f"{100 * marks.on_step:.0f} % of the small values are multiples of {marks.step:.3g}, "
            "as counts divided by a factor of the library are."
        )
    if marks.length_slope == marks.length_slope:  # not NaN
        evidence.append(
            f"Among well expressed genes the value changes with gene length by a slope of "
            f"{marks.length_slope:.2f} (counts: about 0, divided by length: about -0.5)."
        )
    return replace(found, evidence=evidence, typical=marks)


def _call(unit: str, confidence: float, *told: str, warning: str = "") -> UnitCall:
    """Put an answer together."""
    divided = LENGTH_NORMALISED[unit]
    warnings = [warning] if warning else []
    return UnitCall(unit, "linear", divided, confidence, list(told), False, warnings)


def _decide(marks: Signs) -> UnitCall:
    """Go through the marks, the surest first."""
    slope = marks.length_slope  # NaN compares false, so neither holds without lengths
    counts_like, divided = slope > COUNTS_SLOPE, slope < DIVIDED_SLOPE
    genome_wide = marks.genes >= GENOME_WIDE
    one_read = marks.on_step >= ON_STEP
    total = f"The values of a sample sum to {marks.total:,.0f}"
    million = near(marks.total, MILLION, 0.02) or (
        genome_wide and 0.65 * MILLION < marks.total < 1.02 * MILLION
    )
    if marks.whole >= WHOLE:
        return _whole(marks, million)
    off = abs(marks.upper_quartile / RSEM_QUARTILE - 1.0)
    if marks.whole >= NEARLY_WHOLE or (one_read and off > 0.02 and near(marks.step, 1.0, 0.01)):
        return _call(
            "expected_counts",
            0.95 if marks.whole >= NEARLY_WHOLE else 0.85,
            f"{100 * marks.whole:.0f} % of small values are whole: counts with reads shared "
            "between genes.",
        )
    if million:
        told = f"{total}, about a million."
        if one_read:
            return _call("cpm", 0.95, told, "They are multiples of one read: CPM.")
        if counts_like:
            return _call("cpm", 0.75, told, "They do not fall with gene length: CPM.")
        if divided:
            return _call("tpm", 0.95, told, "They fall with gene length: TPM.")
        return _call("tpm", 0.7, told, "The sum alone cannot tell TPM from CPM; taken as TPM.")
    if genome_wide and near(marks.total, MILLION / 100, 0.005):
        return _call("cpm", 0.8, f"{total}: counts per ten thousand.")
    quartile = f"The upper quartile of the expressed genes is {marks.upper_quartile:,.4g}"
    if off < 0.02 or (off < 0.07 and (one_read or not slope < DIVIDED_SLOPE - 0.1)):
        sure = 0.95 if off < 0.02 or one_read else 0.7
        return _call("rsem_normalized", sure, f"{quartile}, as TCGA's RSEM values are scaled.")
    if one_read:
        return _scaled_counts(marks, quartile)
    if marks.total > 1e9:
        return _call("fpkm_uq", 0.7, f"{quartile}, far above counts, as older FPKM-UQ files have.")
    if marks.median > 60 or marks.total > 3e6:
        return _large(marks, quartile)
    if marks.quartile_spread < 0.05:
        return _call("fpkm_uq", 0.85, f"{quartile}, nearly the same in all samples: FPKM-UQ.")
    if fpkm_mark(marks) and not counts_like:
        return _call(
            "fpkm",
            0.9,
            f"Value times gene length sums to {marks.length_sum:.2f} × 10⁹, and FPKM to 1 × 10⁹.",
        )
    if counts_like and (not genome_wide or marks.length_sum > 2 * _FPKM_SUM[1]):
        return _call("cpm", 0.5, f"{quartile}, and values do not fall with gene length.")
    if genome_wide and marks.total < 2.5 * marks.genes:
        return _call(
            "fpkm",
            0.4,
            f"{quartile} and the sum {marks.total:,.0f}.",
            warning=f"The values of a sample sum to {marks.total:,.0f} over {marks.genes:,} genes, "
            "less than any known unit has: they may have been transformed (a root, a logarithm "
            "without an offset) or scaled. Declare the unit if you know it.",
        )
    return _call("fpkm", 0.8, f"{quartile} and the sum {marks.total:,.0f}, as FPKM has.")


def _whole(marks: Signs, million: bool) -> UnitCall:
    """Whole numbers: counts, unless they sum to a million as only rounded TPM and CPM do."""
    told = f"{100 * marks.whole:.1f} % of small values are whole."
    slope = marks.length_slope
    # Rounding misses the million by a few dozen; counts drawn down to it meet it.
    drawn = marks.total == MILLION and not slope < DIVIDED_SLOPE
    rounded = near(marks.total, MILLION, 0.01) and not slope > COUNTS_SLOPE and not drawn
    # The sum of a panel may be a million by chance.
    if (rounded and marks.genes >= GENOME_WIDE) or (million and slope < STEEP_SLOPE + 0.1):
        return _call(
            "tpm",
            0.8 if slope < DIVIDED_SLOPE else 0.6,
            f"{told} But a sample sums to {marks.total:,.0f}, about a million, as TPM does.",
            warning="The values look like TPM rounded to whole numbers; genes below 0.5 TPM are "
            "lost. If they are read counts of a library of a million reads, declare counts.",
        )
    if marks.total > 1e9:
        return _call(
            "counts", 0.9, told, f"They sum to {marks.total:,.3g}: bases covered, as in recount."
        )
    if slope < STEEP_SLOPE:
        return _call(
            "counts",
            0.8,
            told,
            warning=f"These counts fall with gene length (slope {slope:.2f}), as tag counts do, "
            "which have one read a molecule (UMI, 3' sequencing), and as counts of degraded RNA "
            "do. If they are tag counts, declare tag_counts.",
        )
    return _call("counts", 0.98, told)


def _scaled_counts(marks: Signs, quartile: str) -> UnitCall:
    """Counts over a factor of the library that is neither its size nor RSEM's quartile."""
    if _RSEM_LIKE[0] < marks.upper_quartile < _RSEM_LIKE[1]:
        return _call("rsem_normalized", 0.9, f"{quartile}, near the 1,000 of RSEM values.")
    if marks.total < 2 * MILLION and marks.step < 1.0:
        return _call("cpm", 0.9, f"{quartile}, and a read counts for {marks.step:.3g}: CPM.")
    return _call("expected_counts", 0.9, f"{quartile}: counts normalised between samples.")


def _large(marks: Signs, quartile: str) -> UnitCall:
    """Values of the size of counts, with no mark of one."""
    # A quartile near 1,000 speaks for RSEM, so the slope has to speak louder against it; among
    # few genes, chosen for something, it says less.
    needed = DIVIDED_SLOPE if marks.upper_quartile < 900 else DIVIDED_SLOPE - 0.1
    if marks.genes < GENOME_WIDE:
        needed = min(needed, STEEP_SLOPE)
    if marks.length_slope < needed:
        return _call("fpkm", 0.6, f"{quartile}, as counts have, yet values fall with length.")
    if _RSEM_LIKE[0] < marks.upper_quartile < _RSEM_LIKE[1]:
        return _call("rsem_normalized", 0.7, f"{quartile}, near the 1,000 of RSEM values.")
    return _call("expected_counts", 0.65, f"{quartile}: normalised counts of some kind.")
