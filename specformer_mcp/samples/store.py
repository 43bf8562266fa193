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

from specformer_mcp.samples.catalogue import Catalogue, Entry, Key
from specformer_mcp.samples.disk import Disk
from specformer_mcp.samples.memory import Memory
from specformer_mcp.samples.records import Row, add_vectors, from_row, summary_of, to_row
from specformer_mcp.samples.sample import (
    Sample,
    SampleSummary,
    UnknownSampleError,
    content_of,
    is_handle,
)
from specformer_mcp.samples.table import SampleTable

logger = logging.getLogger(__name__)

CAPACITY = 2000
MAX_BYTES = 500_000_000
LIFETIME_S = 7 * 24 * 3600.0
CACHE_BYTES = 64_000_000
KEEP_VERSIONS_S = 10.0
LOCAL = "local"
"""The owner of everything where there is no authentication."""
_TOUCH_S = 3600.0
"""A use is written to the disk if the one written there is older than this."""
_REFRESH_S = 30.0
"""What other processes wrote is counted at least this often while we write."""
_LATER_S = 0.2
"""Embeddings and uses are written together this much later."""
_REST_S = 0.25
"""While others bring samples, one write follows another after this at the soonest: a write of ten
samples takes hardly longer than a write of one."""

_TOLERATED = 16
"""A sixteenth of the samples of one owner may lie on the disk beyond the caps, unseen, until they
are deleted together."""


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
        self._flushing = threading.RLock()
        self._company = threading.Condition()
        self._arriving = self._here = 0
        self._wrote = float("-inf")
        self._memory = Memory(
            Catalogue(per_owner=capacity, max_bytes=max_bytes),
            max_bytes=None if directory is None else cache_bytes,
        )
        # What the disk lacks: whole samples; embeddings and times of use.
        self._unwritten: set[Key] = set()
        self._changed: set[Key] = set()
        self._surplus: dict[Key, float] = {}  # to be deleted there, and when it was dropped here
        self._use_on_disk: dict[Key, float] = {}
        self._later: threading.Timer | None = None  # begins to write soon
        self._writer: threading.Timer | None = None  # the last that began
        self._refreshed = float("-inf")
        table = None
        if directory is not None:
            table = SampleTable(directory, keep_versions_s=keep_versions_s)
            atexit.register(_close, weakref.ref(self))
        self._disk = Disk(table, on_loss=self._write_all_again)
        self._forgotten = self._disk.forgotten()

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

    @contextlib.contextmanager
    def arriving(self) -> Iterator[None]:
        """Announce a sample that is still being read, so that others may be written with it."""
        with self._company:
            self._arriving += 1
        try:
            yield
        finally:
            with self._company:
                self._arriving -= 1
                self._company.notify_all()

    def put_many(self, samples: Sequence[Sample], *, owner: str = LOCAL) -> None:
        """Keep samples under their handles, for their owner alone.

        A content that was embedded before, by whomever, has its embedding when this returns; what
        is embedded later is kept as well. With a directory, the samples are then on the disk.
        """
        self.recall(samples)
        self._count_the_others()
        contents = [content_of(sample) for sample in samples]
        keys = {(owner, sample.handle) for sample in samples}
        with self._locked():
            for sample, content in zip(samples, contents, strict=True):
                key = (owner, sample.handle)
                sample.on_embedded = self._embedded
                same = sample.says_the_same_as(self._memory.get(key))
                self._memory.hold(key, sample, Entry(self._clock(), sample.size, content))
                self._surplus.pop(key, None)
                if same:
                    self._use(key)
                elif self.directory is not None:
                    self._unwritten.add(key)
            gone = self._memory.trim()
            if self.directory is not None:
                self._surplus |= dict.fromkeys(gone, self._clock())
        self._write_in_company(keys)

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
        if not waiting:
            return
        for content, packed in self._disk.embedded(list(waiting)).items():
            try:
                for sample in waiting[content]:
                    add_vectors(sample, packed)
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
        row = self._disk.fetch(key)
        if row is None or not self._is_kept(row):
            raise UnknownSampleError(handle)
        try:
            sample = from_row(row)
        except (ValueError, KeyError, TypeError) as error:
            logger.warning("the sample %s of the store is not usable: %s", handle, error)
            raise UnknownSampleError(handle) from error
        with self._lock:
            sample.on_embedded = self._embedded
            self._surplus.pop(key, None)
            self._memory.hold(key, sample, Entry(row["used"], row["size"], row["content"]))
            self._use_on_disk[key] = row["used"]
            self._use(key)
        return sample

    def forget(self, handle: str | None, *, owner: str = LOCAL) -> int:
        """Remove one sample of an owner, or all with None; return how many there were."""
        if handle is not None and not is_handle(handle):
            return 0
        rows = self._disk.rows(owner) or []
        with self._locked():
            mine = {*self._memory.catalogue.of(owner), *((owner, row["handle"]) for row in rows)}
            keys = [key for key in mine if handle is None or key[1] == handle]
            self._memory.drop(keys)
        if keys:
            self._disk.forget(keys)
        return len(keys)

    def summaries(self, *, owner: str = LOCAL) -> list[SampleSummary]:
        """List the samples of an owner, the one used last first."""
        rows = [row for row in self._disk.rows(owner) or [] if self._is_kept(row)]
        found = {row["handle"]: summary_of(row) for row in rows}
        with self._locked():
            found |= self._memory.summaries(owner)
        return sorted(found.values(), key=lambda summary: -summary.used)

    def flush(self) -> None:
        """Bring what waits to the disk, if the disk lets us."""
        with self._flushing:
            self._flush()

    def _write_in_company(self, keys: set[Key]) -> None:
        """Bring samples to the disk, of several threads one for all."""
        with self._company:
            self._here += 1
            self._company.notify_all()
        try:
            with self._flushing:
                if keys & self._unwritten:  # else another thread has written them meanwhile
                    self._wait_for_company()
                    self._flush()
        finally:
            with self._company:
                self._here -= 1

    def _wait_for_company(self) -> None:
        """Wait for samples that are still being read, if the last write was a moment ago."""
        rest = self._wrote + _REST_S - time.monotonic()
        with self._company:
            self._company.wait_for(lambda: self._arriving <= self._here, timeout=max(0.0, rest))

    def _flush(self) -> None:
        with self._lock:
            new, changed = self._unwritten, self._changed - self._unwritten
            self._unwritten, self._changed, self._later = set(), set(), None
            kept = [
                (key, sample, entry)
                for key in (*new, *changed)
                if (sample := self._memory.get(key)) and (entry := self._memory.catalogue.get(key))
            ]
        if not kept:
            return
        rows = {key: to_row(key, one, content=e.content, used=e.used) for key, one, e in kept}
        written = self._disk.write(
            [row for key, row in rows.items() if key in new],
            [row for key, row in rows.items() if key in changed],
        )
        if written:
            self._tidy()
        self._wrote = time.monotonic()
        with self._lock:
            if written:
                self._use_on_disk |= {key: row["used"] for key, row in rows.items()}
            else:
                self._unwritten |= new
                self._changed |= changed

    def _tidy(self) -> None:
        """Delete on the disk what was dropped here, many at once, and compact now and then."""
        with self._lock:
            surplus = dict(self._surplus)
        many = len(surplus) > self.capacity // _TOLERATED
        if many and self._disk.delete(surplus, unused_since=min(surplus.values())):
            with self._lock:
                for key in surplus:
                    self._surplus.pop(key, None)
        self._disk.tidy(unused_since=self._clock() - self._lifetime_s - self._touch_s)

    def close(self) -> None:
        """Bring what waits to the disk, and leave no thread behind that writes."""
        if (writer := self._writer) is not None:
            writer.cancel()
            writer.join()
        self.flush()

    def _is_kept(self, row: Row) -> bool:
        """Tell whether a row of the disk counts: some have expired, or wait to be deleted."""
        if row["used"] < self._clock() - self._lifetime_s:
            return False
        with self._lock:
            dropped = self._surplus.get((row["owner"], row["handle"]))
        return dropped is None or row["used"] > dropped  # else another process has it anew

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        """Hold the lock, with nothing in memory that has expired."""
        with self._lock:
            self._memory.expire(self._clock() - self._lifetime_s)
            yield

    def _use(self, key: Key) -> None:
        now = self._clock()
        self._memory.use(key, now)
        if now - self._use_on_disk.get(key, now) > self._touch_s:
            self._write_later({key})

    def _embedded(self, sample: Sample) -> None:
        with self._lock:
            keys = self._memory.keys_of(content_of(sample))
            self._write_later({key for key in keys if self._memory.get(key) is sample})

    def _write_later(self, keys: set[Key]) -> None:
        if self.directory is None or not keys:
            return
        self._changed |= keys
        if self._later is None:
            self._later = self._writer = threading.Timer(_LATER_S, self.flush)
            self._writer.daemon = True
            self._writer.start()

    def _write_all_again(self) -> None:
        with self._lock:
            self._unwritten |= self._memory.held()

    def _count_the_others(self) -> None:
        """Enter into the catalogue what other processes, or an earlier one, wrote."""
        if self.directory is None or self._clock() - self._refreshed < _REFRESH_S:
            return
        entries = self._disk.entries()
        if entries is None:
            return
        with self._lock:
            self._refreshed = self._clock()
            only_here = self._memory.held() | self._unwritten
            self._memory.catalogue.merge(entries, only_here=only_here)
            there = self._memory.catalogue
            self._use_on_disk = {k: used for k, used in self._use_on_disk.items() if k in there}

    def _heed_the_forgotten(self) -> None:
        """Drop from memory what another process has forgotten since we last looked."""
        if (mark := self._disk.forgotten()) == self._forgotten:
            return
        entries = self._disk.entries()
        if entries is None:  # not known; asked again with the next call
            return
        with self._lock:
            self._forgotten = mark
            self._memory.drop(self._memory.held() - self._unwritten - entries.keys())


def _close(store: weakref.ref[SampleStore]) -> None:
    if (alive := store()) is not None:
        alive.close()
