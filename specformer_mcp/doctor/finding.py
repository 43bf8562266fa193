"""What a check found."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

State = Literal["ok", "warning", "problem"]


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is as it should be, or not.

    Attributes
    ----------
    check
        What was looked at.
    state
        ``warning``: the server runs, but not as well as it could. ``problem``: it does not run, or
        not as it was set.
    said
        What was found.
    remedy
        How to mend it; empty where nothing is to be done.
    """

    check: str
    state: State
    said: str
    remedy: str = ""


def ok(check: str, said: str) -> Finding:
    """Return that all is well."""
    return Finding(check, "ok", said)


def warning(check: str, said: str, remedy: str) -> Finding:
    """Return that something could be better."""
    return Finding(check, "warning", said, remedy)


def problem(check: str, said: str, remedy: str) -> Finding:
    """Return that something is wrong."""
    return Finding(check, "problem", said, remedy)
