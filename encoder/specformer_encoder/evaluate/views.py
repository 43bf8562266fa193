"""What the methods see of a profile: its ranks, its first genes, its embedding.

Every method of the comparison starts from one of three views, and none from the expression values
themselves, so unit and library size matter to none of them:

* rank quantiles (`ordering.rank_quantiles`), for PCA;
* the first T genes of the TF-IDF sequence (`ordering.gene_sequence`), for the bag of genes and the
  untrained encoder;
* what the release reads of it, and its embedding.

A uint8 quantile matrix of ten thousand profiles takes 200 MB, so the whole corpus is looked at
once and kept; the float32 expression never is.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from specformer_encoder.embedder import Embedder
from specformer_encoder.ordering import gene_sequence, rank_quantiles
from specformer_encoder.reading import Reading

FloatArray = npt.NDArray[np.float32]

#: Fills a sequence that ends early.
END = np.iinfo(np.uint16).max
_BLOCK = 256


@dataclass(frozen=True, slots=True)
class Views:
    """Three views of n profiles.

    Attributes
    ----------
    quantiles
        (n, V) uint8, `ordering.NOT_MEASURED` where not measured.
    sequences
        (n, T) uint16 gene numbers, `END` after the last expressed gene.
    reading
        What the release reads of them.
    vectors
        (n, E) embeddings of unit length.
    """

    quantiles: npt.NDArray[np.uint8]
    sequences: npt.NDArray[np.uint16]
    reading: Reading
    vectors: FloatArray

    def __len__(self) -> int:
        return len(self.vectors)

    def take(self, rows: npt.ArrayLike) -> Views:
        """The views of some rows."""
        chosen = np.asarray(rows, np.int64)
        return Views(
            self.quantiles[chosen],
            self.sequences[chosen],
            self.reading.rows(chosen),
            self.vectors[chosen],
        )


def look(
    values: Callable[[list[int]], FloatArray],
    rows: list[int],
    embedder: Embedder,
    *,
    reading: Reading | None = None,
) -> Views:
    """Look at some profiles, block by block.

    Parameters
    ----------
    values
        Rows → (m, V) linear expression, NaN where not measured.
    rows
        n rows to ask for.
    embedder
        The release.
    reading
        What it read of them, where that is at hand.
    """
    quantiles = np.empty((len(rows), embedder.genes), np.uint8)
    sequences = np.full((len(rows), embedder.config.length), END, np.uint16)
    parts = []
    # An empty block still gives what is read its width.
    for start in range(0, max(len(rows), 1), _BLOCK):
        block = values(rows[start : start + _BLOCK])
        for place, profile in enumerate(block, start):
            quantiles[place] = rank_quantiles(profile)
            sequence = gene_sequence(profile, embedder.idf, embedder.config.length)
            sequences[place, : len(sequence)] = sequence
        if reading is None:
            parts.append(embedder.read(block))
    read = Reading.join(parts) if reading is None else reading
    return Views(quantiles, sequences, read, embedder.embeddings(read))
