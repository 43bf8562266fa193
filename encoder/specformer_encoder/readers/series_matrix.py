"""GEO series matrix: `!Series_…` and `!Sample_…` lines, and between two marks a table.

For RNA-seq the table is mostly empty, because GEO keeps the counts as a supplementary file; for
microarrays its rows are probes. It is read where its rows are genes.
"""

from __future__ import annotations

import csv
import re
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv as pc

from specformer_encoder.errors import ExpressionValueError, InputFileError
from specformer_encoder.raw import RawMatrix
from specformer_encoder.readers.layout_names import MISSING, gene_share, shown
from specformer_encoder.readers.matrix import assemble
from specformer_encoder.readers.opening import InflatedStream, Limits, check_size, open_text

_BEGIN, _END = "!series_matrix_table_begin", "!series_matrix_table_end"
_FEW_GENES = 0.3
_LOOKED_AT = 2000
_SUPPLEMENT = (
    "Give the series' supplementary expression table (counts, TPM or FPKM), which GEO lists at "
    "the end of its page."
)


def matches(head: bytes) -> bool:
    """Whether a file's first line is that of a series matrix."""
    return head.removeprefix(b"\xef\xbb\xbf").lstrip().startswith((b"!Series_", b"!Sample_"))


def read(path: Path, *, limits: Limits) -> RawMatrix:
    """Read the table of a GEO series matrix.

    Parameters
    ----------
    path
        The file.
    limits
        Caps on bytes, samples and genes.

    Returns
    -------
    RawMatrix
        Samples are named by their GEO accessions (GSM…).

    Raises
    ------
    InputFileError
        If there is no table, it is empty or cut off, or its rows are no genes.
    """
    skipped, names = _header(path, limits)
    check_size(path.name, limits, samples=len(names) - 1)
    table, ended = _table(path, limits, skipped, names)
    if not table.num_rows:
        raise InputFileError(
            f"{path.name!r} is a GEO series matrix whose table is empty, as those of RNA-seq are.",
            _SUPPLEMENT,
        )
    if not ended:
        raise InputFileError(
            f"{path.name!r} ends without {_END!r}: it was cut off.", "Download it again."
        )
    genes = [gene.strip() for gene in table.column(0).to_pylist()]
    if gene_share(genes[:_LOOKED_AT]) < _FEW_GENES:
        raise InputFileError(
            f"{path.name!r} is a GEO series matrix of probes ({shown(genes)}), not of genes.",
            _SUPPLEMENT,
        )
    values = np.stack([table.column(j).to_numpy().astype(np.float32) for j in range(1, len(names))])
    return assemble(
        genes, names[1:], values, source=path.name, limits=limits, file_format="series_matrix"
    )


def _header(path: Path, limits: Limits) -> tuple[int, list[str]]:
    """Lines down to the table's header, and the header's cells."""
    with open_text(path, limits, "utf-8") as lines:
        for number, line in enumerate(lines, start=1):
            if line.strip().strip('"') == _BEGIN:
                names = next(csv.reader([lines.readline()], delimiter="\t"), [])
                if len(names) > 1:
                    return number + 1, [name.strip() for name in names]
                break
    raise InputFileError(f"{path.name!r} is a GEO series matrix without a table.", _SUPPLEMENT)


def _table(path: Path, limits: Limits, skipped: int, names: list[str]) -> tuple[Any, bool]:
    """The table as Arrow parses it, and whether the mark of its end was seen."""
    ended = False

    def invalid(row: Any) -> str:
        nonlocal ended
        ended = ended or row.text.strip().strip('"') == _END
        return "skip" if ended else "error"

    keys = [f"c{j}" for j in range(len(names))]
    types = dict.fromkeys(keys[1:], pa.float64()) | {keys[0]: pa.string()}
    try:
        with InflatedStream(path, limits) as stream:
            table = pc.read_csv(
                pa.PythonFile(stream, mode="r"),
                read_options=pc.ReadOptions(
                    column_names=keys,
                    skip_rows=skipped,
                    encoding="latin-1",  # never fails; what is read of the table is ASCII
                    use_threads=False,
                    block_size=1 << 24,
                ),
                parse_options=pc.ParseOptions(delimiter="\t", invalid_row_handler=invalid),
                convert_options=pc.ConvertOptions(
                    column_types=types, null_values=list(MISSING), strings_can_be_null=False
                ),
            )
    except pa.ArrowInvalid as error:
        cell = re.search(r"column #(\d+): Row #(\d+): .*invalid value '(.*)'", str(error))
        if cell:
            raise ExpressionValueError(
                f"{path.name!r} has the cell {cell[3][:40]!r} in column {names[int(cell[1])]!r}, "
                f"line {cell[2]}, where a number was expected.",
                "Replace it by a number, or leave it empty if the gene was not measured.",
            ) from None
        raise InputFileError(
            f"{path.name!r} has a broken table ({str(error)[:120]}).", "Download it again."
        ) from None
    return table, ended
