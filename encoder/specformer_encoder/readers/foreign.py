"""Files that people hand over and that are no expression table, refused by name.

A reader that fails on a VCF with "row 3 has 12 cells" helps nobody. The first bytes, or the first
lines, say what the file is, and the remedy says how to come from it to an expression table.
"""

from __future__ import annotations

import re
from pathlib import Path

from specformer_encoder.errors import InputFileError
from specformer_encoder.readers.delimited import Head
from specformer_encoder.readers.layout_names import is_whole

_COUNT = "Count its reads per gene first (STAR, featureCounts, Salmon) and give that table."
_TABLE = "Give the expression table: TSV, CSV or Parquet, genes in rows and samples in columns."
_ARRAY = "SpecFormer reads RNA-seq; microarray intensities are no substitute for it."
_PAGE = "Download the file itself: this is the page about it."
_EXPORT = "Save the table inside it as TSV, CSV or Parquet. "

_TO_TEXT = "Save the expression table as TSV, CSV or Parquet, genes in rows and samples in columns."

#: First bytes → what it is, what to do.
_BYTES: tuple[tuple[bytes, str, str], ...] = (
    (b"PK\x03\x04", "a zip archive inside an archive", "Unpack it and give the table inside."),
    (
        b"\xd0\xcf\x11\xe0",
        "an old Excel workbook (.xls)",
        "In Excel, save the sheet as 'CSV UTF-8' or tab-delimited text.",
    ),
    (
        b"X\n\x00\x00\x00",
        "R data (.rds)",
        "In R: write.csv(as.matrix(readRDS(file)), 'table.csv').",
    ),
    (b"A\n2\n", "R data (.rds)", "In R: write.csv(as.matrix(readRDS(file)), 'table.csv')."),
    (b"A\n3\n", "R data (.rds)", "In R: write.csv(as.matrix(readRDS(file)), 'table.csv')."),
    (b"RDX", "R data (.RData)", "In R: load it and write.csv(as.matrix(x), 'table.csv')."),
    (b"RDA", "R data (.RData)", "In R: load it and write.csv(as.matrix(x), 'table.csv')."),
    (b"\x1f\x8b", "compressed twice", "Decompress it once."),
    (b"BZh", "compressed twice", "Decompress it once."),
    (b"\x28\xb5\x2f\xfd", "compressed twice", "Decompress it once."),
    (b"\xfd7zXZ\x00", "xz-compressed", "Decompress it, or compress it with gzip instead."),
    (b"7z\xbc\xaf\x27\x1c", "a 7-Zip archive", "Unpack it and give the table inside."),
    (b"%PDF", "a PDF document", _TO_TEXT),
    (b"\x93NUMPY", "a NumPy array without gene names", _TO_TEXT),
    (b"\x80\x04\x95", "a Python pickle", "Pickles can run code and are never read. " + _TO_TEXT),
    (b"BAM\x01", "aligned reads (BAM)", "Count the reads per gene first."),
    (b"<!DOCTYPE", "a web page", "Download the file itself: this is the page about it."),
    (b"<html", "a web page", "Download the file itself: this is the page about it."),
    (b"CRAM", "aligned reads (CRAM)", _COUNT),
    (b"BAI\x01", "the index of a BAM file", _COUNT),
    (b"BCF", "variants (BCF)", _TABLE),
    (b"NCBI.sra", "sequencing reads (SRA)", _COUNT),
    (b"IDAT", "a methylation or genotyping array (IDAT)", _ARRAY),
    (b"[CEL]", "a microarray scan (CEL)", _ARRAY),
    (b"\x40\x00\x00\x00\x04\x00\x00\x00", "a microarray scan (CEL)", _ARRAY),
    (b";\x01\x00\x00", "a microarray scan (CEL)", _ARRAY),
    (b"\x89PNG", "an image (PNG)", _TABLE),
    (b"\xff\xd8\xff", "an image (JPEG)", _TABLE),
    (b"GIF8", "an image (GIF)", _TABLE),
    (b"II*\x00", "an image (TIFF)", _TABLE),
    (b"MM\x00*", "an image (TIFF)", _TABLE),
    (b"SQLite format 3", "an SQLite database", _EXPORT),
    (b"MATLAB 5.0", "MATLAB data (.mat)", _EXPORT),
    (b"\x26\xfc\x8f\x87", "a bigWig track", _COUNT),
    (b"\x0b\x0e\x0a\xc1", "R data (.qs)", "In R: write.csv(as.matrix(qs::qread(file)), 'x.csv')."),
    (b"{\\rtf", "a document (RTF)", _TABLE),
    (b"%!PS", "a PostScript document", _TABLE),
)
_TAR_MAGIC = slice(257, 262)
_GTF = r"(?m)\A(?:#.*\n)*[^\t\n#]+\t[^\t\n]+\t\w+\t\d+\t\d+\t[^\t\n]+\t[-+.]\t[.012]\t"
_MAF = r"(?s)\A(?:#[^\n]*\n)*Hugo_Symbol\t[^\n]*\tVariant_Classification\b"
#: Start of the text → what it is, what to do. The first that fits counts.
_TEXT: tuple[tuple[re.Pattern[str], str, str], ...] = (
    (re.compile(r"\s*<(!doctype\s+html|html|head|body)", re.I), "a web page", _PAGE),
    (re.compile(r"\s*<\?xml|\s*<!DOCTYPE|\s*<\w+[\s>/]"), "XML", _TABLE),
    (re.compile(r"\s*(\{\s*(\"|\})|\[\s*[\[\{\"\]\d-])"), "JSON", _TABLE),
    (re.compile(r"##fileformat=VCF"), "variants (VCF)", _TABLE),
    (re.compile(_MAF), "mutations (MAF)", _TABLE),
    (re.compile(r"##gff-version|##gtf|#!genome-build"), "a gene annotation (GTF/GFF)", _TABLE),
    (re.compile(_GTF), "a gene annotation (GTF/GFF)", _TABLE),
    (re.compile(r"@(HD|SQ|RG|PG|CO)\t"), "aligned reads (SAM)", _COUNT),
    (re.compile(r"@[^\n]+\r?\n[ACGTUNacgtun.]+\r?\n\+"), "sequencing reads (FASTQ)", _COUNT),
    (re.compile(r">[^\n]*\r?\n[A-Za-z*-]{10,}\r?\n"), "sequences (FASTA)", _COUNT),
    (re.compile(r"\^(DATABASE|PLATFORM|SERIES|SAMPLE)\b"), "a GEO SOFT file",
     "Download the series' supplementary expression table from GEO."),
    (re.compile(r"(track|browser) |fixedStep |variableStep "), "a genome track", _COUNT),
    (re.compile(r"\s+Started job on \|"), "STAR's log", "Give its ReadsPerGene.out.tab."),
    (re.compile(r"Status\t.*\r?\nAssigned\t"), "featureCounts' summary",
     "Give the table that featureCounts wrote beside it, without .summary."),
    (re.compile(r"(version https://git-lfs)"), "a Git LFS pointer, not the file",
     "Fetch the file itself: git lfs pull."),
)  # fmt: skip


