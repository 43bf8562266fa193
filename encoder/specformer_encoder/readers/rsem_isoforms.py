"""RSEM: `S17.isoforms.results`, one row a transcript with the gene it belongs to.

The columns are transcript_id, gene_id, length, effective_length, expected_count, TPM, FPKM and
IsoPct. The file says which transcripts make up a gene; only where it was made without a gene map,
and repeats the transcript as the gene, is the bundled table asked.
"""

from __future__ import annotations

from pathlib import Path

from specformer_encoder.raw import RawMatrix
from specformer_encoder.readers.delimited import Head
from specformer_encoder.readers.opening import Limits
from specformer_encoder.readers.transcript_level import read_quantification


def matches(head: Head) -> bool:
    """Whether the header is that of RSEM's isoform file."""
    return set(head.rows[0]) >= {"transcript_id", "gene_id", "effective_length", "expected_count"}


def read(path: Path, head: Head, *, limits: Limits) -> RawMatrix:
    """Read the TPM of RSEM's isoforms, summed to genes.

    Parameters
    ----------
    path, head
        The file and its head.
    limits
        Caps on bytes and genes.

    Returns
    -------
    RawMatrix
        One sample named after the file, declared as TPM.

    Raises
    ------
    InputFileError, ExpressionValueError, GeneIdentifierError
        As `read_quantification`.
    """
    return read_quantification(
        path,
        head,
        program="RSEM",
        name_column="transcript_id",
        gene_column="gene_id",
        tpm_column="TPM",
        generic=(".isoforms.results", "isoforms.results"),
        limits=limits,
    )
