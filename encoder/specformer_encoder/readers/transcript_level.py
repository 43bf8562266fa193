"""What Salmon, kallisto and RSEM have in common: one sample, one row a transcript, TPM.

TPM is read rather than counts because it adds up: the TPM of a gene is the sum over its
transcripts, while counts of transcripts of different length are not comparable before they are
divided by length. The programs write TPM that add up to a million, so a file whose TPM do not is
told to be incomplete in the notes.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from specformer_encoder.errors import ExpressionValueError, InputFileError
from specformer_encoder.genes import transcripts
from specformer_encoder.raw import RawMatrix
from specformer_encoder.readers.delimited import Head
from specformer_encoder.readers.matrix import assemble
from specformer_encoder.readers.naming import sample_name
from specformer_encoder.readers.opening import Limits
from specformer_encoder.readers.pieces import parse
from specformer_encoder.readers.single import refuse_no_rows

_MILLION = 1e6
#: How far the TPM of a whole file may be from a million by rounding: RSEM writes two decimals.
_ROUNDING = 0.01


def read_quantification(
    path: Path,
    head: Head,
    *,
    program: str,
    name_column: str,
    tpm_column: str,
    generic: Sequence[str],
    limits: Limits,
    gene_column: str | None = None,
) -> RawMatrix:
    """Read the TPM of one sample, summed to genes where the rows are transcripts.

    Parameters
    ----------
    path, head
        The file and its head.
    program
        Who wrote it, for messages and as the format's name.
    name_column, tpm_column
        Header cells of the names and of TPM.
    generic
        As in `sample_name`.
    limits
        Caps on bytes and genes.
    gene_column
        Header cell of the gene of each transcript, where the format has one.

    Returns
    -------
    RawMatrix
        One sample, declared as TPM.

    Raises
    ------
    InputFileError
        If a column is missing, there is no row, or a row is cut off.
    ExpressionValueError
        If a TPM is negative or no number, or all are zero.
    GeneIdentifierError
        If the transcripts cannot be placed.
    """
    columns = [cell.lstrip("# ") for cell in head.rows[0]]
    wanted = [name_column, *([gene_column] if gene_column else [])]
    if tpm_column not in columns:
        raise InputFileError(
            f"{path.name!r} looks like the output of {program} and has no column {tpm_column!r}; "
            f"its columns are {', '.join(columns)}.",
            f"Give the file as {program} wrote it, with {name_column} and {tpm_column}.",
        )
    failed = f"The run of {program} may have failed: run it again, or copy its output again."
    refuse_no_rows(head, path.name, failed)
    try:
        texts, values = parse(
            path,
            head,
            names=columns,
            header_rows=1,
            text_columns=[columns.index(name) for name in wanted],
            value_columns=[columns.index(tpm_column)],
            limits=limits,
        )
    except ExpressionValueError as error:
        raise ExpressionValueError(
            error.problem,
            f"{program} writes no number where no read was assigned or the run failed: look at its "
            "log for the share of reads that mapped, and run it again.",
        ) from None
    names = texts[0]
    _check_values(values[0], names, path.name, program, tpm_column, head.skipped + 2)
    groups = _groups(names, texts[1] if gene_column else names, path.name)
    sample = sample_name(path, generic=generic)
    notes = _completeness(values[0], program)
    if groups:
        notes += groups.account(values, [sample], unit="TPM")
        names, values = groups.gene_ids, groups.sum(values)
    return assemble(
        names,
        [sample],
        values,
        source=path.name,
        file_format=program.lower(),
        limits=limits,
        declared_unit="tpm",
        notes=notes,
    )


def _groups(
    names: Sequence[str], genes: Sequence[str], source: str
) -> transcripts.TranscriptGroups | None:
    """Group the rows by gene: as the file says, else by the table; None if they are genes."""
    if genes != names:
        return transcripts.group_by_gene(names, genes, source)
    transcripts.refuse_foreign(names, source)
    if transcripts.are_transcripts(names):
        return transcripts.group_transcripts(names, source)
    return None


def _check_values(
    tpm: npt.NDArray[np.float32],
    names: Sequence[str],
    source: str,
    program: str,
    column: str,
    first_line: int,
) -> None:
    """Refuse what a sum would hide: negative, missing and only zeros."""
    wrong = np.flatnonzero(~(tpm >= 0))
    if len(wrong):
        row = int(wrong[0])
        cell = "no value" if np.isnan(tpm[row]) else f"{tpm[row]:g}"
        raise ExpressionValueError(
            f"{source!r} has {cell} in column {column!r}, line {row + first_line} "
            f"({names[row]!r}; {len(wrong):,} such rows), where a TPM of zero or more was "
            "expected.",
            f"Give the file as {program} wrote it, neither logged nor centred.",
        )
    if not tpm.any():
        raise ExpressionValueError(
            f"Every value in column {column!r} of {source!r} is zero: no read was assigned to any "
            "transcript.",
            f"Look at the log of {program} for the share of reads that mapped: the index may be of "
            "another species, or the library type wrong.",
        )


def _completeness(tpm: npt.NDArray[np.float32], program: str) -> tuple[str, ...]:
    total = float(tpm.sum(dtype=np.float64))
    if abs(total / _MILLION - 1) <= _ROUNDING:
        return ()
    return (
        f"The TPM of the file add up to {total:,.0f} and not to a million, as {program} writes "
        "them: rows were left out or changed, or the file was cut off.",
    )
