"""RSEM's gene results, as RSEM writes them and as TCGA's legacy archive does; one file a sample.

- `<sample>.genes.results`: expected count, TPM and FPKM of each gene. TPM is read: it is divided by
  the effective length of the isoforms that the sample expresses, which no later step could do.
- `*.rsem.genes.results` (TCGA RNASeqV2): `raw_count` and `scaled_estimate`. The latter is the share
  of transcripts, so that a million times it is TPM (Li & Dewey, BMC Bioinformatics 12:323, 2011).
- `*.rsem.genes.normalized_results` (TCGA RNASeqV2): counts with an upper quartile of 1,000.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from specformer_encoder.raw import RawMatrix
from specformer_encoder.readers.delimited import Head
from specformer_encoder.readers.matrix import assemble
from specformer_encoder.readers.naming import sample_name
from specformer_encoder.readers.opening import Limits
from specformer_encoder.readers.pieces import parse
from specformer_encoder.readers.single import column_names, refuse_negative, refuse_no_rows

_MILLION = np.float32(1e6)
#: Columns that make a header RSEM's → (value column, unit, note).
_KINDS: tuple[tuple[frozenset[str], str, str, str], ...] = (
    (
        frozenset({"gene_id", "effective_length", "expected_count", "TPM", "FPKM"}),
        "TPM",
        "tpm",
        "TPM was taken; the file also has expected counts and FPKM.",
    ),
    (
        frozenset({"gene_id", "raw_count", "scaled_estimate"}),
        "scaled_estimate",
        "tpm",
        "The scaled estimates were taken times a million, which is TPM.",
    ),
    (
        frozenset({"gene_id", "normalized_count"}),
        "normalized_count",
        "rsem_normalized",
        "The normalized counts have an upper quartile of 1,000.",
    ),
)
_ENDINGS = (
    ".rsem.genes.normalized_results",
    ".rsem.genes.results",
    ".genes.normalized_results",
    ".genes.results",
    "rsem.genes.results",
    "genes.results",
)


def matches(head: Head) -> bool:
    """Whether the header is one of RSEM's gene results."""
    columns = set(head.rows[0])
    return any(columns >= kind for kind, *_ in _KINDS)


def read(path: Path, head: Head, *, limits: Limits) -> RawMatrix:
    """Read RSEM's gene results.

    Parameters
    ----------
    path, head
        The file and its head.
    limits
        Caps on bytes and genes.

    Returns
    -------
    RawMatrix
        One sample named after the file; TPM, or TCGA's normalized counts, declared as such.

    Raises
    ------
    InputFileError
        If there are no rows.
    """
    names = head.rows[0]
    column_names(names, path.name)
    refuse_no_rows(head, path.name, "Copy it again, or run RSEM again.")
    _, column, unit, note = next(kind for kind in _KINDS if kind[0] <= set(names))
    (gene_ids,), values = parse(
        path,
        head,
        names=names,
        header_rows=1,
        text_columns=[names.index("gene_id")],
        value_columns=[names.index(column)],
        limits=limits,
    )
    if column == "scaled_estimate":
        values = values * _MILLION
    sample = sample_name(path, generic=_ENDINGS)
    refuse_negative(values, gene_ids, [sample], path.name, "value")
    return assemble(
        gene_ids,
        [sample],
        values,
        source=path.name,
        limits=limits,
        file_format="rsem",
        declared_unit=unit,
        notes=(note,),
    )
