"""The texts of compare_samples and describe_reference."""

from __future__ import annotations

from typing import Any

from specformer_mcp.render.common import clean, counted, finish
from specformer_mcp.results import Comparison, Group, PathwayContrast, Reference


def comparison(answer: Comparison) -> str:
    """Render the answer of compare_samples."""
    lines = [_group("a", answer.a), _group("b", answer.b), _distances(answer)]
    if answer.cohorts:
        some = "; ".join(f"{c.cohort} {c.a:.2f} / {c.b:.2f}" for c in answer.cohorts)
        lines.append(f"cohorts that tell them apart (similarity of a / b): {some}")
    unit = (
        "Hedges' g [95 % interval; q]"
        if answer.effect_size == "hedges_g"
        else f"delta z in sd of {answer.against} ({answer.against_name})"
    )
    lines.append(f"{answer.collection} sets, a minus b, {unit}, {answer.tested} compared:")
    for side, found in (("a", answer.higher_in_a), ("b", answer.higher_in_b)):
        if found:
            lines.append(f"higher in {side}: " + "; ".join(map(_contrast, found)))
    return finish(lines, answer)


def reference(answer: Reference) -> str:
    """Render the answer of describe_reference."""
    lines = [_row(row) for row in answer.rows]
    if answer.next_cursor is not None:
        lines.append(
            f"… {answer.total} {answer.what} in all; the next page has cursor={answer.next_cursor}"
        )
    return finish(lines, answer)


def _group(label: str, group: Group) -> str:
    names = "".join(f"{clean(name, width=40)}, " for name in group.names)
    more = f"{group.n} sample{'' if group.n == 1 else 's'}"
    odd = f"; out of distribution {group.out_of_distribution}" if group.out_of_distribution else ""
    return f"{label}: {names}{more}; top types: {counted(group.top_types)}{odd}"


def _distances(answer: Comparison) -> str:
    within = [
        f"within {label} {value:.3f}"
        for label, value in (("a", answer.within_a), ("b", answer.within_b))
        if value is not None
    ]
    beside = f" (mean distance of two samples {', '.join(within)})" if within else ""
    return f"cosine distance: {answer.distance:.3f}{beside}"


def _contrast(found: PathwayContrast) -> str:
    text = f"{found.gene_set} {found.effect:+.2f}"
    if found.low is None or found.high is None or found.q is None:
        return text
    return f"{text} [{found.low:+.2f} to {found.high:+.2f}; q {found.q:.2g}]"


def _row(row: dict[str, Any]) -> str:
    first, *rest = row.items()
    facts = [f"{key} {_value(value)}" for key, value in rest if value not in ("", [], None)]
    return f"{clean(str(first[1]), width=120)}: {'; '.join(facts)}"


def _value(value: Any) -> str:
    text = ", ".join(map(str, value)) if isinstance(value, list) else str(value)
    return clean(text, width=300)
