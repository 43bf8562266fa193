"""The samples on the disk: a LanceDB table and files of arrays that several processes may share.

Writers take turns with a lock file. What is put is seen by all processes when the call returns.
LanceDB makes a version of every write: now and then the table is compacted and old versions are
removed, so that it grows with its samples only. A table that cannot be read any more is set aside
with its arrays, and a new one begun: what it held can be embedded again.
"""

from __future__ import annotations

import contextlib
import logging
import shutil
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any, TypeVar

from specformer_mcp.samples.arrays import ArrayFiles
from specformer_mcp.samples.folder import make_private, only_writer
from specformer_mcp.samples.records import LIGHT, Row, schema

logger = logging.getLogger(__name__)

T = TypeVar("T")

_NAME = "samples"
_WAIT_S = 10.0
_CACHE_BYTES = 16 * 1024**2
_AT_ONCE = 128
"""Rows written in one version."""
_EVERY = 32
"""Writes between two compactions. Each leaves a file, all of which every query opens."""
_NO_SPACE = ("no space left", "os error 28", "permission denied", "os error 13", "read-only file")
"""How Lance words what is wrong with the disk and not with the table."""


class SampleTable:
    """Rows by id, on the disk.

    Parameters
    ----------
    folder
        Where the table lies; made, and made private, on first use.
    keep_versions_s
        Seconds that a version is kept after another has taken its place, for those who read it.

    Raises
    ------
    OSError, ValueError, RuntimeError
        By every method: what LanceDB raises, depending on where it meets the trouble.
    """

    def __init__(self, folder: Path, *, keep_versions_s: float) -> None:
        self.folder = folder
        self._root = folder / _NAME
        self._arrays = ArrayFiles(self._root / "arrays")
        self._lock_file = folder / f"{_NAME}.lock"
        self._forgotten = folder / f"{_NAME}.forgotten"
        self._keep = timedelta(seconds=keep_versions_s)
        self._opening = threading.Lock()
        self._table: Any = None
        self._writes = 0

    def upsert(self, rows: Sequence[Row]) -> None:
        """Write rows with their arrays, each in place of an older one of its id."""
        if not rows:
            return
        with self._writing() as table:
            for row in rows:  # before the table says that they are there
                self._arrays.write(row["content"], values=row["values"], vectors=row["vectors"])
            _merge(table, rows, insert=True)

    def update(self, rows: Sequence[Row]) -> None:
        """Write rows in place of older ones; one that was deleted meanwhile stays so."""
        if not rows:
            return
        with self._writing() as table:
            for row in rows:
                if row["vectors"] is not None:
                    self._arrays.add_vectors(row["content"], row["vectors"])
            _merge(table, rows, insert=False)

    def fetch(self, row_id: str) -> Row | None:
        """Return the row of an id with its arrays, or None."""
        from lancedb.expr import col, lit

        found = self._open().search().where(col("id") == lit(row_id)).limit(1).to_arrow()
        rows: list[Row] = found.to_pylist()
        if not rows:
            return None
        content = rows[0]["content"]
        values, vectors = self._arrays.values(content), self._arrays.vectors(content)
        return None if values is None else rows[0] | {"values": values, "vectors": vectors}

    def embedded(self, contents: Sequence[str]) -> dict[str, bytes]:
        """Return, by content, the vectors of the contents that are embedded."""
        found = {content: self._arrays.vectors(content) for content in contents}
        return {content: vectors for content, vectors in found.items() if vectors is not None}

    def light(self, owner: str | None = None) -> list[Row]:
        """Return the small columns of an owner's rows, or of all."""
        from lancedb.expr import col, lit

        table = self._open()
        query = table.search().select(list(LIGHT)).limit(max(1, table.count_rows()))
        if owner is not None:
            query = query.where(col("owner") == lit(owner))
        rows: list[Row] = query.to_arrow().to_pylist()
        return rows

    def delete(self, ids: Sequence[str], *, unused_since: float = float("inf")) -> None:
        """Delete the rows of these ids that were last used before a time, and their arrays."""
        from lancedb.expr import col, lit

        if not ids:
            return
        with self._writing() as table:
            for start in range(0, len(ids), _AT_ONCE):
                some = col("id").isin(list(ids[start : start + _AT_ONCE]))
                self._delete(table, some & (col("used") < lit(unused_since)))

    def delete_unused(self, since: float) -> None:
        """Delete the rows that were last used before a time, and their arrays."""
        from lancedb.expr import col, lit

        with self._writing() as table:
            self._delete(table, col("used") < lit(since))

    def _delete(self, table: Any, condition: Any) -> None:
        from lancedb.expr import col

        gone = _contents(table, condition)
        table.delete(condition)
        for start in range(0, len(gone), _AT_ONCE):
            some = gone[start : start + _AT_ONCE]
            # Samples of others may have the same content.
            self._arrays.remove({*some} - {*_contents(table, col("content").isin(some))})

    def forget(self, ids: Sequence[str]) -> None:
        """Delete rows, keep no older version that has them, and let other processes know."""
        self.delete(ids)
        self._forgotten.touch()
        self.compact(keep=timedelta(0))

    def forgotten(self) -> int:
        """Return a number that changes whenever any process has forgotten something."""
        try:
            return self._forgotten.stat().st_mtime_ns
        except OSError:
            return 0

    def compact(self, *, keep: timedelta | None = None) -> None:
        """Join small files and remove the versions that nobody reads any more."""
        with self._writing() as table:
            _optimize(table, self._keep if keep is None else keep)
            self._arrays.keep_only({*_contents(table)})
        self._writes = 0

    @property
    def is_due(self) -> bool:
        """Whether it was written often enough since the last compaction."""
        return self._writes >= _EVERY

    def recover(self) -> bool:
        """Find out whether the table can be read; if not, set it aside and begin anew.

        Returns
        -------
        bool
            Whether a new table was begun.
        """
        with self._locked():
            self._table = None
            try:
                self._read_all(self._open(locked=True))
            except Exception as error:
                if is_about_the_disk(error):
                    raise
                self._set_aside(error)
                self._table = None
                self._open(locked=True)
                return True
        return False

    def _open(self, *, locked: bool = False) -> Any:
        if self._table is None:
            with contextlib.nullcontext() if locked else self._locked(), self._opening:
                if self._table is None:
                    self._table = self._opened()
        return self._table

    def _opened(self) -> Any:
        import lancedb

        make_private(self._root)
        # A second handle must see what the first has written.
        # Every write makes a version, and LanceDB keeps in memory what it has read of each, by
        # default up to gigabytes.
        session = lancedb.Session(
            index_cache_size_bytes=_CACHE_BYTES, metadata_cache_size_bytes=_CACHE_BYTES
        )
        database = lancedb.connect(
            str(self._root), read_consistency_interval=timedelta(0), session=session
        )
        there = (self._root / f"{_NAME}.lance").exists()
        table: Any = (
            database.open_table(_NAME) if there else database.create_table(_NAME, schema=schema())
        )
        if table.schema.names != schema().names:
            raise ValueError("the table has other columns than this version writes")
        if table.version == 1:
            # Without a declared key, concurrent upserts leave duplicates behind.
            table.set_unenforced_primary_key("id")
        return table

    def _locked(self) -> contextlib.AbstractContextManager[None]:
        import lancedb  # noqa: F401 - takes seconds, in which nobody should wait for the lock

        make_private(self.folder)
        return only_writer(self._lock_file, wait_s=_WAIT_S)

    @contextlib.contextmanager
    def _writing(self) -> Iterator[Any]:
        with self._locked():
            yield self._open(locked=True)
            self._writes += 1

    @staticmethod
    def _read_all(table: Any) -> None:
        for batch in table.search().limit(max(1, table.count_rows())).to_batches():
            batch.validate()

    def _set_aside(self, error: Exception) -> None:
        # One is kept, for whoever wants to look; it holds samples, so not more than that.
        for old in self.folder.glob(f"{_NAME}.damaged-*"):
            shutil.rmtree(old, ignore_errors=True)
        aside = self.folder / f"{_NAME}.damaged-{time.time_ns()}"
        self._root.rename(aside)
        logger.warning(
            "The sample store in %s cannot be read (%s). It was set aside as %s and a new one "
            "begun; samples that it held have to be embedded again.",
            self.folder,
            str(error).splitlines()[0][:200] if str(error) else type(error).__name__,
            aside.name,
        )


