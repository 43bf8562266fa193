"""Salmon: `quant.sf`, one row a transcript, and `quant.genes.sf`, one row a gene.

The second comes from `salmon quant -g`. Both have the columns Name, Length, EffectiveLength, TPM
and NumReads; which of the two it is, the names say. Sailfish wrote the same.
"""

from __future__ import annotations

from pathlib import Path

from specformer_encoder.raw import RawMatrix
from specformer_encoder.readers.delimited import Head
from specformer_encoder.readers.opening import Limits
from specformer_encoder.readers.transcript_level import read_quantification

_GENERIC = ("quant.genes.sf", "quant.sf", "quant.genes", "quant", ".sf")


def matches(head: Head) -> bool:
    """Whether the header is Salmon's."""
    columns = {cell.lstrip("# ") for cell in head.rows[0]}
    return columns >= {"Name", "NumReads"} or columns >= {"Name", "EffectiveLength"}


def read(path: Path, head: Head, *, limits: Limits) -> RawMatrix:
    """Read the TPM of a Salmon quantification, summed to genes.

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
        program="Salmon",
        name_column="Name",
        tpm_column="TPM",
        generic=_GENERIC,
        limits=limits,
    )
