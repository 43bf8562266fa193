"""The fast path: profiles → gene sequences → vectors → predictions.

Each profile goes through the network by itself, in float32. On two cores a batch would be hardly
faster, because the arithmetic is the limit, and alone is what makes the promise easy to keep that
a profile has the same vector, bit for bit, whatever it is embedded with.
"""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from safetensors.torch import load_file

from specformer_encoder.errors import ExpressionValueError
from specformer_encoder.heads import TypePrediction
from specformer_encoder.model import ModelConfig, SpecFormer
from specformer_encoder.ordering import gene_sequence
from specformer_encoder.release import Release, open_release

FloatArray = npt.NDArray[np.float32]


class Embedder:
    """A release, ready to embed and to predict.

    Parameters
    ----------
    network
        The encoder, in evaluation mode.
    idf
        (V,) information weights of the ordering.
    centre
        (E,) mean training vector.
    release
        Where these came from; None while a release is being built.

    Examples
    --------
    >>> embedder = Embedder.load()
    >>> embedder.dimensions
    256
    """

    def __init__(
        self, network: SpecFormer, idf: FloatArray, centre: FloatArray, release: Release | None
    ) -> None:
        # One thread for one profile: two on two busy cores wait for each other and take several
        # times the CPU time, and the order of the sums would depend on the machine's core count.
        # Many profiles are spread over the cores instead, each by itself.
        torch.set_num_threads(1)
        self.network = network.eval().float()
        self.idf = idf
        self.centre = centre
        self._release = release

    @classmethod
    def load(cls, path: Path | None = None) -> Embedder:
        """Open a release, the bundled one by default.

        Raises
        ------
        ReleaseError
            If the release is missing, damaged, or of another vocabulary.
        """
        release = open_release(path)
        network = SpecFormer(ModelConfig(**release.manifest["model"]))
        network.load_state_dict(load_file(release.path / "encoder.safetensors"))
        return cls(network, release.idf, release.centre, release)

    @property
    def release(self) -> Release:
        """The opened release."""
        if self._release is None:
            raise RuntimeError("this embedder belongs to a release that is still being built")
        return self._release

    @property
    def dimensions(self) -> int:
        """Width of an embedding, E."""
        return self.network.config.width

    def pooled(self, values: FloatArray) -> FloatArray:
        """(S, V) profiles → (S, E) vectors before centring and scaling."""
        if values.ndim != 2 or values.shape[1] != self.network.config.genes:
            raise ExpressionValueError(
                f"Profiles must be samples × {self.network.config.genes} vocabulary genes; got "
                f"shape {values.shape}.",
                "Use `load_profiles`, which puts a file's genes in vocabulary order.",
            )
        if len(values) == 1:
            return self._pool_one(values[0])[None]
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            rows = list(pool.map(self._pool_one, values))
        return np.stack(rows) if rows else np.empty((0, self.dimensions), np.float32)

    def _pool_one(self, profile: FloatArray) -> FloatArray:
        sequence = gene_sequence(profile, self.idf, self.network.config.length).astype(np.int64)
        with torch.inference_mode():
            states = self.network.states(torch.from_numpy(sequence)[None])
            return np.asarray(self.network.pool(states)[0].numpy())

    def embed(self, values: FloatArray) -> FloatArray:
        """Embed profiles.

        Parameters
        ----------
        values
            (S, V) linear expression over the vocabulary, NaN where not measured.

        Returns
        -------
        (S, E) float32 vectors of unit length. The same profile gives the same bits in any batch.

        Raises
        ------
        ExpressionValueError
            If the profiles are not over the vocabulary.
        """
        return unit_length(self.pooled(values) - self.centre)

    def predict(self, embeddings: FloatArray) -> list[TypePrediction]:
        """Cancer types with probability, prediction set and doubt, for (S, E) embeddings."""
        return self.release.heads.predict(embeddings)


def unit_length(vectors: FloatArray) -> FloatArray:
    """(S, E) rows scaled to Euclidean length one."""
    length = np.sqrt((vectors.astype(np.float64) ** 2).sum(axis=1, keepdims=True))
    return np.asarray(vectors / length, np.float32)
