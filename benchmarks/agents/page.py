"""The page about what an agent got done: scores of each kind, failures by name, costs."""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import mean, median

from benchmarks.agents.harness import Outcome
from benchmarks.agents.kinds import KINDS

Sets = Sequence[Sequence[Outcome]]

_HOW = """\
# What an agent gets done with the tools

Thirty questions that a user would ask of expression files, three of each of ten kinds, put to
something that has the server's tools and nothing else. They are made from whole profiles of real
patients of the test split, whom no release was trained on, and written as a user's files look: TPM
by symbol, counts by versioned Ensembl id, names that say nothing. The server is a process of its
own, spoken to over stdio; its reference is the bundled index without the profiles of test patients
(the cohorts' pathway means and spreads stay as published, with them; no question rests on them).

| kind | what is asked | what makes it checkable |
|---|---|---|
| cohort | which cohort is this sample from | its label; the third is a tumour with look-alikes |
| type and doubt | one or two types, or that none may be named | a tumour, a normal, and a tumour \
whose genes are shuffled: of the last two none may be named |
| wrong label | is the label right, and if not, what is it | one right, one of a look-alike \
tumour, one normal labelled as its tumour |
| swapped sample | which of six was swapped | another tumour, the normal tissue, a look-alike \
tumour |
| pathway of two groups | which Hallmark set tells two groups of seven tumours apart most clearly, \
and in which it is higher | groups are the extremes of one set; scores by gseapy, Welch's t; \
sets with at least 90 % of the largest \\|t\\| count |
| same sample, two laboratories | which two of three and three are one sample | TCGA samples that \
two projects quantified, TPM here, counts there |
| same tissue | which two of six normals | different cohorts of one tissue; once GTEx and TCGA |
| unit or refused file | which unit; why a file was refused, and the cohort from a second file | \
z-scores, another species, too few genes |
| how many normals | of twenty samples | 3 to 9 normals of any tissue, tumours of any type |
| tampered gene | which gene was switched off, or on | one that nearly all training members of the \
cohort have high, or silent |

What biology or labels do not tell apart counts as right: normals of one tissue whatever the study,
and colon and rectum. Lymphoblastic leukaemia, of which the reference has a cohort but the release
no type, may be named or not. Profiles of fewer than 15,000 genes and batch-corrected ones are not
asked about, so panels, which are harder, are not in here.

The scripted agent (`benchmarks/agents/agent.py`) follows one fixed way for each kind and sees the
question and the tools' answers only. So its score says what the tools give away; it is no model, it
knows from the question's wording which way to go, and a model may do worse, by taking a wrong way,
or better, by judging. A first version of the questions (unlike tumours only, three guesses at the
gene) was too easy, 87 of 90; these replaced it, and the agent's rules stayed. That leukaemia may be
declined was decided after the agent had declined it. Small cohorts lend the same samples to several
sets, so the intervals, which take questions for independent, are somewhat too narrow.

A model is asked with `--model NAME --base URL`, at an endpoint of the OpenAI kind (also local
servers), or with `--api anthropic`; the key comes from OPENAI_API_KEY or ANTHROPIC_API_KEY. These
adapters were tested with a local endpoint that checks their requests, and with no paid model.

Tokens are counted without a tokenizer, on the safe side (`tests/tokens.py`). *Read* is what goes
into the context once: the tool list, instructions, question, the tools' texts; a model without a
cache is billed for it again at each turn. *Structured* is what the structured content would cost a
client that shows it instead of the texts. Means, and in brackets the largest.
"""


def page(model: str, sets: Sets, *, command: str, tools: str = "") -> str:
    """Return the page of what a model did in one or more sets of questions.

    Parameters
    ----------
    model
        Its name.
    sets
        The outcomes of each set; the first is the one of which single scores are shown.
    command
        What was run.
    tools
        Which release and index answered.
    """
    every = [outcome for outcomes in sets for outcome in outcomes]
    answered = f", answered with {tools}" if tools else ""
    return "\n".join(
        [
            _HOW,
            f"## {model.capitalize()}",
            "",
            f"`{command}`: {len(sets)} set{'s' if len(sets) > 1 else ''} of questions, "
            f"{len(every)} in all{answered}. The tool list is {every[0].tool_list:,} of the tokens "
            "read.",
            "",
            *_scores(sets),
            "",
            "### What went wrong",
            "",
            *(_failures(sets) or ["Nothing."]),
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


COUNTED = ("calls", "read", "written", "structured")


def _scores(sets: Sets) -> list[str]:
    head = ["kind", "first set", "all sets (95 % interval)", "calls", "tokens read", "written"]
    lines = [_row([*head, "structured", "seconds"]), "|---" * (len(head) + 2) + "|"]
    every = [outcome for outcomes in sets for outcome in outcomes]
    for kind in KINDS:
        first, all_sets = ([o for o in of if o.kind == kind] for of in (sets[0], every))
        lines += [_row([kind, *_cells(first, all_sets)])]
    return [*lines, _row(["**all**", *_cells(sets[0], every)])]


def _cells(first: Sequence[Outcome], every: Sequence[Outcome]) -> list[str]:
    low, high = wilson(sum(o.right for o in every), len(every)) if every else (0.0, 1.0)
    if not first:
        return ["–"] * (3 + len(COUNTED))
    return [
        _share(first),
        f"{_share(every)} ({low:.0%} to {high:.0%})",
        *(_typical([getattr(o, key) for o in every]) for key in COUNTED),
        f"{median(o.seconds for o in every):.1f}",
    ]


def _share(outcomes: Sequence[Outcome]) -> str:
    return f"{sum(o.right for o in outcomes)}/{len(outcomes)}"


def _typical(counts: Sequence[int]) -> str:
    """Mean and largest of counts, where they differ."""
    average, most = round(mean(counts)), max(counts)
    return f"{average:,}" if most == average else f"{average:,} (≤ {most:,})"


def _failures(sets: Sets) -> list[str]:
    wrong = [
        (number, outcome)
        for number, outcomes in enumerate(sets, 1)
        for outcome in outcomes
        if not outcome.right
    ]
    if not wrong:
        return []
    lines = [_row(["set", "question", "samples", "answered", "right"]), "|---" * 5 + "|"]
    for number, o in wrong:
        kind = f"{o.question} {o.kind}"
        lines.append(_row([str(number), kind, o.truth, o.failure or str(o.answer), o.wanted]))
    return lines


def _row(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in cells) + " |"
