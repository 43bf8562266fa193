"""Where the vectors of the reference are, and the nearest of them to a query.

Up to `EXACT_ROWS` rows they are one matrix in memory, and a search is one product: exact, and
faster than any index. Above, they stay on the disk: LanceDB's IvfSq index gives the neighbours, and
whoever needs the similarity of every row gets it exactly, from one scan.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float32]
Rows = npt.NDArray[np.intp]
Mask = npt.NDArray[np.bool_]

EXACT_ROWS = 100_000
"""Above so many rows, an approximate index answers `nearest`."""
FEW_ROWS = 20_000
"""Up to so many rows that pass a filter, all of them are compared."""
PARTITION_ROWS = 1024
"""Rows to a partition of the approximate index."""
PROBED_SHARE = 0.1
"""Share of the partitions that are probed without a filter. Under a filter that keeps a share f of
the rows it is divided by f, up to all, for then the nearest that pass lie further out."""
REFINE = 2
"""Candidates per neighbour that are compared again at full precision."""
SCAN_ROWS = 8192


class Vectors(Protocol):
    """N unit vectors of D numbers."""

    def similarities(self, query: FloatArray) -> FloatArray:
        """(N,) cosine of every row to the (D,) unit vector `query`."""
        ...

    def nearest(
        self, query: FloatArray, k: int, *, mask: Mask, where: Any | None
    ) -> tuple[Rows, FloatArray]:
        """At most `k` nearest rows that pass, nearest first, and their cosines.

        `mask` (N,) and the LanceDB expression `where` say the same: which rows may be found.
        """
        ...

    def rows(self, rows: Rows) -> FloatArray:
        """(n, D) vectors of some rows."""
        ...


class InMemory:
    """The vectors as one (N, D) matrix."""

    def __init__(self, matrix: FloatArray) -> None:
        self._matrix = np.ascontiguousarray(matrix)

    def similarities(self, query: FloatArray) -> FloatArray:
        """See `Vectors`."""
        return self._matrix @ query

    def nearest(
        self,
        query: FloatArray,
        k: int,
        *,
        mask: Mask,
        where: Any | None = None,  # noqa: ARG002 - the mask says it all
    ) -> tuple[Rows, FloatArray]:
        """See `Vectors`."""
        similarity = self.similarities(query)
        rows = largest(similarity, k, mask=mask)
        return rows, similarity[rows]

    def rows(self, rows: Rows) -> FloatArray:
        """See `Vectors`."""
        return self._matrix[rows]


class OnDisk:
    """The vectors in a LanceDB table.

    Parameters
    ----------
    table
        The table, at the version to search.
    row_ids
        (N,) LanceDB's row id of every row.
    """

    def __init__(self, table: Any, row_ids: npt.NDArray[np.uint64]) -> None:
        self._table = table
        self._ids = row_ids
        self._order = np.argsort(row_ids)
        self._sorted = row_ids[self._order]

    def similarities(self, query: FloatArray) -> FloatArray:
        """See `Vectors`."""
        found = np.full(self._ids.size, -1.0, np.float32)
        for ids, vectors in self._scan():
            rows, known = self._places(ids)
            found[rows] = (vectors @ query)[known]
        return found

    def nearest(
        self, query: FloatArray, k: int, *, mask: Mask, where: Any | None = None
    ) -> tuple[Rows, FloatArray]:
        """See `Vectors`."""
        passing = int(mask.sum())
        search = (
            self._table.search(query, vector_column_name="vector")
            .distance_type("cosine")
            .select(["_distance"])
            .with_row_id(True)
            .limit(k)
        )
        if where is not None:
            search = search.where(where, prefilter=True)
        if passing <= FEW_ROWS:
            search = search.bypass_vector_index()
        else:
            partitions = max(1, self._ids.size // PARTITION_ROWS)
            share = min(1.0, PROBED_SHARE * self._ids.size / passing)
            search = search.nprobes(max(1, round(share * partitions))).refine_factor(REFINE)
        found = search.to_arrow()
        rows, known = self._places(found["_rowid"].to_numpy())
        return rows, np.asarray(1.0 - found["_distance"].to_numpy()[known], np.float32)

    def rows(self, rows: Rows) -> FloatArray:
        """See `Vectors`."""
        wanted = [int(row) for row in self._ids[rows]]
        found = self._table.take_row_ids(wanted).select(["vector"]).with_row_id(True).to_arrow()
        order = np.argsort(found["_rowid"].to_numpy())
        # Back from the order of the row ids to the order that was asked for.
        back = np.argsort(np.argsort(self._ids[rows]))
        return as_matrix(found["vector"])[order][back]

    def _scan(self) -> Iterator[tuple[npt.NDArray[np.uint64], FloatArray]]:
        scan = self._table.search().select(["vector"]).with_row_id(True).limit(None)
        for batch in scan.to_batches(batch_size=SCAN_ROWS):
            if batch.num_rows:
                yield batch["_rowid"].to_numpy(), as_matrix(batch["vector"])

    def _places(self, ids: npt.NDArray[np.uint64]) -> tuple[Rows, Mask]:
        """Rows of LanceDB's row ids, and which of them are rows here (medians are not)."""
        place = np.minimum(np.searchsorted(self._sorted, ids), self._sorted.size - 1)
        known = self._sorted[place] == ids
        return self._order[place[known]], known


def as_matrix(column: Any) -> FloatArray:
    """(n, D) matrix of an Arrow column of fixed-size lists."""
    import pyarrow as pa

    whole = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    flat: FloatArray = whole.flatten().to_numpy()
    return flat.reshape(len(whole), whole.type.list_size)


def largest(similarity: FloatArray, k: int, *, mask: Mask) -> Rows:
    """At most `k` rows of the largest similarity among those that `mask` allows, largest first."""
    rows = np.flatnonzero(mask)
    if k < rows.size:
        rows = rows[np.argpartition(-similarity[rows], k - 1)[:k]]
    return rows[np.argsort(-similarity[rows], kind="stable")]
