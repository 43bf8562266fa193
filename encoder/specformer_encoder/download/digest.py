"""Length, hashes and gzip integrity of bytes that pass by once."""

from __future__ import annotations

import hashlib
import zlib
from pathlib import Path

BLOCK = 1 << 20
"""Bytes that are read, or inflated, at a time."""


class SpoiledError(Exception):
    """The bytes cannot be those of the file; the text says why."""


class Digest:
    """Length and hashes of a stream, and whether it is whole gzip where it should be.

    Parameters
    ----------
    gzipped
        Whether the bytes are to be a gzip file: one or more members, zeros allowed behind them.
    """

    def __init__(self, *, gzipped: bool) -> None:
        self.size = 0
        self._gzipped = gzipped
        self._sha256 = hashlib.sha256()
        self._md5 = hashlib.md5(usedforsecurity=False)
        self._member = zlib.decompressobj(wbits=31)
        self._inside = gzipped  # a member has begun, or the first has not yet

    def update(self, block: bytes | memoryview) -> None:
        """Take in the next bytes; raise `SpoiledError` if they cannot be gzip."""
        self.size += len(block)
        self._sha256.update(block)
        self._md5.update(block)
        if self._gzipped:
            try:
                self._inflate(bytes(block))
            except zlib.error as error:
                raise SpoiledError(f"is no intact gzip file ({error})") from None

    @property
    def is_whole(self) -> bool:
        """Whether a gzip file may end here; any other file may end anywhere."""
        return not self._inside

    @property
    def sha256(self) -> str:
        """SHA-256 of the bytes so far, hexadecimal."""
        return self._sha256.hexdigest()

    @property
    def md5(self) -> str:
        """MD5 of the bytes so far, hexadecimal."""
        return self._md5.hexdigest()

    def _inflate(self, block: bytes) -> None:
        while block:
            if not self._inside:
                block = block.lstrip(b"\0")
                if not block:
                    return
                self._member, self._inside = zlib.decompressobj(wbits=31), True
            self._member.decompress(block, BLOCK)  # checks the CRC at the member's end
            block = self._member.unconsumed_tail
            if self._member.eof:
                self._inside, block = False, self._member.unused_data


def digest_of(path: Path, *, gzipped: bool = False) -> Digest:
    """Hash a file; raise `SpoiledError` if it is not the gzip file that it should be."""
    digest = Digest(gzipped=gzipped)
    with path.open("rb") as handle:
        while block := handle.read(BLOCK):
            digest.update(block)
    if not digest.is_whole:
        raise SpoiledError("is a gzip file that ends too early")
    return digest
