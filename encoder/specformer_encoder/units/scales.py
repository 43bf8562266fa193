"""The scale of values: linear, a logarithm (base and offset), a root; and the way back.

Values that never pass about 30 are logarithms. Base and offset are found by undoing each plausible
one and keeping the one whose result carries the mark of a unit. The genes without a read tell the
offset, since all of them have the same, lowest value: 0 for log(x+1), -9.97 for log2(x+0.001), and
the prior count for edgeR's and limma's log-CPM.

DESeq2's variance-stabilising transform can be undone as well. With parametric dispersion it is
v(q) = log₂((1 + a₁ + 2 a₀ q + 2 √(a₀ q (1 + a₁ + a₀ q))) / 4 a₀) of the normalised count q (Anders
and Huber, Genome Biology 11:R106, 2010), where a₀ and a₁ are not in the file. But v(0) is, the
lowest value: with F = 2^v(0) = (1 + a₁) / 4 a₀ the formula is 2^v = F + q/2 + √(F q + q²/4), so
q = (2^v - F)² / 2^v, whatever the dispersions.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from specformer_encoder.units.names import BASES, OWN_FLOOR, DeclaredUnit, scale_name, scale_parts
from specformer_encoder.units.signs import Array

LARGEST_LOG = 30.0  # 2³⁰: more reads than any library has
#: Share of a sample's genes, and number, at its lowest value that make it a floor. An offset that
#: nobody adds needs more, since genes with a single read share a value too.
_FLOOR_SHARE, _FLOOR_GENES = 0.005, 10
_CLEAR_SHARE = 0.02
#: Floors of samples that differ by less are one.
_ONE_FLOOR = 0.02
#: More genes than have a single read.
_MOST_SINGLE = 0.15
#: Offsets that people add; an offset that is one of them speaks for its base. From 0.05 up they may
#: as well be the value of a single read, and count for base 2 only.
USUAL = (1e-6, 1e-5, 1e-4, 1e-3, 0.01)
_ALSO_USUAL = (0.05, 0.1, 0.25, 0.5, 1.0)
#: Negative values of a batch-adjusted log2(x+1) are small; a few may be twice as large.
_ADJUSTED_LOWEST, _FEW_ADJUSTED = -2.5, 0.05


@dataclass(frozen=True, slots=True)
class Floor:
    """The lowest value, if many genes share it.

    Attributes
    ----------
    value
        Median over samples of the lowest value.
    common
        Whether it is the same in all samples.
    share
        Median share of a sample's genes that have it.
    mixed
        Whether it is exactly zero in some samples, as after log(x+1), and far below in others.
    """

    value: float
    common: bool
    share: float
    mixed: bool


def undo(values: Array, scale: str) -> Array:
    """Linear values, not negative, of any scale; the type of the values is kept.

    Parameters
    ----------
    values
        (S, G) as they stand in the file, NaN where not measured.
    scale
        As in `UnitCall`.
    """
    kind = values.dtype.type
    base, offset = scale_parts(scale)
    if base == "linear":
        return np.maximum(values, kind(0.0))
    if base == "sqrt":
        return values * values
    if base == "vst":
        # Rounding puts zeros a little above the floor, and (2^v - F)² makes nothing of that.
        raised, floor = np.exp2(values), kind(2.0**offset)
        return np.asarray(np.maximum(raised - floor, kind(0.0)) ** 2 / raised)
    logarithm = kind(np.log(BASES[base]))
    if offset == 1.0:  # expm1 keeps the digits of values near zero, which exp(v) - 1 would lose
        linear = np.expm1(values * logarithm)
        smallest = np.asarray(1e-3)
    else:
        added: Array | np.floating = kind(offset)
        if offset != offset:
            added = np.exp(np.nanmin(values, axis=-1, keepdims=True) * logarithm)
        linear = np.exp(values * logarithm) - added
        # A file rounds log2(0.001) to -9.9658, which comes back as 1e-8, not as zero.
        smallest = np.asarray(np.maximum(added * kind(1e-3), kind(1e-9)))
    return np.where(linear < smallest, kind(0.0), linear)


def find_floor(rows: Array) -> Floor | None:
    """The lowest value of log data, if many genes of most samples share it."""
    lowest = np.nanmin(rows, axis=1)
    tied = (rows <= lowest[:, None] + 1e-4).sum(axis=1)
    genes = (~np.isnan(rows)).sum(axis=1)
    floored = tied >= np.maximum(_FLOOR_SHARE * genes, _FLOOR_GENES)
    if floored.mean() < 0.5:
        return None
    values = lowest[floored]
    middle = float(np.median(values))
    share = float(np.median(tied[floored] / genes[floored]))
    common = bool(np.abs(values - middle).max() <= _ONE_FLOOR)
    mixed = bool((np.abs(values) < 1e-6).any() and (values < -1.0).any())
    return Floor(middle, common, share, mixed)


def candidates(rows: Array, floor: Floor | None, base: str = "log2") -> tuple[list[str], list[str]]:
    """Scales that log values may have, the likeliest first, and what speaks for them.

    Parameters
    ----------
    rows
        (S, G), some of them.
    floor
        Their floor.
    base
        Of the logarithm, if it was declared: it says how small the negatives are.
    """
    negative = float(np.nanmean(rows < 0))
    low = float(np.median(np.nanmin(rows, axis=1)) * np.log2(BASES[base]))
    if floor is not None and floor.value < 0.0 and (found := _below_zero(floor, rows)):
        return found
    if negative:
        told = [f"{100 * negative:.2g} % are negative."]
        if low > _ADJUSTED_LOWEST or (negative < _FEW_ADJUSTED and low > 2 * _ADJUSTED_LOWEST):
            return ["log2(x)" if _single_read(rows) else "log2(x+1)"], told
        return ["log2(x)"], told
    plain = ["log2(x+1)", "ln(x+1)", "log10(x+1)"]
    if floor is not None and floor.value > 0.05 and floor.share >= _CLEAR_SHARE:
        lifted = [f"vst({floor.value:.5g})", scale_name("log2", 2.0**floor.value)]
        told = [f"Many genes share the lowest value, {floor.value:.2f}: they have no read."]
        return [*lifted, *plain], told
    return plain, []


def _below_zero(floor: Floor, rows: Array) -> tuple[list[str], list[str]] | None:
    """Offsets that a negative floor stands for; None if it is the value of a single read."""
    found: list[str] = []
    told = []
    single = floor.share <= _MOST_SINGLE and _single_read(rows)
    for base, number in BASES.items():
        added = number**floor.value
        known = (*USUAL, *_ALSO_USUAL) if base == "log2" else USUAL
        usual = [offset for offset in known if abs(added / offset - 1.0) < 0.003]
        if usual and floor.common:
            found.insert(0, scale_name(base, usual[0]))
        elif base == "log2" and floor.share >= _CLEAR_SHARE and not single:
            found.append(scale_name(base, float(f"{added:.4g}") if floor.common else OWN_FLOOR))
    if not found:
        return None
    if not any(scale.startswith("log2") for scale in found):
        found.append("log2(x)")
    base, offset = scale_parts(found[0])
    told.append(
        f"Many genes share the lowest value, {floor.value:.4f} = {base}({offset:.4g}), so "
        f"{offset:.4g} was added."
        if floor.common
        else f"In each sample many genes share the lowest value (about {floor.value:.2f}), so each "
        "has an offset of its own, as limma's voom adds."
    )
    return found, told


def _single_read(rows: Array) -> bool:
    """Whether the lowest values of log2(x) are 1, 2, 3 times that of one read, zeros left out."""
    raised = np.exp2(rows - np.nanmin(rows, axis=1, keepdims=True))
    few = raised[(raised > 1.5) & (raised < 6.5)]
    if not len(few):
        return False
    multiples = np.round(few)[np.abs(few / np.round(few) - 1.0) < 0.015]
    # Half a read in all genes (voom) gives odd multiples only.
    return len(multiples) > 0.6 * len(few) and float(np.mean(multiples == 2)) > 0.15


def allowed(scales: list[str], said: DeclaredUnit, floor: Floor | None) -> list[str]:
    """Those of the scales that a declaration leaves open, or the one that it names.

    Parameters
    ----------
    scales
        What the values suggest.
    said
        A declaration with a base that is not linear.
    floor
        Of the values.
    """
    if said.base is None or said.base == "log":
        return scales
    if said.base == "sqrt":
        return ["sqrt(x)"]
    if said.base == "vst":  # without a floor its upper end is still a log2
        return ["log2(x+1)"] if floor is None else [f"vst({floor.value:.5g})"]
    if said.offset is not None:
        return [scale_name(said.base, said.offset)]
    of_base = [scale for scale in scales if scale.startswith(f"{said.base}(")]
    if of_base or "log2(x)" not in scales:
        return of_base or [scale_name(said.base, 1.0)]
    return [scale.replace("log2", said.base) for scale in scales]
