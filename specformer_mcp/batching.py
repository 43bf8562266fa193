"""Profiles of concurrent calls, read together: a bounded queue in front of the network.

Calls come one by one, and the cores are used best by several profiles side by side. So a profile
waits a moment for others, and all that wait are read as one batch. What a batch holds changes
nothing in the answers: a profile has the same bits alone and in any batch.

The queue is bounded, because a caller that is refused at once can come again, while one that waits
behind a thousand others is cut off after a minute and its work was for nothing. For the same reason
a profile whose caller has gone, or whose time is up, is not read any more.
"""

from __future__ import annotations

import contextlib
import math
import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from concurrent.futures import TimeoutError as NotYet
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from anyio import NoEventLoopError
from anyio.from_thread import check_cancelled

from specformer_encoder.errors import SpecformerError

if TYPE_CHECKING:
    from specformer_encoder.profiles import FloatArray
    from specformer_encoder.reading import Reading

BATCH = 8
CAPACITY = 64
LINGER_S = 0.003
TIMEOUT_S = 45.0
"""Clients cut a tool call at about 60 s."""
_LOOK_S = 0.1
_FIRST_GUESS_S = 0.1
_MEMORY = 0.9


class BusyError(SpecformerError):
    """The queue is full, or nothing is there that could read.

    Parameters
    ----------
    problem
        Why.
    retry_after_s
        Whole seconds after which there may be room.
    """

    def __init__(self, problem: str, *, retry_after_s: int) -> None:
        super().__init__(problem, f"Try again in {retry_after_s} s.")
        self.retry_after_s = retry_after_s


class OverdueError(SpecformerError):
    """A profile waited longer than its caller would; it was not read."""


def overdue(waited_s: float) -> OverdueError:
    """Return the error of a profile that waited so long."""
    return OverdueError(
        f"The server is busy: the profile was not read within {waited_s:.0f} s.",
        "Try again in a minute; embed fewer samples at once.",
    )


class ProfileReader(Protocol):
    """Whatever reads profiles: the network in this process, or a way to another process's."""

    @property
    def available(self) -> bool:
        """Whether profiles can be read now."""
        ...

    @property
    def waiting(self) -> int:
        """Profiles that wait to be read, of all callers."""
        ...

    def submit(self, values: FloatArray, *, timeout_s: float = TIMEOUT_S) -> Future[Reading]:
        """Begin to read profiles.

        Parameters
        ----------
        values
            (n, V) float32 as `Embedder.read` takes them; not changed afterwards.
        timeout_s
            Seconds after which nobody waits for the answer any more.

        Returns
        -------
        What was read of the n profiles, later; cancel it and they are not read if they still wait.
        It fails with a `SpecformerError`: of the values, or one of this module.

        Raises
        ------
        BusyError
            At once, if the queue is full.
        """
        ...

    def close(self) -> None:
        """Refuse what waits, and free what is held."""
        ...


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


def result_of(future: Future[Reading]) -> Reading:
    """Wait for what is read, as long as the caller of this thread waits.

    A tool runs in a thread of its own, which nothing can interrupt; so it looks now and then
    whether its call was cancelled, and cancels the reading then.

    Raises
    ------
    SpecformerError
        The profiles cannot be read, or not now.
    BaseException
        The call was cancelled; what is raised is the event loop's own exception.
    """
    while True:
        try:
            return future.result(timeout=_LOOK_S)
        except CancelledError:
            raise BusyError("The reading was given up.", retry_after_s=1) from None
        except NotYet:
            if future.done():  # the reading itself timed out: its own error
                return future.result()
            try:
                # Outside a tool, on the command line, nobody cancels.
                with contextlib.suppress(NoEventLoopError):
                    check_cancelled()
            except BaseException:
                future.cancel()
                raise
