"""The corpus with its embeddings: which rows a question is asked of."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from specformer_encoder.corpus import Corpus
from specformer_encoder.corpus.labels import SampleLabel
from specformer_encoder.embedder import Embedder
from specformer_encoder.errors import CorpusError
from specformer_encoder.heads import known_types, tumor_patients
from specformer_encoder.material import read_rows
from specformer_encoder.packed import GENOME_WIDE
from specformer_encoder.reading import Reading

FloatArray = npt.NDArray[np.float32]


@dataclass(frozen=True)
class EmbeddedCorpus:
    """The corpus with its embeddings, computed once for all questions.

    Attributes
    ----------
    corpus
        N profiles.
    reading
        What the release read of all N.
    vectors
        (N, E) embeddings.
    """

    corpus: Corpus
    reading: Reading
    vectors: FloatArray

    @classmethod
    def of(cls, corpus: Corpus, embedder: Embedder) -> EmbeddedCorpus:
        """Read and embed every profile; takes minutes for ten thousand."""
        read = read_rows(embedder.read, corpus, range(len(corpus))).reading
        return cls(corpus, read, embedder.embeddings(read))

    @property
    def labels(self) -> list[SampleLabel]:
        """N labels."""
        return self.corpus.labels

    def values(self, rows: list[int]) -> FloatArray:
        """(n, V) linear expression of some rows, NaN where not measured."""
        return self.corpus.values(rows)

    @cached_property
    def judged_types(self) -> list[str]:
        """Types with genome-wide tumours of enough training patients: what methods are judged on.

        A release may know more, from panels or simulated tumours; calling one of these is wrong.
        """
        train = [self.labels[i] for i in self.select("train")]
        return known_types(tumor_patients(train))

    @cached_property
    def genome_wide(self) -> npt.NDArray[np.bool_]:
        """(N,) which profiles are no panels."""
        return self.corpus.genes_measured() >= GENOME_WIDE

    def select(self, split: str, *, tumor: bool = True, panel: bool = False) -> list[int]:
        """Rows of one split: tumours or normals, genome-wide profiles or panels."""
        return [
            i
            for i, label in enumerate(self.labels)
            if label.split == split
            and (label.sample_type == "tumor") == tumor
            and self.genome_wide[i] != panel
        ]

    def known(self, split: str, types: list[str], *, panel: bool = False) -> list[int]:
        """Rows of the tumours of these types.

        Raises
        ------
        CorpusError
            If there are none and they are not panels.
        """
        rows = [i for i in self.select(split, panel=panel) if self.labels[i].study in types]
        if not rows and not panel:
            raise CorpusError(
                f"The corpus has no genome-wide {split} tumour of the release's types.",
                "Evaluate on a corpus that has some.",
            )
        return rows

    def people(self, rows: list[int]) -> list[str]:
        """Patient of each row."""
        return [self.labels[i].person for i in rows]
