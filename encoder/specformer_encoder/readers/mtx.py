"""Matrix Market folders, as Cell Ranger, STARsolo and kb write them.

`matrix.mtx` lists the entries of genes × barcodes; `features.tsv` (`genes.tsv` before Cell Ranger
3) names the genes by id, symbol and type, `barcodes.tsv` the samples. Each may be gzipped, and
GEO puts the sample's accession before each name. The path may be the folder or the matrix.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.csv as pc

from specformer_encoder.errors import ExpressionValueError, InputFileError
from specformer_encoder.raw import Cells, RawMatrix, SomeGenes
from specformer_encoder.readers.layout_names import (
    ANNOTATION,
    SAMPLE_NAMES,
    gene_share,
    is_whole,
    plain,
)
from specformer_encoder.readers.matrix import assemble
from specformer_encoder.readers.opening import (
    InflatedStream,
    Limits,
    check_file,
    check_size,
    read_head,
)
from specformer_encoder.readers.sparse import SparseRows, cell_notes, compress

_MAGIC = b"%%MatrixMarket"
_MATRIX = re.compile(r"(.*?)(?:matrix)?\.mtx(?:\.gz|\.bz2|\.zst)?$", re.IGNORECASE)
_PACKED = ("", ".gz", ".bz2", ".zst")
_HEAD_BYTES = 1 << 16
#: Names of genes and barcodes together; far more than any list of them has.
_MOST_NAMES = 1 << 28
_LOOKED_AT = 2000
_VALUE_BYTES = 4
_EXPRESSION = "Gene Expression"
_AGAIN = "Copy or download it again."


def matches(head: bytes) -> bool:
    """Whether a file's first bytes are those of a Matrix Market file."""
    return head.startswith(_MAGIC)


def is_folder(path: Path) -> bool:
    """Whether a path names a folder; a path that cannot be looked at does not."""
    try:
        return path.is_dir()
    except (OSError, ValueError):
        return False


def find_matrix(folder: Path) -> Path:
    """Find the one matrix of a folder.

    Raises
    ------
    InputFileError
        If there is none, or more than one.
    """
    try:
        found = sorted(p for p in folder.iterdir() if _MATRIX.fullmatch(p.name) and p.is_file())
    except OSError as error:
        raise InputFileError(
            f"{folder.name!r} cannot be listed ({error.strerror}).", "Check its permissions."
        ) from None
    if not found:
        raise InputFileError(
            f"{folder.name!r} is a folder without a matrix.mtx; an expression file was expected.",
            "Name one file inside it.",
        )
    if len(found) > 1:
        raise InputFileError(
            f"{folder.name!r} holds {len(found)} matrices: "
            f"{', '.join(repr(p.name) for p in found[:4])}.",
            "Name one of them.",
        )
    return found[0]


@dataclass(frozen=True, slots=True)
class _Head:
    """What stands above the entries of a Matrix Market file."""

    lines: int
    rows: int
    columns: int
    entries: int
    delimiter: str


def read(path: Path, *, limits: Limits) -> RawMatrix:
    """Read a Matrix Market file with the names beside it.

    Parameters
    ----------
    path
        The matrix.
    limits
        Caps on bytes, samples and genes.

    Returns
    -------
    RawMatrix
        One sample a barcode; an entry that is not stored is zero.

    Raises
    ------
    InputFileError
        If the genes or barcodes are missing or are not as many as the matrix has, or entries are
        missing or outside of it.
    """
    head = _head(path, limits)
    features = _names(_beside(path, ("features.tsv", "genes.tsv", "genes.txt"), "genes"), limits)
    barcodes = _names(_beside(path, ("barcodes.tsv", "barcodes.txt"), "barcodes"), limits)
    genes, samples, by_row = _sizes(head, features, barcodes, path.name)
    remedy = "Sum the cells of a sample, split the matrix, or raise the limit."
    check_size(path.name, limits, samples=len(samples), genes=len(genes), remedy=remedy)
    cells: Cells = _entries(path, head, by_row=by_row, limits=limits)
    names, notes = _gene_names(genes)
    kept, type_notes = _expression(genes)
    if type_notes:
        cells, names = SomeGenes(cells, kept), [names[i] for i in kept]
    return assemble(
        names,
        [row[0] for row in samples],
        cells,
        source=path.name,
        limits=limits,
        file_format="mtx",
        notes=notes + type_notes + cell_notes(cells, len(samples)),
    )


