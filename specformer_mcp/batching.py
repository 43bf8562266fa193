"""Profiles of concurrent calls, read together: a bounded queue in front of the network.

Calls come one by one, and the cores are used best by several profiles side by side. So a profile
waits a moment for others, and all that wait are read as one batch. What a batch holds changes
nothing in the answers: a profile has the same bits alone and in any batch.

The queue is bounded, because a caller that is refused at once can come again, while one that waits
behind a thousand others is cut off after a minute and its work was for nothing. For the same reason
a profile whose caller has gone, or whose time is up, is not read any more.
"""

from __future__ import annotations

import math
import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

from specformer_mcp.readers import TIMEOUT_S, BusyError, overdue

if TYPE_CHECKING:
    from specformer_encoder.profiles import FloatArray
    from specformer_encoder.reading import Reading

BATCH = 8
"""Half a second's work on one core: what is cancelled stops within a second."""
CAPACITY = 64
LINGER_S = 0.003
_FIRST_GUESS_S = 0.1
_MEMORY = 0.9


@dataclass(frozen=True, slots=True)
class _Entry:
    values: FloatArray
    came: float
    deadline: float
    future: Future[Reading]


class BatchQueue:
    """Reads what is submitted in batches, in the order in which it came.

    Parameters
    ----------
    read
        (n, V) profiles → their reading; called from one thread at a time.
    batch
        Profiles read together at most, unless one caller submits more at once. A profile that comes
        while a batch is read waits for its end.
    capacity
        Profiles that may wait.
    linger_s
        Seconds that the first profile waits for company.
    clock
        Seconds that only grow.
    """

    def __init__(
        self,
        read: Callable[[FloatArray], Reading],
        *,
        batch: int = BATCH,
        capacity: int = CAPACITY,
        linger_s: float = LINGER_S,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._read = read
        self._batch = batch
        self._capacity = capacity
        self._linger_s = linger_s
        self._clock = clock
        self._changed = threading.Condition()
        self._entries: deque[_Entry] = deque()
        self._draining = False
        self._closed = False
        self._seconds = _FIRST_GUESS_S
        self._reading = 0
        self._done = 0
        # An executor's thread, unlike a daemon, is waited for when the interpreter ends: one that
        # were stopped inside a C++ library would take the process down with it.
        self._thread = ThreadPoolExecutor(1, "specformer-batch")

    @property
    def available(self) -> bool:
        """Whether profiles can be read now."""
        return not self._closed

    @property
    def waiting(self) -> int:
        """Profiles that wait."""
        with self._changed:
            return self._count()

    @property
    def reading(self) -> int:
        """Profiles that are being read."""
        return self._reading

    @property
    def done(self) -> int:
        """Profiles read so far."""
        return self._done

    def submit(self, values: FloatArray, *, timeout_s: float = TIMEOUT_S) -> Future[Reading]:
        """Queue profiles; see `ProfileReader.submit`."""
        now = self._clock()
        entry = _Entry(values, now, now + timeout_s, Future())
        with self._changed:
            if self._closed:
                raise BusyError("The server is stopping.", retry_after_s=10)
            waiting = self._count()
            # What is larger than the queue is let in when nothing waits, or it never would be.
            if waiting and waiting + len(values) > self._capacity:
                raise BusyError(
                    f"The server is busy: {waiting} profiles wait to be read, and it lets "
                    f"{self._capacity} wait.",
                    retry_after_s=max(1, math.ceil(waiting * self._seconds)),
                )
            self._entries.append(entry)
            self._changed.notify()
            if not self._draining:
                self._draining = True
                self._thread.submit(self._drain)
        return entry.future

    def close(self) -> None:
        """Refuse what waits and what comes; return when the running batch is done."""
        with self._changed:
            self._closed = True
            entries, self._entries = list(self._entries), deque()
            self._changed.notify()
        for entry in entries:
            if entry.future.set_running_or_notify_cancel():
                entry.future.set_exception(BusyError("The server is stopping.", retry_after_s=10))
        self._thread.shutdown()

    def _count(self) -> int:
        return sum(len(e.values) for e in self._entries if not e.future.cancelled())

    def _drain(self) -> None:
        while entries := self._next_batch():
            began = self._clock()
            number = self._reading
            _answer(entries, self._read)
            with self._changed:
                self._reading = 0
                self._done += number
                each = (self._clock() - began) / number
                self._seconds = _MEMORY * self._seconds + (1 - _MEMORY) * each

    def _next_batch(self) -> list[_Entry]:
        """The entries to be read next; none ends the drain."""
        with self._changed:
            while not self._closed and 0 < self._count() < self._batch:
                left = self._entries[0].came + self._linger_s - self._clock()
                if left <= 0 or not self._changed.wait(left):
                    break
            batch: list[_Entry] = []
            number = 0
            while self._entries:
                size = len(self._entries[0].values)
                if batch and number + size > self._batch:
                    break
                entry = self._entries.popleft()
                if not entry.future.set_running_or_notify_cancel():
                    continue
                if self._clock() > entry.deadline:
                    entry.future.set_exception(overdue(self._clock() - entry.came))
                    continue
                batch.append(entry)
                number += size
            self._draining = bool(batch)
            self._reading = number
            return batch


def _answer(entries: list[_Entry], read: Callable[[FloatArray], Reading]) -> None:
    """Read the profiles of all entries and give each its own."""
    import numpy as np

    try:
        reading = read(np.concatenate([entry.values for entry in entries]))
    except Exception as error:
        if len(entries) == 1:
            entries[0].future.set_exception(error)
            return
        # One bad profile must not fail the calls that happened to come beside it.
        for entry in entries:
            _answer([entry], read)
        return
    start = 0
    for entry in entries:
        stop = start + len(entry.values)
        entry.future.set_result(reading.rows(np.arange(start, stop)))
        start = stop
