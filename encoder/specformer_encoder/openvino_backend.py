"""The encoder in OpenVINO, float32, on the CPU.

OpenVINO gets the network by tracing the module in memory when a release is opened (a fraction of a
second), so that a release holds the weights once, in safetensors. Three of its habits do not suit
this use, and are dealt with here:

- Compiled for sequences of any length, it gives wrong vectors: a sequence of one gene first, and a
  later one of 64 or 512 has cosine 0 with what it should have (version 2026.4.1; a processor with
  AMX). So it is compiled for full-length sequences only, which is what nearly every profile gives;
  shorter ones go through PyTorch, whose CPU time is little more. Each compiled network, one for
  each core that is used, has to give PyTorch's vectors of test sequences first.
- It takes bfloat16 where the processor has it. It is told to keep to float32.
- Its telemetry package by default reports its import and each conversion to its makers, from a
  forked process. Here samples of patients are near, so that package is kept from being imported:
  nothing is sent, and nothing is written to the home directory.
"""

from __future__ import annotations

import queue
import sys
import threading
import warnings
from collections.abc import Sequence
from typing import Any, Literal, cast

import numpy as np
import torch
from torch import Tensor, nn

from specformer_encoder.backends import (
    BackendError,
    FloatArray,
    GeneSequence,
    TorchBackend,
    one_by_one,
    usable_cores,
)
from specformer_encoder.model import ModelConfig, SpecFormer

Precision = Literal["float32", "bfloat16"]

#: The least cosine between the vectors that PyTorch and OpenVINO give one sequence.
AGREEMENT = 0.9999

_TELEMETRY = "openvino_telemetry"
_PRECISIONS = {"float32": "f32", "bfloat16": "bf16"}


class OpenVinoBackend:
    """The network in OpenVINO on the CPU.

    Parameters
    ----------
    network
        The encoder; is set to evaluation mode and float32, and must not change afterwards.
    precision
        Of the arithmetic of full-length sequences. ``bfloat16`` is faster by a multiple on
        processors that have it (AMX); what a release is compared by is float32.

    Raises
    ------
    BackendError
        If OpenVINO is not installed, was imported with its telemetry, cannot convert or compile
        the network, or gives other vectors than PyTorch.
    """

    name = "openvino"

    def __init__(self, network: SpecFormer, *, precision: Precision = "float32") -> None:
        openvino = _import_openvino()
        self.network = network
        self._config = network.config
        self._shorter = TorchBackend(network)
        self._probes = _probes(network.config)
        self._expected = self._shorter.pool(self._probes)
        self._core = openvino.Core()
        self._model = _convert(openvino, network)
        self._settings = {
            "INFERENCE_PRECISION_HINT": _PRECISIONS[precision],
            "NUM_STREAMS": "1",
            "INFERENCE_NUM_THREADS": 1,
            # Pinned threads of two compiled networks would share one core.
            "ENABLE_CPU_PINNING": False,
        }
        # A request owns the memory of one inference: two threads may not hold the same one. They
        # are opened as they are needed; the first at once, so that what cannot be used says so.
        self._workers = usable_cores()
        self._idle: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._idle.put(self._open())
        self._opened = 1
        self._opening = threading.Lock()

    def pool(self, sequences: Sequence[GeneSequence]) -> FloatArray:
        """Pool gene sequences; see `Backend.pool`.

        Raises
        ------
        BackendError
            Besides: if the network, compiled for another core, gives other vectors than PyTorch.
        """
        return one_by_one(self._pool_one, sequences, self._config, workers=self._workers)

    def _pool_one(self, sequence: GeneSequence) -> FloatArray:
        if len(sequence) < self._config.length:
            return self._shorter.pool_one(sequence)
        request = self._take()
        try:
            return _infer(request, sequence)
        finally:
            self._idle.put(request)

    def _take(self) -> Any:
        """An idle request; a new one if there is none and a core is left; else wait for one."""
        try:
            return self._idle.get_nowait()
        except queue.Empty:
            with self._opening:
                if self._opened < self._workers:
                    request = self._open()
                    self._opened += 1
                    return request
            return self._idle.get()

    def _open(self) -> Any:
        """Compile the network for one core, and refuse it if its vectors are not PyTorch's."""
        try:
            compiled = self._core.compile_model(self._model, "CPU", self._settings)
            request = compiled.create_infer_request()
        except RuntimeError as error:
            raise BackendError(
                f"OpenVINO cannot compile this network for this processor: {error}.",
                "Choose the backend 'torch', or another version of openvino.",
            ) from error
        for probe, theirs in zip(self._probes, self._expected.astype(np.float64), strict=True):
            ours = _infer(request, probe).astype(np.float64)
            cosine = ours @ theirs / (np.linalg.norm(ours) * np.linalg.norm(theirs))
            if not cosine >= AGREEMENT:  # also where it is not a number
                raise BackendError(
                    f"OpenVINO should give the vectors that PyTorch gives (cosine ≥ {AGREEMENT}); "
                    f"here a test sequence has cosine {cosine:.6f}.",
                    "Choose the backend 'torch', or another version of openvino.",
                )
        return request


