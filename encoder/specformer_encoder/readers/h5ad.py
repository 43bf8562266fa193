"""H5AD: recognised, and handed to the reader if the optional anndata is installed."""

from __future__ import annotations

from pathlib import Path

from specformer_encoder.errors import InputFileError
from specformer_encoder.raw import RawMatrix
from specformer_encoder.readers.opening import Limits

_MAGIC = b"\x89HDF\r\n\x1a\n"


def matches(head: bytes) -> bool:
    """Whether a file's first bytes are those of HDF5."""
    return head.startswith(_MAGIC)


def read(path: Path, *, limits: Limits) -> RawMatrix:
    """Read an H5AD file; see `anndata_file`.

    Raises
    ------
    InputFileError
        If anndata is not installed.
    """
    try:
        import anndata  # noqa: F401
    except ImportError:
        raise InputFileError(
            f"{path.name!r} is HDF5 (.h5ad), and anndata, which reads it, is not installed.",
            "Install it: pip install 'specformer-mcp[h5ad]'.",
        ) from None
    from specformer_encoder.readers import anndata_file

    return anndata_file.read(path, limits=limits)
