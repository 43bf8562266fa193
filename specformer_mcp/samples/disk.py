"""The table of samples, with its troubles kept from whoever asks.

A full disk, a folder that cannot be written, a lock that is not given: told once, and left alone
for a while. A table that cannot be read: set aside, and a new one begun. In all cases the caller
goes on with what lies in memory, as it does where nothing is to be kept on the disk.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Sequence
from typing import TypeVar

from specformer_mcp.samples.catalogue import Entry, Key
from specformer_mcp.samples.folder import BusyError
from specformer_mcp.samples.records import Row, row_id
from specformer_mcp.samples.table import SampleTable, is_about_the_disk, retried

logger = logging.getLogger(__name__)

T = TypeVar("T")

PAUSE_S = 30.0
"""How long the disk is left alone after trouble with it."""


class Disk:
    """Does things with a table, or not.

    Parameters
    ----------
    table
        The table; None = there is none, and nothing is found or done.
    on_loss
        Called after a new table was begun: what lies in memory should be written again.
    """

    def __init__(self, table: SampleTable | None, *, on_loss: Callable[[], None]) -> None:
        self.table = table
        self._on_loss = on_loss
        self._paused_until = float("-inf")
        self._told = False

    def fetch(self, key: Key) -> Row | None:
        """Return the row of a sample, if there is one."""
        return self.do(lambda table: retried(lambda: table.fetch(row_id(key))), None)

    def rows(self, owner: str | None = None) -> list[Row] | None:
        """Return the small columns of an owner's rows, or of all; None if that cannot be had."""
        return self.do(lambda table: retried(lambda: table.light(owner)), None)

    def entries(self) -> dict[Key, Entry] | None:
        """Return what a catalogue says of all rows; None if that cannot be had."""
        rows = self.rows()
        if rows is None:
            return None
        return {
            (row["owner"], row["handle"]): Entry(row["used"], row["size"], row["content"])
            for row in rows
        }

    def embedded(self, contents: Sequence[str]) -> dict[str, bytes]:
        """Return the vectors of the contents that are embedded."""
        return self.do(lambda table: retried(lambda: table.embedded(contents)), {})

    def write(self, new: Sequence[Row], changed: Sequence[Row]) -> bool:
        """Insert or replace the new rows, replace the changed ones; return whether it was done."""

        def work(table: SampleTable) -> bool:
            table.upsert(new)
            table.update(changed)
            return True

        return self.do(work, False)

    def delete(self, keys: Iterable[Key], *, unused_since: float) -> bool:
        """Delete the rows of samples that nobody used since; return whether it was done."""
        ids = list(map(row_id, keys))

        def work(table: SampleTable) -> bool:
            table.delete(ids, unused_since=unused_since)
            return True

        return self.do(work, False)

    def tidy(self, *, unused_since: float) -> None:
        """If it is time for it, delete what nobody used since, and compact the table."""

        def work(table: SampleTable) -> None:
            if table.is_due:
                table.delete_unused(unused_since)
                table.compact()

        self.do(work, None)

    def forget(self, keys: Iterable[Key]) -> None:
        """Delete the rows of samples, and let other processes know."""
        ids = list(map(row_id, keys))
        self.do(lambda table: table.forget(ids), None)

    def forgotten(self) -> int:
        """Return a number that changes whenever any process has forgotten something."""
        return 0 if self.table is None else self.table.forgotten()

    def do(self, work: Callable[[SampleTable], T], otherwise: T) -> T:
        """Return what `work` returns of the table, or `otherwise` if that cannot be had."""
        if self.table is None or time.monotonic() < self._paused_until:
            return otherwise
        try:
            result = work(self.table)
        # LanceDB raises OSError, ValueError or RuntimeError; damage may surface as others.
        except Exception as error:
            if isinstance(error, BusyError):
                # Another process is writing; what is not written now is written with the next.
                logger.warning("the sample store in %s is busy", self.table.folder)
                return otherwise
            if is_about_the_disk(error):
                self._pause(self.table, error)
                return otherwise
            return self._after_recovery(self.table, work, otherwise)
        if self._told:
            logger.info("the sample store in %s works again", self.table.folder)
            self._told = False
        return result

    def _after_recovery(
        self, table: SampleTable, work: Callable[[SampleTable], T], otherwise: T
    ) -> T:
        try:
            anew = table.recover()
            result = work(table)
        except Exception as error:
            self._pause(table, error)
            return otherwise
        if anew:
            self._on_loss()
        return result

    def _pause(self, table: SampleTable, error: Exception) -> None:
        self._paused_until = time.monotonic() + PAUSE_S
        if not self._told:
            self._told = True
            first = str(error).splitlines()[0][:200] if str(error) else type(error).__name__
            logger.error(
                "The sample store in %s cannot be used (%s). Answers go on; samples are kept in "
                "memory until the disk works again. Free space there, make it writable, or name "
                "another folder with --store.",
                table.folder,
                first,
            )