def is_about_the_disk(error: BaseException) -> bool:
    """Tell whether the disk is full or closed to us, and the table itself may be sound."""
    text = str(error).lower()
    return any(words in text for words in _NO_SPACE)


def _merge(table: Any, rows: Sequence[Row], *, insert: bool) -> None:
    import pyarrow as pa

    for start in range(0, len(rows), _AT_ONCE):
        some = pa.Table.from_pylist(list(rows[start : start + _AT_ONCE]), schema=schema())
        merge = table.merge_insert("id").when_matched_update_all()
        if insert:
            merge = merge.when_not_matched_insert_all()
        merge.execute(some)


def _contents(table: Any, condition: Any = None) -> list[str]:
    """Return the contents of the rows that meet a condition."""
    query = table.search().select(["content"]).limit(max(1, table.count_rows()))
    if condition is not None:
        query = query.where(condition)
    found: list[str] = query.to_arrow()["content"].to_pylist()
    return found


def _optimize(table: Any, keep: timedelta) -> None:
    import warnings

    with warnings.catch_warnings():
        # It warns of a time that is short for concurrent readers; ours read within milliseconds,
        # and writers hold the lock.
        warnings.simplefilter("ignore")
        table.optimize(cleanup_older_than=keep)


def retried(work: Callable[[], T]) -> T:
    """Do something once more if it fails: a version may be cleaned away under a slow reader."""
    try:
        return work()
    except (OSError, ValueError, RuntimeError):
        return work()