def refuse(path: Path, head: bytes) -> None:
    """Refuse a file of a known kind that is no expression table, and one without content.

    Parameters
    ----------
    path
        The file.
    head
        The start of its content, decompressed.

    Raises
    ------
    InputFileError
        Naming the kind and what to do.
    """
    if not head:
        raise InputFileError(
            f"{path.name!r} holds nothing once decompressed.", "Export or download it again."
        )
    known = [(what, remedy) for start, what, remedy in _BYTES if head.startswith(start)]
    if head[_TAR_MAGIC] == b"ustar":
        known.append(("a tar archive", "Unpack it and give the table inside."))
    if not known:
        text = head.decode("utf-8", errors="replace").removeprefix("\ufeff")
        known = [(what, remedy) for pattern, what, remedy in _TEXT if pattern.match(text)]
    if known:
        what, remedy = known[0]
        raise InputFileError(
            f"{path.name!r} is {what}; an expression table was expected.", remedy.strip()
        )


def refuse_by_header(path: Path, head: Head) -> None:
    """Refuse a table whose first row is that of another kind of table.

    Parameters
    ----------
    path, head
        The file and its head.

    Raises
    ------
    InputFileError
        Naming the kind and what to do.
    """
    names = {name.lower() for name in head.rows[0]}
    if names >= {"hugo_symbol", "variant_classification"}:
        raise InputFileError(
            f"{path.name!r} is mutations (MAF); an expression table was expected.", _TABLE
        )
    first = head.rows[0]
    if len(first) == 9 and all(map(is_whole, first[1:])):  # STAR's SJ.out.tab
        raise InputFileError(
            f"{path.name!r} is a list of splice junctions; an expression table was expected.",
            "Give STAR's ReadsPerGene.out.tab.",
        )
