"""Open an index directory: check that it is whole and for this release, and mend what can be.

The bundled index lies inside the package, which may be read-only.
"""

from __future__ import annotations

import json
import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from specformer_encoder.files import sha256_of
from specformer_index import INDEX_FORMAT
from specformer_index.errors import ReferenceIndexError
from specformer_index.schema import TABLE

logger = logging.getLogger(__name__)

BUNDLED = Path(__file__).resolve().parent / "bundled"
META = "index.json"
COHORTS = "cohorts.parquet"
COHORT_PATHWAYS = "cohort_pathways.parquet"
REBUILD = "Rebuild it with `specformer index build`."


@dataclass(frozen=True, slots=True)
class IndexInfo:
    """What `index.json` says about an index."""

    path: Path
    version: str
    release_id: str
    release_sha256: str
    dimensions: int
    counts: dict[str, int]
    created: str
    table_version: int
    files: dict[str, str]


def read_info(path: Path | None = None) -> IndexInfo:
    """Read `index.json` of the index at `path`, by default the bundled one.

    Raises
    ------
    ReferenceIndexError
        The directory or its `index.json` is missing or unreadable, or of another format.
    """
    root = BUNDLED if path is None else path
    meta = root / META
    if not meta.is_file():
        which = "The bundled index" if path is None else f"The index {root}"
        raise ReferenceIndexError(
            f"{which} has no {META}: there is no index there.",
            "Build one with `specformer index build` and name it with --index DIR.",
        )
    try:
        data: dict[str, Any] = json.loads(meta.read_text(encoding="utf-8"))
        if data["format"] != INDEX_FORMAT:
            raise ReferenceIndexError(
                f"{meta} has index format {data['format']}; this version reads {INDEX_FORMAT}.",
                REBUILD,
            )
        return IndexInfo(
            path=root,
            version=str(data["version"]),
            release_id=str(data["release_id"]),
            release_sha256=str(data["release_sha256"]),
            dimensions=int(data["dimensions"]),
            counts={str(key): int(value) for key, value in data["counts"].items()},
            created=str(data["created"]),
            table_version=int(data["table_version"]),
            files={str(key): str(value) for key, value in data["files"].items()},
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ReferenceIndexError(f"{meta} is damaged ({error!r}).", REBUILD) from error


def check_release(info: IndexInfo, release_sha256: str) -> None:
    """Refuse an index whose vectors come from another release: they would not be comparable."""
    if info.release_sha256 != release_sha256:
        raise ReferenceIndexError(
            f"The index {info.path} was built with release {info.release_id} (sha256 "
            f"{info.release_sha256[:12]}), but the loaded release has sha256 "
            f"{release_sha256[:12]}; their vectors cannot be compared.",
            "Load that release with --release DIR, or rebuild the index with "
            "`specformer index build`.",
        )


def check_file(info: IndexInfo, name: str) -> Path:
    """Return the path of one file of the index after comparing its hash with `index.json`."""
    path = info.path / name
    if not path.is_file():
        raise ReferenceIndexError(f"{path} is missing.", REBUILD)
    if sha256_of(path) != info.files.get(name):
        raise ReferenceIndexError(f"{path} differs from what index.json recorded.", REBUILD)
    return path


def open_table(info: IndexInfo) -> Any:
    """Open the LanceDB table at the version that `index.json` recorded.

    A zero-byte newest manifest, the trace of a write that a crash cut short, is set aside first.

    Raises
    ------
    ReferenceIndexError
        The table is damaged, or has other rows than were recorded.
    """
    import lancedb

    try:
        _set_aside_empty_manifest(info.path, TABLE)
    except OSError as error:
        raise ReferenceIndexError(
            f"The newest manifest of {info.path} is empty and cannot be moved ({error.strerror}).",
            "Make the directory writable once, or copy the index elsewhere and name it with "
            "--index DIR.",
        ) from error
    try:
        table = lancedb.connect(str(info.path)).open_table(TABLE)
        if table.version != info.table_version:
            table.checkout(info.table_version)
        rows = table.count_rows()
    # LanceDB reports damage as OSError, ValueError or RuntimeError, depending on where it is met.
    except (OSError, ValueError, RuntimeError) as error:
        raise ReferenceIndexError(
            f"The table of the index {info.path} cannot be opened: {str(error)[:200]}.", REBUILD
        ) from error
    if rows != info.counts["rows"]:
        raise ReferenceIndexError(
            f"The index {info.path} holds {rows} rows; index.json recorded {info.counts['rows']}.",
            REBUILD,
        )
    return table


def _set_aside_empty_manifest(index_dir: Path, table: str) -> Path | None:
    """Move a zero-byte newest manifest out of a LanceDB table, so that its predecessor opens.

    Returns
    -------
    Path or None
        Where the empty manifest now lies; None when nothing had to be done.

    Raises
    ------
    OSError
        The manifest is empty and the directory is not writable.
    """
    versions = index_dir / f"{table}.lance" / "_versions"
    if not versions.is_dir():
        return None
    # Names are 2^64-1-version, zero-padded, so that the newest sorts first.
    manifests = sorted(versions.glob("*.manifest"))
    if not manifests or manifests[0].stat().st_size > 0:
        return None
    if len(manifests) == 1:
        return None  # nothing to fall back to; opening the table reports the damage
    aside = index_dir / "set-aside"
    aside.mkdir(exist_ok=True)
    target = aside / manifests[0].name
    manifests[0].rename(target)
    logger.warning("Set the empty manifest %s aside; using the version before it", target.name)
    return target


def verify(info: IndexInfo) -> list[str]:
    """Return the files of the index whose content differs from what `index.json` recorded."""
    return [
        name
        for name, digest in info.files.items()
        if not (info.path / name).is_file() or sha256_of(info.path / name) != digest
    ]
