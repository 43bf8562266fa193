"""Expression files → `RawMatrix`, one format a module.

`read` looks at the content, not at the file name's ending. First bytes tell Parquet, Feather, HDF5
and Matrix Market; the first lines tell GCT, a GEO series matrix, and the tables of STAR, the GDC,
HTSeq, featureCounts, RSEM, Salmon and kallisto; everything else that is text is a delimited matrix.
Text may be compressed with gzip, bzip2, Zstandard or zip. What is no expression table is refused by
name.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from specformer_encoder.raw import RawMatrix
from specformer_encoder.readers import (
    feather,
    featurecounts,
    foreign,
    gct,
    gdc_star,
    h5ad,
    htseq,
    kallisto,
    matrix,
    mtx,
    parquet,
    rsem,
    rsem_isoforms,
    salmon,
    series_matrix,
    star,
)
from specformer_encoder.readers.delimited import look
from specformer_encoder.readers.opening import (
    OWN_FILES,
    Limits,
    check_file,
    is_parquet,
    read_head,
)

__all__ = ["OWN_FILES", "Limits", "read"]

_MAGIC_BYTES = 4096
_DEFAULT_LIMITS = Limits()
#: Text formats that their first lines tell apart from a matrix.
_BY_HEADER: tuple[Any, ...] = (
    gct,
    gdc_star,
    star,
    featurecounts,
    salmon,
    kallisto,
    rsem_isoforms,  # has all columns of rsem
    rsem,
    htseq,
)


def read(path: Path, *, limits: Limits = _DEFAULT_LIMITS) -> RawMatrix:
    """Read an expression file.

    Parameters
    ----------
    path
        A file of one of the formats above, or a folder with `matrix.mtx`, features and barcodes.
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
        If a cell is not a finite number, or a count is negative.
    """
    path = Path(path)
    if mtx.is_folder(path):
        path = mtx.find_matrix(path)
    check_file(path, limits)
    head, _ = read_head(path, limits, _MAGIC_BYTES)
    kallisto.refuse_h5(path, head, limits=limits)
    if feather.matches(head):
        return feather.read(path, head, limits=limits)
    if h5ad.matches(head):
        return h5ad.read(path, limits=limits)
    if mtx.matches(head):
        return mtx.read(path, limits=limits)
    if is_parquet(path, head, limits):
        return parquet.read(path, limits=limits)
    if series_matrix.matches(head):
        return series_matrix.read(path, limits=limits)
    foreign.refuse(path, head)
    text = look(path, limits)
    foreign.refuse_by_header(path, text)
    known = next((reader for reader in _BY_HEADER if reader.matches(text)), None)
    if known is None:
        return matrix.read_delimited(path, text, limits=limits)
    found: RawMatrix = known.read(path, text, limits=limits)
    return found
