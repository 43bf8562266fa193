"""One public file, fetched well: resumed, tried again, checked, named last.

The bytes go to a part beside the file (`part.py`) and are hashed on the way. A run that ends early,
whatever ended it, leaves the part, and the next one asks for the rest (``Range``), provided the
server still has the same version (``If-Range``). The file gets its name when its length, its
published checksum and, for ``.gz``, the CRC of its content are right; nothing half-written ever
bears the name.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import httpx

from specformer_encoder.download.digest import Digest, SpoiledError, digest_of
from specformer_encoder.download.part import Part, Version, locked_part, storage_errors
from specformer_encoder.download.progress import Progress, Silent
from specformer_encoder.download.web import (
    Attempts,
    Policy,
    TransientError,
    answer,
    open_client,
    published_md5,
    shown,
    whole,
)
from specformer_encoder.errors import DownloadError

_RANGE = re.compile(r"bytes (?:(\d+)-\d+|\*)/(\d+|\*)")


@dataclass(frozen=True, slots=True)
class Fetched:
    """A file that is whole and checked.

    Attributes
    ----------
    path
        Where it lies.
    size, sha256, md5
        Of its content.
    version
        What the server said of it; None = no server was asked, the file was there.
    transferred
        Bytes that came over the network in this run.
    """

    path: Path
    size: int
    sha256: str
    md5: str
    version: Version | None
    transferred: int


def fetch(
    url: str,
    out: Path,
    *,
    size: int | None = None,
    md5: str | None = None,
    may_visit: Callable[[httpx.URL], bool] | None = None,
    policy: Policy | None = None,
    progress: Progress | None = None,
) -> Fetched:
    """Fetch one file.

    A file that is already there is kept if its MD5 is the one expected, or if it has the server's
    length and a checksum (published, or gzip's own) can vouch for it; otherwise it is replaced once
    the new one is whole. A second process that fetches the same file waits for the first.

    Parameters
    ----------
    url
        Address, http or https.
    out
        Where to put it; a name in ``.gz`` has to turn out to be intact gzip.
    size, md5
        What the file must have, where that is known beforehand.
    may_visit
        Says where a redirect may lead; None = anywhere, but never from https to http.
    policy
        How patient to be.
    progress
        Is told how it goes.

    Returns
    -------
    Fetched
        The file with its hashes.

    Raises
    ------
    DownloadError
        It cannot be fetched, or what comes is not what was published. What has come so far is kept
        for the next run, unless it is wrong.
    """
    policy, progress = policy or Policy(), progress or Silent()
    with storage_errors(out):
        out.parent.mkdir(parents=True, exist_ok=True)
        gzipped = out.name.endswith(".gz")
        with (
            locked_part(out, gzipped=gzipped, note=progress.note) as part,
            open_client(url, policy=policy, may_visit=may_visit) as client,
        ):
            if md5 is not None and (kept := _matching(out, size=size, md5=md5)) is not None:
                return kept
            part.restore(shown(url))
            transfer = _Transfer(url, out, part, client, progress, size=size, md5=md5)
            return transfer.run(Attempts(out.name, policy, progress.note))


class _Transfer:
    """The state of one download."""

    def __init__(
        self,
        url: str,
        out: Path,
        part: Part,
        client: httpx.Client,
        progress: Progress,
        *,
        size: int | None,
        md5: str | None,
    ) -> None:
        self._url = url
        self._out = out
        self._part = part
        self._client = client
        self._progress = progress
        self._size = size
        self._md5 = md5
        self._gzipped = out.name.endswith(".gz")
        self._ranges = True
        self._spoiled = False
        self._transferred = 0

    def run(self, attempts: Attempts) -> Fetched:
        furthest = self._part.size
        while True:
            try:
                return self._attempt()
            except TransientError as error:
                attempts.failed(error, progressed=self._part.size > furthest)
                furthest = max(furthest, self._part.size)
            except SpoiledError as error:
                self._part.restart()
                if self._spoiled:
                    raise DownloadError(
                        f"What {httpx.URL(self._url).host} sends for {self._out.name!r} {error}, "
                        "twice; nothing of it was kept.",
                        "Something on the way changes it, or the file was replaced: try another "
                        "network or mirror, or report it.",
                    ) from None
                self._spoiled = True
                self._progress.note(f"{self._out.name}: what came {error}; fetching it again")

    def _attempt(self) -> Fetched:
        part = self._part
        if part.version is not None and part.size == part.version.size:
            return self._finish(ended=True)  # everything had come, only the name was missing
        headers = self._range_headers()
        with answer(self._client, "GET", self._url, headers) as response:
            if response.status_code == 416:
                self._judge_end(response)
                return self._finish(ended=True)
            if (kept := self._judge_start(response)) is not None:
                return kept
            ended = _ends_by_itself(response)
            if not ended and not (self._gzipped or self._md5):
                raise DownloadError(
                    f"{shown(self._url)} does not say how long it is and has no checksum, so "
                    "nobody could tell whether all of it came.",
                    "Fetch it from another address.",
                )
            # Without a chunk size, which would hold bytes back and lose them when it breaks.
            chunks = response.iter_bytes() if self._is_encoded(response) else response.iter_raw()
            self._show()
            for chunk in chunks:
                part.write(chunk)
                self._transferred += len(chunk)
                self._show()
        return self._finish(ended=ended)

    def _range_headers(self) -> dict[str, str]:
        """Ask for the rest, if it can be told that it is the rest of the same version."""
        part = self._part
        if not part.size or part.version is None:
            return {}
        validator = part.version.validator
        if not self._ranges or (validator is None and not (self._gzipped or self._md5)):
            part.restart()
            return {}
        headers = {"Range": f"bytes={part.size}-"}
        if validator is not None:
            headers["If-Range"] = validator
        return headers

    def _judge_start(self, response: httpx.Response) -> Fetched | None:
        """Take a 200 or a 206 as the beginning or the rest; return a file that needs neither."""
        part, name = self._part, self._out.name
        version = self._version(response)
        if response.headers.get("Content-Type", "").startswith("text/html"):
            raise DownloadError(
                f"Instead of {name!r}, {response.url.host} sends a web page.",
                "A proxy or captive portal may want a login; open the address in a browser.",
            )
        if response.status_code == 206:
            start, _ = _content_range(response)
            if start != part.size:
                self._ranges = False
                part.restart()
                raise TransientError(f"{response.url.host} sent another range than asked for")
            if part.version is not None and not version.may_be(part.version):
                part.restart()
                raise TransientError(f"the file on {response.url.host} has changed")
        elif part.size:
            changed = part.version is not None and not version.may_be(part.version)
            why = "the file there has changed" if changed else "the server cannot resume"
            self._progress.note(f"{name}: {why}; starting again from the beginning")
            part.restart()
        if not part.size and (kept := self._kept(version)) is not None:
            return kept
        if not part.size:
            part.begin(version)
        return None

    def _judge_end(self, response: httpx.Response) -> None:
        """Take a 416: there is nothing behind what is there, or the file has changed."""
        _, total = _content_range(response)
        if total is None or total != self._part.size or self._part.version is None:
            self._ranges = self._ranges and total is not None
            self._part.restart()
            raise TransientError(f"the file on {response.url.host} has changed")

    def _version(self, response: httpx.Response) -> Version:
        headers = response.headers
        if response.status_code == 206:
            _, size = _content_range(response)
        else:
            size = whole(headers.get("Content-Length"))
        encoded = self._is_encoded(response)
        if encoded:
            # Ranges and checksums are of the encoded bytes, which are not the file.
            self._ranges = False
        return Version(
            url=shown(self._url),
            final_url=shown(response.url),
            etag=headers.get("ETag"),
            last_modified=headers.get("Last-Modified"),
            size=None if encoded else size,
            md5=None if encoded else published_md5(headers),
        )

    def _is_encoded(self, response: httpx.Response) -> bool:
        """Whether the body is packed for the way only; for a ``.gz`` the packing is the file."""
        encoding = response.headers.get("Content-Encoding", "identity")
        return encoding != "identity" and not self._gzipped

    def _kept(self, version: Version) -> Fetched | None:
        """Return the file that is already there, if it is this version."""
        md5 = self._md5 or version.md5
        if not self._out.is_file() or not (self._gzipped or md5):
            return None
        if version.size is None or self._out.stat().st_size != version.size:
            return None
        try:
            digest = digest_of(self._out, gzipped=self._gzipped)
        except SpoiledError:
            return None
        if md5 is not None and digest.md5 != md5:
            return None
        return _fetched(self._out, digest, version, 0)

    def _finish(self, *, ended: bool) -> Fetched:
        """Check the file and name it; `ended` says that no byte can be missing at its end."""
        part = self._part
        assert part.version is not None  # noqa: S101 - bytes always have a version
        size = self._size if part.version.size is None else part.version.size
        if size is not None and part.size < size:
            raise TransientError(f"the body ended after {part.size:,} of {size:,} bytes")
        for expected in (size, self._size):
            if expected is not None and part.size != expected:
                raise SpoiledError(f"has {part.size:,} bytes where {expected:,} were announced")
        if not part.digest.is_whole:
            if ended:
                raise SpoiledError("is a gzip file that ends too early")
            raise TransientError("the body ended within the gzip data")
        for expected_md5 in (self._md5, part.version.md5):
            if expected_md5 is not None and part.digest.md5 != expected_md5:
                raise SpoiledError(f"has the MD5 {part.digest.md5}; published is {expected_md5}")
        part.name(self._out)
        return _fetched(self._out, part.digest, part.version, self._transferred)

    def _show(self) -> None:
        known = self._part.version.size if self._part.version is not None else None
        self._progress.update(self._out.name, self._part.size, known or self._size)


def _matching(path: Path, *, size: int | None, md5: str) -> Fetched | None:
    """Return the file if it is there and is the one expected."""
    if not path.is_file() or (size is not None and path.stat().st_size != size):
        return None
    digest = digest_of(path)
    return _fetched(path, digest, None, 0) if digest.md5 == md5 else None


def _fetched(path: Path, digest: Digest, version: Version | None, transferred: int) -> Fetched:
    return Fetched(path, digest.size, digest.sha256, digest.md5, version, transferred)


def _content_range(response: httpx.Response) -> tuple[int | None, int | None]:
    """Return first byte and length of the whole; None = not stated."""
    match = _RANGE.fullmatch(response.headers.get("Content-Range", ""))
    return (whole(match[1]), whole(match[2])) if match else (None, None)


def _ends_by_itself(response: httpx.Response) -> bool:
    """Whether HTTP itself shows a body that was cut off."""
    return "Content-Length" in response.headers or "Transfer-Encoding" in response.headers
