"""The sample store: in memory in front, on the disk behind, each owner apart.

What was used lately lies in memory and costs microseconds. Where there is a directory, every sample
is also on the disk before its handle is given out, so that it survives a restart and other server
processes find it. Trouble with the disk is told once and never ends an answer: memory goes on.
"""

from __future__ import annotations

import atexit
import contextlib
import logging
import threading
import time
import weakref
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from specformer_mcp.samples.catalogue import Catalogue, Entry, Key
from specformer_mcp.samples.disk import Disk
from specformer_mcp.samples.memory import Memory
from specformer_mcp.samples.records import Row, add_vectors, from_row, row_id, to_row
from specformer_mcp.samples.sample import (
    Sample,
    SampleSummary,
    UnknownSampleError,
    content_of,
    is_handle,
)
from specformer_mcp.samples.table import SampleTable, retried

logger = logging.getLogger(__name__)

CAPACITY = 2000
MAX_BYTES = 500_000_000
LIFETIME_S = 7 * 24 * 3600.0
CACHE_BYTES = 64_000_000
KEEP_VERSIONS_S = 30.0
LOCAL = "local"
"""The owner of everything where there is no authentication."""
_TOUCH_S = 3600.0
"""A use is written to the disk if the one written there is older than this."""
_REFRESH_S = 30.0
"""What other processes wrote is counted at least this often while we write."""
_LATER_S = 0.2
"""Embeddings and uses are written together this much later."""


