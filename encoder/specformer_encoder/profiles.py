"""Expression profiles in memory: from what a file says to what the encoder reads.

A reader gives a `RawMatrix`: identifiers and numbers exactly as they stand in the file. `resolve`
turns it into a `ProfileSet`: linear, length-normalised expression over the gene vocabulary, with
the account of everything that was decided on the way. A gene that was not measured is NaN, never
zero.

Counts grow with the length of the transcript, TPM and FPKM do not. Units that are not normalised
for length are therefore divided by it (and every profile scaled to a million, as TPM is; Wagner
et al., Theory in Biosciences 131:281, 2012), so that one ordering serves them all.
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from specformer_encoder.errors import ExpressionValueError
from specformer_encoder.genes import MINIMUM_GENES, GeneMapping, GeneReport, map_genes, vocabulary
from specformer_encoder.raw import RawMatrix
from specformer_encoder.readers import Limits, read
from specformer_encoder.units import UnitCall, detect_unit, to_linear

FloatArray = npt.NDArray[np.float32]

_MILLION = 1_000_000.0


@dataclass(frozen=True, slots=True)
class ProfileSet:
    """Profiles of one file over the gene vocabulary.

    Attributes
    ----------
    samples
        S sample names.
    values
        (S, V) float32, linear and length-normalised; each row sums to 10⁶ over its measured genes.
        NaN where a gene was not measured.
    unit
        The unit that the values had, and why it was believed.
    genes
        What became of the identifiers.
    source, format
        File name and reader.
    totals
        (S,) sum over the vocabulary in the file's own unit, on the linear scale: reads for counts.
    """

    samples: list[str]
    values: FloatArray
    unit: UnitCall
    genes: GeneReport
    source: str
    format: str
    totals: npt.NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.samples)

    def genes_measured(self) -> npt.NDArray[np.int64]:
        """(S,) vocabulary genes that each profile measures."""
        return np.asarray((~np.isnan(self.values)).sum(axis=1))

    def content_hash(self, index: int) -> str:
        """SHA-256 of one profile's values: the same values give the same hash."""
        return hashlib.sha256(self.values[index].astype("<f4").tobytes()).hexdigest()


def load_profiles(
    path: Path, *, unit: str | None = None, limits: Limits | None = None
) -> ProfileSet:
    """Read a file and resolve it.

    Parameters
    ----------
    path
        Any supported expression file.
    unit
        The unit, if the user knows better than the detection.
    limits
        Caps on bytes, samples and genes.

    Returns
    -------
    ProfileSet
        The profiles.

    Raises
    ------
    InputFileError, GeneIdentifierError, ExpressionValueError
        If the file cannot be read, named, or ordered; the text says what to do.
    """
    return resolve(read(path, limits=limits or Limits()), unit=unit)


def iter_profiles(
    path: Path,
    *,
    unit: str | None = None,
    limits: Limits | None = None,
    block: int = 256,
    keep_sparse: bool = False,
) -> Iterator[ProfileSet]:
    """Read a file and resolve it by blocks of at most `block` samples, in file order.

    Parameters
    ----------
    path, unit, limits
        As in `load_profiles`.
    block
        Samples in a block; the memory needed grows with it, not with the file.
    keep_sparse
        As in `resolve`.

    Yields
    ------
    ProfileSet
        All with the same unit and the same gene report.
    """
    raw = read(path, limits=limits or Limits())
    profiles = resolve(raw, unit=unit, keep_sparse=keep_sparse)
    for start in range(0, len(profiles), block):
        yield dataclasses.replace(
            profiles,
            samples=profiles.samples[start : start + block],
            values=profiles.values[start : start + block],
            totals=profiles.totals[start : start + block],
        )


def profiles_from_values(
    values: Mapping[str, float], *, sample: str = "sample", unit: str | None = None
) -> ProfileSet:
    """Resolve one profile that was given as gene → value."""
    raw = RawMatrix(
        gene_ids=list(values),
        samples=[sample],
        values=np.fromiter(values.values(), np.float32, len(values))[None, :],
        source="the inline values",
        format="inline",
    )
    return resolve(raw, unit=unit)


def resolve(raw: RawMatrix, *, unit: str | None = None, keep_sparse: bool = False) -> ProfileSet:
    """Resolve the identifiers and the unit of what a reader returned.

    Parameters
    ----------
    raw
        Values (S, G) as they stand in the file.
    unit
        Overrides the detection.
    keep_sparse
        Let profiles with fewer than `MINIMUM_GENES` expressed genes through, for the caller to
        leave out, rather than refuse the file for one of them.

    Returns
    -------
    ProfileSet
        Profiles over the vocabulary.
    """
    mapping = map_genes(raw.gene_ids, raw.source)
    lengths = np.where(mapping.index >= 0, vocabulary().lengths[mapping.index], np.nan)
    telling = raw.values
    if keep_sparse:  # an empty profile tells no unit, and would be refused for that
        flat = np.nanmax(telling, axis=1) == np.nanmin(telling, axis=1)
        telling = telling[~flat] if flat.any() and not flat.all() else telling
    call = detect_unit(telling, declared=unit or raw.declared_unit, lengths=lengths)
    # A format that states its unit overrides nobody; only the user does.
    call = dataclasses.replace(call, overridden=unit is not None)
    values = _onto_vocabulary(to_linear(raw.values, call), mapping)
    totals = np.asarray(np.nansum(values, axis=1, dtype=np.float64))
    if not call.length_normalised:
        values /= vocabulary().lengths
    total = np.nansum(values, axis=1, dtype=np.float64)
    expressed = (values > 0).sum(axis=1)
    for sample, some in zip(raw.samples, expressed, strict=True):
        if some < MINIMUM_GENES and not keep_sparse:
            raise ExpressionValueError(
                f"Sample {sample!r} in {raw.source} has {some} genes with a value above zero; at "
                f"least {MINIMUM_GENES} are needed to order them.",
                "Check that the column is an expression profile, and leave empty samples out.",
            )
    scale = np.divide(_MILLION, total, out=np.zeros_like(total), where=total > 0)
    values *= scale.astype(np.float32)[:, None]
    return ProfileSet(raw.samples, values, call, mapping.report, raw.source, raw.format, totals)


def _onto_vocabulary(linear: FloatArray, mapping: GeneMapping) -> FloatArray:
    """(S, G) rows of a file → (S, V); rows of one gene are summed, absent genes are NaN."""
    rows = np.flatnonzero(mapping.index >= 0)
    rows = rows[np.argsort(mapping.index[rows], kind="stable")]
    positions, starts = np.unique(mapping.index[rows], return_index=True)
    values = np.full((linear.shape[0], len(vocabulary())), np.nan, np.float32)
    # A gene is unmeasured only where all of its rows are.
    known = np.add.reduceat(~np.isnan(linear[:, rows]), starts, axis=1) > 0
    sums = np.add.reduceat(np.nan_to_num(linear[:, rows]), starts, axis=1)
    values[:, positions] = np.where(known, sums, np.nan)
    return values
