"""Expression files → `RawMatrix`, one format a module.

`read` looks at the content, not at the file name's ending: Parquet, GDC STAR gene counts, or a
delimited matrix, each of the text formats plain or compressed with gzip, bzip2, Zstandard
or zip.
"""

from __future__ import annotations

from pathlib import Path

from specformer_encoder.raw import RawMatrix
from specformer_encoder.readers import gdc_star, matrix, parquet
from specformer_encoder.readers.delimited import look
from specformer_encoder.readers.opening import Limits, check_file, is_parquet, read_head

__all__ = ["Limits", "read"]

_MAGIC_BYTES = 512
_DEFAULT_LIMITS = Limits()


def read(path: Path, *, limits: Limits = _DEFAULT_LIMITS) -> RawMatrix:
    """Read an expression file.

    Parameters
    ----------
    path
        A TSV, CSV, semicolon- or space-delimited, GCT or Parquet matrix, or a GDC STAR file.
    limits
        Caps on bytes, samples and genes.

    Returns
    -------
    RawMatrix
        Identifiers and values as they stand in the file, (S, G).

    Raises
    ------
    InputFileError
        If the file cannot be read as a table; the text says what was found and what to do.
    ExpressionValueError
        If a cell is not a finite number.
    """
    path = Path(path)
    check_file(path, limits)
    head, _ = read_head(path, limits, _MAGIC_BYTES)
    if is_parquet(path, head, limits):
        return parquet.read(path, limits=limits)
    text = look(path, limits)
    if gdc_star.matches(text):
        return gdc_star.read(path, text, limits=limits)
    return matrix.read_delimited(path, text, limits=limits)
