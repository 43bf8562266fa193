"""What a user declares, held against the values.

The user may know better, so a declaration is taken unless the values make it impossible. Where they
carry a mark that contradicts it, the answer says so and is less sure of itself.
"""

from __future__ import annotations

from specformer_encoder.errors import ExpressionValueError
from specformer_encoder.units.names import DOUBTED, LENGTH_NORMALISED, DeclaredUnit, UnitCall
from specformer_encoder.units.rules import (
    COUNTS_SLOPE,
    GENOME_WIDE,
    MILLION,
    WHOLE,
    exact_mark,
    fpkm_mark,
    near,
)
from specformer_encoder.units.signs import Signs

#: Detection this sure questions a declaration that would be computed otherwise.
_SURE = 0.75


def refuse_other_scale(said: DeclaredUnit, text: str, is_log: bool, largest: float) -> None:
    """Refuse a linear unit for logarithms, and the reverse."""
    if said.base in (None, "sqrt") or (said.base == "linear") != is_log:
        return
    raise ExpressionValueError(
        f"The values were declared as {text}, and their largest is {largest:.4g}: that is "
        + ("a logarithm, not a linear scale." if is_log else "no logarithm."),
        f"Declare {'log2(' + (said.unit or 'x') + '+1)' if is_log else 'the linear unit'}, or "
        "nothing to have it detected.",
    )


def take_declared(taken: UnitCall, detected: UnitCall, said: DeclaredUnit, text: str) -> UnitCall:
    """Take the declared unit unless the values make it impossible, and question it where they do.

    Parameters
    ----------
    taken
        Detected with the declared scale.
    detected
        Detected with nothing declared.
    said, text
        The declaration.
    """
    unit = said.unit or taken.unit
    marks, freely = taken.typical, detected.typical
    assert marks is not None  # noqa: S101  # from `name_unit`, as the next
    assert freely is not None  # noqa: S101
    impossible = ""
    if unit in ("counts", "tag_counts") and taken.scale == "linear" and marks.whole < 0.5:
        impossible = f"only {100 * marks.whole:.0f} % of the small values are whole numbers"
    elif unit in ("tpm", "cpm") and marks.total > 1.05 * MILLION:
        impossible = f"a sample's values sum to {marks.total:,.0f}, more than a million"
    if impossible:
        linear = taken.scale == "linear"
        raise ExpressionValueError(
            f"The values were declared as {text}, but {impossible}"
            + (f"; they look like {taken.unit}." if linear else f" once {taken.scale} is undone."),
            f"Declare {taken.unit if linear else 'the right logarithm'}, or nothing to have it "
            "detected.",
        )
    told = f"Declared as {text}."
    # Advice to declare something is for those who have not.
    warnings = [one for one in taken.warnings if said.unit is None or "declare" not in one]
    confidence = 1.0
    if unit != taken.unit:
        told += f" The values themselves look like {taken.unit} ({taken.scale})."
    surer = [mark(freely) and not mark(marks) for mark in (exact_mark, _any_mark)]
    if taken.scale != detected.scale and any(surer):
        confidence = DOUBTED
        warnings.append(
            f"Declared as {text}, but only {detected.scale} leads back to values of a known unit "
            f"({detected.unit}). The declaration was taken; check the base of the logarithm."
        )
    doubt = "" if confidence < 1.0 else _doubt(unit, taken, marks)
    if doubt:
        changes = LENGTH_NORMALISED[unit] != taken.length_normalised
        confidence = min(confidence, DOUBTED if changes else 0.9)
        warnings.append(
            f"Declared as {text}, but {doubt}. The declaration was taken"
            + (
                "; if it is wrong, the genes of the sample are in the wrong order."
                if changes
                else ", and the profile is the same either way."
            )
        )
    elif LENGTH_NORMALISED[unit] != taken.length_normalised:
        confidence = min(confidence, 0.7)
    return UnitCall(
        unit,
        taken.scale,
        LENGTH_NORMALISED[unit],
        confidence,
        [told, *taken.evidence],
        True,
        warnings,
        marks,
    )


def _any_mark(marks: Signs) -> bool:
    """Whether the values carry a mark that a wrong scale would not leave."""
    return exact_mark(marks) or fpkm_mark(marks)


def _doubt(unit: str, found: UnitCall, marks: Signs) -> str:
    """What in the values contradicts the declared unit, to go on from "but"."""
    if unit == "tag_counts":
        grows = marks.length_slope > COUNTS_SLOPE
        return "they do not fall with gene length, as tag counts do" if grows else ""
    if LENGTH_NORMALISED[unit] != found.length_normalised:
        rounded = marks.whole >= WHOLE and near(marks.total, MILLION, 0.01)
        sure = found.confidence >= _SURE or rounded
        return f"they look like {found.unit}: {found.evidence[-1]}".rstrip(".") if sure else ""
    if unit in ("fpkm", "fpkm_uq", "rsem_normalized") and near(marks.total, MILLION, 0.005):
        return f"a sample's values sum to {marks.total:,.0f}, as TPM and CPM do"
    if unit == "tpm" and marks.genes >= GENOME_WIDE and marks.total < 0.5 * MILLION:
        return f"a sample's values sum to {marks.total:,.0f}, and TPM to nearly a million"
    if unit == "rsem_normalized" and marks.whole >= WHOLE:
        return "their small values are whole, as raw counts are"
    return ""
