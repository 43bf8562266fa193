"""The table of samples, with its troubles kept from whoever asks.

A full disk, a folder that cannot be written, a lock that is not given: told once, and left alone
for a while. A table that cannot be read: set aside, and a new one begun. In all cases the caller
goes on with what lies in memory.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import TypeVar

from specformer_mcp.samples.folder import BusyError
from specformer_mcp.samples.table import SampleTable, is_about_the_disk

logger = logging.getLogger(__name__)

T = TypeVar("T")

PAUSE_S = 30.0
"""How long the disk is left alone after trouble with it."""


class Disk:
    """Does things with a table, or not.

    Parameters
    ----------
    table
        The table.
    on_loss
        Called after a new table was begun: what lies in memory should be written again.
    """

    def __init__(self, table: SampleTable, *, on_loss: Callable[[], None]) -> None:
        self.table = table
        self._on_loss = on_loss
        self._paused_until = float("-inf")
        self._told = False

    @property
    def problem(self) -> bool:
        """Whether the disk is being left alone."""
        return time.monotonic() < self._paused_until

    def do(self, work: Callable[[SampleTable], T], otherwise: T) -> T:
        """Return what `work` returns of the table, or `otherwise` if that cannot be had."""
        if self.problem:
            return otherwise
        try:
            result = work(self.table)
        # LanceDB raises OSError, ValueError or RuntimeError; damage may surface as others.
        except Exception as error:
            if isinstance(error, BusyError) or is_about_the_disk(error):
                self._pause(error)
                return otherwise
            return self._after_recovery(work, otherwise)
        if self._told:
            logger.info("the sample store in %s works again", self.table.folder)
            self._told = False
        return result

    def _after_recovery(self, work: Callable[[SampleTable], T], otherwise: T) -> T:
        try:
            anew = self.table.recover()
            result = work(self.table)
        except Exception as error:
            self._pause(error)
            return otherwise
        if anew:
            self._on_loss()
        return result

    def _pause(self, error: Exception) -> None:
        self._paused_until = time.monotonic() + PAUSE_S
        if not self._told:
            self._told = True
            first = str(error).splitlines()[0][:200] if str(error) else type(error).__name__
            logger.error(
                "The sample store in %s cannot be used (%s). Answers go on; samples are kept in "
                "memory until the disk works again. Free space there, make it writable, or name "
                "another folder with --store.",
                self.table.folder,
                first,
            )
