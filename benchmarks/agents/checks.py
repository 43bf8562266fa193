"""What counts as a right answer: decided before anybody answers, by equality, never by a model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol


class Check(Protocol):
    """Decides whether an answer, any JSON value, is right."""

    def holds(self, answer: Any) -> bool:
        """Return whether the answer is right."""

    def told(self) -> str:
        """Return what would have been right."""


@dataclass(frozen=True, slots=True)
class AnyOf:
    """Right is one of these JSON values; letter case and the order of lists do not matter.

    Examples
    --------
    >>> AnyOf([["a", "b"]]).holds(["B", "a "]), AnyOf([3]).holds("3"), AnyOf([[]]).holds([])
    (True, False, True)
    """

    accepted: Sequence[Any]

    def holds(self, answer: Any) -> bool:
        """Return whether the answer is one of those accepted."""
        return _plain(answer) in [_plain(one) for one in self.accepted]

    def told(self) -> str:
        """Return the accepted answers."""
        return " or ".join(map(str, self.accepted))


@dataclass(frozen=True, slots=True)
class Within:
    """Right is a list of at most `most` texts that holds one of `wanted`.

    Examples
    --------
    >>> [Within(["LUAD"], 2).holds(one) for one in (["luad", "x"], ["x"], ["LUAD", "x", "y"])]
    [True, False, False]
    """

    wanted: Sequence[str]
    most: int

    def holds(self, answer: Any) -> bool:
        """Return whether a short enough list holds what is wanted."""
        if not isinstance(answer, list) or not 1 <= len(answer) <= self.most:
            return False
        given = [_plain(one) for one in answer]
        return any(_plain(one) in given for one in self.wanted)

    def told(self) -> str:
        """Return what has to be in the list."""
        return f"{' or '.join(self.wanted)}, in a list of at most {self.most}"


def _plain(value: Any) -> Any:
    if isinstance(value, str):
        return value.strip().casefold()
    if isinstance(value, list):
        return sorted((_plain(one) for one in value), key=str)
    if isinstance(value, dict):
        return {str(key): _plain(one) for key, one in value.items()}
    return value
