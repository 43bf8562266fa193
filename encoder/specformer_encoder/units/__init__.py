"""Which unit is this, and the way back to linear expression.

An ordering needs each gene's share of the sample, so values must come back to a linear scale, and
counts must be told from TPM and FPKM because only counts are still to be divided by gene length.
No file says reliably what it holds; the numbers do. First the scale is decided (`scales`),
then the unit (`signs`, `rules`), with the evidence in sentences and a confidence. Values
without a scale are refused (`refusals`), and so are files that mix units (`mixtures`).
What a user declares is taken, unless the values make it impossible, and questioned where they
contradict it.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt

from specformer_encoder.errors import ExpressionValueError
from specformer_encoder.units.mixtures import OddSample, majority, odd_samples, report_mixture
from specformer_encoder.units.names import (
    BASES,
    DOUBTED,
    SCALES,
    UNITS,
    DeclaredUnit,
    UnitCall,
    parse_unit,
    scale_parts,
)
from specformer_encoder.units.overrides import refuse_other_scale, take_declared
from specformer_encoder.units.refusals import (
    refuse_centred,
    refuse_common_range,
    refuse_even,
    refuse_flat,
    refuse_linear_negatives,
    refuse_unreadable,
)
from specformer_encoder.units.rules import (
    GENOME_WIDE,
    MILLION,
    NEARLY_WHOLE,
    ON_STEP,
    RSEM_QUARTILE,
    WHOLE,
    exact_mark,
    fpkm_mark,
    name_unit,
    near,
)
from specformer_encoder.units.scales import (
    LARGEST_LOG,
    Floor,
    allowed,
    candidates,
    find_floor,
    undo,
)
from specformer_encoder.units.signs import Array, Signs, signs, typical, whole

__all__ = [
    "MOST_SAMPLES",
    "SCALES",
    "UNITS",
    "DeclaredUnit",
    "OddSample",
    "UnitCall",
    "detect_unit",
    "odd_samples",
    "parse_unit",
    "report_mixture",
    "to_linear",
]

FloatArray = npt.NDArray[np.float32]

#: Samples that are looked at; more change no median.
MOST_SAMPLES = 64
#: Share of values below one from which log values of the whole genome have silent genes.
_FEW_LOW = 1e-3
#: Protein-coding genes; the others add next to nothing to a sum.
_CODING = 19_600


def detect_unit(
    values: Array, *, declared: str | None = None, lengths: Array | None = None
) -> UnitCall:
    """Decide the unit of a matrix, or of one sample.

    Parameters
    ----------
    values
        (S, G) or (G,), NaN where not measured. At most 64 samples, evenly spread, are looked at;
        `odd_samples` compares any others with the call.
    declared
        What the user or the format says; it is believed unless the values make it impossible, and
        `UnitCall.warnings` says where they contradict it.
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
        If the values are infinite, centred, constant, ranks or scaled to 0-1, a mixture of units
        that would be computed wrongly, or contradict the declared unit.
    """
    matrix = np.atleast_2d(np.asarray(values))
    said = parse_unit(declared) if declared is not None else None
    refuse_unreadable(matrix)
    measured = None if lengths is None else np.asarray(lengths, np.float64)
    picked = np.unique(np.linspace(0, len(matrix) - 1, min(len(matrix), MOST_SAMPLES)).astype(int))
    rows = np.asarray(matrix[picked], np.float64)
    is_log = _is_logarithm(matrix, rows, measured, _base(said))
    if said is not None:
        refuse_other_scale(said, str(declared), is_log, float(np.nanmax(matrix)))
    name = _logarithmic if is_log else _linear
    found = name(rows, measured, None)
    if said is not None:
        found = take_declared(name(rows, measured, said), found, said, str(declared))
    if len(rows) == 1:
        return found
    odd = odd_samples(rows, found, measured)
    # Where most samples contradict a declaration, it is the declaration that is questioned.
    if said is not None and 2 * len(odd) > len(rows):
        return found
    names = [f"no. {index + 1}" for index in picked]
    return replace(found, warnings=[*found.warnings, *report_mixture(odd, names, found)])


def to_linear(values: Array, call: UnitCall) -> FloatArray:
    """Undo the scale.

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
    return np.asarray(undo(np.asarray(values, np.float32), call.scale), np.float32)


def _base(said: DeclaredUnit | None) -> str:
    """Base of the logarithm that was declared; log2 where none was."""
    return said.base if said is not None and said.base in BASES else "log2"


def _is_logarithm(matrix: Array, rows: Array, lengths: Array | None, base: str) -> bool:
    """Tell log values from linear ones; refuse what is neither. `base` is that of the logarithm."""
    largest, negative = np.nanmax(matrix, axis=1), (matrix < 0).any(axis=1)
    top = float(largest.max())
    low = (largest <= LARGEST_LOG) | (negative & (largest <= 2 * LARGEST_LOG))
    if low.any() and (largest[~low] > 1000).any():
        raise ExpressionValueError(
            f"{int(low.sum())} of {len(matrix)} samples look logarithmic (largest value "
            f"{largest[low].max():.3g}) and others linear (largest {top:,.6g}); the first of them "
            f"is sample {int(np.argmax(low)) + 1}.",
            "Split the file by unit, or bring all samples to one scale.",
        )
    if negative.any() and top <= 2 * LARGEST_LOG:
        refuse_centred(rows, lengths, base)
        return True
    refuse_common_range(top)
    shallow = all(whole(row[row > 0]) > WHOLE for row in rows)
    if low.all() and not shallow:
        refuse_even(rows)
        return True
    refuse_flat(rows)
    return False


