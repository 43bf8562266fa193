"""Opening a file that nobody has vouched for.

Everything that can be wrong with a file before its first cell is read is caught here: it is
missing, a folder, empty, too large, of a kind that is not an expression matrix, truncated, or
compressed so well that it would fill the memory. Compressed files (gzip, bzip2, Zstandard, a zip
archive of one file) are inflated as a stream and
the stream stops at the cap, so a small file cannot become a large problem.
"""

from __future__ import annotations

import io
import stat
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from specformer_encoder.errors import InputFileError


@dataclass(frozen=True, slots=True)
class Limits:
    """Caps on what a reader accepts.

    Attributes
    ----------
    max_bytes
        Size of the file on disk.
    max_inflated_bytes
        Size of its content once decompressed.
    max_samples, max_genes
        Columns and rows of the matrix; the rows may be transcripts, of which there are several
        hundred thousand.
    memory_bytes
        Values kept in memory; a larger matrix is kept in a temporary file, or left in its own.
    """

    max_bytes: int = 2_000_000_000
    max_inflated_bytes: int = 8_000_000_000
    max_samples: int = 20_000
    max_genes: int = 600_000
    memory_bytes: int = 1 << 30


#: A person's own files on their own machine: the caps on a stranger's do not apply, and what does
#: not fit memory goes through the disk.
OWN_FILES = Limits(
    max_bytes=1 << 50,
    max_inflated_bytes=1 << 50,
    max_samples=1_000_000,
    max_genes=1_000_000,
    memory_bytes=1 << 28,
)

#: Compressions that are read, by the bytes a file starts with.
_CODECS = {
    b"\x1f\x8b": "gzip",
    b"BZh": "bz2",
    b"\x28\xb5\x2f\xfd": "zstd",
    b"PK\x03\x04": "zip",
}
_CODEC_NAMES = {"gzip": "gzip", "bz2": "bzip2", "zstd": "Zstandard", "zip": "zip"}
_EXCEL_MEMBER = "[Content_Types].xml"
_NO_MEMBERS = ("__MACOSX/", ".DS_Store")  # what macOS adds to an archive

_STEM_ENDINGS = (
    ".gz",
    ".bz2",
    ".zst",
    ".zip",
    ".tsv",
    ".csv",
    ".txt",
    ".tab",
    ".parquet",
    ".pq",
    ".gct",
)
_PARQUET = b"PAR1"


def stem(path: Path) -> str:
    """File name without the endings that say how it is stored."""
    name = path.name
    while len(rest := _without_ending(name)) < len(name):
        name = rest
    return name


def _without_ending(name: str) -> str:
    for ending in _STEM_ENDINGS:
        if name.lower().endswith(ending) and len(name) > len(ending):
            return name[: -len(ending)]
    return name


def check_size(
    source: str,
    limits: Limits,
    *,
    samples: int = 0,
    genes: int = 0,
    remedy: str = "Split the matrix, or raise the limit.",
) -> None:
    """Refuse a matrix of more samples or genes than the caps allow.

    Raises
    ------
    InputFileError
        Naming the number and the cap.
    """
    for number, what, most in (
        (samples, "samples", limits.max_samples),
        (genes, "genes", limits.max_genes),
    ):
        if number > most:
            raise InputFileError(
                f"{source!r} has {number:,} {what}; the limit is {most:,}.", remedy
            )


def check_file(path: Path, limits: Limits) -> None:
    """Refuse what is no regular, non-empty file within the size cap.

    Raises
    ------
    InputFileError
        Naming what was found instead.
    """
    try:
        status = path.stat()
    except FileNotFoundError:
        raise InputFileError(
            f"There is no file {path.name!r} in {str(path.parent)!r}.",
            "Check the path; a relative path starts at the working folder of the server.",
        ) from None
    except (OSError, ValueError) as error:
        raise InputFileError(
            f"{path.name!r} cannot be opened ({error}).", "Check the path and its permissions."
        ) from None
    if stat.S_ISDIR(status.st_mode):
        raise InputFileError(
            f"{path.name!r} is a folder; an expression file was expected.",
            "Name one file inside it.",
        )
    if not stat.S_ISREG(status.st_mode):
        raise InputFileError(
            f"{path.name!r} is no regular file (a device, pipe or socket).",
            "Save the table to a file first.",
        )
    if status.st_size == 0:
        raise InputFileError(
            f"{path.name!r} is empty (0 bytes).", "Export or download the table again."
        )
    if status.st_size > limits.max_bytes:
        raise InputFileError(
            f"{path.name!r} has {status.st_size:,} bytes; the limit is {limits.max_bytes:,}.",
            "Split the matrix by samples, or raise the limit.",
        )