def _infer(request: Any, sequence: GeneSequence) -> FloatArray:
    """(T,) sequence → (D,) vector, in memory of its own: the request's is used again."""
    return np.array(request.infer([sequence.astype(np.int64)[None]])[0][0], np.float32)


def _probes(config: ModelConfig) -> list[GeneSequence]:
    """Two full-length test sequences, over the whole vocabulary up and down."""
    genes = np.linspace(0, config.genes - 1, config.length).astype(np.uint16)
    return [genes, genes[::-1]]


def _import_openvino() -> Any:
    """Import OpenVINO, and keep its telemetry from being imported with it."""
    if sys.modules.get(_TELEMETRY) is not None:
        raise BackendError(
            "OpenVINO must be used without its telemetry; in this process it was imported with it.",
            "Open the release before anything imports openvino, or choose the backend 'torch'.",
        )
    # None here makes `import openvino_telemetry` raise ImportError, upon which OpenVINO takes a
    # stand-in that does nothing. It stays so, for the parts of OpenVINO that are imported later.
    cast("dict[str, object]", sys.modules)[_TELEMETRY] = None
    try:
        import openvino
    except ImportError as error:
        raise BackendError(
            f"The backend 'openvino' needs the package openvino, which does not load: {error}.",
            "Install it with `pip install 'specformer-mcp[openvino]'`, or choose 'torch'.",
        ) from error
    return openvino


class _Pooling(nn.Module):
    """The way from tokens to the sample's vector as one module, which is what gets traced."""

    def __init__(self, network: SpecFormer) -> None:
        super().__init__()
        self.network = network

    def forward(self, tokens: Tensor) -> Tensor:
        """(1, T) tokens → (1, D)."""
        return self.network.pool(self.network.states(tokens))


def _convert(openvino: Any, network: SpecFormer) -> Any:
    """Convert the network to an OpenVINO model of (1, T) tokens, T the network's full length."""
    frontend = openvino.frontend
    example = torch.zeros((1, network.config.length), dtype=torch.int64)
    try:
        with torch.no_grad(), warnings.catch_warnings():
            # torch.export, the successor, takes two seconds, most of them for imports.
            warnings.filterwarnings("ignore", "`torch.jit.trace", DeprecationWarning)
            # Of values that the trace freezes because they depend on the shape, which is fixed.
            warnings.filterwarnings("ignore", category=torch.jit._trace.TracerWarning)
            traced = torch.jit.trace(  # type: ignore[no-untyped-call]
                # The check of the trace is slow, and the probes check more.
                _Pooling(network),
                example,
                check_trace=False,
            )
        return openvino.convert_model(traced, example_input=example, input=[list(example.shape)])
    except (RuntimeError, frontend.OpConversionFailure, frontend.GeneralFailure) as error:
        raise BackendError(
            f"OpenVINO {openvino.__version__} cannot convert this network: {error}.",
            "Choose the backend 'torch', or another version of openvino.",
        ) from error
