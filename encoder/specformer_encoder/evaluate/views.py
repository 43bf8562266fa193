"""What the methods see of a profile: its ranks, its first genes, its embedding.

Every method of the comparison starts from one of three views, and none from the expression values
themselves, so unit and library size matter to none of them:

* rank quantiles (`ordering.rank_quantiles`), for PCA;
* the first T genes of the TF-IDF sequence (`ordering.gene_sequence`), for the bag of genes and the
  untrained encoder;
* the release's embedding.

A uint8 quantile matrix of ten thousand profiles takes 200 MB, so the whole corpus is looked at
once and kept; the float32 expression never is.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from specformer_encoder.ordering import gene_sequence, rank_quantiles
from specformer_encoder.packed import END

FloatArray = npt.NDArray[np.float32]

_BLOCK = 256


@dataclass(frozen=True, slots=True)
class Views:
    """Three views of n profiles.

    Attributes
    ----------
    quantiles
        (n, V) uint8, `ordering.NOT_MEASURED` where not measured.
    sequences
        (n, T) uint16 gene numbers, `packed.END` after the last expressed gene.
    vectors
        (n, E) embeddings of unit length.
    """

    quantiles: npt.NDArray[np.uint8]
    sequences: npt.NDArray[np.uint16]
    vectors: FloatArray

    def __len__(self) -> int:
        return len(self.vectors)

    def take(self, rows: npt.ArrayLike) -> Views:
        """The views of some rows."""
        chosen = np.asarray(rows, np.int64)
        return Views(self.quantiles[chosen], self.sequences[chosen], self.vectors[chosen])


def look(
    values: Callable[[list[int]], FloatArray],
    rows: list[int],
    *,
    vectors: FloatArray | Callable[[FloatArray], FloatArray],
    idf: FloatArray,
    length: int,
) -> Views:
    """Look at some profiles, block by block.

    Parameters
    ----------
    values
        Rows → (m, V) linear expression, NaN where not measured.
    rows
        n rows to ask for.
    vectors
        (n, E) embeddings, or what makes them of (m, V) expression.
    idf
        (V,) information weights of the ordering.
    length
        Genes kept of each sequence, T.
    """
    quantiles = np.empty((len(rows), len(idf)), np.uint8)
    sequences = np.full((len(rows), length), END, np.uint16)
    made = []
    for start in range(0, len(rows), _BLOCK):
        block = values(rows[start : start + _BLOCK])
        for place, profile in enumerate(block, start):
            quantiles[place] = rank_quantiles(profile)
            sequence = gene_sequence(profile, idf, length)
            sequences[place, : len(sequence)] = sequence
        if callable(vectors):
            made.append(vectors(block))
    return Views(quantiles, sequences, np.concatenate(made) if callable(vectors) else vectors)
