"""The reference index without the test patients, so that no question is about a reference profile.

The bundled index holds the profiles of all splits: a user's sample is none of them, but a test
patient's is, and would find itself. So every profile of a test patient is taken out of the vectors
and the cohorts. What stays as published are the cohorts' pathway means and spreads, in which test
patients are about one profile in six; they decide nothing about a group against a group.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from specformer_index.cohorts import CohortPathwayMoments
from specformer_index.opening import IndexInfo, open_table, read_info
from specformer_index.schema import TEXT_COLUMNS
from specformer_index.write import write_tables


class _AsPublished(CohortPathwayMoments):
    """Pathway statistics that are there already."""

    def __init__(self, table: pa.Table) -> None:
        super().__init__([], [])
        self._published = table

    def table(self) -> pa.Table:
        return self._published


def without_test_patients(out: Path, *, index: Path | None = None) -> IndexInfo:
    """Write a copy of an index without the profiles of test patients.

    Parameters
    ----------
    out
        The directory to make.
    index
        The index to copy; by default the bundled one.
    """
    info = read_info(index)
    rows = open_table(info).to_arrow()
    kept = rows.filter(pc.not_equal(rows["split"], "test"))
    vectors = np.stack(kept["vector"].to_numpy(zero_copy_only=False)).astype(np.float32)
    out.mkdir()
    write_tables(
        out,
        rows=kept.select([*TEXT_COLUMNS, "genes_measured"]).to_pylist(),
        vectors=vectors,
        pathways=_AsPublished(pq.read_table(info.path / info.cohort_pathways)),
        release_id=info.release_id,
        release_sha256=info.release_sha256,
    )
    return read_info(out)
