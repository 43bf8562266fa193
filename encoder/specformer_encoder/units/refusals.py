"""Values that cannot be ordered, whatever their unit: no scale of their own is left in them.

A z-score, a centred value or a log ratio sets each gene against other samples, and a rank or a
0-to-1 scaling replaces the size of a value by its place. The order of the genes within the sample,
which is all that the encoder reads, is lost or made up. Most of this shows in the sign: expression
is positive, its logarithm mostly so. Log values below one are negative too, so those are let pass
that show what set values cannot: a floor shared by the genes without a read, a sum of a million,
multiples of one read, or the height and width of a whole transcriptome.
"""

from __future__ import annotations

import numpy as np

from specformer_encoder.errors import ExpressionValueError
from specformer_encoder.units.names import BASES, REMEDY
from specformer_encoder.units.rules import GENOME_WIDE, MILLION, ON_STEP, exact_mark, near
from specformer_encoder.units.scales import LARGEST_LOG, USUAL, find_floor, undo
from specformer_encoder.units.signs import Array, Signs, signs, whole

#: Negatives that a correction on the linear scale leaves: few values, and little in sum, but more
#: than a slip of the pen.
_FEW_NEGATIVE, _LONE_NEGATIVE, _LITTLE_NEGATIVE = 0.05, 5e-4, 0.01
#: Log values span at least this many doublings from floor to top; z-scores do not.
_DOUBLINGS = 11.0
#: Where the floor is that of an offset in another base, they span at least this many powers of ten.
_DECADES = 5.5
#: Linear expression has genes a hundred times the median; ranks have none ten times.
_FLAT = 10.0


def refuse_unreadable(matrix: Array) -> None:
    """Refuse infinite values, empty samples and samples with one value in all genes."""
    if not np.any(~np.isnan(matrix), axis=1).all() or np.isinf(matrix).any():
        raise ExpressionValueError("A sample has infinite values or no value at all.", REMEDY)
    largest, smallest = np.nanmax(matrix, axis=1), np.nanmin(matrix, axis=1)
    if (flat := np.flatnonzero(largest == smallest)).size:
        raise ExpressionValueError(
            f"Sample {flat[0] + 1} of {len(matrix)} has the same value, {largest[flat[0]]:g}, in "
            "all genes, so its genes cannot be ordered.",
            "Leave the sample out, or check how the column was made.",
        )


def linear_negatives(matrix: Array, *, adjusted: bool = False) -> tuple[str, bool]:
    """Say how many linear values are negative, and whether a batch correction may have left them.

    Parameters
    ----------
    matrix
        (S, G), some of it negative.
    adjusted
        Whether the file is known to be batch-corrected, so that a sample may have a single one.
    """
    negative = matrix < 0
    share = float(negative.sum() / (~np.isnan(matrix)).sum())
    amount = -float(matrix[negative].sum(dtype=np.float64) / np.nansum(np.abs(matrix)))
    told = (
        f"{int(negative.sum()):,} values ({100 * share:.2g} %) are negative "
        f"(lowest {np.nanmin(matrix):.4g})"
    )
    small = share < _FEW_NEGATIVE and amount < _LITTLE_NEGATIVE
    many = adjusted or share > _LONE_NEGATIVE
    counts = all(whole(np.abs(row[row != 0])) > 0.98 for row in matrix[:8])
    return told, small and many and not counts


def refuse_linear_negatives(matrix: Array) -> str:
    """Refuse negative linear values, or say in a sentence that there are a few small ones."""
    told, bearable = linear_negatives(matrix)
    if not bearable:
        raise ExpressionValueError(
            f"{told}, but the largest, {np.nanmax(matrix):,.6g}, is too large for a logarithm: "
            "linear expression is never negative.",
            "Use the values from before the batch correction, or set its negatives to zero.",
        )
    return f"{told}, as a batch correction leaves them; they count as zero."


def refuse_flat(rows: Array) -> None:
    """Refuse ranks, percentiles and scalings of linear size: no gene stands out among them."""
    ratios = []
    for row in rows:
        positive = row[row > 0]
        # Whole numbers that occur again and again are counts, however even; ranks occur once.
        if len(positive) and not (whole(positive) > 0.98 and _repeats(positive)):
            ratios.append(positive.max() / np.median(positive))
    if len(ratios) > len(rows) // 2 and float(np.median(ratios)) < _FLAT:
        raise ExpressionValueError(
            f"The largest value of a sample is {np.median(ratios):.2g} times the median, and in "
            "RNA-seq some genes have a hundred times the median and more: these look like ranks, "
            "percentiles or scores.",
            REMEDY,
        )


