"""Which samples there are, whose they are, how large, and which has to go when there are too many.

Two caps: samples of one owner, and bytes of all. When all together are too large, the owner who
holds the most loses what they have not used for longest, so that nobody pushes out the others.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass

Key = tuple[str, str]
"""Owner and handle."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One sample of one owner.

    Attributes
    ----------
    used
        When it was last used, in seconds of the store's clock.
    size
        Bytes.
    content
        SHA-256 of its values.
    """

    used: float
    size: int
    content: str


class Catalogue:
    """Entries by owner, each owner's in the order of their last use.

    Parameters
    ----------
    per_owner
        Samples of one owner.
    max_bytes
        Bytes of all samples.
    """

    def __init__(self, *, per_owner: int, max_bytes: int) -> None:
        self._per_owner = per_owner
        self._max_bytes = max_bytes
        self._owners: dict[str, OrderedDict[str, Entry]] = {}
        self._sizes: dict[str, int] = {}

    def __len__(self) -> int:
        return sum(map(len, self._owners.values()))

    def __contains__(self, key: Key) -> bool:
        return self.get(key) is not None

    def __iter__(self) -> Iterator[Key]:
        for owner, entries in self._owners.items():
            for handle in entries:
                yield owner, handle

    @property
    def size(self) -> int:
        """Bytes of all samples."""
        return sum(self._sizes.values())

    def get(self, key: Key) -> Entry | None:
        """Return an entry, or None."""
        return self._owners.get(key[0], OrderedDict()).get(key[1])

    def of(self, owner: str) -> list[Key]:
        """Return an owner's keys, the one unused for longest first."""
        return [(owner, handle) for handle in self._owners.get(owner, ())]

    def add(self, key: Key, entry: Entry) -> None:
        """Enter a sample as the one used last, or replace its entry."""
        self.drop(key)
        self._owners.setdefault(key[0], OrderedDict())[key[1]] = entry
        self._sizes[key[0]] = self._sizes.get(key[0], 0) + entry.size

    def drop(self, key: Key) -> None:
        """Take an entry out, if it is there."""
        entries = self._owners.get(key[0])
        entry = entries.pop(key[1], None) if entries is not None else None
        if entry is None:
            return
        self._sizes[key[0]] -= entry.size
        if not entries:
            del self._owners[key[0]], self._sizes[key[0]]

    def merge(self, others: dict[Key, Entry], *, only_here: set[Key]) -> list[Key]:
        """Take over what lies on the disk, the later use of each; return what is there no more.

        Parameters
        ----------
        others
            What lies on the disk.
        only_here
            Keys that may be missing there.
        """
        ours = {key: entry for key in self if (entry := self.get(key)) is not None}
        gone = [key for key in ours if key not in others and key not in only_here]
        newest = others | {
            key: entry
            for key, entry in ours.items()
            if key not in others or others[key].used < entry.used
        }
        for key, entry in sorted(newest.items(), key=lambda item: item[1].used):
            self.add(key, entry)
        for key in gone:
            self.drop(key)
        return gone

    def expire(self, oldest_allowed: float) -> list[Key]:
        """Drop and return what was last used before a time."""
        gone: list[Key] = []
        for owner, entries in self._owners.items():
            for handle, entry in entries.items():
                if entry.used >= oldest_allowed:
                    break
                gone.append((owner, handle))
        for key in gone:
            self.drop(key)
        return gone

    def trim(self) -> list[Key]:
        """Drop and return what is too much."""
        gone: list[Key] = []
        for owner, entries in list(self._owners.items()):
            surplus = max(0, len(entries) - self._per_owner)
            gone += self._drop_first(owner, surplus)
        while self.size > self._max_bytes and len(self) > 1:
            heaviest = max(self._sizes, key=self._sizes.__getitem__)
            gone += self._drop_first(heaviest, 1)
        return gone

    def _drop_first(self, owner: str, number: int) -> list[Key]:
        keys = self.of(owner)[:number]
        for key in keys:
            self.drop(key)
        return keys
