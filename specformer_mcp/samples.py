"""Samples that were read once and are referred to by a handle from then on.

A matrix never passes through the language model: the file goes in, ``smp_`` and 16 hexadecimal
digits of the profile's content hash come back. The same content has the same handle, so embedding a
file twice is harmless. A handle is a name, not a permission.
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from specformer_encoder.errors import SpecformerError

if TYPE_CHECKING:
    from specformer_encoder.genes import GeneReport
    from specformer_encoder.profiles import FloatArray
    from specformer_encoder.reading import Reading
    from specformer_encoder.units import UnitCall

CAPACITY = 512
LIFETIME_S = 24 * 3600.0
_DIGITS = 16


class UnknownSampleError(SpecformerError):
    """The handle is malformed, was never minted here, or has expired."""


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


def handle_of(content_hash: str) -> str:
    """Return the handle of a profile from the hash of its content."""
    return f"smp_{content_hash[:_DIGITS]}"


class SampleStore:
    """Samples by handle: limited in number, expiring, safe to use from several threads.

    Parameters
    ----------
    capacity
        Samples kept; the one unused for longest goes first. 512 are 40 MB.
    lifetime_s
        Seconds that an unused sample is kept.
    clock
        Seconds that only grow.
    """

    def __init__(
        self,
        *,
        capacity: int = CAPACITY,
        lifetime_s: float = LIFETIME_S,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.capacity = capacity
        self._lifetime_s = lifetime_s
        self._clock = clock
        self._lock = threading.Lock()
        self._entries: OrderedDict[str, tuple[float, Sample]] = OrderedDict()

    def __len__(self) -> int:
        with self._lock:
            return len(self._entries)

    def put(self, sample: Sample) -> None:
        """Keep a sample under its handle; the same content keeps its embedding."""
        with self._lock:
            self._drop_expired()
            old = self._entries.get(sample.handle)
            if old is not None and sample.embedding is None:
                sample.embedding, sample.reading = old[1].embedding, old[1].reading
            self._entries[sample.handle] = (self._clock(), sample)
            self._entries.move_to_end(sample.handle)
            while len(self._entries) > self.capacity:
                self._entries.popitem(last=False)

    def get(self, handle: str) -> Sample:
        """Return the sample of a handle and count it as used.

        Raises
        ------
        UnknownSampleError
            There is no such sample, or no longer.
        """
        with self._lock:
            self._drop_expired()
            entry = self._entries.get(handle)
            if entry is None:
                raise UnknownSampleError(
                    f"The sample handle {handle[:40]!r} is unknown or has expired.",
                    "Call embed_sample with the file again and use the handle it returns.",
                )
            self._entries[handle] = (self._clock(), entry[1])
            self._entries.move_to_end(handle)
            return entry[1]

    def _drop_expired(self) -> None:
        oldest_allowed = self._clock() - self._lifetime_s
        while self._entries:
            handle, (used, _) = next(iter(self._entries.items()))
            if used >= oldest_allowed:
                break
            del self._entries[handle]
