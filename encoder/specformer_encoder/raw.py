"""What a reader returns: a file's numbers exactly as they stand in it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True, slots=True)
class RawMatrix:
    """A file's expression values before anything is decided about them.

    Attributes
    ----------
    gene_ids
        Identifiers in file order, G of them.
    samples
        Sample names in file order, S of them.
    values
        (S, G) float32; NaN where the file has no value.
    source
        The file's name, for messages.
    format
        Which reader read it.
    declared_unit
        The unit that the format itself declares, else None.
    notes
        What the reader decided and a user would want to know, one sentence each.
    """

    gene_ids: list[str]
    samples: list[str]
    values: npt.NDArray[np.float32]
    source: str
    format: str
    declared_unit: str | None = None
    notes: tuple[str, ...] = ()
