"""Open an index directory: check that it is whole and for this release, and mend what can be.

`index.json` names one version of the index: a version of the LanceDB table and the two Parquet
files beside it. Nothing that it names is ever changed, and it is replaced in one step, so a reader
sees the old version whole or the new one whole. ``versions/`` keeps the same account of every
version, so that an answer can be given once more by the version that gave it first.

The bundled index lies inside the package, which may be read-only.
"""

from __future__ import annotations

import dataclasses
import json
import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from specformer_encoder.files import only_builder, sha256_of
from specformer_index import INDEX_FORMAT
from specformer_index.errors import ReferenceIndexError
from specformer_index.schema import TABLE

logger = logging.getLogger(__name__)

BUNDLED = Path(__file__).resolve().parent / "bundled"
META = "index.json"
VERSIONS = "versions"
COHORTS = "cohorts.parquet"
COHORT_PATHWAYS = "cohort_pathways.parquet"
REBUILD = "Rebuild it with `specformer index build`."

#: LanceDB rewrites these in place, or they say nothing about the rows of a version.
PASSING = frozenset({"latest_version_hint.json"})
_MANIFEST_END = b"LANC"


@dataclass(frozen=True, slots=True)
class IndexInfo:
    """What `index.json` says about one version of an index.

    Attributes
    ----------
    path
        The directory.
    version
        Name of the version, as provenance tells it.
    release_id, release_sha256, dimensions
        The model release whose vectors these are.
    counts
        rows, profiles, medians, cohorts, patients.
    created
        Date of the version.
    table_version
        Version of the LanceDB table.
    files
        Relative path → SHA-256 of what the version consists of.
    cohorts, cohort_pathways
        Names of the two Parquet files of the version.
    revision
        0 as built, then one more with every change.
    change
        What made the version, one line.
    """

    path: Path
    version: str
    release_id: str
    release_sha256: str
    dimensions: int
    counts: dict[str, int]
    created: str
    table_version: int
    files: dict[str, str]
    cohorts: str = COHORTS
    cohort_pathways: str = COHORT_PATHWAYS
    revision: int = 0
    change: str = "built"


def read_info(path: Path | None = None, *, version: str | None = None) -> IndexInfo:
    """Read what the index at `path`, by default the bundled one, says about itself.

    Parameters
    ----------
    path
        The directory of the index.
    version
        The version wanted; None = the current one.

    Raises
    ------
    ReferenceIndexError
        The directory or its `index.json` is missing or unreadable, or of another format, or there
        is no such version.
    """
    root = BUNDLED if path is None else path
    meta = root / META
    if not meta.is_file():
        which = "The bundled index" if path is None else f"The index {root}"
        raise ReferenceIndexError(
            f"{which} has no {META}: there is no index there.",
            "Build one with `specformer index build` and name it with --index DIR.",
        )
    current = _parse(root, meta)
    if version is None or version == current.version:
        return current
    for info in list_versions(root):
        if info.version == version:
            return info
    raise ReferenceIndexError(
        f"The index {root} has no version {version[:80]!r}; it is now at {current.version}.",
        "`specformer index info` lists the versions that are kept.",
    )


def is_current(info: IndexInfo) -> bool:
    """Tell whether the index still is at this version.

    Raises
    ------
    ReferenceIndexError
        As `read_info`.
    """
    now = read_info(info.path)
    return (now.version, now.files) == (info.version, info.files)


def list_versions(root: Path) -> list[IndexInfo]:
    """Return every version that the index keeps, oldest first; the last is the current one."""
    current = _parse(root, root / META)
    kept = [_parse(root, path) for path in (root / VERSIONS).glob("*.json")]
    # A writer that was cut short may have left the account of a version that never came to be.
    older = [info for info in kept if info.revision < current.revision]
    return [*sorted(older, key=lambda info: info.revision), current]


def _parse(root: Path, meta: Path) -> IndexInfo:
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
            files={
                str(key): str(value)
                for key, value in data["files"].items()
                if Path(key).name not in PASSING
            },
            cohorts=str(data.get("cohorts", COHORTS)),
            cohort_pathways=str(data.get("cohort_pathways", COHORT_PATHWAYS)),
            revision=int(data.get("revision", 0)),
            change=str(data.get("change", "built")),
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
    """Open the LanceDB table at the version that `info` names.

    A torn newer manifest, the trace of a write that a crash cut short, is set aside first.

    Raises
    ------
    ReferenceIndexError
        The table is damaged, or has other rows than were recorded.
    """
    import lancedb

    _mend(info)
    try:
        table = lancedb.connect(str(info.path)).open_table(TABLE)
        if table.version != info.table_version:
            table.checkout(info.table_version)
        rows = table.count_rows()
    # LanceDB reports damage as OSError, ValueError or RuntimeError, depending on where it is met.
    except (OSError, ValueError, RuntimeError) as error:
        raise ReferenceIndexError(
            f"The table of the index {info.path} cannot be opened at version {info.version}: "
            f"{str(error)[:200]}.",
            f"{REBUILD} `specformer index info` lists older versions that may still open.",
        ) from error
    if rows != info.counts["rows"]:
        raise ReferenceIndexError(
            f"The index {info.path} holds {rows} rows; index.json recorded {info.counts['rows']}.",
            REBUILD,
        )
    return table


def to_json(info: IndexInfo) -> bytes:
    """Return the content of `index.json` for an index."""
    data = {"format": INDEX_FORMAT} | dataclasses.asdict(info)
    del data["path"]
    return (json.dumps(data, indent=1) + "\n").encode()


def _mend(info: IndexInfo) -> None:
    """Set torn manifests aside, unless a writer is at work, whose files are its own."""
    if not torn_manifests(info):
        return
    try:
        with only_builder(info.path) as alone:
            if alone:
                set_aside_torn_manifests(info)
    except OSError as error:
        raise ReferenceIndexError(
            f"The newest manifest of {info.path} is torn and cannot be moved ({error.strerror}).",
            "Make the directory writable once, or copy the index elsewhere and name it with "
            "--index DIR.",
        ) from error


def manifest_name(version: int) -> str:
    """Return the file name of a table version's manifest; the newest sorts first."""
    return f"{2**64 - 1 - version:020d}.manifest"


def torn_manifests(info: IndexInfo) -> list[Path]:
    """Return the manifests newer than the version of `info` that do not end as a manifest does."""
    recorded = manifest_name(info.table_version)
    manifests = sorted((info.path / f"{TABLE}.lance" / "_versions").glob("*.manifest"))
    newer = [path for path in manifests if path.name < recorded]
    return [path for path in newer if not path.read_bytes().endswith(_MANIFEST_END)]


def set_aside_torn_manifests(info: IndexInfo) -> None:
    """Move torn manifests out of the table, so that their predecessors open.

    Raises
    ------
    OSError
        The directory is not writable.
    """
    for path in torn_manifests(info):
        aside = info.path / "set-aside"
        aside.mkdir(exist_ok=True)
        path.rename(aside / path.name)
        logger.warning("Set the torn manifest %s aside; using the version before it", path.name)


def verify(info: IndexInfo) -> list[str]:
    """Return the files of the index whose content differs from what `index.json` recorded."""
    return [
        name
        for name, digest in info.files.items()
        if not (info.path / name).is_file() or sha256_of(info.path / name) != digest
    ]
