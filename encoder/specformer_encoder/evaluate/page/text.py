"""Numbers of the evaluation as Markdown; what is said of them is computed, not written by hand."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

#: An estimate as the JSON holds it: value, low, high.
Number = Mapping[str, float | None]
#: Results of one question.
Found = Mapping[str, Any]

OURS = "SpecFormer"


def number(value: Any, digits: int = 3) -> str:
    """A number, or an estimate with its interval; a dash where there is none.

    Examples
    --------
    >>> number({"value": 0.9, "low": 0.85, "high": 0.93}), number(0.5), number(None)
    ('0.900 (0.850–0.930)', '0.500', '–')
    """
    if value is None:
        return "–"
    if isinstance(value, Mapping):
        if value["value"] is None:
            return "–"
        middle, low, high = (number(value[key], digits) for key in ("value", "low", "high"))
        return f"{middle} ({low}–{high})"
    return str(value) if isinstance(value, int) else f"{value:.{digits}f}"


def table(head: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """A Markdown table; cells are texts, numbers or estimates."""
    lines = [[*head], ["---"] * len(head)]
    lines += [[c if isinstance(c, str) else number(c) for c in row] for row in rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def methods_table(methods: Mapping[str, Found], metrics: Sequence[str]) -> str:
    """Method by metric; metrics that no method has are left out."""
    kept = [m for m in metrics if any(m in scores for scores in methods.values())]
    rows = ([name, *(scores.get(m) for m in kept)] for name, scores in methods.items())
    return table(["method", *kept], rows)


def value(estimate: Any) -> float | None:
    """The value of an estimate or of a plain number."""
    found = estimate["value"] if isinstance(estimate, Mapping) else estimate
    return None if found is None else float(found)


def best(
    methods: Mapping[str, Found], metric: str, *, among: Callable[[str], bool]
) -> tuple[str, Any] | None:
    """The method with the highest value of a metric, and its estimate."""
    found = [
        (name, scores[metric])
        for name, scores in methods.items()
        if among(name) and value(scores.get(metric)) is not None
    ]
    return max(found, key=lambda pair: value(pair[1]) or 0.0, default=None)


def is_ours(name: str) -> bool:
    """Whether a method or space is the release's."""
    return name.startswith(OURS)


def is_baseline(name: str) -> bool:
    """Whether it is another's."""
    return not is_ours(name)


def verdict(
    methods: Mapping[str, Found],
    metric: str,
    *,
    ours: str,
    among: Callable[[str], bool] = is_baseline,
    of: str = "",
) -> str:
    """One sentence: where one of our methods stands beside the best of the others.

    Parameters
    ----------
    methods
        Method → metric → estimate.
    metric
        What is compared; higher is better, 1 is the best.
    ours
        The method that is judged.
    among
        Which methods it is compared with; the best of them is chosen by the numbers that are
        compared, which flatters it.
    of
        What the metric is of, where the table does not say.
    """
    rival = best(methods, metric, among=among)
    own = methods.get(ours, {}).get(metric)
    if rival is None or value(own) is None:
        return ""
    gap = 100 * ((value(own) or 0.0) - (value(rival[1]) or 0.0))
    said = f"{ours}: {number(own)} {metric}{of}, "
    if abs(gap) < 0.05:
        said += f"the same as the best baseline ({rival[0]})"
    else:
        word = "above" if gap > 0 else "**below**"
        said += f"{abs(gap):.1f} points {word} the best baseline ({rival[0]}, {number(rival[1])})"
    return said + ("; the intervals overlap." if overlap(own, rival[1]) else ".")


def overlap(one: Any, other: Any) -> bool:
    """Whether two intervals have a number in common; False where there are none."""
    ends = [side.get(end) for side in (one, other) for end in ("low", "high")]
    if any(end is None for end in ends):
        return False
    return bool(ends[0] <= ends[3] and ends[2] <= ends[1])


def short(study: str) -> str:
    """A type without the name of its consortium."""
    return study.removeprefix("TCGA-")


def left_out(found: Any) -> str | None:
    """The sentence that stands in for results, if it does."""
    return found.get("left out") if isinstance(found, Mapping) else None


def share(estimate: Any) -> str:
    """A share in percent, without its interval."""
    found = value(estimate)
    return "–" if found is None else f"{found:.0%}"
