"""What carries gene sequences through the network on a CPU: PyTorch, or OpenVINO where installed.

A sample must have the same vector, bit for bit, alone and in any batch. A sum of floating-point
numbers depends on its order, and the order depends on the shape of the matrices: so each profile
goes through the network by itself, in float32, on one thread, and several profiles run side by
side, one on each core. Nothing is lost by that: the arithmetic is the limit, not its overhead,
and two threads on one profile spend more CPU time than they save.

Both backends compute the one network that `model` defines, and differ by rounding alone. Bits are
equal within a backend on one kind of processor, not between backends.
"""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec
from typing import Literal, Protocol, get_args

import numpy as np
import numpy.typing as npt
import torch

from specformer_encoder.errors import ExpressionValueError, SpecformerError
from specformer_encoder.model import ModelConfig, SpecFormer

logger = logging.getLogger(__name__)

FloatArray = npt.NDArray[np.float32]
GeneSequence = npt.NDArray[np.uint16]
BackendName = Literal["auto", "torch", "openvino"]


class BackendError(SpecformerError):
    """A backend is not installed, cannot take the network, or gives other vectors."""


class Backend(Protocol):
    """Gene sequences → sample vectors; safe to call from several threads."""

    @property
    def name(self) -> str:
        """``torch`` or ``openvino``."""
        ...

    @property
    def network(self) -> SpecFormer:
        """The network in PyTorch, for what is asked of it besides its vectors."""
        ...

    def pool(self, sequences: Sequence[GeneSequence]) -> FloatArray:
        """Pool gene sequences.

        Parameters
        ----------
        sequences
            S gene sequences of 1 to T vocabulary positions each, as `ordering.gene_sequence`
            gives them; T is the length that the network was built for.

        Returns
        -------
        (S, D) float32 vectors before centring and scaling. A sequence gives the same bits whatever
        it is pooled with.

        Raises
        ------
        ExpressionValueError
            If a sequence is empty: its profile expresses no gene that carries information.
        ValueError
            If a sequence is longer than T or holds a position outside the vocabulary.
        """
        ...


class TorchBackend:
    """The network in PyTorch, float32.

    Parameters
    ----------
    network
        The encoder; is set to evaluation mode and float32.

    Notes
    -----
    Sets the number of threads that PyTorch uses for one operation, in the whole process, to one.
    """

    name = "torch"

    def __init__(self, network: SpecFormer) -> None:
        torch.set_num_threads(1)
        self.network = network.eval().float()

    def pool(self, sequences: Sequence[GeneSequence]) -> FloatArray:
        """Pool gene sequences; see `Backend.pool`."""
        return one_by_one(self.pool_one, sequences, self.network.config, workers=usable_cores())

    def pool_one(self, sequence: GeneSequence) -> FloatArray:
        """(≤ T,) gene sequence → (D,) vector; the sequence is not checked."""
        tokens = torch.from_numpy(sequence.astype(np.int64))[None]  # (1, T)
        with torch.inference_mode():
            vector: FloatArray = self.network.pool(self.network.states(tokens))[0].numpy()
        return vector


def open_backend(network: SpecFormer, name: BackendName = "auto") -> Backend:
    """Make the backend of that name.

    Parameters
    ----------
    network
        The encoder.
    name
        ``auto`` is OpenVINO where it is installed and can be used, else PyTorch; where it is
        installed and cannot be used, the reason is logged.

    Raises
    ------
    BackendError
        If OpenVINO was asked for and cannot be used (see `OpenVinoBackend`), or the name is
        unknown.
    """
    if name not in get_args(BackendName):
        raise BackendError(
            f"A backend is one of {', '.join(get_args(BackendName))}; got {name!r}.",
            "Choose 'auto' for the fastest that is installed.",
        )
    if name == "torch" or (name == "auto" and find_spec("openvino") is None):
        return TorchBackend(network)
    # Imported here: it needs this module.
    from specformer_encoder.openvino_backend import OpenVinoBackend

    try:
        return OpenVinoBackend(network)
    except BackendError as error:
        if name == "openvino":
            raise
        logger.warning("PyTorch is used instead of OpenVINO: %s", error.problem)
        return TorchBackend(network)


def one_by_one(
    pool_one: Callable[[GeneSequence], FloatArray],
    sequences: Sequence[GeneSequence],
    config: ModelConfig,
    *,
    workers: int,
) -> FloatArray:
    """Each sequence by itself, up to `workers` of them at a time: (S, D) in the order given."""
    for sequence in sequences:
        _check(sequence, config)
    if not len(sequences):
        return np.empty((0, config.width), np.float32)
    if len(sequences) == 1 or workers == 1:
        return np.stack([pool_one(sequence) for sequence in sequences])
    with ThreadPoolExecutor(min(workers, len(sequences))) as threads:
        return np.stack(list(threads.map(pool_one, sequences)))


def _check(sequence: GeneSequence, config: ModelConfig) -> None:
    # PyTorch raises for a position outside its table; OpenVINO answers all the same.
    if sequence.ndim != 1 or len(sequence) > config.length:
        raise ValueError(
            f"a gene sequence is one row of at most {config.length} genes; got {sequence.shape}"
        )
    if not len(sequence):
        raise ExpressionValueError(
            "A profile needs at least one expressed gene that differs between samples; this one "
            "has none.",
            "Check that the file holds expression values of whole samples.",
        )
    if sequence.max() >= config.genes:
        raise ValueError(
            f"vocabulary positions go from 0 to {config.genes - 1}; got {sequence.max()}"
        )


def usable_cores() -> int:
    """Cores that this process may use; a container may have fewer than the machine."""
    if sys.platform == "linux":
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
