"""Which unit is this, and the way back to linear expression.

An ordering needs each gene's share of the sample, so values must come back to a linear scale, and
counts must be told from TPM and FPKM because only counts are still to be divided by gene length.
No file says reliably what it holds; the numbers do (see `unit_signs`). First the scale is decided:
values that never pass about 30 are logarithms. The logarithm is undone with each plausible base
and the one whose result carries the mark of a unit is kept. Then the unit is decided, with the
evidence in sentences and a confidence. Z-scores and other centred values are refused: each gene
was set against other samples, and its share of its own sample cannot be had back.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt

from specformer_encoder.errors import ExpressionValueError
from specformer_encoder.unit_names import (
    LENGTH_NORMALISED,
    LOGS,
    REMEDY,
    SCALES,
    UNITS,
    DeclaredUnit,
    UnitCall,
    parse_unit,
)
from specformer_encoder.unit_signs import (
    MILLION,
    NEARLY_WHOLE,
    RSEM_QUARTILE,
    WHOLE,
    Array,
    name_unit,
    signs,
    some_samples,
    whole,
)

__all__ = ["SCALES", "UNITS", "DeclaredUnit", "UnitCall", "detect_unit", "parse_unit", "to_linear"]

FloatArray = npt.NDArray[np.float32]

_LARGEST_LOG = 30.0  # 2³⁰: more reads than any library has
#: Share of values at a positive minimum that shows a variance-stabilising floor.
_FLOOR_SHARE = 0.005


def detect_unit(
    values: Array, *, declared: str | None = None, lengths: Array | None = None
) -> UnitCall:
    """Decide the unit of a matrix, or of one sample.

    Parameters
    ----------
    values
        (S, G) or (G,), NaN where not measured.
    declared
        What the user or the format says; it is believed unless the values make it impossible.
    lengths
        (G,) gene lengths in base pairs, NaN where not known. They separate CPM from TPM, and
        normalised counts from FPKM, where sums and quartiles do not.

    Returns
    -------
    UnitCall
        Unit, scale, and the evidence for them.

    Raises
    ------
    ExpressionValueError
        If the values are infinite, centred, constant, scaled to 0–1, a mixture of linear and log
        samples, or contradict the declared unit.
    """
    matrix = np.atleast_2d(np.asarray(values))
    said = parse_unit(declared) if declared is not None else None
    is_log = _is_logarithm(matrix)
    if said is not None and said.base is not None and (said.base == "linear") == is_log:
        largest = float(np.nanmax(matrix))
        raise ExpressionValueError(
            f"The values were declared as {declared}, and their largest is {largest:.4g}: that is "
            + ("a logarithm, not a linear scale." if is_log else "no logarithm."),
            f"Declare {'log2(' + (said.unit or 'x') + '+1)' if is_log else 'the linear unit'}, or "
            "nothing to have it detected.",
        )
    rows = some_samples(matrix)
    measured = None if lengths is None else np.asarray(lengths, np.float64)
    if is_log:
        found = _logarithmic(rows, measured, said)
    else:
        evidence = [f"The largest value is {np.nanmax(matrix):,.6g}, so the scale is linear."]
        found = name_unit(signs(rows, measured), evidence)
    return found if said is None else _declared(found, said, str(declared), rows, measured)


def to_linear(values: Array, call: UnitCall) -> FloatArray:
    """Undo the logarithm.

    Parameters
    ----------
    values
        (S, G) as they stand in the file.
    call
        What `detect_unit` returned.

    Returns
    -------
    (S, G) float32, not negative, NaN where not measured.
    """
    raw = np.asarray(values, np.float32)
    if call.scale == "linear":
        return raw.copy()
    base, offset = LOGS[call.scale]
    exponent = raw * np.float32(np.log(base))
    # expm1 keeps the digits of values near zero, which exp(v) - 1 would lose.
    linear = np.expm1(exponent) if offset == 1.0 else np.exp(exponent) - np.float32(offset)
    # A file rounds log2(0.001) to -9.9658, which comes back as 1e-8, not as zero.
    linear[linear < max(offset, 1e-6) * 1e-3] = 0.0
    return np.asarray(linear, np.float32)


def _is_logarithm(matrix: Array) -> bool:
    """Tell log values from linear ones; refuse what is neither."""
    if not np.any(~np.isnan(matrix), axis=1).all() or np.isinf(matrix).any():
        raise ExpressionValueError("A sample has infinite values or no value at all.", REMEDY)
    largest, smallest = np.nanmax(matrix, axis=1), np.nanmin(matrix, axis=1)
    if (flat := np.flatnonzero(largest == smallest)).size:
        raise ExpressionValueError(
            f"Sample {flat[0] + 1} of {len(matrix)} has the same value, {largest[flat[0]]:g}, in "
            "all genes, so its genes cannot be ordered.",
            "Leave the sample out, or check how the column was made.",
        )
    top = float(largest.max())
    if (smallest < 0).any():
        if top > 2 * _LARGEST_LOG:
            raise ExpressionValueError(
                f"{int((matrix < 0).sum()):,} values are negative (lowest {smallest.min():.4g}), "
                f"but the largest, {top:,.6g}, is too large for a logarithm: linear expression is "
                "never negative.",
                "Use the values from before the batch correction, or set its negatives to zero.",
            )
        _refuse_centred(some_samples(matrix))
        return True
    if top <= 1.5:
        raise ExpressionValueError(
            f"The largest value is {top:.3g}: the genes were scaled to a common range (0 to 1), "
            "so their shares of the sample are lost.",
            REMEDY,
        )
    low = largest <= _LARGEST_LOG
    if low.any() and (largest > 1000).any():
        raise ExpressionValueError(
            f"{int(low.sum())} of {len(matrix)} samples look logarithmic (largest value "
            f"{largest[low].max():.3g}) and others linear (largest {top:,.6g}).",
            "Split the file by unit, or bring all samples to one scale.",
        )
    shallow = all(whole(row[row > 0]) > WHOLE for row in some_samples(matrix))
    return bool(low.all()) and not shallow


def _refuse_centred(rows: npt.NDArray[np.float64]) -> None:
    """Refuse z-scores, centred values and log ratios; let log values below one pass."""
    middle = [np.nanquantile(row, (0.05, 0.5, 0.95)) for row in rows]
    low, median, high = np.median(middle, axis=0)
    share = float(np.nanmean(rows < 0))
    known = rows[:, ~np.isnan(rows).all(axis=0)]
    per_gene, spread = np.nanmean(known, axis=0), np.nanstd(known, axis=0)
    balanced = len(rows) >= 8 and float(np.mean(np.abs(per_gene) < 0.2 * spread)) > 0.6
    # Expression spans ten doublings and more; a gene against its own mean spans a few.
    narrow = high - low < 8.0 and abs(median) < 1.5
    if balanced or narrow or share > 0.6:
        raise ExpressionValueError(
            f"{100 * share:.0f} % of the values are negative and the middle 90 % lie between "
            f"{low:.2f} and {high:.2f} around {median:.2f}: they look z-scored, centred or like "
            "log ratios. Each gene was set against other samples, so its share of its own sample "
            "is lost and the sample cannot be ordered.",
            REMEDY,
        )


def _logarithmic(
    rows: npt.NDArray[np.float64], lengths: Array | None, said: DeclaredUnit | None
) -> UnitCall:
    """Find base and offset by undoing the logarithm with each, then the unit."""
    top, low = float(np.nanmax(rows)), float(np.nanmin(rows))
    evidence = [f"The largest value is {top:.2f}, so the scale is logarithmic."]
    negative, zero = float(np.nanmean(rows < 0)), float(np.nanmean(rows == 0))
    if negative:
        if abs(low - np.log2(0.001)) < 0.01:
            scale = "log2(x+0.001)"
            evidence.append(f"The lowest value is {low:.4f} = log2(0.001), so 0.001 was added.")
        elif negative > zero:
            scale = "log2(x)"
            evidence.append(f"{100 * negative:.1f} % are negative, so nothing was added: log2(x).")
        else:
            scale = "log2(x+1)"
            evidence.append(
                f"{100 * negative:.2f} % are negative, as a batch correction leaves them; they "
                "count as zero."
            )
        candidates = [scale]
    else:
        candidates = ["log2(x+1)", "ln(x+1)", "log10(x+1)"]
    if said is not None and said.base not in (None, "log"):
        candidates = _allowed(candidates, said, negative)
    calls = {scale: _undone(rows, lengths, scale) for scale in candidates}
    scale = max(calls, key=lambda name: calls[name][0])
    score, found = calls[scale]
    if len(candidates) > 1:
        evidence.append(
            f"Undone with base {scale.split('(', maxsplit=1)[0].removeprefix('log')}, the values "
            "carry the mark of a unit."
            if score >= 2
            else f"No base gives a clear unit; {scale} is the plausible one."
        )
    if low > 1.0 and float(np.nanmean(rows == low)) > _FLOOR_SHARE:
        evidence.append(
            f"Many values equal the lowest, {low:.2f}, as in variance-stabilised counts (or array "
            "intensities); the logarithm cannot be undone exactly at that end."
        )
        found = replace(found, unit="counts", length_normalised=False, confidence=0.5)
    sure = found.confidence * (1.0 if score >= 2 or len(candidates) == 1 else 0.9)
    return replace(found, scale=scale, confidence=sure, evidence=evidence + found.evidence)


def _allowed(candidates: list[str], said: DeclaredUnit, negative: float) -> list[str]:
    """Scales that the declaration allows; detection keeps the choice of what it leaves open."""
    fitting = [
        scale
        for scale, (_, offset) in LOGS.items()
        if scale.startswith(f"{said.base}(") and said.offset in (None, offset)
    ]
    kept = [scale for scale in candidates if scale in fitting] or fitting
    if not kept or (negative > 0.2 and all(LOGS[s][1] == 1.0 for s in kept)):
        raise ExpressionValueError(
            f"The values were declared as {said.base} of x + {said.offset:g}, and "
            f"{100 * negative:.0f} % of them are negative, which that cannot give.",
            "Declare the right logarithm, or nothing to have it detected.",
        )
    return kept


def _undone(
    rows: npt.NDArray[np.float64], lengths: Array | None, scale: str
) -> tuple[float, UnitCall]:
    """Undo one logarithm and score how much the result looks like a unit."""
    base, offset = LOGS[scale]
    linear = np.maximum(np.exp(rows * np.log(base)) - offset, 0.0)
    linear[linear < offset * 1e-3] = 0.0
    marks = signs(linear, lengths)
    score = 1.2 if base == 2.0 else 0.0
    million = marks.total / MILLION
    quartile = marks.upper_quartile / RSEM_QUARTILE
    if marks.whole > NEARLY_WHOLE or abs(million - 1) < 0.005 or abs(quartile - 1) < 0.03:
        score += 3.0
    elif 0.7 < million < 1.02 or 0.9 < quartile < 1.25:
        score += 1.0
    # The least that any unit has: FPKM of 19,600 protein-coding genes sum to 230,000.
    if marks.largest < 1000 or marks.total > 1e9 or marks.total < 10.0 * marks.genes:
        score -= 2.0
    return score, name_unit(marks, [])


def _declared(
    found: UnitCall,
    said: DeclaredUnit,
    text: str,
    rows: npt.NDArray[np.float64],
    lengths: Array | None,
) -> UnitCall:
    """Take the declared unit unless the values make it impossible."""
    unit = said.unit or found.unit
    marks = signs(to_linear(rows, found).astype(np.float64), lengths)
    impossible = ""
    if unit == "counts" and found.scale == "linear" and marks.whole < 0.5:
        impossible = f"only {100 * marks.whole:.0f} % of the small values are whole numbers"
    elif unit in ("tpm", "cpm") and marks.total > 1.05 * MILLION:
        impossible = f"a sample's values sum to {marks.total:,.0f}, more than a million"
    if impossible:
        linear = found.scale == "linear"
        raise ExpressionValueError(
            f"The values were declared as {text}, but {impossible}"
            + (f"; they look like {found.unit}." if linear else f" once {found.scale} is undone."),
            f"Declare {found.unit if linear else 'the right logarithm'}, or nothing to have it "
            "detected.",
        )
    agrees = LENGTH_NORMALISED[unit] == found.length_normalised
    told = f"Declared as {text}."
    if unit != found.unit:
        told += f" The values themselves look like {found.unit} ({found.scale})."
    return UnitCall(
        unit,
        found.scale,
        LENGTH_NORMALISED[unit],
        1.0 if agrees else 0.6,
        [told, *found.evidence],
        True,
    )