class InflatedStream(io.RawIOBase):
    """A file's content, decompressed while it is read, never past the cap.

    Parameters
    ----------
    path
        A file that passed `check_file`.
    limits
        ``max_inflated_bytes`` is the cap.
    """

    def __init__(self, path: Path, limits: Limits) -> None:
        super().__init__()
        self._name = path.name
        self._limit = limits.max_inflated_bytes
        self._count = 0
        self._stream: Any = None  # so that close() works when opening fails
        try:
            file = pa.OSFile(str(path))
        except OSError as error:
            raise InputFileError(
                f"{path.name!r} cannot be read ({error}).", "Check the file's permissions."
            ) from None
        magic = file.read(4)
        file.seek(0)
        self.codec = next((c for start, c in _CODECS.items() if magic.startswith(start)), None)
        if self.codec == "zip":
            file.close()
            self._stream = _open_member(path)
        else:
            self._stream = pa.CompressedInputStream(file, self.codec) if self.codec else file

    def readable(self) -> bool:
        """Tell the readers that stack on this stream that it can be read."""
        return True

    def read(self, size: int = -1, /) -> bytes:
        """Read up to `size` bytes of content.

        Raises
        ------
        InputFileError
            If the compressed data is damaged or ends early, or the content passes the cap.
        """
        room = self._limit - self._count + 1  # one byte past the cap tells "exactly" from "more"
        wanted = room if size is None or size < 0 else min(size, room)
        try:
            block: bytes = self._stream.read(wanted)
        except (OSError, EOFError, zipfile.BadZipFile, zlib.error) as error:
            name = _CODEC_NAMES.get(self.codec or "", "")
            if "runcated" in str(error) or isinstance(error, EOFError):
                raise InputFileError(
                    f"{self._name!r} is truncated: its {name} data ends early.",
                    "Download or copy it again, and compare its size with the original.",
                ) from None
            raise InputFileError(
                f"{self._name!r} cannot be read: its {name} data is damaged ({error}).",
                "Download or copy it again.",
            ) from None
        self._count += len(block)
        if self._count > self._limit:
            raise InputFileError(
                f"{self._name!r} holds more than {self._limit:,} bytes once decompressed, "
                "which is the limit.",
                "Split the matrix by samples, or raise the limit.",
            )
        return block

    def readinto(self, buffer: Any, /) -> int:
        """Read into a buffer; returns the number of bytes."""
        block = self.read(len(buffer))
        buffer[: len(block)] = block
        return len(block)

    def close(self) -> None:
        """Close the file."""
        if not self.closed and self._stream is not None:
            self._stream.close()
        super().close()


def _open_member(path: Path) -> Any:
    """Open the one file of a zip archive."""
    try:
        archive = zipfile.ZipFile(path)
    except (OSError, NotImplementedError, ValueError, zipfile.BadZipFile) as error:
        raise InputFileError(
            f"{path.name!r} starts like a zip archive and cannot be read ({error}).",
            "It is damaged or was cut off: download or copy it again.",
        ) from None
    members = [m for m in archive.infolist() if not m.filename.endswith("/")]
    if any(member.filename == _EXCEL_MEMBER for member in members):
        raise InputFileError(
            f"{path.name!r} is an Excel workbook (.xlsx); a TSV, CSV or Parquet table was "
            "expected.",
            "In Excel, save the sheet as 'CSV UTF-8' or tab-delimited text.",
        )
    members = [
        m
        for m in members
        if not m.filename.startswith(_NO_MEMBERS) and Path(m.filename).name not in _NO_MEMBERS
    ]
    if len(members) != 1:
        names = ", ".join(repr(m.filename[:60]) for m in members[:5])
        raise InputFileError(
            f"{path.name!r} is a zip archive of {len(members)} files{f' ({names})' * bool(names)}; "
            "one was expected.",
            "Unpack it and give the expression table.",
        )
    try:
        return archive.open(members[0])
    except (OSError, RuntimeError, ValueError, zipfile.BadZipFile) as error:
        raise InputFileError(
            f"{members[0].filename!r} in {path.name!r} cannot be read ({error}).",
            "Unpack it, with its password if it has one, and give the table inside.",
        ) from None


def read_head(path: Path, limits: Limits, size: int) -> tuple[bytes, bool]:
    """Read the first bytes of a file's content, decompressed.

    Returns
    -------
    head
        At most `size` bytes.
    complete
        Whether this is all there is.
    """
    blocks: list[bytes] = []
    length = 0
    with InflatedStream(path, limits) as stream:
        while length <= size:
            block = stream.read(min(1 << 20, size + 1 - length))
            if not block:
                break
            blocks.append(block)
            length += len(block)
    return b"".join(blocks)[:size], length <= size


def open_text(path: Path, limits: Limits, encoding: str) -> io.TextIOWrapper:
    """Open a file's content, decompressed, as text; what cannot be decoded becomes a mark."""
    stream = io.BufferedReader(InflatedStream(path, limits))
    return io.TextIOWrapper(stream, encoding=encoding, errors="replace", newline="")


def is_parquet(path: Path, head: bytes, limits: Limits) -> bool:
    """Whether the file is Parquet.

    Parameters
    ----------
    path
        The file.
    head
        The start of its content, decompressed.
    limits
        Caps, for the stream.

    Raises
    ------
    InputFileError
        If it is Parquet inside another compression.
    """
    if not head.startswith(_PARQUET):
        return False
    with InflatedStream(path, limits) as stream:
        if stream.codec:
            raise InputFileError(
                f"{path.name!r} is a Parquet file inside {_CODEC_NAMES[stream.codec]}.",
                "Decompress it: Parquet is compressed within.",
            )
    return True
