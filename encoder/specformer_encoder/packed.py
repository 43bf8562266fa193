"""The packed corpus: one memory-mapped Arrow file that training reads, and nothing else.

A row is a profile: who it is, its gene sequence to a fixed depth and its rank quantiles. What was
fitted on the training patients (idf; mean and spread of every gene's quantile) travels in the
schema's metadata, with the vocabulary and its hash, so a model cannot be trained on one ordering
and served with another. Profiles of test patients are not in it: nothing that trains can read them.

Training needs this module, numpy, pyarrow and the file, and none of what built it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from specformer_encoder.errors import CorpusError
from specformer_encoder.ordering import NOT_MEASURED

FloatArray = npt.NDArray[np.float32]

#: Genes kept of each sequence: enough for 512 tokens where an eighth of the genes is measured;
#: views with fewer genes are shorter.
DEPTH = 4096
#: Fills a sequence that ends before `DEPTH`.
END = np.iinfo(np.uint16).max
#: A profile that measures fewer vocabulary genes is a panel: its ranks are not those of a whole
#: profile, so it takes part in masked gene identity only.
GENOME_WIDE = 10_000

LABELS = (
    "sample_id",
    "source",
    "unit",
    "barcode",
    "patient",
    "study",
    "tissue",
    "sample_type",
    "split",
    "subtype",
)


@dataclass(frozen=True, slots=True)
class GeneStatistics:
    """What the training patients say of each gene, (V,) float32 each.

    Attributes
    ----------
    idf
        Information weight of the ordering.
    mean, spread
        Mean and standard deviation of the gene's rank quantile (0 to 1) over genome-wide profiles.
    """

    idf: FloatArray
    mean: FloatArray
    spread: FloatArray


def vocabulary_hash(ensembl_ids: Sequence[str]) -> str:
    """SHA-256 of the vocabulary, one id a line, in order."""
    return hashlib.sha256("\n".join(ensembl_ids).encode()).hexdigest()


def schema(ensembl_ids: Sequence[str], statistics: GeneStatistics) -> pa.Schema:
    """Arrow schema of a packed corpus, statistics included."""
    fields = [pa.field(name, pa.string()) for name in LABELS]
    fields += [
        pa.field("genes_measured", pa.int32()),
        pa.field("sequence", pa.list_(pa.uint16(), DEPTH)),
        pa.field("quantiles", pa.list_(pa.uint8(), len(ensembl_ids))),
    ]
    metadata = {
        b"vocabulary": "\n".join(ensembl_ids).encode(),
        b"vocabulary_sha256": vocabulary_hash(ensembl_ids).encode(),
        b"idf": statistics.idf.tobytes(),
        b"mean": statistics.mean.tobytes(),
        b"spread": statistics.spread.tobytes(),
    }
    return pa.schema(fields, metadata=metadata)


def write_arrow(path: Path, layout: pa.Schema, batches: Iterable[pa.RecordBatch]) -> None:
    """Write an Arrow file batch by batch; memory holds one batch."""
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, layout) as writer:
        for batch in batches:
            writer.write_batch(batch)


def part_of(corpus: Path, name: str) -> Path:
    """The path of one file of a built corpus.

    Raises
    ------
    CorpusError
        If `corpus` is no built corpus, or only the folder that one is built from.
    """
    corpus = corpus.resolve()
    remedy = "Build one with `specformer data build --from FOLDER --out CORPUS`."
    if (corpus / "samples.tsv").is_file():
        raise CorpusError(
            f"{corpus.name} is a folder of labelled matrices, and a built corpus is wanted.", remedy
        )
    if not corpus.is_dir():
        raise CorpusError(f"There is no corpus {corpus.name}.", remedy)
    if not (corpus / name).is_file():
        raise CorpusError(f"{corpus.name} is not a built corpus: it has no {name}.", remedy)
    return corpus / name


class MappedRows:
    """Rows of a fixed-size-list column of a mapped file, without reading the others.

    Parameters
    ----------
    column
        (N,) of lists of one length, without nulls.
    """

    def __init__(self, column: pa.ChunkedArray) -> None:
        self._chunks = [
            chunk.flatten().to_numpy(zero_copy_only=True).reshape(len(chunk), -1)
            for chunk in column.chunks
            if len(chunk)
        ]
        sizes = [len(chunk) for chunk in self._chunks]
        self._chunk = np.repeat(np.arange(len(sizes)), sizes)
        self._offset = np.concatenate([np.arange(size) for size in sizes] or [np.zeros(0, int)])

    def __len__(self) -> int:
        return len(self._chunk)

    def __getitem__(self, row: int) -> npt.NDArray[Any]:
        return np.asarray(self._chunks[self._chunk[row]][self._offset[row]])


class PackedCorpus:
    """A packed corpus, opened for training.

    Parameters
    ----------
    path
        `packed.arrow` of a built corpus; see `part_of`.

    Attributes
    ----------
    labels
        Label name → list of N strings.
    sequences
        (N, DEPTH) uint16, `END` after the last expressed gene. A view of the mapped file.
    quantiles
        (N, V) uint8, `NOT_MEASURED` where not measured. A view of the mapped file.
    statistics
        Gene statistics of the training patients.

    Raises
    ------
    CorpusError
        If the file is missing or not a packed corpus.
    """

    def __init__(self, path: Path) -> None:
        remedy = "Build one with `specformer data build`."
        if not path.is_file():
            raise CorpusError(f"There is no packed corpus {path.name}.", remedy)
        try:
            table = pa.ipc.open_file(pa.memory_map(str(path))).read_all()
            metadata = table.schema.metadata or {}
            self.vocabulary = metadata[b"vocabulary"].decode().split("\n")
        except (pa.ArrowInvalid, KeyError) as error:
            raise CorpusError(f"{path.name} is not a packed corpus ({error}).", remedy) from error
        self.vocabulary_sha256 = metadata[b"vocabulary_sha256"].decode()
        self.statistics = GeneStatistics(
            *(np.frombuffer(metadata[name], np.float32) for name in (b"idf", b"mean", b"spread"))
        )
        #: Fingerprint of the ordering: weights trained on one are worthless with another.
        self.idf_sha256 = hashlib.sha256(metadata[b"idf"]).hexdigest()
        self.labels = {name: table[name].to_pylist() for name in LABELS}
        self.genes_measured = table["genes_measured"].to_numpy()
        self._sequences = MappedRows(table["sequence"])
        self._quantiles = MappedRows(table["quantiles"])

    def __len__(self) -> int:
        return len(self._sequences)

    def rows(self, split: str) -> npt.NDArray[np.int64]:
        """Rows of one split, in file order."""
        return np.flatnonzero(np.array(self.labels["split"]) == split)

    def sequence(self, row: int) -> npt.NDArray[np.uint16]:
        """The gene sequence of one profile, without the filling."""
        full = self._sequences[row]
        return np.asarray(full[full != END])

    def quantile(self, row: int) -> npt.NDArray[np.uint8]:
        """(V,) rank quantiles of one profile."""
        return self._quantiles[row]

    def measured(self, row: int) -> npt.NDArray[np.bool_]:
        """(V,) which genes the profile measures."""
        return np.asarray(self.quantile(row) != NOT_MEASURED)
