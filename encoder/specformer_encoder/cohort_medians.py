"""Published median expression of whole cohorts, gene by gene, as log expression.

A median over a cohort keeps none of its spread and none of its gene-gene structure, and it has
passed through one pipeline; what can be made of it all the same is in `simulate`.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from specformer_encoder.errors import CorpusError
from specformer_encoder.genes import vocabulary

FloatArray = npt.NDArray[np.float32]

#: Added to linear expression (parts per million) before the logarithm.
FLOOR = np.float32(0.1)
_MILLION = np.float32(1e6)
_COHORT = "FPKM_"
_FORM = "Give a Parquet table with the columns Ensembl_Gene_ID and FPKM_<TCGA study> per cohort."


@dataclass(frozen=True)
class CohortMedians:
    """Published median expression of whole cohorts.

    Attributes
    ----------
    studies
        K names, e.g. ``TCGA-PCPG``.
    logs
        (K, V) log2(x + 0.1) of the medians, each scaled to 10⁶; NaN where none is published.
    """

    studies: list[str]
    logs: FloatArray

    @classmethod
    def read(cls, path: Path) -> CohortMedians:
        """Read a table of genes × cohorts.

        Parameters
        ----------
        path
            Parquet with the column ``Ensembl_Gene_ID`` and a column ``FPKM_<type>`` for each TCGA
            cohort; other columns are not read.

        Raises
        ------
        CorpusError
            If it is no such table.
        """
        try:
            table = pq.read_table(path)
        except (OSError, pa.ArrowInvalid) as error:
            raise CorpusError(f"{path.name} cannot be read ({error}).", _FORM) from error
        cohorts = sorted(name for name in table.column_names if name.startswith(_COHORT))
        if "Ensembl_Gene_ID" not in table.column_names or not cohorts:
            raise CorpusError(f"{path.name} is no table of cohort medians.", _FORM)
        place = {gene: k for k, gene in enumerate(vocabulary().ensembl_ids)}
        genes = [place.get(gene, -1) for gene in table["Ensembl_Gene_ID"].to_pylist()]
        inside = np.array(genes) >= 0
        values = np.full((len(cohorts), len(place)), np.nan, np.float32)
        for row, name in enumerate(cohorts):
            values[row, np.array(genes)[inside]] = table[name].to_numpy()[inside]
        return cls([f"TCGA-{name.removeprefix(_COHORT)}" for name in cohorts], to_logs(values))

    def of(self, study: str) -> FloatArray:
        """(V,) logs of one cohort.

        Raises
        ------
        CorpusError
            If its median is not among these.
        """
        if study not in self.studies:
            raise CorpusError(
                f"No median of {study} is published here; there are those of "
                f"{', '.join(self.studies)}.",
                "Leave the type out, or add its cohort to the table of medians.",
            )
        return np.asarray(self.logs[self.studies.index(study)])


def to_logs(values: FloatArray) -> FloatArray:
    """(N, V) linear expression → log2(x + 0.1) of it scaled to 10⁶; NaN stays NaN."""
    total = np.nansum(values, axis=1, keepdims=True)
    logs: FloatArray = np.log2(values * (_MILLION / total) + FLOOR)
    return logs


def from_logs(logs: FloatArray) -> FloatArray:
    """(N, V) linear expression, each profile summing to 10⁶; below zero is silent."""
    values = np.maximum(np.exp2(logs) - FLOOR, 0)
    linear: FloatArray = values * (_MILLION / np.nansum(values, axis=1, keepdims=True))
    return linear
