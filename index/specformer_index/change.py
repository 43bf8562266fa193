"""Change an index in place: one writer, whole versions, the name last.

LanceDB never changes a file that it has written: a change adds files and a manifest that names what
now counts. A change here is

1. the lock; what a writer before us left unfinished is rolled back,
2. new files: rows, manifest, the two Parquet files of the new version, its entry in ``versions/``,
3. everything on the disk (LanceDB itself never syncs),
4. `index.json` replaced in one step.

A process that dies before the last step has changed nothing that anybody reads; its files wait for
`maintenance.optimize` to sweep them up.
"""

from __future__ import annotations

import contextlib
import dataclasses
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from specformer_encoder.files import fsync, sha256_of, write_whole
from specformer_index.ann import bring_up_to_date, build_ann
from specformer_index.errors import ReferenceIndexError
from specformer_index.opening import (
    BUNDLED,
    META,
    PASSING,
    VERSIONS,
    IndexInfo,
    manifest_name,
    read_info,
    set_aside_torn_manifests,
    to_json,
)
from specformer_index.schema import TABLE
from specformer_index.write import (
    counts_of,
    only_writer,
    today,
    version_name,
    writing_to,
)


@contextlib.contextmanager
def changing(path: Path) -> Iterator[Change]:
    """Be the writer of the index `path` for the length of the block; `Change.commit` ends it.

    Raises
    ------
    ReferenceIndexError
        It is the bundled index, it has another writer, or it cannot be written.
    """
    if path.resolve() == BUNDLED:
        raise ReferenceIndexError(
            "The bundled index is never changed.",
            "Give --out DIR to make a copy that is changed instead.",
        )
    info = read_info(path)  # a missing index is told before a lock file is made beside it
    with only_writer(path.resolve()):
        info = read_info(path)
        with writing_to(path):
            change = Change(info)
            yield change


class Change:
    """The next version of an index, while it is being written; see `changing`.

    Attributes
    ----------
    info
        The version that is changed.
    table
        Its LanceDB table, to be written to.
    """

    def __init__(self, info: IndexInfo) -> None:
        import lancedb

        self.info = info
        set_aside_torn_manifests(info)
        self._before = _files(info.path)
        self.table: Any = lancedb.connect(str(info.path)).open_table(TABLE)
        if self.table.version != info.table_version:
            # A writer before us died between its rows and `index.json`.
            self.table.checkout(info.table_version)
            self.table.restore()

    def rows(self, columns: list[str]) -> pa.Table:
        """Return some columns of all rows as they are now."""
        rows: pa.Table = self.table.search().select(columns).limit(None).to_arrow()
        return rows

    def cohorts(self) -> pa.Table:
        """Return the cohort table of the version that is changed."""
        return pq.read_table(self.info.path / self.info.cohorts)

    def pathways(self) -> pa.Table:
        """Return the pathway statistics of the version that is changed, without dictionaries."""
        table = pq.read_table(self.info.path / self.info.cohort_pathways)
        plain = [
            field.with_type(pa.string()) if pa.types.is_dictionary(field.type) else field
            for field in table.schema
        ]
        return table.cast(pa.schema(plain))

    def commit(
        self, what: str, *, cohorts: pa.Table | None = None, pathways: pa.Table | None = None
    ) -> IndexInfo:
        """Make what was written the current version of the index.

        Parameters
        ----------
        what
            What was done, one line.
        cohorts, pathways
            The two tables of the new version; None = unchanged.
        """
        old, root = self.info, self.info.path
        if build_ann(self.table):
            bring_up_to_date(self.table)
        revision = old.revision + 1
        counts = counts_of(self.rows(["id", "kind", "cohort", "patient"]))
        names = {"cohorts": old.cohorts, "cohort_pathways": old.cohort_pathways}
        for key, content in (("cohorts", cohorts), ("cohort_pathways", pathways)):
            if content is not None:
                names[key] = f"{key}-{revision}.parquet"
                pq.write_table(content, root / names[key], compression="zstd")
        info = dataclasses.replace(
            old,
            version=version_name(old.release_id, counts, revision),
            counts=counts,
            created=today(),
            table_version=int(self.table.version),
            files=self._account(list(names.values()), int(self.table.version)),
            revision=revision,
            change=what,
            cohorts=names["cohorts"],
            cohort_pathways=names["cohort_pathways"],
        )
        # LanceDB's own pruning, should anybody call it, keeps what has a tag.
        for kept in (old, info):
            _tag(self.table, kept)
        versions = root / VERSIONS
        versions.mkdir(exist_ok=True)
        for kept in (old, info):
            if kept is info or not (versions / f"{kept.revision}.json").exists():
                write_whole(versions / f"{kept.revision}.json", to_json(kept))
        self._sync()
        write_whole(root / META, to_json(info))
        return info

    def _sync(self) -> None:
        """Bring the new files, and the names of all files, onto the disk."""
        root = self.info.path
        for name in _files(root) - self._before:
            fsync(root / name)
        for folder in [path for path in root.rglob("*") if path.is_dir()]:
            fsync(folder)
        fsync(root)

    def _account(self, parquet: list[str], table_version: int) -> dict[str, str]:
        """Return the files of the new version with their hashes; only new ones are read."""
        root = self.info.path
        manifest = f"{TABLE}.lance/_versions/{manifest_name(table_version)}"
        told = (root / manifest).read_bytes()
        carried = [name for name in self.info.files if of_all_versions(name)]
        new = [name for name in _files(root) - self._before if of_all_versions(name)]
        needed = [name for name in {*carried, *new} if named_in(told, name)]
        known = {name: self.info.files[name] for name in carried if name in needed}
        read = {*needed, *parquet, manifest} - set(known)
        return known | {name: sha256_of(root / name) for name in sorted(read)}


def of_all_versions(name: str) -> bool:
    """Tell whether a file holds rows or an index, which later versions may share."""
    parts = name.split("/")
    return parts[0] == f"{TABLE}.lance" and parts[1] in ("data", "_deletions", "_indices")


def named_in(manifest: bytes, name: str) -> bool:
    """Tell whether a version may need a file of rows or of an index; in doubt it does.

    A manifest holds the names of data files as text and those of indexes as the 16 bytes of a
    UUID. Deletion files are named by numbers; they are tiny and always taken to be needed.
    """
    kind, own = name.split("/")[1:3]
    if kind == "data":
        return own.encode() in manifest
    if kind == "_indices":
        with contextlib.suppress(ValueError):
            return uuid.UUID(own).bytes in manifest
    return True


def _files(root: Path) -> set[str]:
    return {
        path.relative_to(root).as_posix()
        for path in root.rglob("*")
        if path.is_file() and path.name not in PASSING
    }


def _tag(table: Any, info: IndexInfo) -> None:
    name = f"revision-{info.revision}"
    tags = table.tags.list()
    if name not in tags:
        table.tags.create(name, info.table_version)
    elif tags[name]["version"] != info.table_version:
        table.tags.update(name, info.table_version)
