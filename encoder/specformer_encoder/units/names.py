"""The names of units and scales, and how people write them."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

import numpy as np

from specformer_encoder.errors import ExpressionValueError
from specformer_encoder.units.signs import Signs

#: Unit → whether its values are free of gene length, so that they are not divided by it again.
LENGTH_NORMALISED = {
    "counts": False,
    "expected_counts": False,
    "tag_counts": True,  # one tag a molecule (UMI, 3' sequencing): never grew with length
    "rsem_normalized": False,
    "cpm": False,
    "tpm": True,
    "fpkm": True,
    "fpkm_uq": True,
}
UNITS = tuple(LENGTH_NORMALISED)
#: The common scales. Others are written alike: log2(x+0.5), ln(x+0.01), log10(x); log2(x+floor)
#: where each sample has an offset of its own (voom); vst(4.21) with the value of a zero count.
SCALES = (
    "linear",
    "log2(x+1)",
    "log2(x+0.001)",
    "log2(x)",
    "ln(x+1)",
    "log10(x+1)",
    "sqrt(x)",
)
BASES = {"log2": 2.0, "ln": float(np.e), "log10": 10.0}
#: Confidence in a unit that the values contradict.
DOUBTED = 0.4
#: The offset of a scale whose samples each have their own.
OWN_FLOOR = float("nan")

_ALIASES = {
    "counts": "count counts rawcount rawcounts readcounts htseq htseqcounts starcounts unstranded "
    "featurecounts coverage",
    "expected_counts": "expectedcount expectedcounts rsemexpectedcount rsemexpectedcounts "
    "rsemrawcounts rsemcounts estcounts numreads lengthscaledtpm deseq2normalized "
    "deseq2normalizedcounts medianofratios",
    "tag_counts": "tagcount tagcounts umi umis umicount umicounts quantseq 3'counts 3primecounts",
    "rsem_normalized": "rsem rsemnormalized rsemnormalizedcounts normcount normalizedcount "
    "normalizedcounts rsemnorm rnaseqv2",
    "cpm": "cpm rpm cp10k tmm",
    "tpm": "tpm ntpm scaledtpm",
    "fpkm": "fpkm rpkm rsemfpkm fpkmcombat rsemfpkmcombat",
    "fpkm_uq": "fpkmuq uqfpkm",
}
_UNIT_OF = {alias: unit for unit, names in _ALIASES.items() for alias in names.split()}

#: What to do when values cannot be ordered.
REMEDY = "Give counts, TPM, FPKM or RSEM values, or log2(x+1) of them, as the pipeline wrote them."


@dataclass(frozen=True, slots=True)
class UnitCall:
    """The unit of a file's values and why it is believed.

    Attributes
    ----------
    unit
        One of `UNITS`.
    scale
        One of `SCALES`, or written like them.
    length_normalised
        Whether the values were divided by gene length (TPM, FPKM), or still are to be.
    confidence
        0 to 1: how far the evidence fixes scale and length normalisation, which are what changes
        the result. From 0.9 up there is a mark that nothing else leaves; 0.7 to 0.9 means that
        sums and lengths agree; 0.5 to 0.7 that the unit is the likeliest of several; below, that
        the values look unlike any unit or contradict the declared one. A judgement, not a measured
        frequency.
    evidence
        Sentences.
    overridden
        Whether a declared unit was taken instead of the detected one.
    warnings
        Sentences that the user should see: a declaration that the values contradict, values that
        can be brought back only approximately, samples in another unit.
    typical
        What the linear values of a typical sample look like; `odd_samples` compares with it.
    """

    unit: str
    scale: str
    length_normalised: bool
    confidence: float
    evidence: list[str]
    overridden: bool
    warnings: list[str] = field(default_factory=list)
    typical: Signs | None = field(default=None, repr=False, compare=False)


@dataclass(frozen=True, slots=True)
class DeclaredUnit:
    """What a user or a format says the values are; None where it says nothing.

    Attributes
    ----------
    unit
        One of `UNITS`.
    base
        ``linear``, ``log2``, ``ln``, ``log10``, ``log`` (base not said), ``sqrt`` or ``vst``.
    offset
        What was added before the logarithm.
    """

    unit: str | None
    base: str | None
    offset: float | None


def scale_name(base: str, offset: float) -> str:
    """Name of a logarithmic scale: ``log2(x+1)``, ``ln(x)``, ``log2(x+floor)``."""
    if offset != offset:
        return f"{base}(x+floor)"
    return f"{base}(x+{offset:.6g})" if offset else f"{base}(x)"


def scale_parts(scale: str) -> tuple[str, float]:
    """Base (a key of `BASES`, ``linear``, ``sqrt`` or ``vst``) and offset (or floor) of a scale."""
    if scale == "linear":
        return scale, 0.0
    base, inside = scale.removesuffix(")").split("(")
    if base == "vst":
        return base, float(inside)
    offset = inside.removeprefix("x").removeprefix("+")
    return base, OWN_FLOOR if offset == "floor" else float(offset or 0.0)


def parse_unit(text: str) -> DeclaredUnit:
    """Read a unit as people write it: ``TPM``, ``log2(fpkm+1)``, ``rsem_log2``, ``log2p1_tpm``.

    Raises
    ------
    ExpressionValueError
        If the text names no unit that can be ordered.
    """
    lower = text.lower()
    offset: float | None = None
    if added := re.search(r"\+\s*(\d*\.?\d+(?:e-?\d+)?)[\s)\]]*$", lower):
        offset, lower = float(added.group(1)), lower[: added.start()]
    plain = re.sub(r"[\s_\-()\[\]{}]+", "", lower)
    known = plain in _UNIT_OF
    if not known and re.search(r"zscore|centred|centered|scaled|ratio|foldchange|logfc", plain):
        raise ExpressionValueError(
            f"The unit {text!r} sets each gene against other samples, so the gene's share of its "
            "own sample is lost and the sample cannot be ordered.",
            REMEDY,
        )
    if plain in ("logcpm", "lcpm", "voom"):  # edgeR and limma mean base 2
        return DeclaredUnit("cpm", "log2", offset)
    found = None if known else re.search(r"log2p1|log1p|log2|log10|ln|log|sqrt|vst|rlog", plain)
    base = found.group() if found else "linear"
    rest = plain.replace(base, "", 1) if found else plain
    if base in ("log1p", "log2p1"):
        offset, base = 1.0, {"log1p": "ln", "log2p1": "log2"}[base]
    if rest in ("vst", "rlog") or base in ("vst", "rlog"):  # DESeq2, from counts
        stabilised = base if base in ("vst", "rlog") else rest
        return DeclaredUnit("counts", "vst" if stabilised == "vst" else "log2", None)
    unit = _UNIT_OF.get(rest)
    if unit is None and (base == "linear" or rest not in ("", "x")):
        raise ExpressionValueError(
            f"The unit {text!r} is not known; known are {', '.join(UNITS)}, each also as "
            "log2(unit+1), log2(unit+0.001), ln(unit+1) or log10(unit+1).",
            "Declare one of these, or nothing to have it detected.",
        )
    return DeclaredUnit(unit, base, offset)
