"""The page about what an agent got done: scores of each kind, failures by name, costs."""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import mean, median

from benchmarks.agents.harness import Outcome
from benchmarks.agents.kinds import KINDS


def page(model: str, sets: Sequence[Sequence[Outcome]], *, first_seed: int) -> str:
    """Return the Markdown tables of what a model did in one or more sets of questions."""
    every = [outcome for outcomes in sets for outcome in outcomes]
    seeds = f"seed {first_seed}" + (f" to {first_seed + len(sets) - 1}" if len(sets) > 1 else "")
    return "\n".join(
        [
            f"{model}, {len(every)} questions ({seeds}).",
            "",
            *_scores(sets),
            "",
            "### What went wrong",
            "",
            *(_failures(sets, first_seed) or ["Nothing."]),
            "",
        ]
    )


def wilson(right: int, n: int) -> tuple[float, float]:
    """95 % interval of a share, by Wilson's score (1927).

    Examples
    --------
    >>> [round(end, 3) for end in wilson(9, 10)]
    [0.596, 0.982]
    """
    z = 1.959964
    share, spread = right / n, z * math.sqrt(right * (n - right) / n**3 + z * z / (4 * n * n))
    middle, scale = share + z * z / (2 * n), 1 + z * z / n
    return (middle - spread) / scale, (middle + spread) / scale


def _scores(sets: Sequence[Sequence[Outcome]]) -> list[str]:
    several = len(sets) > 1
    lines = [
        "| kind | first set |"
        + (" all sets (95 % interval) |" if several else "")
        + " calls | tokens read | tokens written | structured tokens | seconds |",
        "|---|---|" + ("---|" if several else "") + "---|---|---|---|---|",
    ]
    for kind in [*KINDS, None]:
        first, every = (
            [o for outcomes in some for o in outcomes if kind in (None, o.kind)]
            for some in (sets[:1], sets)
        )
        if not every:
            continue
        cells = [f"**{'all' if kind is None else kind}**" if kind is None else kind]
        cells.append(_share(first))
        if several:
            low, high = wilson(sum(o.right for o in every), len(every))
            cells.append(f"{_share(every)} ({low:.0%} to {high:.0%})")
        cells.append(_typical([o.calls for o in every]))
        cells += [_typical([getattr(o, key) for o in every]) for key in COUNTED]
        cells.append(f"{median(o.seconds for o in every):.1f}")
        lines.append("| " + " | ".join(cells) + " |")
    return lines


COUNTED = ("read", "written", "structured")


def _share(outcomes: Sequence[Outcome]) -> str:
    return f"{sum(o.right for o in outcomes)}/{len(outcomes)}"


def _typical(counts: Sequence[int]) -> str:
    """Mean and largest of counts, where they differ."""
    average, most = round(mean(counts)), max(counts)
    return f"{average:,}" if most == average else f"{average:,} (≤ {most:,})"


def _failures(sets: Sequence[Sequence[Outcome]], first_seed: int) -> list[str]:
    wrong = [
        (seed, outcome)
        for seed, outcomes in enumerate(sets, first_seed)
        for outcome in outcomes
        if not outcome.right
    ]
    if not wrong:
        return []
    lines = ["| seed | question | samples | answered | right |", "|---|---|---|---|---|"]
    for seed, o in wrong:
        cells = [seed, f"{o.question} {o.kind}", o.truth, o.failure or o.answer, o.wanted]
        lines.append("| " + " | ".join(str(cell).replace("|", "\\|") for cell in cells) + " |")
    return lines
