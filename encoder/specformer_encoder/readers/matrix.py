"""Expression matrices as delimited text, and the checks that every matrix passes.

What a matrix means is decided in `layout`; here the columns are read, turned to (samples, genes),
and checked for what no later step could mend: samples of the same name, infinite values, nothing
measured. A gene without a value in every sample was not measured and is dropped; one without a
value in some samples stays, NaN there. Gene identifiers are left as they stand, repeated ones too.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import compress
from pathlib import Path

import numpy as np
import numpy.typing as npt

from specformer_encoder.errors import ExpressionValueError, InputFileError
from specformer_encoder.raw import Cells, FloatArray, InMemory, RawMatrix, SomeGenes
from specformer_encoder.readers.delimited import Head
from specformer_encoder.readers.layout import VALUE_NAMES, Layout, find_layout
from specformer_encoder.readers.layout_names import is_whole
from specformer_encoder.readers.opening import Limits, check_size, stem
from specformer_encoder.readers.pieces import Columns, Piece, parse_pieces
from specformer_encoder.readers.spool import Spool

_BLOCK_BYTES = 1 << 26  # values looked at together
_BYTES_PER_VALUE = 4
#: Totals that counting programs write among the genes: STAR's N_… and HTSeq's __… rows.
_TOTALS = ("N_unmapped", "N_multimapping", "N_noFeature", "N_ambiguous", "__")


def read_delimited(path: Path, head: Head, *, limits: Limits) -> RawMatrix:
    """Read a delimited matrix.

    Parameters
    ----------
    path, head
        The file and its head.
    limits
        Caps on bytes, samples and genes.
    """
    layout = find_layout(head.rows, decimal=head.decimal, source=repr(path.name))
    check_width(layout, path.name, limits)
    columns = Columns(
        layout.names, layout.header_rows, list(layout.id_columns), layout.value_columns
    )
    texts, cells = spool_pieces(
        map(_without_empty_rows, parse_pieces(path, head, columns, limits=limits)),
        path.name,
        text_columns=len(columns.text),
        genes_in_rows=layout.genes_in_rows,
        limits=limits,
    )
    return name_matrix(path, layout, texts, cells, limits)


def _without_empty_rows(piece: Piece) -> Piece:
    """The same rows without those of delimiters alone, as a spreadsheet saves them."""
    filled = np.array([cell != "" for cell in piece.texts[0]], bool)
    if not filled.all():
        filled |= ~np.isnan(piece.values).all(axis=0)
    if filled.all():
        return piece
    return Piece([list(compress(some, filled)) for some in piece.texts], piece.values[:, filled])


def spool_pieces(
    pieces: Iterable[Piece], source: str, *, text_columns: int, genes_in_rows: bool, limits: Limits
) -> tuple[list[list[str]], Cells]:
    """Take up parsed rows, in memory or past its budget on disk, and check their number.

    Parameters
    ----------
    pieces
        Rows in file order.
    source
        File name, for messages.
    text_columns
        How many a piece has; there may be no piece.
    genes_in_rows
        True for genes × samples.
    limits
        Caps on samples and genes, and the budget.

    Returns
    -------
    texts
        All cells of each text column.
    cells
        Samples × genes.
    """
    spool = Spool(budget=limits.memory_bytes, along_genes=genes_in_rows, source=source)
    texts: list[list[str]] = [[] for _ in range(text_columns)]
    for piece in pieces:
        for all_rows, some in zip(texts, piece.texts, strict=True):
            all_rows += some
        check_rows(len(texts[0]), source, genes_in_rows=genes_in_rows, limits=limits)
        spool.add(piece.values if genes_in_rows else piece.values.T)
    return texts, spool.cells()


def name_matrix(
    path: Path, layout: Layout, texts: list[list[str]], cells: Cells, limits: Limits
) -> RawMatrix:
    """Name samples and genes of a matrix.

    Parameters
    ----------
    path, layout
        The file and what its columns mean.
    texts
        The cells of each identifier column.
    cells
        Samples × genes.
    limits
        Caps on samples and genes.
    """
    labels = [text.strip() for text in texts[0]]
    if len(texts) == 2:
        labels = [_composite(a, b.strip()) for a, b in zip(labels, texts[1], strict=True)]
    headers = [layout.names[j] for j in layout.value_columns]
    if not layout.genes_in_rows:
        return assemble(headers, labels, cells, source=path.name, limits=limits, notes=layout.notes)
    generic = [h.lower() in VALUE_NAMES for h in headers]
    if len(headers) == 1 and generic[0]:
        headers = [stem(path)]
    elif all(generic) and len(headers) > 1:
        raise InputFileError(
            f"The columns of {path.name!r} are quantities of one sample "
            f"({', '.join(headers[:6])}), not samples.",
            "Keep the gene column and one of them: counts, or TPM.",
        )
    return assemble(labels, headers, cells, source=path.name, limits=limits, notes=layout.notes)


def _composite(symbol: str, entrez: str) -> str:
    """Join symbol and Entrez id as TCGA does; ``?`` stands for a gene without a symbol."""
    entrez = entrez.removesuffix(".0")
    if not is_whole(entrez):  # missing, or -1 as cBioPortal writes it
        return symbol
    return f"{symbol or '?'}|{entrez}"


def check_width(layout: Layout, source: str, limits: Limits) -> None:
    """Refuse too many value columns before they are parsed."""
    width = len(layout.value_columns)
    check_rows(width, source, genes_in_rows=not layout.genes_in_rows, limits=limits)


def check_rows(rows: int, source: str, *, genes_in_rows: bool, limits: Limits) -> None:
    """Refuse too many rows, while they are parsed."""
    if genes_in_rows:
        check_size(source, limits, genes=rows)
    else:
        check_size(source, limits, samples=rows)


def assemble(
    gene_ids: Sequence[str],
    samples: Sequence[str],
    values: FloatArray | Cells,
    *,
    source: str,
    limits: Limits,
    file_format: str = "matrix",
    declared_unit: str | None = None,
    notes: tuple[str, ...] = (),
) -> RawMatrix:
    """Check and build a `RawMatrix`.

    Parameters
    ----------
    gene_ids, samples
        G and S names.
    values
        (S, G) float32, NaN where there is no value; an array, or cells to be fetched.
    source, file_format, declared_unit, notes
        As in `RawMatrix`.
    limits
        Caps on samples and genes.

    Raises
    ------
    InputFileError
        If samples repeat or have no name, or there are too many samples or genes, or none.
    ExpressionValueError
        If a value is infinite or a sample has no value at all.
    """
    check_size(source, limits, samples=len(samples), genes=len(gene_ids))
    repeated = [name for name, n in Counter(samples).items() if n > 1]
    if repeated or "" in samples:
        problem = (
            f"{source!r} has sample names more than once, {len(repeated)} in all: "
            + ", ".join(map(repr, repeated[:5]))
            if repeated and repeated != [""]
            else f"{source!r} has a sample without a name (number {list(samples).index('') + 1})"
        )
        raise InputFileError(f"{problem}.", "Give each sample its own name.")
    cells = InMemory(values) if isinstance(values, np.ndarray) else values
    measured = _measured_genes(cells, gene_ids, samples, source)
    measured &= ~np.array([g.startswith(_TOTALS) for g in gene_ids], bool)
    if not measured.any():
        raise InputFileError(f"{source!r} has no gene with a value.", "Export the table again.")
    if not measured.all():
        keep = np.flatnonzero(measured)
        cells = (
            InMemory(cells.array[:, keep])
            if isinstance(cells, InMemory)
            else SomeGenes(cells, keep)
        )
        gene_ids = [gene_ids[int(g)] for g in keep]
    return RawMatrix(
        gene_ids=list(gene_ids),
        samples=list(samples),
        cells=cells,
        source=source,
        format=file_format,
        declared_unit=declared_unit,
        notes=notes,
    )


def _measured_genes(
    cells: Cells, gene_ids: Sequence[str], samples: Sequence[str], source: str
) -> npt.NDArray[np.bool_]:
    """(G,) genes with a value in any sample; refuses infinite values and samples without any."""
    measured = np.zeros(len(gene_ids), bool)
    step = max(1, _BLOCK_BYTES // (_BYTES_PER_VALUE * max(len(gene_ids), 1)))
    for start in range(0, len(samples), step):
        block = cells.rows(start, min(start + step, len(samples)))
        infinite = np.argwhere(np.isinf(block))
        if len(infinite):
            s, g = infinite[0]
            raise ExpressionValueError(
                f"{source!r} has an infinite value at gene {gene_ids[g]!r}, sample "
                f"{samples[start + s]!r}.",
                "Undo the step that divided by zero or took the log of zero.",
            )
        known = ~np.isnan(block)
        silent = np.flatnonzero(~known.any(axis=1))
        if len(silent):
            raise ExpressionValueError(
                f"Sample {samples[start + silent[0]]!r} in {source!r} has no value at all.",
                "Leave the sample out.",
            )
        measured |= known.any(axis=0)
    return measured
