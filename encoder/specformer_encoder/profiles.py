"""Expression profiles in memory: from what a file says to what the encoder reads.

A reader gives a `RawMatrix`: identifiers and numbers exactly as they stand in the file. `resolve`
turns it into a `ProfileSet`: linear, length-normalised expression over the gene vocabulary, with
the report of everything that was decided on the way. A gene that was not measured is NaN, never
zero.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class RawMatrix:
    """A file's expression values as they stand in it.

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
        Which reader read it: ``matrix`` or ``gdc_star``.
    declared_unit
        The unit that the format itself declares, else None.
    """

    gene_ids: list[str]
    samples: list[str]
    values: FloatArray
    source: str
    format: str
    declared_unit: str | None = None
