"""Kallisto: `abundance.tsv`, one row a transcript.

The columns are target_id, length, eff_length, est_counts and tpm. `abundance.h5` holds the same and
the bootstraps; it is refused by name, since the text file lies beside it.
"""

from __future__ import annotations

from pathlib import Path

from specformer_encoder.errors import InputFileError
from specformer_encoder.raw import RawMatrix
from specformer_encoder.readers.delimited import Head
from specformer_encoder.readers.opening import Limits, read_head
from specformer_encoder.readers.transcript_level import read_quantification

_HDF5 = b"\x89HDF"
_DATASET = b"est_counts"  # stands in the root group, near the start of the file
_START = 1 << 16


def matches(head: Head) -> bool:
    """Whether the header is kallisto's; merged matrices have sample columns instead."""
    columns = set(head.rows[0])
    return "target_id" in columns and bool(columns & {"est_counts", "tpm"})


def read(path: Path, head: Head, *, limits: Limits) -> RawMatrix:
    """Read the TPM of a kallisto quantification, summed to genes.

    Parameters
    ----------
    path, head
        The file and its head.
    limits
        Caps on bytes and genes.

    Returns
    -------
    RawMatrix
        One sample named after the folder or the file, declared as TPM.

    Raises
    ------
    InputFileError, ExpressionValueError, GeneIdentifierError
        As `read_quantification`.
    """
    return read_quantification(
        path,
        head,
        program="kallisto",
        name_column="target_id",
        tpm_column="tpm",
        generic=("abundance",),
        limits=limits,
    )


def refuse_h5(path: Path, magic: bytes, *, limits: Limits) -> None:
    """Refuse `abundance.h5`; any other file passes.

    Parameters
    ----------
    path, magic
        The file and the first bytes of its content.
    limits
        Caps, for the stream.

    Raises
    ------
    InputFileError
        Naming the text file to give instead.
    """
    if not magic.startswith(_HDF5):
        return
    start, _ = read_head(path, limits, _START)
    if _DATASET in start or path.name.startswith("abundance."):
        raise InputFileError(
            f"{path.name!r} is kallisto's HDF5 output; its text output was expected.",
            "Give abundance.tsv from the same folder, or write it with `kallisto h5dump`.",
        )