def _repeats(positive: Array) -> bool:
    return len(np.unique(positive)) < 0.5 * len(positive)


def refuse_common_range(top: float) -> None:
    """Refuse values that were scaled to 0 to 1."""
    if top <= 1.5:
        raise ExpressionValueError(
            f"The largest value is {top:.3g}: the genes were scaled to a common range (0 to 1), "
            "so their shares of the sample are lost.",
            REMEDY,
        )


def refuse_even(rows: Array) -> None:
    """Refuse values that are spread evenly from zero to the top, as ranks are."""
    places = np.array((0.25, 0.5, 0.75, 0.95))
    off = [
        np.abs(np.nanquantile(row, places) / np.nanmax(row) - places).max()
        for row in rows
        if not (row < 0).any()
    ]
    if off and float(np.median(off)) < 0.03:
        raise ExpressionValueError(
            "The values of a sample are spread evenly from zero to the largest, as ranks and "
            "percentiles are; their sizes are lost.",
            REMEDY,
        )


def refuse_centred(rows: Array, lengths: Array | None, base: str = "log2") -> None:
    """Refuse z-scores, centred values and log ratios; let log values below one pass.

    Parameters
    ----------
    rows
        (S, G) values as they stand in the file, some of them negative.
    lengths
        (G,) base pairs, or None.
    base
        Of the logarithm, if the user said it; values without offset are taken for log₂ otherwise,
        since a log₁₀ is no wider than z-scores are.
    """
    rows = rows * np.log2(BASES[base])
    centred = [why for row in rows if (why := centred_sample(row, lengths))]
    known = rows[:, ~np.isnan(rows).all(axis=0)]
    per_gene, spread = np.nanmean(known, axis=0), np.nanstd(known, axis=0)
    balanced = len(rows) >= 8 and float(np.mean(np.abs(per_gene) < 0.2 * spread)) > 0.6
    if len(centred) <= len(rows) // 2 and not balanced:
        return
    share = 100 * float(np.nanmean(rows < 0))
    why = centred[0] if centred else "the mean of most genes over the samples is about zero"
    raise ExpressionValueError(
        f"{share:.0f} % of the values are negative and {why}: they look z-scored, centred or like "
        "log ratios. Each gene was set against other samples or the sample against itself, so its "
        "share of its own sample is lost and the sample cannot be ordered.",
        f"{REMEDY} If these are plain logarithms of another base, declare it, as in log10(tpm).",
    )


def centred_sample(row: Array, lengths: Array | None) -> str:
    """Why one sample looks z-scored, centred or like log ratios; empty if it does not.

    Parameters
    ----------
    row
        (G,) logarithms, in doublings, NaN where not measured.
    lengths
        (G,) base pairs, or None.
    """
    known = row[~np.isnan(row)]
    low, q05, median, q95, top = (float(q) for q in np.quantile(known, (0, 0.05, 0.5, 0.95, 1)))
    if low >= 0 or top > 2 * LARGEST_LOG:
        return ""
    mean, spread = float(known.mean()), float(known.std())
    if abs(mean) < 2e-3 * spread or median == 0.0:
        return f"the {'median' if median == 0.0 else 'mean'} of a sample is exactly zero"
    if abs(low + top) < 1e-6:
        return f"they were cut at {low:g} and {top:g}"
    if _floored(row, top - low):
        return ""
    width, share = q95 - q05, float((known < 0).mean())
    if median >= 4.0 or (median >= 2.0 and width >= 6.0 and share < 0.35):
        return ""
    if median >= 0.5 and width >= 6.0:
        marks = signs(undo(row, "log2(x)"), lengths)
        marked = exact_mark(marks) or marks.on_step >= ON_STEP
        if marked or (median >= 1.0 and width >= 8.0 and _plausible(marks)):
            return ""
    return f"the middle 90 % lie between {q05:.2f} and {q95:.2f} around {median:.2f}"


def _floored(row: Array, height: float) -> bool:
    """Whether many genes share the lowest value, and the highest is as far off as in expression."""
    floor = find_floor(row[None, :])
    if floor is None:
        return False
    return height >= _DOUBLINGS or any(
        near(number**floor.value, offset, 0.003)
        and height >= _DECADES * np.log(10) / np.log(number)
        for number in BASES.values()
        for offset in USUAL
    )


def _plausible(marks: Signs) -> bool:
    """Whether it sums to what protein-coding TPM or FPKM sum to."""
    return marks.genes >= GENOME_WIDE and (
        0.65 * MILLION < marks.total < 1.02 * MILLION or 0.3 < marks.length_sum < 1.5
    )
