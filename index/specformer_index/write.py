"""Write the tables of an index into a directory.

Rows and vectors come in ready-made, so that this module needs neither the encoder nor a corpus.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from specformer_encoder.files import hash_tree
from specformer_index import INDEX_FORMAT
from specformer_index.cohorts import CohortPathwayMoments, cohort_table
from specformer_index.errors import ReferenceIndexError
from specformer_index.opening import COHORT_PATHWAYS, COHORTS, META
from specformer_index.schema import PROFILE, TABLE, TEXT_COLUMNS, profile_schema


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
    schema = profile_schema(dimensions)
    columns = [pa.array([row[name] for row in rows], pa.string()) for name in TEXT_COLUMNS]
    columns.append(pa.array([row["genes_measured"] for row in rows], pa.int32()))
    flat = pa.array(vectors.ravel(), pa.float32())
    columns.append(pa.FixedSizeListArray.from_arrays(flat, dimensions))
    table_version = _write_lance(root, pa.table(columns, schema=schema), schema)
    pq.write_table(cohort_table(rows), root / COHORTS, compression="zstd")
    pq.write_table(pathways.table(), root / COHORT_PATHWAYS, compression="zstd")
    real = [row for row in rows if row["kind"] == PROFILE]
    meta = {
        "format": INDEX_FORMAT,
        "version": f"{release_id}+{len(real)}",
        "release_id": release_id,
        "release_sha256": release_sha256,
        "dimensions": dimensions,
        "counts": {
            "rows": len(rows),
            "profiles": len(real),
            "medians": len(rows) - len(real),
            "cohorts": len({row["cohort"] for row in real}),
            "patients": len({row["patient"] or row["id"] for row in real}),
        },
        "created": datetime.now(UTC).date().isoformat(),
        "table_version": table_version,
        "files": hash_tree(root),
    }
    (root / META).write_text(json.dumps(meta, indent=1) + "\n", encoding="utf-8")


def _write_lance(root: Path, data: pa.Table, schema: pa.Schema) -> int:
    import lancedb

    table: Any = lancedb.connect(str(root)).create_table(TABLE, data=data, schema=schema)
    # Without a declared key, concurrent upserts of one id leave duplicates behind.
    table.set_unenforced_primary_key("id")
    return int(table.version)
