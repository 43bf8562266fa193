"""Checkpoints: one safetensors file each, written whole or not at all.

The file is written beside its place, forced to the disk and renamed, so a power cut, a full disk or
a kill at any moment leaves the checkpoint before it. Nothing is pickled.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from specformer_encoder.errors import TrainingError


def write_checkpoint(
    path: Path, tensors: Mapping[str, Tensor], *, metadata: dict[str, str]
) -> None:
    """Write a checkpoint over the one that is there.

    Raises
    ------
    TrainingError
        If the disk does not take it; the checkpoint before is untouched.
    """
    partial = path.with_name(f"{path.stem}.partial-{os.getpid()}")
    try:
        save_file({k: v.contiguous().cpu() for k, v in tensors.items()}, partial, metadata)
        with partial.open("rb") as handle:
            os.fsync(handle.fileno())
        partial.replace(path)
    except (OSError, SafetensorError) as error:
        raise TrainingError(
            f"The checkpoint could not be written to {path.parent} ({error}).",
            "The checkpoint before it is untouched; make room and start again.",
        ) from error
    finally:
        partial.unlink(missing_ok=True)


def open_checkpoint(path: Path) -> Any:
    """Open a checkpoint for reading.

    Raises
    ------
    TrainingError
        If the file is damaged.
    """
    try:
        return safe_open(path, "pt")
    except SafetensorError as error:
        raise TrainingError(
            f"{path} is not a whole checkpoint ({error}).", "Remove it and train again."
        ) from error


def below(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """The tensors whose names begin with `prefix`, by the rest of their names."""
    return {key[len(prefix) :]: value for key, value in tensors.items() if key.startswith(prefix)}
