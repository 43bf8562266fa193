"""STAR's gene counts: `ReadsPerGene.out.tab`, one file a sample.

`STAR --quantMode GeneCounts` writes four columns without a header: gene id, and the reads counted
without regard to strand, on the first read's strand, and on the second's. Four rows of totals
(`N_unmapped`, `N_multimapping`, `N_noFeature`, `N_ambiguous`) come first. The unstranded column is
read, as the GDC does for every library. The other two tell whether the library kept the strand:
then a read falls on one of them nearly always, and the unstranded column has lost the reads that
overlap a gene on the other strand (`N_ambiguous`).
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt

from specformer_encoder.raw import RawMatrix
from specformer_encoder.readers.delimited import Head
from specformer_encoder.readers.matrix import assemble
from specformer_encoder.readers.naming import sample_name
from specformer_encoder.readers.opening import Limits
from specformer_encoder.readers.pieces import parse
from specformer_encoder.readers.single import refuse_negative

#: Rows that are totals of reads, not genes.
TOTALS = ("N_unmapped", "N_multimapping", "N_noFeature", "N_ambiguous")
_COLUMNS = ["gene_id", "unstranded", "first strand", "second strand"]
_ENDINGS = ("ReadsPerGene.out", "ReadsPerGene")
#: One strand has this many times the reads of the other: the library kept the strand. Unstranded
#: libraries lie near 1, stranded ones above 10.
_STRANDED = 3.0


def matches(head: Head) -> bool:
    """Whether the first row is STAR's: four cells, a total and three counts."""
    first = head.rows[0]
    return len(first) == len(_COLUMNS) and first[0] in TOTALS


def read(path: Path, head: Head, *, limits: Limits) -> RawMatrix:
    """Read the unstranded counts of a STAR gene count file.

    Parameters
    ----------
    path, head
        The file and its head.
    limits
        Caps on bytes and genes.

    Returns
    -------
    RawMatrix
        One sample named after the file, or after the folder where the file has STAR's bare name;
        declared as counts.
    """
    (gene_ids,), columns = parse(
        path,
        head,
        names=_COLUMNS,
        header_rows=0,
        text_columns=[0],
        value_columns=[1, 2, 3],
        limits=limits,
    )
    sample = sample_name(path, generic=_ENDINGS)
    refuse_negative(columns, gene_ids, _COLUMNS[1:], path.name)
    return assemble(
        gene_ids,
        [sample],
        columns[:1],
        source=path.name,
        limits=limits,
        file_format="star",
        declared_unit="counts",
        notes=strand_notes(gene_ids, columns),
    )


def strand_notes(gene_ids: list[str], columns: npt.NDArray[np.float32]) -> tuple[str, ...]:
    """Say which column was taken, and whether the library looks stranded.

    Parameters
    ----------
    gene_ids
        G row names, totals among them.
    columns
        (3, G) unstranded, first strand, second strand.
    """
    genes = ~np.isin(gene_ids, TOTALS)
    first, second = (float(np.nansum(column[genes], dtype=np.float64)) for column in columns[1:])
    notes = ["The unstranded counts were taken, as the GDC does."]
    low, high = sorted((first, second))
    if high > _STRANDED * low:
        which = "first" if first > second else "second"
        notes.append(
            f"The library looks stranded: the {which} strand has {high:,.0f} reads on genes, the "
            f"other {low:,.0f}. Its own column would keep reads that overlap two genes; the "
            "difference to the ordering is small."
        )
    return tuple(notes)
