"""From what was read of profiles to their embeddings and cancer types: numpy alone, no network.

Reading a profile takes the network; saying something of a reading takes the projection and the
heads, which are small. So a process that only asks and answers can leave the network, and the
library that runs it, to another.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from specformer_encoder.heads import TypePrediction
from specformer_encoder.projection import Projection, unit_length
from specformer_encoder.reading import Reading, evidence
from specformer_encoder.release import Release

FloatArray = npt.NDArray[np.float32]


class Interpreter:
    """What a release says of readings.

    Parameters
    ----------
    projection
        From both readings, the network's and the factors', to the embedding; None while a release
        is being built.
    release
        Where it came from; None while a release is being built.
    """

    def __init__(self, projection: Projection | None, release: Release | None) -> None:
        self._projection = projection
        self._release = release

    @classmethod
    def of(cls, release: Release) -> Interpreter:
        """The interpreter of an opened release."""
        return Interpreter(release.projection, release)

    @property
    def release(self) -> Release:
        """The opened release."""
        if self._release is None:
            raise RuntimeError("this embedder belongs to a release that is still being built")
        return self._release

    @property
    def projection(self) -> Projection:
        """From what is read to the embedding."""
        if self._projection is None:
            raise RuntimeError("this embedder belongs to a release that is still being built")
        return self._projection

    @property
    def dimensions(self) -> int:
        """Width of an embedding, E."""
        return int(self.projection.matrix.shape[1])

    @property
    def genes(self) -> int:
        """Size of the vocabulary, V."""
        return len(self.release.vocabulary)

    def embeddings(self, reading: Reading) -> FloatArray:
        """(S, E) float32 vectors of unit length of what was read.

        The same profile gives the same bits in any batch.
        """
        # Row by row: a product of matrices may sum in another order for another number of rows.
        one = (reading.rows([row]) for row in range(len(reading)))
        rows = [self.projection.apply(r.raw, r.measured) for r in one]
        return unit_length(np.array(rows, np.float32).reshape(-1, self.dimensions))

    def predict(self, reading: Reading) -> list[TypePrediction]:
        """Cancer types with probability, prediction set and doubt of what was read."""
        return self.release.heads.predict(
            self.embeddings(reading), evidence(reading, self.projection)
        )
