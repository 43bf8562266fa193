"""What reads profiles, wherever it is, and how a tool waits for it."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from concurrent.futures import CancelledError, Future
from concurrent.futures import TimeoutError as NotYet
from typing import TYPE_CHECKING, Protocol, TypeVar

from anyio import NoEventLoopError
from anyio.from_thread import check_cancelled

from specformer_encoder.errors import SpecformerError

if TYPE_CHECKING:
    from specformer_encoder.profiles import FloatArray
    from specformer_encoder.reading import Reading
    from specformer_encoder.unexpected import UnexpectedGenes

T = TypeVar("T")

TIMEOUT_S = 45.0
"""Clients cut a tool call at about 60 s."""
_LOOK_S = 0.4
"""A cancelled call stops within a second; looking more often costs all the others."""


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

    def explain(self, values: FloatArray, *, top: int, surprisal: bool) -> Future[UnexpectedGenes]:
        """Begin to find the genes that the rest of a profile does not explain.

        Parameters
        ----------
        values
            (V,) float32; see `specformer_encoder.surprisal.unexpected_genes` for the others.

        Raises
        ------
        BusyError
            At once, if too many wait for the same.
        """
        ...

    def close(self) -> None:
        """Refuse what waits, and free what is held."""
        ...


def result_of(future: Future[T], *, look: Callable[[], None] | None = None) -> T:
    """Wait for what is computed, as long as the caller of this thread waits.

    A tool runs in a thread of its own, which nothing can interrupt; so it looks now and then
    whether its call was cancelled, and cancels the computation then.

    Parameters
    ----------
    future
        Of a `ProfileReader`.
    look
        Called now and then while waiting; what it raises ends the wait as well.

    Raises
    ------
    SpecformerError
        It cannot be computed, or not now.
    BaseException
        The call was cancelled; what is raised is the event loop's own exception.
    """
    while True:
        try:
            return future.result(timeout=_LOOK_S)
        except CancelledError:
            raise BusyError("The computation was given up.", retry_after_s=1) from None
        except NotYet:
            if future.done():  # the computation itself timed out: its own error
                return future.result()
            try:
                # Outside a tool, on the command line, nobody cancels.
                with contextlib.suppress(NoEventLoopError):
                    check_cancelled()
                if look is not None:
                    look()
            except BaseException:
                future.cancel()
                raise