def _linear(rows: Array, lengths: Array | None, said: DeclaredUnit | None) -> UnitCall:
    """Name the unit of linear values, or of their squares where only those carry its mark."""
    if said is not None and said.base == "sqrt":
        return replace(name_unit(_marks(rows, "sqrt(x)", lengths)), scale="sqrt(x)")
    told = [f"The largest value is {np.nanmax(rows):,.6g}, so the scale is linear."]
    warnings = [refuse_linear_negatives(rows)] if (rows < 0).any() else []
    share = float(np.nanmean(rows < 0))
    marks = replace(_marks(rows, "linear", lengths), negative=share)
    if not exact_mark(marks):
        squares = np.median(np.nansum(rows * rows, axis=1))
        if near(squares, MILLION, 0.002) or all(whole(row[row > 0] ** 2) > WHOLE for row in rows):
            found = name_unit(_marks(rows, "sqrt(x)", lengths))
            told = ["Only the squares of the values carry the mark of a unit: these are roots."]
            return replace(found, scale="sqrt(x)", evidence=told + found.evidence)
    found = name_unit(marks)
    return replace(found, evidence=told + found.evidence, warnings=warnings + found.warnings)


def _marks(rows: Array, scale: str, lengths: Array | None) -> Signs:
    """What a typical sample looks like on a scale."""
    return typical(majority([signs(undo(row, scale), lengths) for row in rows]))


def _logarithmic(rows: Array, lengths: Array | None, said: DeclaredUnit | None) -> UnitCall:
    """Find base and offset by undoing the logarithm with each, then the unit."""
    top, low = float(np.nanmax(rows)), float(np.nanmin(rows))
    evidence = [f"The largest value is {top:.2f}, so the scale is logarithmic."]
    floor = find_floor(rows)
    if floor is not None and floor.mixed:
        raise ExpressionValueError(
            "Genes without a read are zero in some samples, as after log(x+1), and far below zero "
            "in others, as after log2(x+0.001).",
            "Split the file by unit, or bring all samples to one.",
        )
    scales, told = candidates(rows, floor, _base(said))
    if said is not None:
        scales = allowed(scales, said, floor)
    tried = {scale: _marks(rows, scale, lengths) for scale in scales}
    scores = {scale: _score(scale, marks, floor) for scale, marks in tried.items()}
    scale = max(scores, key=lambda name: scores[name])
    found = name_unit(tried[scale])
    clear = exact_mark(tried[scale]) or tried[scale].on_step >= ON_STEP
    evidence += told
    if low < 0 and scale in ("log2(x)", "log2(x+1)"):
        evidence.append(
            "Nothing was added before the logarithm."
            if scale == "log2(x)"
            else "A batch correction leaves values a little below zero; they count as zero."
        )
    if len(scales) > 1:
        evidence.append(
            f"Undone as {scale}, the values carry the mark of a unit."
            if clear
            else f"No scale gives a clear unit; {scale} is the plausible one."
        )
    sure = found.confidence * (1.0 if clear or len(scales) == 1 else 0.9)
    warnings = list(found.warnings)
    if scale.startswith("vst"):
        found = replace(found, unit="counts", length_normalised=False)
        sure = 0.85 if clear else 0.6
        evidence.append("It is undone as DESeq2's variance-stabilising transform.")
        if not clear:
            warnings.append(
                f"All values are {low:.2f} or more and many are equal to that, as after a "
                "variance-stabilising transform. It is undone by DESeq2's formula, which is exact "
                "for parametric dispersions only; counts or TPM would be surer."
            )
    elif not clear and tried[scale].genes >= GENOME_WIDE and np.nanmean(rows < 1.0) < _FEW_LOW:
        sure = min(sure, DOUBTED)
        warnings.append(
            f"Of {tried[scale].genes:,} genes next to none lies below 1 (lowest {low:.2f}), and in "
            "RNA-seq many have no read: these may be array intensities, which the model has never "
            "seen."
        )
    return replace(
        found,
        scale=scale,
        confidence=round(sure, 2),
        evidence=evidence + found.evidence,
        warnings=warnings,
    )


def _score(scale: str, marks: Signs, floor: Floor | None) -> float:
    """How much the values, undone, look like a unit."""
    base, offset = scale_parts(scale)
    score = 1.2 if base in ("log2", "vst") else 0.0
    score += marks.on_step if marks.on_step >= ON_STEP else 0.0
    if floor is not None and floor.value > 0.05 and (base == "vst" or offset > 1.0):
        # The floor explains itself; quartiles of normalised counts are 1,000 by chance only.
        return score + 3.0 + (0.2 if base == "vst" else 0.0)
    million = marks.total / MILLION
    quartile = marks.upper_quartile / RSEM_QUARTILE
    if exact_mark(marks):
        return score + (4.0 if marks.whole >= NEARLY_WHOLE else 3.0)
    if 0.7 < million < 1.02 or 0.9 < quartile < 1.25 or fpkm_mark(marks):
        score += 1.0
    # The least that any unit has: FPKM of 19,600 protein-coding genes sum to 230,000.
    if marks.largest < 1000 or marks.total > 1e9 or marks.total < 10.0 * min(marks.genes, _CODING):
        score -= 2.0
    return score
