"""What is kept of one profile, and the handle that names it."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from specformer_encoder.errors import SpecformerError

if TYPE_CHECKING:
    from specformer_encoder.genes import GeneReport
    from specformer_encoder.profiles import FloatArray
    from specformer_encoder.reading import Reading
    from specformer_encoder.units import UnitCall

_DIGITS = 16
_HANDLE = re.compile(rf"smp_[0-9a-f]{{{_DIGITS}}}")


class UnknownSampleError(SpecformerError):
    """The handle is malformed, was never given to this owner, or has expired."""

    def __init__(self, handle: str) -> None:
        super().__init__(
            f"The sample handle {handle[:40]!r} is unknown or has expired.",
            "Call embed_sample with the file again and use the handle it returns.",
        )


@dataclass(slots=True)
class Sample:
    """One profile with what was decided when it was read.

    Attributes
    ----------
    values
        (V,) float32 linear, length-normalised expression; NaN = not measured.
    embedding
        (E,) float32 unit vector; None until it is first needed.
    reading
        What the encoder read of it, for the type and its doubt; comes with the embedding.
    release
        SHA-256 of the release that gave both; another release embeds the values anew.
    on_embedded
        Told when the sample gets its embedding; the store that keeps the sample sets it.
    """

    handle: str
    name: str
    source: str
    values: FloatArray
    unit: UnitCall
    genes: GeneReport
    genes_measured: int
    embedding: FloatArray | None = None
    reading: Reading | None = None
    release: str | None = None
    on_embedded: Callable[[Sample], None] | None = field(default=None, repr=False, compare=False)

    def set_embedding(self, embedding: FloatArray, reading: Reading, *, release: str) -> None:
        """Take what the encoder made of the values, and let the store know."""
        self.reading, self.release, self.embedding = reading, release, embedding
        if self.on_embedded is not None:
            self.on_embedded(self)

    def is_embedded_by(self, release: str) -> bool:
        """Tell whether there is an embedding by the release of this SHA-256."""
        return self.embedding is not None and self.release == release

    @property
    def size(self) -> int:
        """Bytes of its arrays, as they lie in memory."""
        arrays = [self.values, self.embedding]
        if self.reading is not None:
            arrays += [self.reading.raw, self.reading.misfit]
        return sum(array.nbytes for array in arrays if array is not None)


@dataclass(frozen=True, slots=True)
class SampleSummary:
    """A line in the list of an owner's samples.

    Attributes
    ----------
    genes_measured
        Vocabulary genes with a value.
    used
        When it was last used, in seconds since 1970.
    """

    handle: str
    name: str
    source: str
    genes_measured: int
    used: float


def handle_of(content_hash: str) -> str:
    """Return the handle of a profile from the hash of its content."""
    return f"smp_{content_hash[:_DIGITS]}"


def is_handle(text: str) -> bool:
    """Tell whether the text has the form of a handle."""
    return _HANDLE.fullmatch(text) is not None


def content_of(sample: Sample) -> str:
    """Return the whole SHA-256 of the values.

    The handle holds a quarter of it: enough to name the samples of one owner, too little to share
    an embedding between owners, one of whom might have searched for two profiles with one handle.
    """
    return hashlib.sha256(sample.values.astype("<f4").tobytes()).hexdigest()
