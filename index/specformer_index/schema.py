"""The columns of the `profiles` table: one row a profile, one vector a row.

Two kinds of row share the table and are never mixed in a ranking: ``profile`` is one real sample,
``cohort_median`` is a published gene-wise median of a cohort. Strings are declared as `string`, so
that a change of the data frame library does not change the table.
"""

from __future__ import annotations

import pyarrow as pa

PROFILE = "profile"
MEDIAN = "cohort_median"
TABLE = "profiles"

TEXT_COLUMNS = (
    "id",
    "kind",
    "cohort",
    "cohort_name",
    "study",
    "tissue",
    "sample_type",
    "patient",
    "source",
    "unit",
    "split",
    "subtype",
)


def profile_schema(dimensions: int) -> pa.Schema:
    """Return the Arrow schema of the `profiles` table for vectors of `dimensions` numbers.

    `id` is not nullable, because only then can concurrent upserts rely on it.
    """
    return pa.schema(
        [
            *(pa.field(name, pa.string(), nullable=name != "id") for name in TEXT_COLUMNS),
            pa.field("genes_measured", pa.int32()),
            pa.field("vector", pa.list_(pa.float32(), dimensions)),
        ]
    )
