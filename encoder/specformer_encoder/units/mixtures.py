"""Samples of another unit among those of a file.

Merged files hold counts beside TPM, or logarithms beside what they were taken of. A large file is
read in blocks, so its unit is called once, from some of its samples, and each block is compared
with that call. Only strong evidence counts against a sample: samples differ in depth, in quality
and in tissue, and a false alarm would refuse a good file.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from specformer_encoder.errors import ExpressionValueError
from specformer_encoder.units.names import (
    BASES,
    DOUBTED,
    UnitCall,
    scale_name,
    scale_parts,
)
from specformer_encoder.units.refusals import centred_sample, linear_negatives
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
from specformer_encoder.units.scales import LARGEST_LOG, USUAL, Floor, find_floor, undo
from specformer_encoder.units.signs import Array, Signs, signs

#: Fewer genes above zero say too little of a sample.
_FEWEST_GENES = 200
#: Shares of whole numbers below which values are no counts of any kind.
_NOT_WHOLE = 0.35
#: Share of values on multiples of the commonest one that chance leaves in TPM and FPKM.
_NOT_ON_STEP = 0.25
#: A sum or quartile that differs by this factor from the mark that the others have.
_OFF_MARK = 1.5
#: Upper quartiles of samples of one unit, counts aside, stay within this factor.
_MAGNITUDES = 12.0
#: Top values of samples of one scale stay within a sixth, and another base changes them by more.
_SAME_BASE, _OTHER_BASE = 0.16, 0.1
#: A gap between the top values of two groups of samples; within a unit neighbours are closer.
_GAP = 0.08
#: Largest over median: below in logarithms, above in linear values (corpus: 76 and more).
_LOG_SHAPE = 25.0
#: Confidence from which the unit of one sample counts.
_SURE = 0.75
#: A floor of fewer genes may be that of single reads.
_CLEAR_FLOOR = 0.02
_FLOORS_DIFFER = 0.05


@dataclass(frozen=True, slots=True)
class OddSample:
    """A sample whose own numbers contradict the unit of its file.

    Attributes
    ----------
    index
        Row in the values that were given.
    looks_like
        Unit and scale that it seems to have, in words.
    why
        One sentence.
    matters
        Whether the call would be wrong for it: another scale, or divided by gene length where the
        others are not. Otherwise the result is the same and a warning is enough.
    """

    index: int
    looks_like: str
    why: str
    matters: bool


def odd_samples(values: Array, call: UnitCall, lengths: Array | None = None) -> list[OddSample]:
    """Samples that contradict the unit of their file.

    Parameters
    ----------
    values
        (b, G) as they stand in the file, NaN where not measured: all samples, or a block of them.
    call
        What `detect_unit` said of the file.
    lengths
        (G,) base pairs, NaN where not known; without them fewer contradictions are seen.

    Returns
    -------
    list of OddSample
        In the order of the samples, at most one for each.
    """
    found = []
    for index, row in enumerate(np.atleast_2d(values)):
        told = _contradiction(np.asarray(row, np.float64), call, lengths)
        if told is not None:
            found.append(OddSample(index, *told))
    return found


def report_mixture(
    odd: Sequence[OddSample], names: Sequence[str], call: UnitCall, *, source: str = "the file"
) -> list[str]:
    """Refuse a mixture that would be computed wrongly, or say so where it makes no difference.

    Parameters
    ----------
    odd
        From `odd_samples`.
    names
        Names of the samples that `OddSample.index` counts.
    call
        Unit of the file.
    source
        Name of the file.

    Returns
    -------
    list of str
        Warnings.

    Raises
    ------
    ExpressionValueError
        Naming the first of the samples.
    """
    matter = [one for one in odd if one.matters]
    shown = matter or list(odd)
    if not shown:
        return []
    first = ", ".join(names[one.index] for one in shown[:3]) + (" ..." if len(shown) > 3 else "")
    kinds = Counter(one.looks_like for one in shown)
    told = (
        f"{len(shown)} of {len(names)} samples in {source} ({first}) look like "
        f"{' or '.join(kind for kind, _ in kinds.most_common(3))}, the others like {call.unit} "
        f"({call.scale}). {shown[0].why}"
    )
    if matter:
        raise ExpressionValueError(told, "Split the file by unit, or bring all samples to one.")
    return [told + " Both are brought to the same profile."]


def majority(samples: Sequence[Signs]) -> list[Signs]:
    """Samples that share the commonest mark, so that medians are not taken across a mixture."""
    marks = [_mark(one) for one in samples]
    if not marks:
        return []
    commonest = Counter(marks).most_common(1)[0][0]
    alike = [one for one, mark in zip(samples, marks, strict=True) if mark == commonest]
    alike.sort(key=lambda one: one.top)
    tops = np.array([one.top for one in alike])
    fifth = len(alike) // 5
    gaps = np.diff(tops)[fifth : len(alike) - 1 - fifth]
    if len(alike) >= 5 and len(gaps) and gaps.max() > _GAP * np.median(tops):
        cut = fifth + int(np.argmax(gaps)) + 1
        return max(alike[cut:], alike[:cut], key=len)
    return alike


def _mark(one: Signs) -> str:
    """The strongest mark of a sample."""
    if near(one.total, MILLION, 0.005):
        return "million of reads" if one.on_step >= ON_STEP else "million"
    if one.whole >= NEARLY_WHOLE:
        return "whole" if one.whole >= WHOLE else "nearly whole"
    if near(one.upper_quartile, RSEM_QUARTILE, 0.02):
        return "quartile"
    return "reads" if one.on_step >= ON_STEP else "none"


def _contradiction(
    row: Array, call: UnitCall, lengths: Array | None
) -> tuple[str, str, bool] | None:
    """What a sample looks like instead, why, and whether it matters."""
    positive = row[row > 0]
    if np.isinf(row).any():
        return "values that cannot be ordered", "The first of them has infinite values.", True
    if len(positive) < _FEWEST_GENES or call.typical is None:
        return None
    if call.scale == "linear" and (row < 0).any() and positive.max() > 2 * LARGEST_LOG:
        told, bearable = linear_negatives(row[None, :], adjusted=call.typical.negative > 0)
        if not bearable:
            return "values that cannot be ordered", f"In the first of them {told}.", True
    other = _other_scale(row, positive, call, lengths)
    if other is not None:
        return (*other, True)
    marks = signs(undo(row, call.scale), lengths)
    if call.scale != "linear":
        stretched = _other_base(row, marks, call, lengths)
        if stretched is not None:
            return (*stretched, True)
    why = _other_unit(marks, call.typical, call)
    if not why:
        return None
    seems = name_unit(marks)
    if call.scale != "linear" and not exact_mark(marks) and not fpkm_mark(marks):
        return "values of another unit or scale", why, True
    if seems.unit == call.unit:
        return None
    # Against what the others look like, not what they were declared as.
    others = name_unit(call.typical).length_normalised
    return seems.unit, why, seems.confidence >= _SURE and seems.length_normalised != others


def _other_scale(
    row: Array, positive: Array, call: UnitCall, lengths: Array | None
) -> tuple[str, str] | None:
    """Linear among logarithms, the reverse, or centred."""
    top = float(positive.max())
    base, offset = scale_parts(call.scale)
    if (row < 0).any():
        doublings = row * np.log2(BASES[base]) if base in BASES else row
        why = centred_sample(doublings, lengths)
        if why:
            return "z-scored or centred values", f"In the first of them {why}."
    if base in BASES or base == "vst":
        if top > 2 * LARGEST_LOG:
            return "linear values", f"The first of them has a value of {top:,.6g}."
        floor = find_floor(row[None, :])
        if floor is not None and _other_offset(floor, base, offset):
            return (
                f"values with another offset than {call.scale}",
                f"Many genes of the first of them share the lowest value, {floor.value:.4f}, which "
                "is not that of a gene without a read in the others.",
            )
        return None
    shape = top / float(np.median(positive))
    small = positive[positive < LARGEST_LOG]
    fractions = float(np.mean(np.abs(small - np.round(small)) > 1e-3)) if len(small) else 0.0
    if top <= LARGEST_LOG and shape < _LOG_SHAPE and fractions > 0.5:
        return "logarithms", f"The largest value of the first of them is {top:.3g}."
    return None


def _other_offset(floor: Floor, base: str, offset: float) -> bool:
    """Whether a floor is that of another usual offset, or of another transform."""
    if floor.share < _CLEAR_FLOOR or not offset > 0:
        return False
    if base == "vst":
        return abs(floor.value - offset) > _FLOORS_DIFFER
    stands_for = BASES[base] ** floor.value
    usual = any(near(stands_for, known, 0.003) for known in (*USUAL, 1.0))
    return usual and not near(stands_for, offset, 0.05)


def _other_base(
    row: Array, marks: Signs, call: UnitCall, lengths: Array | None
) -> tuple[str, str] | None:
    """A logarithm of another base: the top values are stretched by the ratio of two bases."""
    base, offset = scale_parts(call.scale)
    typical = call.typical
    if base not in BASES or typical is None or typical.top <= 0:
        return None
    known = marks.whole >= NEARLY_WHOLE or near(marks.total, MILLION, 0.005)
    if known or call.confidence <= DOUBTED:
        return None
    ratio = marks.top / typical.top
    for other, number in BASES.items():
        if other == base:
            continue
        expected = float(np.log(BASES[base]) / np.log(number))
        stretched = abs(ratio / expected - 1.0) <= _OTHER_BASE and abs(ratio - 1.0) >= _SAME_BASE
        if exact_mark(marks) and not stretched:
            continue
        scale = scale_name(other, offset)
        again = signs(undo(row, scale), lengths)
        million = marks.genes >= GENOME_WIDE and near(again.total, MILLION, 0.001)
        if again.whole >= WHOLE or million:
            return scale, f"The first of them carries the mark of a unit as {scale} only."
        if not stretched:
            continue
        if abs(again.top / typical.top - 1.0) < _SAME_BASE / 2:
            return (
                scale,
                f"The highest values of the first of them are {ratio:.2f} times those of the "
                f"others, as in {other} among {base}.",
            )
    return None


def _other_unit(marks: Signs, typical: Signs, call: UnitCall) -> str:
    """The sentence that says how the marks of a sample contradict those of the others."""
    if typical.whole >= NEARLY_WHOLE and marks.whole < _NOT_WHOLE:
        return (
            f"Of the small values of the first of them {100 * marks.whole:.0f} % are whole, and "
            f"{100 * typical.whole:.0f} % in the others."
        )
    if typical.whole < _NOT_WHOLE and marks.whole >= WHOLE:
        return "The small values of the first of them are whole, those of the others are not."
    whole_unit = typical.whole >= NEARLY_WHOLE
    if not whole_unit and _about_a_million(typical) and _off(marks.total, typical.total):
        return f"The values of the first of them sum to {marks.total:,.0f}, not to a million."
    # The sum of a panel, or of counts, may be a million by chance.
    meant = marks.genes >= GENOME_WIDE and marks.whole < NEARLY_WHOLE
    if meant and near(marks.total, MILLION, 0.002) and not near(typical.total, MILLION, 0.2):
        return "The values of the first of them sum to a million, those of the others do not."
    if near(marks.upper_quartile, RSEM_QUARTILE, 0.01) and typical.upper_quartile < 300:
        return "The upper quartile of the first of them is 1,000, as in RSEM values."
    if call.length_normalised and marks.on_step >= ON_STEP and typical.on_step < _NOT_ON_STEP:
        return "The small values of the first of them are multiples of one read, as counts are."
    if call.unit == "cpm" and typical.on_step >= ON_STEP and marks.on_step < _NOT_ON_STEP:
        return "The small values of the others are multiples of one read, as CPM are."
    apart = marks.upper_quartile / typical.upper_quartile if typical.upper_quartile else 1.0
    if not whole_unit and not 1 / _MAGNITUDES < apart < _MAGNITUDES:
        return (
            f"The upper quartile of the first of them is {marks.upper_quartile:.3g}, and "
            f"{typical.upper_quartile:.3g} in the others."
        )
    return ""


def _about_a_million(marks: Signs) -> bool:
    """Whether values sum to what TPM and CPM of all or most genes sum to."""
    coding = marks.genes >= GENOME_WIDE and 0.65 * MILLION < marks.total < 1.02 * MILLION
    return coding or near(marks.total, MILLION, 0.02)


def _off(value: float, mark: float) -> bool:
    return not 1 / _OFF_MARK < value / mark < _OFF_MARK
