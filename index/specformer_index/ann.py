"""The approximate index of a large table: IvfSq over cosine distance, bitmaps for the filters.

Each vector is put into one of some partitions and stored in a byte a number; a query reads the
partitions nearest to it and compares the best candidates again at full precision. Up to
`vectors.EXACT_ROWS` rows there is none: exact search is faster.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from specformer_index import vectors
from specformer_index.errors import ReferenceIndexError
from specformer_index.filters import FIELDS

KEEP = timedelta(days=36_500)
"""LanceDB would prune versions older than this; pruning is `maintenance.sweep`'s, which knows the
versions that are kept."""


def build_ann(table: Any) -> bool:
    """Index a table of more than `EXACT_ROWS` rows that has no index yet; tell if it has one."""
    rows = int(table.count_rows())
    if rows <= vectors.EXACT_ROWS:
        return False
    if "vector" in indexed_columns(table):
        return True
    from lancedb.index import Bitmap, IvfSq

    config = IvfSq(distance_type="cosine", num_partitions=vectors.partitions_of(rows))
    table.create_index("vector", config=config)
    for column in ("kind", *FIELDS):
        table.create_index(column, config=Bitmap())
    return True


def bring_up_to_date(table: Any) -> None:
    """Take rows that came after the index was made into it; they would be scanned otherwise.

    Raises
    ------
    ReferenceIndexError
        Rows are left out of the index.
    """
    table.optimize(cleanup_older_than=KEEP)
    if left := unindexed_rows(table):
        raise ReferenceIndexError(
            f"{left} rows are not in the vector index after it was brought up to date.",
            "Build the index anew.",
        )


def unindexed_rows(table: Any) -> int:
    """Return the rows that a vector index leaves out; 0 where there is no index."""
    return sum(
        int(table.index_stats(index.name).num_unindexed_rows)
        for index in table.list_indices()
        if index.columns == ["vector"]
    )


def indexed_columns(table: Any) -> set[str]:
    """Return the columns that have an index."""
    return {column for index in table.list_indices() for column in index.columns}
