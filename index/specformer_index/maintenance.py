"""Keep an index small and prove it sound: compaction, sweeping, verification, export."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from specformer_encoder.files import fsync, unfinished
from specformer_index.ann import KEEP, unindexed_rows
from specformer_index.change import changing, named_in, of_all_versions
from specformer_index.errors import ReferenceIndexError
from specformer_index.opening import (
    COHORT_PATHWAYS,
    COHORTS,
    META,
    PASSING,
    VERSIONS,
    IndexInfo,
    list_versions,
    manifest_name,
    open_table,
    verify,
)
from specformer_index.schema import TABLE
from specformer_index.vectors import as_matrix
from specformer_index.write import counts_of, writing_to

UNIT_TOLERANCE = 1e-3
_BATCH = 8192


@dataclass(frozen=True, slots=True)
class Optimized:
    """What `optimize` did: the version now, the versions dropped, files and bytes removed."""

    info: IndexInfo
    dropped: list[str]
    files: int
    bytes: int


def optimize(path: Path, *, keep: int | None = None) -> Optimized:
    """Merge small files, bring the vector index up to date, and remove what no version needs.

    Parameters
    ----------
    path
        The directory of the index.
    keep
        How many of the newest versions stay; None = all. An answer can be pinned to those only.

    Raises
    ------
    ReferenceIndexError
        `keep` is below 1, or the index cannot be changed.
    """
    if keep is not None and keep < 1:
        raise ReferenceIndexError(f"--keep is {keep}.", "Keep at least 1 version.")
    with changing(path) as change:
        before = change.table.version
        change.table.optimize(cleanup_older_than=KEEP)
        info = change.info
        if change.table.version != before or before != info.table_version:
            # Compaction names the files that it merged in its own manifest; one made after it does
            # not, so that they can be told from those that count.
            change.table.restore(change.table.version)
            info = change.commit("optimized")
        versions = list_versions(path)
        dropped = versions[: -keep or None] if keep else []
        kept = versions[len(dropped) :]
        for old in dropped:
            (path / VERSIONS / f"{old.revision}.json").unlink(missing_ok=True)
            change.table.tags.delete(f"revision-{old.revision}")
        files, size = _sweep(path, kept)
    return Optimized(info, [old.version for old in dropped], files, size)


def _sweep(root: Path, kept: list[IndexInfo]) -> tuple[int, int]:
    """Remove the files that none of the versions needs; return their number and bytes."""
    names = {META} | {f"{VERSIONS}/{info.revision}.json" for info in kept}
    manifests = []
    for info in kept:
        names |= {*info.files, info.cohorts, info.cohort_pathways}
        manifest = f"{TABLE}.lance/_versions/{manifest_name(info.table_version)}"
        names.add(manifest)
        manifests.append((root / manifest).read_bytes())
    files = size = 0
    for path in sorted(root.rglob("*")):
        name = path.relative_to(root).as_posix()
        if not path.is_file() or name in names or not _is_ours(name):
            continue
        if any(_needs(manifest, name) for manifest in manifests):
            continue
        files, size = files + 1, size + path.stat().st_size
        path.unlink()
    return files, size


def _is_ours(name: str) -> bool:
    """Tell whether a file is one that a change makes; what else lies in the folder is kept."""
    parts = name.split("/")
    if parts[0] == f"{TABLE}.lance":
        return parts[1] in ("data", "_deletions", "_indices", "_versions", "_transactions") and (
            parts[-1] not in PASSING
        )
    if parts[0] == VERSIONS:
        return parts[-1].endswith(".json")
    return name in (COHORTS, COHORT_PATHWAYS) or (
        name.endswith(".parquet") and name.startswith(("cohorts-", "cohort_pathways-"))
    )


def _needs(manifest: bytes, name: str) -> bool:
    if of_all_versions(name):
        # Deletion files say nothing of the versions that need them, but those list them.
        return "/_deletions/" not in name and named_in(manifest, name)
    return "/_transactions/" in name and Path(name).name.encode() in manifest


def check(info: IndexInfo) -> list[str]:
    """Examine one version of an index and return what is wrong with it, one sentence each.

    Files are compared with their hashes, rows with the counts, the cohort table with the rows;
    vectors must be finite and of unit length, ids must occur once, and a vector index must hold
    every row.
    """
    found = [f"{name} is missing or differs from what was recorded." for name in verify(info)]
    try:
        table = open_table(info)
        cohorts = pq.read_table(info.path / info.cohorts).to_pylist()
        scored = pq.read_table(info.path / info.cohort_pathways, columns=["cohort"])
    except (ReferenceIndexError, OSError, pa.ArrowException) as error:
        return [*found, str(error)]
    ids: Counter[str] = Counter()
    members: Counter[str] = Counter()
    bad = 0
    scan = table.search().select(["id", "kind", "cohort", "patient", "vector"]).limit(None)
    columns = []
    for batch in scan.to_batches(batch_size=_BATCH):
        ids.update(batch["id"].to_pylist())
        members.update(batch["cohort"].to_pylist())
        lengths = np.linalg.norm(as_matrix(batch["vector"]), axis=1)
        bad += int(np.count_nonzero(~(np.abs(lengths - 1) <= UNIT_TOLERANCE)))
        columns.append(pa.table(batch.drop_columns(["vector"])))
    counts = counts_of(pa.concat_tables(columns))
    if counts != info.counts:
        found.append(f"The table holds {counts}; index.json recorded {info.counts}.")
    if bad:
        found.append(f"{bad} vectors are not finite or not of unit length.")
    twice = [name for name, n in ids.items() if n > 1]
    if twice:
        found.append(f"{len(twice)} ids occur more than once, such as {twice[0]!r}.")
    if members != Counter({row["id"]: row["n_profiles"] for row in cohorts}):
        found.append("The cohort table does not agree with the rows.")
    if strangers := set(scored["cohort"].to_pylist()) - set(members):
        found.append(
            f"Pathway scores of cohorts that have no rows: {', '.join(sorted(strangers))}."
        )
    if left := unindexed_rows(table):
        found.append(f"{left} rows are not in the vector index; run `specformer index optimize`.")
    return found


def export(info: IndexInfo, out: Path) -> int:
    """Write all rows of one version, vectors included, into a Parquet file; return their number.

    The file's metadata names the version, the release and its hash.

    Raises
    ------
    ReferenceIndexError
        The index cannot be opened or the file cannot be written.
    """
    table = open_table(info)
    told = {
        "specformer.index": info.version,
        "specformer.release": info.release_id,
        "specformer.release_sha256": info.release_sha256,
    }
    schema = table.schema.with_metadata(told)
    partial = unfinished(out)
    rows = 0
    with writing_to(out):
        try:
            with pq.ParquetWriter(partial, schema, compression="zstd") as writer:
                for batch in table.search().limit(None).to_batches(batch_size=_BATCH):
                    rows += batch.num_rows
                    writer.write_table(pa.table(batch).select(schema.names).cast(schema))
            fsync(partial)
            partial.replace(out)
            fsync(out.resolve().parent)
        finally:
            partial.unlink(missing_ok=True)
    return rows
