"""Which reference profiles a question is about.

A filter is a value, never an expression: each is looked up among the values that the index holds,
so that a slip of the pen is an error that names what was probably meant, not an empty answer.
"""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce
from operator import and_
from typing import Any

from specformer_index.errors import ReferenceIndexError

FIELDS = ("study", "tissue", "sample_type", "subtype", "source")
"""The columns that a filter keeps one value of."""

LISTED = 20
"""Up to so many values are all listed in an error."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Filters:
    """Keep the profiles that have all these values; None keeps all.

    Attributes
    ----------
    study, tissue, sample_type, subtype, source
        The value to keep. What the index holds of each is told by `ReferenceIndex.values_of`.
    exclude_patient
        A patient whose profiles count for nothing: not as neighbours, not in any count.
    """

    study: str | None = None
    tissue: str | None = None
    sample_type: str | None = None
    subtype: str | None = None
    source: str | None = None
    exclude_patient: str | None = None

    def kept(self) -> dict[str, str]:
        """Return the fields that are set, without `exclude_patient`."""
        return {name: value for name in FIELDS if (value := getattr(self, name)) is not None}

    def expression(self) -> Any | None:
        """Return the filters as a LanceDB expression; None where nothing is filtered."""
        from lancedb.expr import col, lit

        parts = [col(name) == lit(value) for name, value in self.kept().items()]
        if self.exclude_patient is not None:
            parts.append(col("patient") != lit(self.exclude_patient))
        return reduce(and_, parts) if parts else None


def unknown_value(field: str, value: str, known: Sequence[str]) -> ReferenceIndexError:
    """Return the error for a value that the index does not hold, naming those that are close."""
    lowered = {name.lower(): name for name in known}
    close = [lowered[name] for name in difflib.get_close_matches(value.lower(), lowered, n=5)]
    # A part of a name is what people type first.
    close += [name for name in known if value.lower() in name.lower() and name not in close]
    if len(known) <= LISTED:
        there = f"it has {', '.join(known) or 'none at all'}"
    elif close and value:
        there = f"close to it are {', '.join(close[:5])}"
    else:
        there = f"it has {len(known)} others, such as {', '.join(known[:3])}"
    return ReferenceIndexError(
        f"The index has no {field} {value[:60]!r}; {there}.",
        f"See all with `specformer index info --values {field}`, or leave the filter out.",
    )
