"""The samples that lie in memory, and the catalogue of those that are here or on the disk."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass, replace

from specformer_mcp.samples.catalogue import Catalogue, Entry, Key
from specformer_mcp.samples.sample import Sample


@dataclass(frozen=True, slots=True)
class _Held:
    sample: Sample
    content: str
    size: int


class Memory:
    """Samples by owner and handle; the caller holds a lock.

    Parameters
    ----------
    catalogue
        What there is, in memory or not.
    max_bytes
        Bytes held here; None = all that the catalogue lists.
    """

    def __init__(self, catalogue: Catalogue, *, max_bytes: int | None) -> None:
        self.catalogue = catalogue
        self._max_bytes = max_bytes
        self._held: OrderedDict[Key, _Held] = OrderedDict()
        self._bytes = 0
        self._keys_of: dict[str, set[Key]] = {}

    def get(self, key: Key) -> Sample | None:
        """Return a sample if it lies here."""
        held = self._held.get(key)
        return None if held is None else held.sample

    def held(self) -> set[Key]:
        """Return the keys of the samples that lie here."""
        return set(self._held)

    def hold(self, key: Key, sample: Sample, entry: Entry) -> None:
        """Enter a sample as the one used last; others leave the memory for it if need be."""
        self.release([key])
        self.catalogue.add(key, entry)
        self._held[key] = _Held(sample, entry.content, entry.size)
        self._bytes += entry.size
        self._keys_of.setdefault(entry.content, set()).add(key)
        while self._max_bytes is not None and self._bytes > self._max_bytes and len(self._held) > 1:
            self.release([next(iter(self._held))])

    def use(self, key: Key, now: float) -> None:
        """Count a sample as used now."""
        if (entry := self.catalogue.get(key)) is not None:
            self.catalogue.add(key, replace(entry, used=now))
        if key in self._held:
            self._held.move_to_end(key)

    def release(self, keys: Iterable[Key]) -> None:
        """Take samples out of the memory."""
        for key in keys:
            if (held := self._held.pop(key, None)) is not None:
                self._bytes -= held.size
                self._keys_of[held.content].discard(key)
                if not self._keys_of[held.content]:
                    del self._keys_of[held.content]

    def drop(self, keys: Iterable[Key]) -> None:
        """Take samples out of memory and catalogue."""
        for key in keys:
            self.release([key])
            self.catalogue.drop(key)

    def expire(self, oldest_allowed: float) -> None:
        """Drop what was last used before a time."""
        self.release(self.catalogue.expire(oldest_allowed))

    def trim(self) -> list[Key]:
        """Drop and return what is too much."""
        gone = self.catalogue.trim()
        self.release(gone)
        return gone

    def keys_of(self, content: str) -> set[Key]:
        """Return the keys of the samples here that have this content."""
        return set(self._keys_of.get(content, ()))

    def twin(self, content: str) -> Sample | None:
        """Return a sample of this content that is embedded, whosever it is."""
        samples = map(self.get, self._keys_of.get(content, ()))
        return next((s for s in samples if s is not None and s.embedding is not None), None)
