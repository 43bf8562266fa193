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
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt

from specformer_encoder.errors import ExpressionValueError, InputFileError
from specformer_encoder.genes import MINIMUM_GENES, GeneMapping, GeneReport, map_genes, vocabulary
from specformer_encoder.genes.transcripts import (
    TranscriptGroups,
    are_transcripts,
    group_transcripts,
)
from specformer_encoder.raw import InMemory, RawMatrix
from specformer_encoder.readers import Limits, read
from specformer_encoder.units import (
    MOST_SAMPLES,
    UnitCall,
    detect_unit,
    odd_samples,
    report_mixture,
    to_linear,
)

FloatArray = npt.NDArray[np.float32]

_MILLION = 1_000_000.0
#: Samples resolved together: 256 × 60,000 genes are 61 MB.
BLOCK = 256


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
    notes
        What the reader decided and a user would want to know.
    left_out
        Samples of the file that cannot be ordered → why; they are not among `samples`.
    """

    samples: list[str]
    values: FloatArray
    unit: UnitCall
    genes: GeneReport
    source: str
    format: str
    totals: npt.NDArray[np.float64]
    notes: tuple[str, ...] = ()
    left_out: Mapping[str, str] = field(default_factory=dict)

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
    path: Path, *, unit: str | None = None, limits: Limits | None = None, block: int = BLOCK
) -> Iterator[ProfileSet]:
    """Read a file and resolve it by blocks of at most `block` samples, in file order.

    Parameters
    ----------
    path, unit, limits
        As in `load_profiles`.
    block
        Samples in a block; the memory needed grows with it, not with the file.

    Yields
    ------
    ProfileSet
        All with the same unit and the same gene report; one may be empty if all its samples were
        left out.
    """
    yield from resolve_blocks(read(path, limits=limits or Limits()), unit=unit, block=block)


def profiles_from_values(
    values: Mapping[str, float], *, sample: str = "sample", unit: str | None = None
) -> ProfileSet:
    """Resolve one profile that was given as gene → value."""
    raw = RawMatrix(
        gene_ids=list(values),
        samples=[sample],
        cells=InMemory(np.fromiter(values.values(), np.float32, len(values))[None, :]),
        source="the inline values",
        format="inline",
    )
    return resolve(raw, unit=unit)


def resolve(raw: RawMatrix, *, unit: str | None = None) -> ProfileSet:
    """Resolve the identifiers and the unit of what a reader returned, all samples at once.

    Parameters
    ----------
    raw
        Values (S, G) as they stand in the file.
    unit
        Overrides the detection.

    Returns
    -------
    ProfileSet
        Profiles over the vocabulary.
    """
    return next(resolve_blocks(raw, unit=unit, block=len(raw.samples)))


def resolve_blocks(
    raw: RawMatrix, *, unit: str | None = None, sample: str | None = None, block: int = BLOCK
) -> Iterator[ProfileSet]:
    """Resolve what a reader returned by blocks of at most `block` samples; see `iter_profiles`.

    Parameters
    ----------
    raw, unit
        As in `resolve`.
    sample
        The name of the one sample wanted; None = all.
    block
        Samples in a block.

    Raises
    ------
    InputFileError
        If there is no sample of that name.
    """
    first, last = 0, len(raw.samples)
    if sample is not None:
        first = _place(sample, raw)
        last = first + 1
    resolver = _Resolver(raw, unit)
    found = False
    left_out: dict[str, str] = {}
    for start in range(first, last, block):
        profiles = resolver.resolve(start, min(start + block, last))
        left_out |= profiles.left_out
        found = found or len(profiles) > 0
        if not found and start + block >= last:
            raise ExpressionValueError(
                f"No sample of {raw.source} can be ordered. Sample {next(iter(left_out))!r}: "
                f"{next(iter(left_out.values()))}",
                "Check that the columns are expression profiles.",
            )
        yield profiles


class _Resolver:
    """What holds for all samples of a file: where its rows go, and its unit.

    Parameters
    ----------
    raw
        What a reader returned.
    unit
        What the user says the unit is; None = detect it.
    """

    def __init__(self, raw: RawMatrix, unit: str | None) -> None:
        self._raw = raw
        self._transcripts: TranscriptGroups | None = None
        if are_transcripts(raw.gene_ids):
            self._transcripts = group_transcripts(raw.gene_ids, raw.source)
        groups = self._transcripts
        self._mapping = map_genes(groups.gene_ids if groups else raw.gene_ids, raw.source)
        lengths = np.where(
            self._mapping.index >= 0, vocabulary().lengths[self._mapping.index], np.nan
        )
        if groups:  # of the transcript's gene
            lengths = np.where(groups.group >= 0, lengths[groups.group], np.nan)
        spread = np.unique(np.linspace(0, len(raw.samples) - 1, MOST_SAMPLES).astype(int))
        some = _varied(np.concatenate([raw.rows(i, i + 1) for i in spread]), raw, spread)
        call = detect_unit(some, declared=unit or raw.declared_unit, lengths=lengths)
        self._lengths = lengths
        # A format that states its unit overrides nobody; only the user does.
        self._unit = dataclasses.replace(call, overridden=unit is not None)

    def resolve(self, start: int, stop: int) -> ProfileSet:
        """Resolve samples `start` to `stop`."""
        raw, notes = self._raw, self._raw.notes
        names = raw.samples[start:stop]
        values = raw.rows(start, stop)
        if len(raw.samples) > MOST_SAMPLES:  # else the call was made of all of them
            odd = odd_samples(values, self._unit, self._lengths)
            notes += tuple(report_mixture(odd, names, self._unit, source=raw.source))
        linear = to_linear(values, self._unit)
        if self._transcripts:
            notes += self._transcripts.account(linear, names, unit=self._unit.unit)
            linear = self._transcripts.sum(linear)
        values = _on_vocabulary(linear, self._mapping)
        totals = np.asarray(np.nansum(values, axis=1, dtype=np.float64))
        if not self._unit.length_normalised:
            values /= vocabulary().lengths
        expressed = (values > 0).sum(axis=1)
        usable = np.flatnonzero(expressed >= MINIMUM_GENES)
        values = values if len(usable) == len(values) else values[usable]
        values *= np.asarray(_MILLION / np.nansum(values, axis=1, dtype=float), np.float32)[:, None]
        return ProfileSet(
            samples=[names[int(i)] for i in usable],
            values=values,
            unit=self._unit,
            genes=self._mapping.report,
            source=raw.source,
            format=raw.format,
            totals=totals[usable],
            notes=notes,
            left_out={
                names[int(i)]: f"It has {expressed[i]} genes with a value above zero; at least "
                f"{MINIMUM_GENES} are needed to order them."
                for i in np.flatnonzero(expressed < MINIMUM_GENES)
            },
        )


def _varied(some: FloatArray, raw: RawMatrix, places: npt.NDArray[np.int64]) -> FloatArray:
    """The samples that can speak for the unit: a nearly empty one has no mark of any."""
    lowest = np.fmin.reduce(some, axis=1)[:, None]
    above = (some > lowest).sum(axis=1)
    if not (above >= MINIMUM_GENES).any():
        raise ExpressionValueError(
            f"No sample of {raw.source} can be ordered. Sample {raw.samples[int(places[0])]!r} has "
            f"{above[0]} genes above its lowest value; at least {MINIMUM_GENES} are needed.",
            "Check that the columns are expression profiles.",
        )
    return np.asarray(some[above >= MINIMUM_GENES])


def _place(sample: str, raw: RawMatrix) -> int:
    if sample in raw.samples:
        return raw.samples.index(sample)
    some = ", ".join(repr(name[:60]) for name in raw.samples[:5])
    raise InputFileError(
        f"{raw.source} has no sample {sample[:60]!r}; it has {len(raw.samples)}: "
        f"{some}{', …' if len(raw.samples) > 5 else ''}.",
        "Give one of these names, or leave the name out to take all.",
    )


def _on_vocabulary(linear: FloatArray, mapping: GeneMapping) -> FloatArray:
    """(S, G) rows of a file → (S, V); rows of one gene are summed, absent genes are NaN."""
    rows = np.flatnonzero(mapping.index >= 0)
    rows = rows[np.argsort(mapping.index[rows], kind="stable")]
    positions, starts, sizes = np.unique(mapping.index[rows], return_index=True, return_counts=True)
    values = np.full((len(linear), len(vocabulary())), np.nan, np.float32)
    alone = sizes == 1
    values[:, positions[alone]] = linear[:, rows[starts[alone]]]
    if not alone.all():
        several = rows[np.repeat(~alone, sizes)]
        first = np.cumsum(sizes[~alone]) - sizes[~alone]
        taken = linear[:, several]
        # A gene is unmeasured only where all of its rows are.
        known = np.add.reduceat(~np.isnan(taken), first, axis=1) > 0
        sums = np.add.reduceat(np.nan_to_num(taken), first, axis=1)
        values[:, positions[~alone]] = np.where(known, sums, np.nan)
    return values