def _beside(path: Path, endings: tuple[str, ...], what: str) -> Path:
    """Find the file of names that belongs to a matrix: same folder, same prefix."""
    real = path.resolve()  # names may be read only from where the matrix really lies
    found = _MATRIX.fullmatch(real.name)
    prefix = found.group(1) if found else ""
    # kb writes cells_x_genes.mtx and cells_x_genes.genes.txt.
    prefixes = dict.fromkeys((prefix, f"{prefix}.", ""))
    for before in prefixes:
        for name in (before + ending + packed for ending in endings for packed in _PACKED):
            sibling = real.parent / name
            if sibling.is_file() and sibling.resolve().parent == real.parent:
                return sibling
    raise InputFileError(
        f"{path.name!r} has no file with its {what} beside it; "
        f"{prefix + endings[0]!r} (or .gz) was expected.",
        "Put matrix, features and barcodes into one folder, under the names that the program gave "
        "them.",
    )


def _names(path: Path, limits: Limits) -> list[list[str]]:
    """Rows of a tab-delimited file of names, a header row dropped where it is one."""
    check_file(path, limits)
    most = min(_MOST_NAMES, limits.max_inflated_bytes)
    with InflatedStream(path, replace(limits, max_inflated_bytes=most)) as stream:
        blocks = []
        while block := stream.read(1 << 20):
            blocks.append(block)
    try:
        text = b"".join(blocks).decode("utf-8-sig")
    except UnicodeDecodeError:
        raise InputFileError(f"{path.name!r} is no text.", _AGAIN) from None
    lines = text.splitlines()
    while lines and not lines[-1].strip():
        lines.pop()
    return [[cell.strip().strip('"') for cell in line.split("\t")] for line in lines]


def _head(path: Path, limits: Limits) -> _Head:
    """Read the banner and the line of dimensions."""
    raw, _ = read_head(path, limits, _HEAD_BYTES)
    lines = raw.decode("utf-8", errors="replace").splitlines()
    banner = lines[0].lower().split()
    if banner[1:3] != ["matrix", "coordinate"] or banner[3:4] not in (["integer"], ["real"]):
        raise InputFileError(
            f"{path.name!r} is a Matrix Market file of the kind {' '.join(banner[1:])!r}; "
            "'matrix coordinate integer' or 'real' was expected.",
            "Write it again with its values, one entry a line.",
        )
    if banner[4:5] not in ([], ["general"]):
        raise InputFileError(
            f"{path.name!r} is a {banner[4]} matrix, which expression never is.",
            "Give the matrix of genes by samples.",
        )
    at = next((i for i, line in enumerate(lines) if line.strip() and line[0] != "%"), None)
    sizes = lines[at].split() if at is not None else []
    if at is None or len(sizes) != 3 or not all(map(is_whole, sizes)):
        raise InputFileError(
            f"{path.name!r} has no line of dimensions below its comments; three whole numbers "
            f"were expected, and {' '.join(sizes)[:40]!r} came.",
            _AGAIN,
        )
    following = lines[at + 1] if at + 1 < len(lines) else ""
    rows, columns, entries = map(int, sizes)
    return _Head(at + 1, rows, columns, entries, "\t" if "\t" in following else " ")


def _sizes(
    head: _Head, features: list[list[str]], barcodes: list[list[str]], source: str
) -> tuple[list[list[str]], list[list[str]], bool]:
    """Genes, samples, and whether the matrix is genes × samples; a header row is dropped."""
    genes = features[_has_header(features) :]
    samples = barcodes[_has_header(barcodes) :]
    if (len(genes), len(samples)) == (head.rows, head.columns):
        return genes, samples, True
    if (len(genes), len(samples)) == (head.columns, head.rows):  # kb writes barcodes × genes
        return genes, samples, False
    raise InputFileError(
        f"{source!r} is a matrix of {head.rows:,} × {head.columns:,}, and the files beside it name "
        f"{len(genes):,} genes and {len(samples):,} barcodes.",
        "Check that the three files belong together and are complete.",
    )


def _has_header(rows: list[list[str]]) -> bool:
    """Whether the first row names columns, as R and pandas write it."""
    return bool(rows) and plain(rows[0][0]) in ANNOTATION | SAMPLE_NAMES | {"x", "v1", "0"}


