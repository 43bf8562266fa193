"""The fast path: profiles → gene sequences and ranks → vectors → predictions.

Each profile is read by itself, in float32: its gene sequence by the network (`backends`), its ranks
by the factor model, both by the projection. That is what keeps the promise that a profile has the
same vector, bit for bit, whatever it is embedded with.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from safetensors.torch import load_file

from specformer_encoder.backends import Backend, BackendName, open_backend, usable_cores
from specformer_encoder.errors import ExpressionValueError
from specformer_encoder.factors import FactorModel
from specformer_encoder.genes import vocabulary
from specformer_encoder.interpreter import Interpreter
from specformer_encoder.lineages import lineage_content
from specformer_encoder.model import ModelConfig, SpecFormer
from specformer_encoder.ordering import gene_sequence, rank_quantiles
from specformer_encoder.projection import Projection
from specformer_encoder.reading import Reading
from specformer_encoder.release import Release, open_release

FloatArray = npt.NDArray[np.float32]


class Embedder(Interpreter):
    """A release, ready to embed and to predict.

    Parameters
    ----------
    backend
        The network.
    config
        Its sizes.
    idf
        (V,) information weights of the ordering.
    factors
        Reads the ranks of the whole profile.
    projection
        From both readings to the embedding; None while a release is being built.
    release
        Where these came from; None while a release is being built.

    Examples
    --------
    >>> embedder = Embedder.load()
    >>> profile = np.random.default_rng(0).gamma(1, size=(1, embedder.genes)).astype(np.float32)
    >>> embedder.embed(profile).shape == (1, embedder.dimensions)
    True
    """

    def __init__(
        self,
        backend: Backend,
        config: ModelConfig,
        idf: FloatArray,
        factors: FactorModel,
        projection: Projection | None = None,
        release: Release | None = None,
    ) -> None:
        super().__init__(projection, release)
        self.backend = backend
        self.config = config
        self.idf = idf
        self.factors = factors

    @classmethod
    def load(cls, path: Path | None = None, *, backend: BackendName = "auto") -> Embedder:
        """Open a release, the bundled one by default.

        Raises
        ------
        ReleaseError
            If the release is missing, damaged, or of another vocabulary.
        BackendError
            If the backend cannot be used.
        """
        release = open_release(path)
        network = load_network(release)
        engine = open_backend(network, backend)
        return cls(
            engine, network.config, release.idf, release.factors, release.projection, release
        )

    @property
    def genes(self) -> int:
        """Size of the vocabulary, V."""
        return self.config.genes

    def read(self, values: FloatArray) -> Reading:
        """Read profiles.

        Parameters
        ----------
        values
            (S, V) linear expression over the vocabulary, NaN where not measured.

        Raises
        ------
        ExpressionValueError
            If the profiles are not over the vocabulary.
        """
        if values.ndim != 2 or values.shape[1] != self.genes:
            raise ExpressionValueError(
                f"Profiles must be samples × {self.genes} vocabulary genes; got "
                f"shape {values.shape}.",
                "Use `load_profiles`, which puts a file's genes in vocabulary order.",
            )
        # A new thread takes PyTorch's number of threads on late, and its first product would be
        # summed in another order than the next.
        start = torch.set_num_threads
        with ThreadPoolExecutor(usable_cores(), initializer=start, initargs=(1,)) as threads:
            sequences = list(threads.map(self._sequence, values))
            ranks = list(threads.map(rank_quantiles, values))
            factors = list(threads.map(self.factors.read, ranks))
        z = np.array([z for z, _ in factors], np.float32).reshape(-1, self.factors.size)
        quantiles = np.array(ranks, np.uint8).reshape(values.shape)
        return Reading(
            raw=np.concatenate([self.backend.pool(sequences), z], axis=1),
            misfit=np.array([misfit for _, misfit in factors], np.float32),
            lineages=lineage_content(quantiles, vocabulary().symbols),
            measured=(~np.isnan(values)).mean(axis=1, dtype=np.float32),
        )

    def _sequence(self, profile: FloatArray) -> npt.NDArray[np.uint16]:
        return gene_sequence(profile, self.idf, self.config.length)

    def embed(self, values: FloatArray) -> FloatArray:
        """Read and embed (S, V) profiles; see `read` and `embeddings`."""
        return self.embeddings(self.read(values))


def load_network(release: Release) -> SpecFormer:
    """The release's network, as it was trained but for rounding to bfloat16."""
    network = SpecFormer(ModelConfig(**release.manifest["model"]))
    network.load_state_dict(load_file(release.path / "encoder.safetensors"))
    return network
