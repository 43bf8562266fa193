"""Packing: profiles of train and valid → the one file that pretraining reads (see `packed`).

Profiles come one after the other and the file lies gene after gene, so levels pass through an
unnamed file on disk, laid out by blocks of genes. Memory holds one block of either kind and the
profiles that shifts between pipelines are learnt from.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from specformer_encoder.corpus import PACKED, PROFILES
from specformer_encoder.genes import vocabulary
from specformer_encoder.packed import (
    COMPRESSED,
    LABELS,
    GeneStatistics,
    levels_of,
    vocabulary_hash,
    write_arrow,
)
from specformer_encoder.shifts import PairedRows, Shifts, learn_shifts

FloatArray = npt.NDArray[np.float32]
ByteArray = npt.NDArray[np.uint8]
Progress = Callable[[str], None]

#: Genes that are compressed together.
_GENE_BLOCK = 512


def write_packed(
    folder: Path,
    statistics: GeneStatistics,
    *,
    profiles: int,
    paired: PairedRows,
    tell: Progress,
) -> None:
    """Write `packed.arrow` of a corpus whose `profiles.arrow` is written.

    Parameters
    ----------
    folder
        The corpus.
    statistics
        Of the training patients.
    profiles
        N profiles of train and valid.
    paired
        Rows of `profiles.arrow` that shifts are learnt from: training patients only.
    tell
        Called with one line of text now and then.
    """
    order = _file_order(statistics)
    # Unnamed where the system can do it, so that a killed build leaves nothing behind.
    with tempfile.TemporaryFile(dir=folder) as spill:
        levels = _SpiltLevels(spill, profiles, len(order))
        labels, values = _read_back(folder / PROFILES, levels, order, paired.needed, tell)
        shifts = learn_shifts(values.__getitem__, paired, genes=len(order))
        values.clear()
        tell(f"shifts: {len(shifts.pairs)} pairs of pipelines")
        lengths = np.asarray(vocabulary().lengths, np.float32)
        genes = _Genes(vocabulary().ensembl_ids, lengths, statistics, shifts)
        layout = _schema(genes, labels)
        batches = _record_batches(genes, layout, levels.blocks())
        write_arrow(folder / PACKED, layout, batches, compress=True)


@dataclass(slots=True)
class _SpiltLevels:
    """Levels on their way from profiles to genes, in a file of (N, ≤ _GENE_BLOCK) blocks."""

    file: BinaryIO
    profiles: int
    genes: int
    done: int = 0

    def add(self, levels: ByteArray) -> None:
        """Take in the (n, V) levels of the next profiles."""
        for start in range(0, self.genes, _GENE_BLOCK):
            block = levels[:, start : start + _GENE_BLOCK]
            self.file.seek(self.profiles * start + self.done * block.shape[1])
            self.file.write(block.tobytes())
        self.done += len(levels)

    def blocks(self) -> Iterator[ByteArray]:
        """The (N, ≤ _GENE_BLOCK) levels of all profiles, block by block."""
        self.file.seek(0)
        for start in range(0, self.genes, _GENE_BLOCK):
            shape = self.profiles, min(_GENE_BLOCK, self.genes - start)
            yield np.frombuffer(self.file.read(shape[0] * shape[1]), np.uint8).reshape(shape)


def _read_back(
    path: Path,
    spilt: _SpiltLevels,
    order: npt.NDArray[np.int64],
    needed: set[int],
    tell: Progress,
) -> tuple[pa.Table, dict[int, FloatArray]]:
    """Spill the levels of train and valid, genes in the given order.

    Returns
    -------
    The labels of the packed profiles, and the profiles of the rows in `needed`.
    """
    tables, values_of, first = [], {}, 0
    # Read, not mapped: pages of a mapped file would count as this process's memory.
    with pa.OSFile(str(path)) as file:
        reader = pa.ipc.open_file(file)
        for number in range(reader.num_record_batches):
            batch = reader.get_batch(number)
            values = batch["values"].flatten().to_numpy().reshape(len(batch), -1)
            for row in needed.intersection(range(first, first + len(batch))):
                values_of[row] = values[row - first].copy()
            first += len(batch)
            chosen = pc.not_equal(batch["split"], "test")
            spilt.add(levels_of(values[chosen.to_numpy(zero_copy_only=False)])[:, order])
            tables.append(batch.select([*LABELS, "genes_measured"]).filter(chosen))
            if number % 8 == 7:
                tell(f"packing: {spilt.done} profiles")
    return pa.Table.from_batches(tables), values_of


@dataclass(frozen=True, slots=True)
class _Genes:
    """What a packed corpus says of genes beside their levels.

    Attributes
    ----------
    ensembl_ids
        The vocabulary, V.
    lengths
        (V,) float32 transcript lengths in bases.
    statistics
        Of the training patients.
    shifts
        Between pipelines, of the training patients.
    """

    ensembl_ids: Sequence[str]
    lengths: FloatArray
    statistics: GeneStatistics
    shifts: Shifts


def _file_order(statistics: GeneStatistics) -> npt.NDArray[np.int64]:
    """(V,) vocabulary positions in the order of the file: genes of like level and spread."""
    return np.lexsort((statistics.spread, np.round(40 * statistics.mean)))


def _schema(genes: _Genes, labels: pa.Table) -> pa.Schema:
    """Arrow schema of a packed corpus of the profiles that `labels` names.

    Parameters
    ----------
    labels
        N rows: `LABELS` and genes_measured.
    """
    fields = [
        pa.field("gene", pa.int32()),
        pa.field("ensembl_id", pa.string()),
        *(pa.field(name, pa.float32()) for name in ("idf", "mean", "spread", "length")),
        pa.field("shifts", pa.list_(pa.float16())),
        pa.field("levels", pa.list_(pa.uint8(), len(labels))),
    ]
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, labels.schema, options=COMPRESSED) as writer:
        writer.write_table(labels)
    metadata = {
        b"format": b"2",
        b"genes": str(len(genes.ensembl_ids)).encode(),
        b"vocabulary_sha256": vocabulary_hash(genes.ensembl_ids).encode(),
        b"labels": sink.getvalue().to_pybytes(),
        b"pipeline_pairs": json.dumps(genes.shifts.pairs).encode(),
        b"paired_samples": json.dumps(genes.shifts.samples).encode(),
    }
    return pa.schema(fields, metadata=metadata)


def _record_batches(
    genes: _Genes, layout: pa.Schema, blocks: Iterable[ByteArray]
) -> Iterator[pa.RecordBatch]:
    """Record batches of a packed corpus.

    Parameters
    ----------
    blocks
        (N, ≤ _GENE_BLOCK) levels each, genes in `_file_order`.
    """
    order, statistics = _file_order(genes.statistics), genes.statistics
    ids = np.array(genes.ensembl_ids, dtype=object)
    for place, levels in enumerate(blocks):
        some = order[place * _GENE_BLOCK : (place + 1) * _GENE_BLOCK]
        numbers = (statistics.idf, statistics.mean, statistics.spread, genes.lengths)
        flat = pa.array(np.ascontiguousarray(levels.T).ravel())
        columns = [
            pa.array(some, pa.int32()),
            pa.array(ids[some], pa.string()),
            *(pa.array(values[some], pa.float32()) for values in numbers),
            pa.array(list(genes.shifts.shift[:, some].T), pa.list_(pa.float16())),
            pa.FixedSizeListArray.from_arrays(flat, len(levels)),
        ]
        yield pa.record_batch(columns, schema=layout)