def _entries(path: Path, head: _Head, *, by_row: bool, limits: Limits) -> SparseRows:
    """Parse the entries and sort them by sample."""
    most = limits.max_inflated_bytes // (3 * _VALUE_BYTES)
    if head.entries > min(most, head.rows * head.columns):
        raise InputFileError(
            f"{path.name!r} promises {head.entries:,} entries in {head.rows:,} × "
            f"{head.columns:,} places; at most {min(most, head.rows * head.columns):,} are read.",
            "Check its line of dimensions, or split the matrix.",
        )
    blocks: list[tuple[npt.NDArray[Any], ...]] = []
    found = 0
    try:
        with InflatedStream(path, limits) as stream:
            for batch in _reader(stream, head):
                block = tuple(column.to_numpy(zero_copy_only=False) for column in batch.columns)
                found += len(block[0])
                _check_block(block, head, found, path.name)
                blocks.append(block)
    except pa.ArrowInvalid as error:
        if head.entries:
            raise _explained(str(error), head, path.name) from None
    if found < head.entries:
        raise InputFileError(
            f"{path.name!r} promises {head.entries:,} entries and has {found:,}: it was cut off.",
            _AGAIN,
        )
    empty: tuple[npt.NDArray[Any], ...] = tuple(np.empty(0, kind) for kind in ("i8", "i8", "f4"))
    rows, columns, data = (
        np.concatenate(part) for part in zip(*(blocks or [empty]), strict=True)
    )  # fmt: skip
    genes, samples = (rows - 1, columns - 1) if by_row else (columns - 1, rows - 1)
    shape = (head.columns, head.rows) if by_row else (head.rows, head.columns)
    return compress(samples, genes, data, shape=shape, source=path.name)


def _reader(stream: InflatedStream, head: _Head) -> pc.CSVStreamingReader:
    return pc.open_csv(
        pa.PythonFile(stream, mode="r"),
        read_options=pc.ReadOptions(
            column_names=["row", "column", "value"],
            skip_rows=head.lines,
            use_threads=False,  # so that an error names its line
            block_size=1 << 22,
        ),
        parse_options=pc.ParseOptions(delimiter=head.delimiter, quote_char=False),
        convert_options=pc.ConvertOptions(
            column_types={"row": pa.int64(), "column": pa.int64(), "value": pa.float32()},
            null_values=[],
        ),
    )


def _check_block(block: tuple[npt.NDArray[Any], ...], head: _Head, found: int, source: str) -> None:
    rows, columns, data = block
    outside = (rows < 1) | (rows > head.rows) | (columns < 1) | (columns > head.columns)
    bad = np.flatnonzero(outside | ~np.isfinite(data) | (data < 0))
    if len(bad):
        line = head.lines + found - len(rows) + int(bad[0]) + 1
        entry = f"{rows[bad[0]]} {columns[bad[0]]} {data[bad[0]]:g}"
        kind = InputFileError if outside.any() else ExpressionValueError
        raise kind(
            f"{source!r} has the entry {entry!r} in line {line}; places up to {head.rows:,} × "
            f"{head.columns:,} and finite values from zero up were expected.",
            _AGAIN,
        )
    if found > head.entries:
        raise InputFileError(
            f"{source!r} promises {head.entries:,} entries and has more.",
            "Mend its line of dimensions, or export it again.",
        )


def _explained(message: str, head: _Head, source: str) -> InputFileError | ExpressionValueError:
    line = re.search(r"Row #(\d+)", message)
    place = f" in line {line[1]}" if line else ""
    cell = re.search(r"invalid value '(.*)'", message)
    if cell:
        return ExpressionValueError(
            f"{source!r} has the cell {cell[1][:40]!r}{place}, where a number was expected.", _AGAIN
        )
    return InputFileError(
        f"{source!r} has an entry{place} that is not row, column and value; it may have been cut "
        f"off ({head.entries:,} entries were expected).",
        _AGAIN,
    )


def _gene_names(features: list[list[str]]) -> tuple[list[str], tuple[str, ...]]:
    """Gene ids, or symbols where only these are names of human genes."""
    ids = [row[0] for row in features]
    symbols = [row[1] if len(row) > 1 else "" for row in features]
    if gene_share(ids[:_LOOKED_AT]) >= gene_share(symbols[:_LOOKED_AT]):
        return ids, ()
    return symbols, ("Genes are named by their symbols; the ids are no names of human genes.",)


def _expression(features: list[list[str]]) -> tuple[npt.NDArray[np.int64], tuple[str, ...]]:
    """Positions of the features that are genes, where the third column says that others are not."""
    kinds = np.array([row[2] if len(row) > 2 else "" for row in features])
    genes = kinds == _EXPRESSION
    if not genes.any() or genes.all():
        return np.arange(len(features)), ()
    others = ", ".join(sorted(set(kinds[~genes]))[:3])
    note = f"{int((~genes).sum()):,} features that are not genes were left out: {others}."
    return np.flatnonzero(genes), (note,)
