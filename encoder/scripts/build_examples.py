"""Cut the example files out of published packages.

    python encoder/scripts/build_examples.py --luad openomics-0.8.5.tar.gz

Two PyPI packages under the MIT licence carry whole TCGA expression matrices. A few columns of them,
with the identifier columns and every value as it stands in the source, become the files in
`examples/`. The samples belong to patients of the test split, so no release was trained on them.
They were chosen by rule before any model saw them, in barcode order: the first patient with a
tumour and an adjacent normal; the first two colon tumours and the first rectal one that the source
gives a value for every gene, none of them negative (227 of its 592 samples lack some 3,000 genes
and have batch-corrected values below zero).

`--luad` names the source archive of openomics 0.8.5 as downloaded from PyPI; the wheel is fetched.
"""

from __future__ import annotations

import argparse
import gzip
import hashlib
import io
import tarfile
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from wheels import fetch_wheel

EXAMPLES = Path(__file__).parents[2] / "examples"

LUAD_SHA256 = "e6a34391395cd58f42402aa18dc0b68c9b0886c340362c36da2d1f066fd545a7"
LUAD_MATRIX = "openomics-0.8.5/tests/data/TCGA_LUAD/LUAD__geneExp.txt"
LUAD_IDENTIFIERS = ("GeneSymbol", "EntrezID")
COADREAD_WHEEL = "TumorDecon==1.1.1"
COADREAD_MATRIX = "TumorDecon/data/coadred_data_RNA_Seq_v2_expression_median.txt"
COADREAD_IDENTIFIERS = ("Hugo_Symbol", "Entrez_Gene_Id")


@dataclass(frozen=True, slots=True)
class Example:
    """One file: its name, the delimiter it is written with, the samples it takes."""

    name: str
    delimiter: str
    barcodes: tuple[str, ...]


LUAD = (
    Example("luad_tumor.tsv.gz", "\t", ("TCGA-44-3396-01A-01R-1206-07",)),
    Example("luad_normal.tsv.gz", "\t", ("TCGA-44-3396-11A-01R-1758-07",)),
)
COADREAD = (
    Example(
        "coadread_tumors.csv.gz",
        ",",
        ("TCGA-A6-5664-01", "TCGA-A6-6138-01", "TCGA-AF-A56L-01"),
    ),
)


def check_sdist(path: Path) -> Path:
    """Return the path of the source archive if its bytes are the expected ones.

    pip cannot fetch it: to learn an sdist's metadata it runs the package's build, and this one no
    longer builds. It is downloaded by hand from the package's page.

    Raises
    ------
    RuntimeError
        The file has another hash.
    """
    if (found := hashlib.sha256(path.read_bytes()).hexdigest()) != LUAD_SHA256:
        raise RuntimeError(f"{path.name} has sha256 {found}; expected {LUAD_SHA256}")
    return path


def take_columns(lines: Iterable[str], columns: Sequence[str]) -> Iterator[list[str]]:
    """Yield the named columns of a tab-separated table, header first, each cell as it stands.

    Raises
    ------
    RuntimeError
        A column is missing or occurs twice.
    """
    rows = (line.rstrip("\r\n").split("\t") for line in lines)
    header = next(rows)
    if bad := [name for name in columns if header.count(name) != 1]:
        raise RuntimeError(f"expected each column once in the source; check {bad}")
    picked = [header.index(name) for name in columns]
    yield [header[i] for i in picked]
    for row in rows:
        yield [row[i] for i in picked]


def write_examples(
    matrix: IO[bytes], identifiers: Sequence[str], examples: Sequence[Example]
) -> None:
    """Write the examples that one source matrix holds, reading it once."""
    columns = [*identifiers, *(name for one in examples for name in one.barcodes)]
    rows = list(take_columns(io.TextIOWrapper(matrix, encoding="utf-8"), columns))
    for example in examples:
        picked = [columns.index(name) for name in (*identifiers, *example.barcodes)]
        cells = [[row[i] for i in picked] for row in rows]
        if any(example.delimiter in cell or '"' in cell for row in cells for cell in row):
            raise RuntimeError(f"{example.name}: a cell holds a delimiter and would need quotes")
        text = "".join(example.delimiter.join(row) + "\n" for row in cells)
        # No time stamp: the same source gives the same bytes.
        path = EXAMPLES / example.name
        path.write_bytes(gzip.compress(text.encode(), compresslevel=9, mtime=0))
        print(f"{path.name}: {len(cells) - 1} rows, {path.stat().st_size} bytes")


def main() -> None:
    """Write all example files."""
    parser = argparse.ArgumentParser(description="Cut the example files out of their packages.")
    parser.add_argument("--luad", type=Path, required=True, help="sdist of openomics 0.8.5")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        into = Path(folder)
        with tarfile.open(check_sdist(arguments.luad)) as archive:
            matrix = archive.extractfile(LUAD_MATRIX)
            if matrix is None:
                raise RuntimeError(f"{LUAD_MATRIX} is not a file in the archive")
            write_examples(matrix, LUAD_IDENTIFIERS, LUAD)
        with (
            fetch_wheel(COADREAD_WHEEL, into) as wheel,
            wheel.open(COADREAD_MATRIX) as member,
        ):
            write_examples(member, COADREAD_IDENTIFIERS, COADREAD)


if __name__ == "__main__":
    main()
