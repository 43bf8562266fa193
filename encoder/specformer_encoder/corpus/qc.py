"""Quality control of profiles and of genes: numbers that say what a corpus holds.

Nothing is hidden: a profile with a flag stays in the corpus, and what is left out is named in
`corpus.json` with the reason.
"""

from __future__ import annotations

from functools import cache

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from specformer_encoder.genes import vocabulary
from specformer_encoder.ordering import NOT_MEASURED, InformationWeight, rank_quantiles
from specformer_encoder.packed import GENOME_WIDE, GeneStatistics

FloatArray = npt.NDArray[np.float32]

#: The highest expressed genes whose share of the profile is told.
TOP = 50
#: A whole profile that expresses a smaller share of the genes it measures is degraded, or was
#: sequenced too little.
FEW_EXPRESSED = 0.5
#: One gene with a larger share of the profile leaves little to be seen of the others.
DOMINANT = 0.25

#: Columns of one row a profile.
PROFILE_COLUMNS = (
    ("genes_measured", pa.int32()),
    ("genes_expressed", pa.int32()),
    ("total", pa.float64()),
    ("top_50_share", pa.float32()),
    ("mitochondrial_share", pa.float32()),
    ("flags", pa.list_(pa.string())),
)


def profile_qc(values: FloatArray, totals: npt.NDArray[np.float64]) -> list[pa.Array]:
    """The `PROFILE_COLUMNS` of some profiles.

    Parameters
    ----------
    values
        (N, V) linear, length-normalised expression, NaN where not measured; rows sum to 10⁶.
    totals
        (N,) sum of each profile over the vocabulary in the file's own unit: reads for counts.

    Returns
    -------
    In the order of `PROFILE_COLUMNS`. Shares are of length-normalised expression; the share of the
    mitochondrial genes is missing where none of the 13 is measured.
    """
    known = ~np.isnan(values)
    filled = np.where(known, values, 0)
    sums = np.maximum(filled.sum(axis=1, dtype=np.float64), np.finfo(np.float32).tiny)
    measured, expressed = known.sum(axis=1), (filled > 0).sum(axis=1)
    top = np.partition(filled, values.shape[1] - TOP, axis=1)[:, -TOP:]
    genes = _mitochondrial()
    mitochondrial = filled[:, genes].sum(axis=1, dtype=np.float64) / sums
    dominant = top.max(axis=1) / sums > DOMINANT
    few = (measured >= GENOME_WIDE) & (expressed < FEW_EXPRESSED * measured)
    names = np.array(["panel", "few genes expressed", "one gene dominates"])
    flags = np.stack([measured < GENOME_WIDE, few, dominant], axis=1)
    columns = (
        measured,
        expressed,
        totals,
        top.sum(axis=1, dtype=np.float64) / sums,
        pa.array(mitochondrial, mask=~known[:, genes].any(axis=1)),
        [list(names[row]) for row in flags],
    )
    return [
        column.cast(kind) if isinstance(column, pa.Array) else pa.array(column, kind)
        for column, (_, kind) in zip(columns, PROFILE_COLUMNS, strict=True)
    ]


@cache
def _mitochondrial() -> npt.NDArray[np.int64]:
    return np.flatnonzero([symbol.startswith("MT-") for symbol in vocabulary().symbols])


class GeneSums:
    """Sums over profiles from which every statistic of a gene follows.

    Only genome-wide profiles of training patients may be added: what is fitted here is used on the
    others. Sums are held in 64 bits, so neither order nor blocks change a digit that counts.
    """

    def __init__(self) -> None:
        genes = len(vocabulary())
        self.profiles = 0
        self._weight = InformationWeight(genes)
        self._measured = np.zeros(genes, np.int64)
        self._expressed = np.zeros(genes, np.int64)
        self._log, self._log_squared = np.zeros(genes), np.zeros(genes)
        self._steps, self._steps_squared = np.zeros(genes, np.int64), np.zeros(genes, np.int64)

    def add(self, values: FloatArray) -> None:
        """Take in (N, V) profiles, NaN where not measured."""
        self.profiles += len(values)
        self._weight.add(values)
        known = ~np.isnan(values)
        self._measured += known.sum(axis=0)
        self._expressed += (values > 0).sum(axis=0)
        log = np.where(known, np.log2(np.where(known, values, 0) + 1.0), 0).astype(np.float64)
        self._log += log.sum(axis=0)
        self._log_squared += np.square(log).sum(axis=0)
        for row in values:
            steps = rank_quantiles(row).astype(np.int64)
            steps[steps == NOT_MEASURED] = 0
            self._steps += steps
            self._steps_squared += steps * steps

    def statistics(self) -> GeneStatistics:
        """Idf, and mean and spread of the rank quantile; 0 for a gene never measured."""
        # Steps are whole numbers and their sums exact.
        mean, spread = _moments(self._steps, self._steps_squared, self._measured)
        highest = NOT_MEASURED - 1
        return GeneStatistics(
            self._weight.result(),
            np.nan_to_num(mean / highest).astype(np.float32),
            np.nan_to_num(spread / highest).astype(np.float32),
        )

    def table(self, profiles: npt.NDArray[np.int64]) -> pa.Table:
        """One row a gene, in vocabulary order.

        Parameters
        ----------
        profiles
            (V,) profiles of the whole corpus that measure the gene; all else is of those added.
        """
        names, fitted = vocabulary(), self.statistics()
        mean, spread = _moments(self._log, self._log_squared, self._measured)
        seen = self._measured > 0
        share = self._expressed / np.where(seen, self._measured, 1)
        return pa.table(
            {
                "ensembl_id": names.ensembl_ids,
                "symbol": names.symbols,
                "profiles": profiles,
                "train_profiles": self._measured,
                "share_expressed": _column(share, seen),
                "mean_log2": _column(mean, seen),
                "sd_log2": _column(spread, seen),
                "mean_quantile": _column(fitted.mean, seen),
                "sd_quantile": _column(fitted.spread, seen),
                "idf": _column(fitted.idf, seen),
            }
        )


def _moments(
    sums: npt.NDArray[np.float64] | npt.NDArray[np.int64],
    squares: npt.NDArray[np.float64] | npt.NDArray[np.int64],
    count: npt.NDArray[np.int64],
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Mean and population standard deviation; NaN where nothing was added."""
    n = np.where(count > 0, count, np.nan)
    mean = sums / n
    return mean, np.sqrt(np.maximum(squares / n - mean * mean, 0.0))


def _column(values: npt.NDArray[np.floating], seen: npt.NDArray[np.bool_]) -> pa.Array:
    return pa.array(np.nan_to_num(values).astype(np.float32), mask=~seen)
