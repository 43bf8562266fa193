"""Write a new index into a directory.

Rows and vectors come in ready-made, so that this module needs neither the encoder nor a corpus.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from specformer_encoder.files import hash_tree, move_into_place, only_builder, sync_tree
from specformer_index.ann import build_ann
from specformer_index.cohorts import CohortPathwayMoments, cohort_table
from specformer_index.errors import ReferenceIndexError
from specformer_index.opening import COHORT_PATHWAYS, COHORTS, META, PASSING, IndexInfo, to_json
from specformer_index.schema import PROFILE, TABLE, TEXT_COLUMNS, profile_schema


@contextlib.contextmanager
def new_directory(out: Path, *, replace: bool = False) -> Iterator[Path]:
    """Give an empty directory beside `out` that gets its name when the block has ended well.

    Everything is fsynced before the rename. What a process that was killed left behind is removed.

    Raises
    ------
    ReferenceIndexError
        `out` exists and `replace` is false, or is no index; its parent does not exist; another
        process is writing it; or the disk is full.
    """
    if out.exists() and not replace:
        raise ReferenceIndexError(
            f"{out} exists already.", "Give another --out, or --replace to replace it."
        )
    if out.exists() and not (out / META).is_file():
        raise ReferenceIndexError(
            f"{out} exists and is not an index (it has no {META}).", "Give another --out."
        )
    out = out.resolve()
    if not out.parent.is_dir():
        raise ReferenceIndexError(f"The folder {out.parent} does not exist.", "Create it first.")
    partial = out.with_name(f"{out.name}.partial-{os.getpid()}")
    with only_writer(out):
        for left in out.parent.glob(f"{out.name}.partial-*"):
            shutil.rmtree(left, ignore_errors=True)
        with writing_to(out):
            partial.mkdir()
        try:
            yield partial
            with writing_to(out):
                sync_tree(partial)
                move_into_place(partial, out, replace=replace)
        finally:
            shutil.rmtree(partial, ignore_errors=True)


@contextlib.contextmanager
def writing_to(path: Path) -> Iterator[None]:
    """Turn a failure to write, a full disk above all, into an error with a remedy."""
    try:
        yield
    except (OSError, RuntimeError) as error:  # LanceDB reports a failed write as a RuntimeError
        raise ReferenceIndexError(
            f"{path} could not be written ({str(error)[:200]}).",
            "Make room on the disk or write elsewhere; what was there before is unharmed.",
        ) from error


@contextlib.contextmanager
def only_writer(path: Path) -> Iterator[None]:
    """Be the one process that changes the index `path`.

    Raises
    ------
    ReferenceIndexError
        Another process is at it, or the folder of the index cannot be written.
    """
    with contextlib.ExitStack() as stack:
        with writing_to(path):
            alone = stack.enter_context(only_builder(path))
        if not alone:
            raise ReferenceIndexError(
                f"Another process is changing the index {path}.",
                "Wait until it is done, then try again; an index has one writer at a time.",
            )
        yield


def write_tables(
    root: Path,
    *,
    rows: Sequence[dict[str, Any]],
    vectors: npt.NDArray[np.float32],
    pathways: CohortPathwayMoments,
    release_id: str,
    release_sha256: str,
) -> None:
    """Write the LanceDB table, the two Parquet tables and ``index.json`` into `root`.

    Parameters
    ----------
    root
        An existing, empty directory.
    rows
        N dictionaries with the columns of `specformer_index.schema`, without the vector.
    vectors
        (N, D) float32, unit length.
    pathways
        Pathway scores summed by cohort.
    release_id, release_sha256
        The model release that gave the vectors.

    Raises
    ------
    ReferenceIndexError
        The vectors are not finite unit vectors, or two rows have the same id.
    """
    import lancedb

    data = as_table(rows, vectors)
    counts = counts_of(data)
    with writing_to(root):
        table: Any = lancedb.connect(str(root)).create_table(TABLE, data=data, schema=data.schema)
        # Without a declared key, concurrent upserts of one id leave duplicates behind.
        table.set_unenforced_primary_key("id")
        build_ann(table)
        pq.write_table(cohort_table(rows), root / COHORTS, compression="zstd")
        pq.write_table(pathways.table(), root / COHORT_PATHWAYS, compression="zstd")
        info = IndexInfo(
            path=root,
            version=version_name(release_id, counts, 0),
            release_id=release_id,
            release_sha256=release_sha256,
            dimensions=int(vectors.shape[1]),
            counts=counts,
            created=today(),
            table_version=int(table.version),
            files=hash_tree(root, leave_out=PASSING),
        )
        (root / META).write_bytes(to_json(info))


def as_table(rows: Sequence[dict[str, Any]], vectors: npt.NDArray[np.float32]) -> pa.Table:
    """Return rows and their vectors as an Arrow table of the schema.

    Raises
    ------
    ReferenceIndexError
        The vectors are not finite unit vectors, or two rows have the same id.
    """
    lengths = np.linalg.norm(vectors, axis=1)
    if not np.allclose(lengths, 1.0, atol=1e-3):
        raise ReferenceIndexError(
            f"The release gives vectors that are not of unit length (row "
            f"{int(np.argmax(~np.isclose(lengths, 1.0, atol=1e-3)))}).",
            "Use a sound release.",
        )
    ids = [row["id"] for row in rows]
    if len(set(ids)) != len(ids):
        twice = next(name for position, name in enumerate(ids) if name in ids[:position])
        raise ReferenceIndexError(
            f"Two profiles have the id {twice!r}.",
            "Give every sample of a source and unit its own sample_id.",
        )
    dimensions = int(vectors.shape[1])
    columns = [pa.array([row[name] for row in rows], pa.string()) for name in TEXT_COLUMNS]
    columns.append(pa.array([row["genes_measured"] for row in rows], pa.int32()))
    flat = pa.array(vectors.ravel(), pa.float32())
    columns.append(pa.FixedSizeListArray.from_arrays(flat, dimensions))
    return pa.table(columns, schema=profile_schema(dimensions))


def counts_of(data: pa.Table) -> dict[str, int]:
    """Return the counts of `index.json` from the columns id, kind, cohort and patient."""
    names = ("kind", "cohort", "patient", "id")
    columns = zip(*(data[name].to_pylist() for name in names), strict=True)
    real = [(cohort, person or own) for kind, cohort, person, own in columns if kind == PROFILE]
    return {
        "rows": data.num_rows,
        "profiles": len(real),
        "medians": data.num_rows - len(real),
        "cohorts": len({cohort for cohort, _ in real}),
        "patients": len({person for _, person in real}),
    }


def version_name(release_id: str, counts: dict[str, int], revision: int) -> str:
    """Return the name of a version: the release, the profiles, and the changes since the build.

    Examples
    --------
    >>> version_name("specformer-1", {"profiles": 90}, 2)
    'specformer-1+90.2'
    """
    return f"{release_id}+{counts['profiles']}" + (f".{revision}" if revision else "")


def today() -> str:
    """Return the date."""
    return datetime.now(UTC).date().isoformat()
