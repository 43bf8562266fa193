"""GDC STAR gene counts: one open-access file a sample.

`<uuid>.rna_seq.augmented_star_gene_counts.tsv` holds, below a `# gene-model` comment, one row a
gene with six quantities of one sample: three counts by strandedness, TPM, FPKM and FPKM-UQ. The
unstranded counts are read, because they are what the other three are computed from. The first four
rows (`N_unmapped`, `N_multimapping`, `N_noFeature`, `N_ambiguous`) are read totals, not genes.
"""

from __future__ import annotations

from pathlib import Path

from specformer_encoder.errors import InputFileError
from specformer_encoder.raw import RawMatrix
from specformer_encoder.readers.delimited import Head, parse
from specformer_encoder.readers.matrix import assemble
from specformer_encoder.readers.opening import Limits, stem

_COLUMNS = {"gene_id", "unstranded", "tpm_unstranded"}
_SUFFIX = ".rna_seq.augmented_star_gene_counts"


def matches(head: Head) -> bool:
    """Whether the header is that of a GDC STAR file."""
    return set(head.rows[0]) >= _COLUMNS


def read(path: Path, head: Head, *, limits: Limits) -> RawMatrix:
    """Read the unstranded counts of a GDC STAR file.

    Parameters
    ----------
    path, head
        The file and its head.
    limits
        Caps on bytes and genes.

    Returns
    -------
    RawMatrix
        One sample named after the file, declared as counts.
    """
    names = head.rows[0]
    if len(head.rows) == 1:
        raise InputFileError(f"{path.name!r} has a header and no rows below it.", "Get it again.")
    (gene_ids,), values = parse(
        path,
        head,
        names=names,
        header_rows=1,
        text_columns=[names.index("gene_id")],
        value_columns=[names.index("unstranded")],
        limits=limits,
    )
    sample = stem(path).removesuffix(_SUFFIX)
    return assemble(
        gene_ids,
        [sample],
        values,
        source=path.name,
        file_format="gdc_star",
        limits=limits,
        declared_unit="counts",
    )
