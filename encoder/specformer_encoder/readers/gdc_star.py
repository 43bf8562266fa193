"""GDC STAR gene counts: one open-access file a sample.

`<uuid>.rna_seq.augmented_star_gene_counts.tsv` holds, below a `# gene-model` comment, one row a
gene with six quantities of one sample: three counts by strandedness, TPM, FPKM and FPKM-UQ. The
unstranded counts are read, because they are what the other three are computed from. The first four
rows (`N_unmapped`, `N_multimapping`, `N_noFeature`, `N_ambiguous`) are read totals, not genes.
"""

from __future__ import annotations

from pathlib import Path

from specformer_encoder.raw import RawMatrix
from specformer_encoder.readers.delimited import Head
from specformer_encoder.readers.matrix import assemble
from specformer_encoder.readers.naming import sample_name
from specformer_encoder.readers.opening import Limits
from specformer_encoder.readers.pieces import parse
from specformer_encoder.readers.single import column_names, refuse_negative, refuse_no_rows
from specformer_encoder.readers.star import strand_notes

_STRANDS = ["unstranded", "stranded_first", "stranded_second"]
_COLUMNS = {"gene_id", "unstranded", "tpm_unstranded"}
_ENDINGS = (".rna_seq.augmented_star_gene_counts", ".augmented_star_gene_counts")


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
    column_names(names, path.name)
    refuse_no_rows(head, path.name, "Get it again.")
    strands = [name for name in _STRANDS if name in names]
    (gene_ids,), columns = parse(
        path,
        head,
        names=names,
        header_rows=1,
        text_columns=[names.index("gene_id")],
        value_columns=[names.index(name) for name in strands],
        limits=limits,
    )
    refuse_negative(columns, gene_ids, strands, path.name)
    return assemble(
        gene_ids,
        [sample_name(path, generic=_ENDINGS)],
        columns[:1],
        source=path.name,
        file_format="gdc_star",
        limits=limits,
        declared_unit="counts",
        notes=strand_notes(gene_ids, columns) if strands == _STRANDS else (),
    )
