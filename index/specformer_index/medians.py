"""Published cohort medians as expression profiles.

The Human Protein Atlas publishes gene-wise medians: FPKM of the 33 TCGA cohorts and nTPM (TPM after
a between-sample factor, which a share of the profile does not see) of 50 normal tissues. A median
profile is no sample: no single tumour need look like it. It covers cohorts of which no real
profile is at hand, and is marked as ``cohort_median`` wherever it appears.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from specformer_encoder.profiles import ProfileSet, resolve
from specformer_encoder.raw import InMemory, RawMatrix
from specformer_index.errors import ReferenceIndexError
from specformer_index.names import study_name

GENE_COLUMN = "Ensembl_Gene_ID"
_UNITS = {"FPKM": "fpkm", "nTPM": "tpm"}


@dataclass(frozen=True, slots=True)
class MedianLabel:
    """What is known of one median profile."""

    cohort: str
    name: str
    study: str
    tissue: str
    sample_type: str
    unit: str


def read_medians(path: Path) -> Iterator[tuple[list[MedianLabel], ProfileSet]]:
    """Yield the median profiles of a Parquet file, one set for each unit.

    Columns are ``Ensembl_Gene_ID``, ``FPKM_<TCGA study>`` and ``nTPM_<tissue>``.

    Raises
    ------
    ReferenceIndexError
        The file is missing or has no such columns.
    """
    import pyarrow.parquet as pq

    if not path.is_file():
        raise ReferenceIndexError(
            f"The cohort medians {path} do not exist.", "Give the right file with --medians."
        )
    table = pq.read_table(path)
    if GENE_COLUMN not in table.column_names:
        raise ReferenceIndexError(
            f"{path.name} has no column {GENE_COLUMN}.",
            f"Give a Parquet file with {GENE_COLUMN}, FPKM_<study> and nTPM_<tissue> columns.",
        )
    genes = [str(gene) for gene in table[GENE_COLUMN].to_pylist()]
    for prefix, unit in _UNITS.items():
        columns = [name for name in table.column_names if name.startswith(f"{prefix}_")]
        if not columns:
            continue
        values = np.stack([table[name].to_numpy() for name in columns]).astype(np.float32)
        raw = RawMatrix(
            gene_ids=genes,
            samples=columns,
            cells=InMemory(values),
            source=path.name,
            format="matrix",
            declared_unit=unit,
        )
        yield [_label(name, unit) for name in columns], resolve(raw, unit=unit)


def _label(column: str, unit: str) -> MedianLabel:
    prefix, _, rest = column.partition("_")
    if prefix == "FPKM":
        study = f"TCGA-{rest}"
        name = f"{study_name(study)} (published median)"
        return MedianLabel(f"{study} median", name, study, "", "tumor", unit)
    tissue = rest.replace("_", " ")
    name = f"{tissue}, normal (published median)"
    return MedianLabel(f"HPA-{tissue} median", name, "HPA", tissue, "normal", unit)