class SampleStore:
    """Samples by owner and handle; safe to use from several threads and processes.

    Parameters
    ----------
    directory
        Where samples are kept for the next start; None = in memory only.
    capacity
        Samples of one owner; the one unused for longest goes first.
    max_bytes
        Bytes of the arrays of all samples, as they lie in memory (about 85 kB a sample; on the
        disk somewhat less). When that is too little, the owner who holds the most loses first.
    lifetime_s
        Seconds that an unused sample is kept.
    cache_bytes
        Bytes held in memory where there is a directory.
    keep_versions_s
        Seconds that an old version of the table is kept for those who are reading it.
    clock
        Seconds since 1970.
    """

    def __init__(
        self,
        *,
        directory: Path | None = None,
        capacity: int = CAPACITY,
        max_bytes: int = MAX_BYTES,
        lifetime_s: float = LIFETIME_S,
        cache_bytes: int = CACHE_BYTES,
        keep_versions_s: float = KEEP_VERSIONS_S,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.capacity = capacity
        self.directory = directory
        self._lifetime_s = lifetime_s
        self._touch_s = min(_TOUCH_S, lifetime_s / 24)
        self._clock = clock
        self._lock = threading.RLock()
        self._memory = Memory(
            Catalogue(per_owner=capacity, max_bytes=max_bytes),
            max_bytes=None if directory is None else cache_bytes,
        )
        self._disk: Disk | None = None
        # What the disk lacks: whole samples; embeddings and times of use.
        self._unwritten: set[Key] = set()
        self._changed: set[Key] = set()
        self._use_on_disk: dict[Key, float] = {}
        self._later: threading.Timer | None = None
        self._refreshed = float("-inf")
        self._forgotten = 0
        if directory is not None:
            table = SampleTable(directory, keep_versions_s=keep_versions_s)
            self._disk = Disk(table, on_loss=self._write_all_again)
            self._forgotten = table.forgotten()
            atexit.register(_flush, weakref.ref(self))

    def __len__(self) -> int:
        """Count the samples of all owners that this process knows of."""
        with self._locked():
            return len(self._memory.catalogue)

    @property
    def size(self) -> int:
        """Bytes of the samples of all owners that this process knows of."""
        with self._locked():
            return self._memory.catalogue.size

    def put(self, sample: Sample, *, owner: str = LOCAL) -> None:
        """Keep a sample under its handle; see `put_many`."""
        self.put_many([sample], owner=owner)

    def put_many(self, samples: Sequence[Sample], *, owner: str = LOCAL) -> None:
        """Keep samples under their handles, for their owner alone.

        A content that was embedded before, by whomever, has its embedding when this returns; what
        is embedded later is kept as well. With a directory, the samples are then on the disk.
        """
        self.recall(samples)
        self._count_the_others()
        contents = [content_of(sample) for sample in samples]
        with self._locked():
            for sample, content in zip(samples, contents, strict=True):
                key = (owner, sample.handle)
                sample.on_embedded = self._embedded
                self._memory.hold(key, sample, Entry(self._clock(), sample.size, content))
                if self._disk is not None:
                    self._unwritten.add(key)
            gone = self._memory.trim()
        self.flush()
        if gone and self._disk is not None:
            self._disk.do(lambda table: table.delete(list(map(row_id, gone))), None)

    def recall(self, samples: Sequence[Sample]) -> None:
        """Give samples without an embedding the one that their content was given before."""
        waiting: dict[str, list[Sample]] = {}
        for sample in samples:
            if sample.embedding is None:
                waiting.setdefault(content_of(sample), []).append(sample)
        with self._lock:
            for content in list(waiting):
                if (twin := self._memory.twin(content)) is not None:
                    for sample in waiting.pop(content):
                        sample.reading, sample.release = twin.reading, twin.release
                        sample.embedding = twin.embedding
        if not waiting or self._disk is None:
            return
        rows: dict[str, Row] = self._disk.do(lambda t: retried(lambda: t.embedded([*waiting])), {})
        for content, row in rows.items():
            try:
                for sample in waiting[content]:
                    add_vectors(sample, row)
            except (ValueError, KeyError, TypeError) as error:
                logger.warning("an embedding of the sample store is not usable: %s", error)

    def get(self, handle: str, *, owner: str = LOCAL) -> Sample:
        """Return the sample of a handle and count it as used.

        Raises
        ------
        UnknownSampleError
            The owner has no such sample, or no longer; whether another has it is not told.
        """
        if not is_handle(handle):
            raise UnknownSampleError(handle)
        key = (owner, handle)
        self._heed_the_forgotten()
        with self._locked():
            sample = self._memory.get(key)
            if sample is not None:
                self._use(key)
                return sample
        row = self._fetch(key)
        if row is None or row["used"] < self._clock() - self._lifetime_s:
            raise UnknownSampleError(handle)
        try:
            sample = from_row(row)
        except (ValueError, KeyError, TypeError) as error:
            logger.warning("the sample %s of the store is not usable: %s", handle, error)
            raise UnknownSampleError(handle) from error
        with self._lock:
            sample.on_embedded = self._embedded
            self._memory.hold(key, sample, Entry(row["used"], row["size"], row["content"]))
            self._use_on_disk[key] = row["used"]
            self._use(key)
        return sample

    def forget(self, handle: str | None, *, owner: str = LOCAL) -> int:
        """Remove one sample of an owner, or all with None; return how many there were."""
        if handle is not None and not is_handle(handle):
            return 0
        rows = self._rows(owner)
        with self._locked():
            mine = {*self._memory.catalogue.of(owner), *((owner, row["handle"]) for row in rows)}
            keys = [key for key in mine if handle is None or key[1] == handle]
            self._memory.drop(keys)
        if keys and self._disk is not None:
            self._disk.do(lambda table: table.forget(list(map(row_id, keys))), None)
        return len(keys)

    def summaries(self, *, owner: str = LOCAL) -> list[SampleSummary]:
        """List the samples of an owner, the one used last first."""
        fields = ("handle", "name", "source", "genes_measured", "used")
        found = {
            row["handle"]: SampleSummary(*(row[name] for name in fields))
            for row in self._rows(owner)
            if row["used"] >= self._clock() - self._lifetime_s
        }
        with self._locked():
            for key in self._memory.catalogue.of(owner):
                sample, entry = self._memory.get(key), self._memory.catalogue.get(key)
                if sample is not None and entry is not None:
                    found[sample.handle] = SampleSummary(
                        sample.handle, sample.name, sample.source, sample.genes_measured, entry.used
                    )
        return sorted(found.values(), key=lambda summary: -summary.used)

    def flush(self) -> None:
        """Bring what waits to the disk, if the disk lets us."""
        if self._disk is None:
            return
        with self._lock:
            new, changed = self._unwritten, self._changed - self._unwritten
            self._unwritten, self._changed = set(), set()
            kept = [
                (key, sample, entry)
                for key in (*new, *changed)
                if (sample := self._memory.get(key)) and (entry := self._memory.catalogue.get(key))
            ]
        if not kept:
            return
        rows = {key: to_row(key, one, content=e.content, used=e.used) for key, one, e in kept}

        def write(table: Any) -> bool:
            table.upsert([row for key, row in rows.items() if key in new])
            table.update([row for key, row in rows.items() if key in changed])
            if table.is_due:
                table.delete_unused(self._clock() - self._lifetime_s - self._touch_s)
                table.compact()
            return True

        written = self._disk.do(write, False)
        with self._lock:
            if written:
                self._use_on_disk |= {key: row["used"] for key, row in rows.items()}
            else:
                self._unwritten |= new
                self._changed |= changed

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        """Hold the lock, with nothing in memory that has expired."""
        with self._lock:
            self._memory.expire(self._clock() - self._lifetime_s)
            yield

    def _use(self, key: Key) -> None:
        now = self._clock()
        self._memory.use(key, now)
        if self._disk is not None and now - self._use_on_disk.get(key, now) > self._touch_s:
            self._write_later({key})

    def _embedded(self, sample: Sample) -> None:
        with self._lock:
            self._write_later(
                {
                    k
                    for k in self._memory.keys_of(content_of(sample))
                    if self._memory.get(k) is sample
                }
            )

    def _write_later(self, keys: set[Key]) -> None:
        if self._disk is None or not keys:
            return
        self._changed |= keys
        if self._later is None or not self._later.is_alive():
            self._later = threading.Timer(_LATER_S, self.flush)
            self._later.daemon = True
            self._later.start()

    def _write_all_again(self) -> None:
        with self._lock:
            self._unwritten |= self._memory.held()

    def _fetch(self, key: Key) -> Row | None:
        if self._disk is None:
            return None
        found: Row | None = self._disk.do(lambda t: retried(lambda: t.fetch(row_id(key))), None)
        return found

    def _rows(self, owner: str | None) -> list[Row]:
        if self._disk is None:
            return []
        rows: list[Row] = self._disk.do(lambda t: retried(lambda: t.light(owner)), [])
        return rows

    def _count_the_others(self) -> None:
        """Enter into the catalogue what other processes, or an earlier one, wrote."""
        if self._disk is None or self._clock() - self._refreshed < _REFRESH_S:
            return
        rows = self._rows(None)
        with self._lock:
            self._refreshed = self._clock()
            self._memory.catalogue.merge(
                {
                    (row["owner"], row["handle"]): Entry(row["used"], row["size"], row["content"])
                    for row in rows
                },
                only_here=self._memory.held() | self._unwritten,
            )

    def _heed_the_forgotten(self) -> None:
        """Drop from memory what another process has forgotten since we last looked."""
        if self._disk is None or (mark := self._disk.table.forgotten()) == self._forgotten:
            return
        ids = {row["id"] for row in self._rows(None)}
        with self._lock:
            self._forgotten = mark
            kept = self._memory.held() - self._unwritten
            self._memory.drop([key for key in kept if row_id(key) not in ids])


def _flush(store: weakref.ref[SampleStore]) -> None:
    if (alive := store()) is not None:
        alive.flush()
