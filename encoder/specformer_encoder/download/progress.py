"""How a long step tells what it does, without knowing who listens."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

Note = Callable[[str], None]
"""Takes one sentence for a person to read."""


class Progress(Protocol):
    """Is told how a download goes on."""

    def update(self, name: str, done: int, total: int | None) -> None:
        """Take the bytes of a file that are there, and how many it has, if that is known."""

    def note(self, text: str) -> None:
        """Take a sentence that a person would want to know."""


class Silent:
    """Tells nobody."""

    def update(self, name: str, done: int, total: int | None) -> None:
        """Do nothing."""

    def note(self, text: str) -> None:
        """Do nothing."""
