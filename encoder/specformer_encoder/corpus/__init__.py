"""A built corpus: labelled profiles on disk, in several views of the same samples.

`specformer data build` writes it (see `corpus.build`); everything later reads it: pretraining the
packed file in it, releases, evaluation and the index the profiles.

`profiles.arrow`
    One row a profile: one sample in one unit. Labels, quality numbers, and `values`, linear and
    length-normalised over the vocabulary, NaN where a gene was not measured.
`genes.parquet`
    One row a gene of the vocabulary: how often it was measured; what training patients say of it.
`packed.arrow`
    What pretraining reads; no test patient is in it (see `packed`).
`corpus.json`
    What it was built from and by which rules; what was left out and why.

The Arrow files are mapped, not read: opening takes a moment, and only the rows that are asked for
come into memory.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from specformer_encoder.corpus.labels import SampleLabel
from specformer_encoder.errors import CorpusError
from specformer_encoder.genes import vocabulary
from specformer_encoder.packed import LABELS, MappedRows, PackedCorpus, part_of, vocabulary_hash

FORMAT = 1
PROFILES, GENES, PACKED, INFO = "profiles.arrow", "genes.parquet", "packed.arrow", "corpus.json"

#: Profiles that `Corpus.map` holds at once.
_BLOCK = 256
_REMEDY = "Build it again with `specformer data build`."


@dataclass(frozen=True)
class Corpus:
    """An opened corpus of N profiles over V genes.

    Attributes
    ----------
    folder
        Where it is.
    info
        Content of `corpus.json`.
    labels
        N labels, in file order: by source, unit and place in the source's file.
    table
        Labels and quality numbers, one row a profile: `profiles.arrow` without the values.
    """

    folder: Path
    info: dict[str, Any]
    labels: list[SampleLabel]
    table: pa.Table
    _values: MappedRows

    @classmethod
    def open(cls, folder: Path) -> Corpus:
        """Open a built corpus.

        Raises
        ------
        CorpusError
            If there is none, or it is damaged or of another format or gene vocabulary.
        """
        folder = folder.resolve()
        try:
            info = json.loads(part_of(folder, INFO).read_text(encoding="utf-8"))
            if info["format"] != FORMAT:
                raise CorpusError(
                    f"{folder.name} has corpus format {info['format']}; {FORMAT} is read.", _REMEDY
                )
            if info["vocabulary_sha256"] != vocabulary_hash(vocabulary().ensembl_ids):
                raise CorpusError(f"{folder.name} was built over another gene vocabulary.", _REMEDY)
            table = pa.ipc.open_file(pa.memory_map(str(part_of(folder, PROFILES)))).read_all()
            texts = [table[name].to_pylist() for name in LABELS]
            values = MappedRows(table["values"])
        except (json.JSONDecodeError, KeyError, TypeError, pa.ArrowInvalid) as error:
            raise CorpusError(f"{folder.name} is damaged ({error}).", _REMEDY) from error
        labels = [SampleLabel(*row) for row in zip(*texts, strict=True)]
        return cls(folder, info, labels, table.drop_columns(["values"]), values)

    def __len__(self) -> int:
        return len(self.labels)

    def values(self, rows: npt.ArrayLike) -> npt.NDArray[np.float32]:
        """(n, V) expression of some rows: linear, each summing to 10⁶, NaN where not measured."""
        chosen = np.asarray(rows, np.int64)
        result = np.empty((len(chosen), len(vocabulary())), np.float32)
        for place, row in enumerate(chosen):
            result[place] = self._values[row]
        return result

    def map(
        self,
        function: Callable[[npt.NDArray[np.float32]], npt.NDArray[np.float32]],
        rows: npt.ArrayLike | None = None,
    ) -> npt.NDArray[np.float32]:
        """(n, …) what a function of (m, V) expression gives of some rows, or all, by blocks."""
        chosen = np.arange(len(self)) if rows is None else np.asarray(rows, np.int64)
        # An empty block still gives the result its width.
        starts = range(0, max(len(chosen), 1), _BLOCK)
        blocks = [function(self.values(chosen[start : start + _BLOCK])) for start in starts]
        return np.concatenate(blocks)

    def genes_measured(self) -> npt.NDArray[np.int32]:
        """(N,) vocabulary genes that each profile measures."""
        return np.asarray(self.table["genes_measured"].to_numpy())

    def packed(self) -> PackedCorpus:
        """What pretraining reads of this corpus."""
        return PackedCorpus(part_of(self.folder, PACKED))
