"""Child processes that are started again when they die, and ended in order when the parent ends.

Each child has its own process and, as it dies again and again, ever longer pauses before it is
started anew. Children are spawned, not forked, so that none inherits threads or locks.
"""

from __future__ import annotations

import logging
import multiprocessing
import signal
import time
from collections.abc import Callable, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from multiprocessing.connection import wait
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator
    from multiprocessing.context import SpawnProcess
    from types import FrameType

logger = logging.getLogger(__name__)

FIRST_PAUSE_S = 0.2
LONGEST_PAUSE_S = 30.0
HEALTHY_S = 60.0
"""A child that lived so long is started at once when it dies."""
_LOOK_S = 0.2


@dataclass(slots=True)
class Child:
    """One process to be kept running.

    Attributes
    ----------
    name
        For the log.
    target, arguments
        What it runs: a function at the top level of a module, and what it gets; both are sent to
        the new process.
    fatal
        Exit codes after which it is not started again, and everything ends.
    """

    name: str
    target: Callable[..., None]
    arguments: tuple[Any, ...]
    fatal: frozenset[int] = frozenset()
    process: SpawnProcess | None = field(default=None, init=False)
    _began: float = field(default=0.0, init=False)
    _pause_s: float = field(default=0.0, init=False)
    _due: float = field(default=0.0, init=False)

    def start(self) -> None:
        """Start the process."""
        context = multiprocessing.get_context("spawn")
        self.process = context.Process(
            target=self.target, args=self.arguments, name=self.name, daemon=False
        )
        self.process.start()
        self._began = time.monotonic()

    def tend(self) -> int | None:
        """Start the process again if it died and its pause is over.

        Returns
        -------
        The exit code if it just ended, else None.
        """
        now = time.monotonic()
        if self.process is None:
            if now >= self._due:
                self.start()
            return None
        code = self.process.exitcode
        if code is None:
            return None
        healthy = now - self._began >= HEALTHY_S
        self._pause_s = FIRST_PAUSE_S if healthy else min(2 * self._pause_s, LONGEST_PAUSE_S)
        self._pause_s = max(self._pause_s, FIRST_PAUSE_S)
        self._due = now + self._pause_s
        self.process.close()
        self.process = None
        logger.warning(
            "%s ended (exit code %d); it is started again in %.1f s", self.name, code, self._pause_s
        )
        return code

    def stop(self, deadline: float) -> None:
        """Wait for the end of a process that was told to end; kill it at the deadline."""
        if self.process is None:
            return
        self.process.join(max(0.0, deadline - time.monotonic()))
        if self.process.exitcode is None:
            logger.warning("%s did not end in time and is killed", self.name)
            self.process.kill()
            self.process.join()
        self.process.close()
        self.process = None


def supervise(groups: Sequence[tuple[Sequence[Child], float]]) -> int:
    """Keep children running until SIGTERM or SIGINT, then end them; call from the main thread.

    Parameters
    ----------
    groups
        Children, and the seconds that they have to end. Started in this order, ended in the
        reverse: what others depend on comes first.

    Returns
    -------
    Exit code: 0, or 1 if a child ended with a fatal code.
    """
    children = [child for group, _ in groups for child in group]
    with _stop_signals() as stopped:
        try:
            for child in children:
                child.start()
            while not stopped:
                alive = [child.process.sentinel for child in children if child.process is not None]
                wait(alive, timeout=_LOOK_S)
                for child in children:
                    if not stopped and child.tend() in child.fatal:
                        logger.error("%s cannot work; everything is ended", child.name)
                        return 1
                if len(alive) < len(children):  # a pause runs
                    time.sleep(_LOOK_S / 4)
            return 0
        finally:
            for group, seconds in reversed(groups):
                deadline = time.monotonic() + seconds
                for child in group:
                    if child.process is not None:
                        child.process.terminate()
                for child in group:
                    child.stop(deadline)


@contextmanager
def _stop_signals() -> Iterator[list[int]]:
    """Collect SIGTERM and SIGINT instead of ending at once."""
    came: list[int] = []

    def note(number: int, _: FrameType | None) -> None:
        came.append(number)

    before = {number: signal.signal(number, note) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield came
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
