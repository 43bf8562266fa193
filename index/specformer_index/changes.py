"""What can be done to the rows of an index: add cohorts, remove one."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from specformer_index.change import Change, changing
from specformer_index.cohorts import CohortPathwayMoments, cohort_table
from specformer_index.errors import ReferenceIndexError
from specformer_index.filters import unknown_value
from specformer_index.opening import IndexInfo
from specformer_index.write import as_table

USER = "user:"
"""How the source of a user's profiles begins."""


def add_cohorts(
    path: Path,
    *,
    rows: Sequence[dict[str, Any]],
    vectors: npt.NDArray[np.float32],
    pathways: CohortPathwayMoments,
    source: str,
    replace: bool = False,
) -> IndexInfo:
    """Add whole cohorts of one source to the index `path`, as one new version.

    Parameters
    ----------
    path
        The directory of the index.
    rows, vectors, pathways
        As in `write.write_tables`; all rows have `source`.
    source
        ``user:NAME``.
    replace
        Whether cohorts that are there from the same source are replaced, as a whole.

    Returns
    -------
    IndexInfo
        The new version.

    Raises
    ------
    ReferenceIndexError
        A cohort is there already, from another source or without `replace`; the vectors have
        another size; or the index cannot be changed.
    """
    new = as_table(rows, vectors)
    names = sorted({str(row["cohort"]) for row in rows})
    with changing(path) as change:
        if vectors.shape[1] != change.info.dimensions:
            raise ReferenceIndexError(
                f"The vectors have {vectors.shape[1]} numbers; those of the index have "
                f"{change.info.dimensions}.",
                "Embed the samples with the release that the index was built with.",
            )
        there = change.rows(["cohort", "source"])
        _check_names(there, names, source, replace=replace)
        _delete(change, [name for name in names if name in set(there["cohort"].to_pylist())])
        merge = change.table.merge_insert("id").when_matched_update_all()
        merge.when_not_matched_insert_all().execute(new)
        listed = ", ".join(names[:5]) + (" …" if len(names) > 5 else "")
        return change.commit(
            f"added {new.num_rows} profiles of {source}: {listed}",
            cohorts=_with(_without(change.cohorts(), "id", names), cohort_table(rows)),
            pathways=_with(_without(change.pathways(), "cohort", names), pathways.table()),
        )


def remove_cohort(path: Path, cohort: str) -> IndexInfo:
    """Remove a cohort with all its profiles from the index `path`, as one new version.

    Raises
    ------
    ReferenceIndexError
        There is no such cohort, no other would be left, or the index cannot be changed.
    """
    with changing(path) as change:
        there = sorted(set(change.cohorts()["id"].to_pylist()))
        if cohort not in there:
            raise unknown_value("cohort", cohort, there)
        removed = _delete(change, [cohort])
        if not change.table.count_rows():
            raise ReferenceIndexError(
                f"{cohort} is the last cohort of the index.", "Delete the directory instead."
            )
        return change.commit(
            f"removed {removed} profiles: {cohort}",
            cohorts=_without(change.cohorts(), "id", [cohort]),
            pathways=_without(change.pathways(), "cohort", [cohort]),
        )


def _check_names(there: pa.Table, names: list[str], source: str, *, replace: bool) -> None:
    sources: dict[str, set[str]] = {}
    for cohort, origin in zip(
        there["cohort"].to_pylist(), there["source"].to_pylist(), strict=True
    ):
        sources.setdefault(cohort, set()).add(origin)
    for name in names:
        if name not in sources:
            continue
        if sources[name] != {source}:
            origins = ", ".join(sorted(sources[name]))
            raise ReferenceIndexError(
                f"The index has a cohort {name!r} already, from {origins}.",
                "Give the cohort another name in the label table.",
            )
        if not replace:
            raise ReferenceIndexError(
                f"The index has the cohort {name!r} of {source} already.",
                "Give --replace to put these samples in its place, all of them, or another --name.",
            )


def _delete(change: Change, cohorts: list[str]) -> int:
    from lancedb.expr import col, lit

    return sum(
        int(change.table.delete(col("cohort") == lit(name)).num_deleted_rows) for name in cohorts
    )


def _without(table: pa.Table, column: str, values: list[str]) -> pa.Table:
    return table.filter(pc.invert(pc.is_in(table[column], pa.array(values))))


def _with(table: pa.Table, more: pa.Table) -> pa.Table:
    """Return both tables as one, in the columns and types of the first."""
    return pa.concat_tables([table, more.select(table.column_names).cast(table.schema)])
