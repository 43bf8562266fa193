"""HTSeq counts and the GDC's files in the same form: gene and value, no header, one file a sample.

`htseq-count` writes the gene id, any attributes that were asked for, and the count, then rows such
as `__no_feature` with totals of unassigned reads. The GDC's former open-access files have the
same form, each named by its UUID: `*.htseq.counts.gz`, `*.FPKM.txt.gz` and `*.FPKM-UQ.txt.gz`.
Values say which unit they are in; a total row, or the GDC's file name, declares it.
"""

from __future__ import annotations

import re
from pathlib import Path

from specformer_encoder.raw import RawMatrix
from specformer_encoder.readers.delimited import Head
from specformer_encoder.readers.layout_header import lacks_header
from specformer_encoder.readers.layout_names import to_number
from specformer_encoder.readers.matrix import assemble
from specformer_encoder.readers.naming import sample_name
from specformer_encoder.readers.opening import Limits
from specformer_encoder.readers.pieces import parse
from specformer_encoder.readers.single import refuse_negative

_TOTAL = re.compile(r"__(no_feature|ambiguous|too_low_aQual|not_aligned|alignment_not_unique)")
#: The GDC's file names → unit.
_UNITS = {".htseq.counts": "counts", ".fpkm-uq": "fpkm_uq", ".fpkm": "fpkm"}
_ENDINGS = (*_UNITS, ".htseq", ".counts")


def matches(head: Head) -> bool:
    """Whether rows are a gene, perhaps texts, and one number, and nothing stands above them."""
    first = head.rows[0]
    if not lacks_header(first, decimal=head.decimal):
        return False
    middle = [cell for row in head.rows for cell in row[1:-1] if cell]
    numbers = sum(to_number(cell, decimal=head.decimal) is not None for cell in middle)
    return len(first) == 2 or (len(first) > 2 and numbers * 2 < len(middle))


def read(path: Path, head: Head, *, limits: Limits) -> RawMatrix:
    """Read one sample from a file of genes and values without a header.

    Parameters
    ----------
    path, head
        The file and its head.
    limits
        Caps on bytes and genes.

    Returns
    -------
    RawMatrix
        One sample named after the file; the unit is declared where total rows or the GDC's file
        name state it.
    """
    width = len(head.rows[0])
    names = ["gene", *(f"attribute {j}" for j in range(1, width - 1)), "value"]
    (gene_ids,), values = parse(
        path,
        head,
        names=names,
        header_rows=0,
        text_columns=[0],
        value_columns=[width - 1],
        limits=limits,
    )
    declared = next((u for ending, u in _UNITS.items() if _named(path, ending)), None)
    counted = any(_TOTAL.fullmatch(gene) for gene in gene_ids[-10:] + gene_ids[:10])
    if declared is None and counted:
        declared = "counts"
    sample = sample_name(path, generic=_ENDINGS)
    if declared is not None:
        what = "count" if declared == "counts" else "value"
        refuse_negative(values, gene_ids, [sample], path.name, what)
    return assemble(
        gene_ids,
        [sample],
        values,
        source=path.name,
        limits=limits,
        file_format="htseq",
        declared_unit=declared,
        notes=("The file has no header: its first column was read as genes.",),
    )


def _named(path: Path, ending: str) -> bool:
    return re.search(re.escape(ending) + r"(\.|$)", path.name.lower()) is not None
