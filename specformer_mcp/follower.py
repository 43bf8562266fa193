"""A running server answers from the newest version of its index; a call, from one version only."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING

from specformer_encoder.errors import SpecformerError

if TYPE_CHECKING:
    from specformer_index.search import ReferenceIndex

logger = logging.getLogger(__name__)

_LOOK_S = 2.0
_AGAIN_S = 60.0
"""How long a version that could not be opened is left alone."""
_seen: ContextVar[dict[Follower, ReferenceIndex] | None] = ContextVar("seen", default=None)


@contextmanager
def one_version() -> Iterator[None]:
    """Within this, a follower gives the index that it gave first, whatever changes meanwhile."""
    token = _seen.set({})
    try:
        yield
    finally:
        _seen.reset(token)


class Follower:
    """An open index, opened anew when its directory has another version.

    Parameters
    ----------
    index
        What is open.
    reopen
        Opens the current version.
    """

    def __init__(self, index: ReferenceIndex, reopen: Callable[[], ReferenceIndex]) -> None:
        self._index = index
        self._reopen = reopen
        self._looking = threading.Lock()
        self._look_at = time.monotonic() + _LOOK_S

    def current(self) -> ReferenceIndex:
        """Return the newest version, as of two seconds ago.

        One caller opens a new one; the others have the one before until then.
        """
        seen = _seen.get()
        if seen is not None and self in seen:
            return seen[self]
        if time.monotonic() > self._look_at and self._looking.acquire(blocking=False):
            try:
                self._look()
            finally:
                self._looking.release()
        return self._index if seen is None else seen.setdefault(self, self._index)

    def _look(self) -> None:
        from specformer_index.opening import is_current

        wait_s = _LOOK_S
        try:
            if not is_current(self._index.info):
                self._index = self._reopen()
                logger.info("the index is now at %s", self._index.info.version)
        except SpecformerError as error:
            wait_s = _AGAIN_S
            version = self._index.info.version
            logger.warning("answers still come from version %s of the index: %s", version, error)
        except Exception:
            wait_s = _AGAIN_S
            logger.exception("the new version of the index cannot be opened")
        finally:
            self._look_at = time.monotonic() + wait_s
