"""What the readers of counting and quantifying programs share.

Its numbers are read counts or shares of reads, so a negative one means that the file was changed
after it was written, and so does a column that is there twice.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from specformer_encoder.errors import ExpressionValueError, InputFileError
from specformer_encoder.readers.delimited import Head


def refuse_negative(
    values: npt.NDArray[np.float32],
    gene_ids: Sequence[str],
    samples: Sequence[str],
    source: str,
    what: str = "count",
) -> None:
    """Refuse a negative count, naming the first.

    Parameters
    ----------
    values
        (S, G), NaN where there is no value.
    gene_ids, samples
        G and S names.
    source, what
        File name and what the values are, for the message.

    Raises
    ------
    ExpressionValueError
        Naming sample and gene.
    """
    negative = np.argwhere(values < 0)
    if len(negative):
        s, g = negative[0]
        raise ExpressionValueError(
            f"{source!r} has the {what} {values[s, g]:g} for gene {gene_ids[g]!r} in sample "
            f"{samples[s]!r} ({len(negative)} negative in all); a {what} is never negative.",
            "Give the file as the program wrote it.",
        )


def column_names(names: Sequence[str], source: str) -> None:
    """Refuse a header that names a column twice, which no program writes."""
    twice = sorted({name for name in names if name and list(names).count(name) > 1})
    if twice:
        raise InputFileError(
            f"{source!r} has the column {twice[0]!r} more than once.",
            "Give the file as the program wrote it.",
        )


def refuse_no_rows(head: Head, source: str, remedy: str) -> None:
    """Refuse a file that ends with its header."""
    if len(head.rows) == 1:
        raise InputFileError(f"{source!r} has a header and no rows below it.", remedy)
