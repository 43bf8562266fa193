"""Where a training run computes: the device, moving batches to it, memory of the CPU."""

from __future__ import annotations

import ctypes
import dataclasses

import torch
from torch import Tensor

from specformer_encoder.batches import Batch
from specformer_encoder.errors import TrainingError


def usable_device(name: str) -> torch.device:
    """The torch device of that name.

    Raises
    ------
    TrainingError
        If torch does not know it or cannot compute on it here.
    """
    try:
        device = torch.device(name)
        torch.zeros(1, device=device)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).split("\n", maxsplit=1)[0]
        raise TrainingError(
            f"torch cannot compute on {name!r} here ({reason}).",
            "Use --device cpu, or cuda with a build of torch that has it.",
        ) from error
    return device


def to_device(batch: Batch, device: torch.device) -> Batch:
    """The batch on a device; from pinned memory to a GPU, without waiting for the copy."""

    def moved(tensor: Tensor) -> Tensor:
        if device.type == "cuda":
            tensor = tensor.pin_memory()
        return tensor.to(device, non_blocking=True)

    fields = (field.name for field in dataclasses.fields(batch))
    return Batch(**{name: moved(getattr(batch, name)) for name in fields})


def keep_memory() -> None:
    """Have glibc keep freed memory for the next step instead of giving it back to the system.

    A step's activations are blocks of tens of megabytes; by default each is mapped anew, and the
    system clears its pages one fault at a time, which takes longer than the arithmetic on them.
    Elsewhere than on glibc nothing happens.
    """
    try:
        mallopt = ctypes.CDLL("libc.so.6").mallopt
    except (OSError, AttributeError):
        return
    # <malloc.h>: M_TRIM_THRESHOLD = -1, M_MMAP_MAX = -4, M_ARENA_MAX = -8. The heaps that threads
    # would have of their own are given back all the same.
    for parameter, value in ((-1, 2**31 - 1), (-4, 0), (-8, 1)):
        mallopt(parameter, value)
