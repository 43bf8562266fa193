"""The names of units and scales, and how people write them."""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np

from specformer_encoder.errors import ExpressionValueError

#: Unit → whether its values were divided by gene length.
LENGTH_NORMALISED = {
    "counts": False,
    "expected_counts": False,
    "rsem_normalized": False,
    "cpm": False,
    "tpm": True,
    "fpkm": True,
    "fpkm_uq": True,
}
UNITS = tuple(LENGTH_NORMALISED)
#: Scale → (base, offset): value = log_base(x + offset).
LOGS = {
    "log2(x+1)": (2.0, 1.0),
    "log2(x+0.001)": (2.0, 0.001),
    "log2(x)": (2.0, 0.0),
    "ln(x+1)": (np.e, 1.0),
    "log10(x+1)": (10.0, 1.0),
}
SCALES = ("linear", *LOGS)

_ALIASES = {
    "counts": "count counts rawcount rawcounts readcounts htseq htseqcounts starcounts unstranded",
    "expected_counts": "expectedcount expectedcounts rsemexpectedcount rsemexpectedcounts "
    "rsemrawcounts rsemcounts estcounts",
    "rsem_normalized": "rsem rsemnormalized rsemnormalizedcounts normcount normalizedcount "
    "normalizedcounts rsemnorm rnaseqv2",
    "cpm": "cpm rpm",
    "tpm": "tpm ntpm",
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
        One of `SCALES`.
    length_normalised
        Whether the values were divided by gene length (TPM, FPKM), or still are to be.
    confidence
        0 to 1: how far the evidence fixes scale and length normalisation. A judgement, not a
        measured frequency.
    evidence
        Sentences.
    overridden
        Whether a declared unit was taken instead of the detected one.
    """

    unit: str
    scale: str
    length_normalised: bool
    confidence: float
    evidence: list[str]
    overridden: bool


@dataclass(frozen=True, slots=True)
class DeclaredUnit:
    """What a user or a format says the values are; None where it says nothing.

    Attributes
    ----------
    unit
        One of `UNITS`.
    base
        ``linear``, ``log2``, ``ln``, ``log10`` or ``log`` (base not said).
    offset
        What was added before the logarithm.
    """

    unit: str | None
    base: str | None
    offset: float | None


def parse_unit(text: str) -> DeclaredUnit:
    """Read a unit as people write it: ``TPM``, ``log2(fpkm+1)``, ``rsem_log2``, ``log2p1_tpm``.

    Raises
    ------
    ExpressionValueError
        If the text names no unit that can be ordered.
    """
    plain = re.sub(r"[\s_\-()\[\]{}]+", "", text.lower())
    if re.search(r"zscore|centred|centered|scaled|ratio|foldchange", plain):
        raise ExpressionValueError(
            f"The unit {text!r} sets each gene against other samples, so the gene's share of its "
            "own sample is lost and the sample cannot be ordered.",
            REMEDY,
        )
    found = re.search(r"log2p1|log1p|log2|log10|ln|log", plain)
    base = found.group() if found else "linear"
    rest = plain.replace(base, "", 1) if found else plain
    offset: float | None = None
    if added := re.search(r"\+(1|0?\.001)(?:\.0)?$", rest):
        offset, rest = float(added.group(1)), rest[: added.start()]
    if base in ("log1p", "log2p1"):
        offset, base = 1.0, {"log1p": "ln", "log2p1": "log2"}[base]
    if rest in ("vst", "rlog"):  # DESeq2: log2-like at the upper end, of normalised counts
        return DeclaredUnit("counts", "log2", 1.0)
    unit = _UNIT_OF.get(rest)
    if unit is None and (base == "linear" or rest not in ("", "x")):
        raise ExpressionValueError(
            f"The unit {text!r} is not known; known are {', '.join(UNITS)}, each also as "
            "log2(unit+1), log2(unit+0.001), ln(unit+1) or log10(unit+1).",
            "Declare one of these, or nothing to have it detected.",
        )
    return DeclaredUnit(unit, base, offset)
