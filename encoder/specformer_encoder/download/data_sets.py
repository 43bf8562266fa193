"""A public data set in a folder: what is missing, whether it fits, fetching it, recording it.

Sizes are asked before anything is fetched, so that a download of hours does not end on a full disk.
A file that the manifest records and that has the recorded length is not asked for again.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from specformer_encoder.download import manifest
from specformer_encoder.download.catalogue import PublicFile
from specformer_encoder.download.file import fetch
from specformer_encoder.download.manifest import Record
from specformer_encoder.download.part import locked_part, storage_errors
from specformer_encoder.download.progress import Progress
from specformer_encoder.download.web import (
    Attempts,
    Policy,
    RefusedError,
    TransientError,
    open_client,
    size_of,
)
from specformer_encoder.errors import DownloadError
from specformer_encoder.files import sha256_of

_MARGIN = 0.01
"""Of the missing bytes, left free: file systems need some for themselves."""
_LEAST_MARGIN = 1 << 20


@dataclass(frozen=True, slots=True)
class Planned:
    """One file of a data set, and how much of it is there.

    Attributes
    ----------
    file
        The file as published.
    url
        The address to ask: the published one or a mirror's.
    size
        Its bytes; None = nobody says.
    size_is_exact
        Whether the size is the server's or the manifest's word; else it is the catalogue's guess.
    there
        Bytes that need not be fetched any more.
    record
        The manifest's record of a file that is there; None = it has to be fetched.
    problem
        Why it cannot be fetched: the server has refused it already.
    """

    file: PublicFile
    url: str
    size: int | None
    size_is_exact: bool
    there: int
    record: Record | None = None
    problem: DownloadError | None = None

    @property
    def missing(self) -> int:
        """Bytes still to come, as far as known."""
        return max(0, (self.size or 0) - self.there)


def plan(
    files: Sequence[PublicFile],
    folder: Path,
    *,
    mirror: str | None = None,
    verify: bool = False,
    ask: bool = True,
    policy: Policy | None = None,
    progress: Progress,
) -> list[Planned]:
    """Find out what is there and how large the rest is.

    Parameters
    ----------
    files
        What is wanted.
    folder
        Where it is to lie.
    mirror
        Address below which the files lie as ``host/path``.
    verify
        Hash the files that are there; one that has changed counts as missing.
    ask
        Whether servers are asked for the sizes of what is missing.
    policy
        How patient to be with them.
    progress
        Is told what is wrong with a file that is there.

    Raises
    ------
    DownloadError
        A server cannot be reached, or the manifest is damaged.
    """
    records = manifest.read(folder)
    planned = []
    for file in files:
        url = mirrored(file.url, mirror)
        record = _still_true(records.get(file.name), folder, verify=verify, progress=progress)
        if record is not None:
            planned.append(Planned(file, url, record.bytes, True, record.bytes, record))
            continue
        size, problem = None, None
        if ask:
            try:
                size = _ask_size(file, url, policy or Policy(), progress)
            except RefusedError as error:
                problem = error
        exact = size is not None
        size = size if exact else file.about_bytes
        planned.append(Planned(file, url, size, exact, _there(file, folder, size), None, problem))
    return planned


def check_space(planned: Sequence[Planned], folder: Path) -> None:
    """Refuse to start what would not fit on the disk.

    Raises
    ------
    DownloadError
        Naming what is needed and what is free.
    """
    missing = sum(one.missing for one in planned)
    needed = missing + max(_LEAST_MARGIN, round(_MARGIN * missing))
    # The folder itself may not be there yet.
    existing = next(
        path for path in (folder.absolute(), *folder.absolute().parents) if path.is_dir()
    )
    free = shutil.disk_usage(existing).free
    if missing and needed > free:
        raise DownloadError(
            f"The download needs {needed:,} bytes and the disk has {free:,} free.",
            "Make room, or name a folder on another disk with --out.",
        )


def download(
    planned: Planned, folder: Path, *, policy: Policy | None, progress: Progress
) -> Record:
    """Fetch one planned file unless it is there, and record it.

    Raises
    ------
    DownloadError
        See `specformer_encoder.download.fetch`.
    """
    if planned.record is not None:
        _tidy(folder / planned.record.name, progress)
        return planned.record
    if planned.problem is not None:
        raise planned.problem
    file = planned.file
    fetched = fetch(planned.url, folder / file.name, md5=file.md5, policy=policy, progress=progress)
    record = Record.of(fetched, url=file.url, md5=file.md5)
    manifest.add(folder, record, note=progress.note)
    return record


def mirrored(url: str, mirror: str | None) -> str:
    """Return the address of a file on a mirror, which keeps ``host/path`` below its own address."""
    if mirror is None:
        return url
    parts = urlsplit(url)
    return f"{mirror.rstrip('/')}/{parts.netloc}{parts.path}"


def _tidy(path: Path, progress: Progress) -> None:
    """Remove the part that a process left which was killed while it waited for another."""
    if path.with_name(f"{path.name}.part").exists():
        with (
            storage_errors(path),
            locked_part(path, gzipped=False, note=progress.note) as part,
        ):
            part.restart()


def _still_true(
    record: Record | None, folder: Path, *, verify: bool, progress: Progress
) -> Record | None:
    if record is None:
        return None
    path = folder / record.name
    with storage_errors(path):
        if not path.is_file():
            return None
        if path.stat().st_size != record.bytes:
            progress.note(f"{record.name}: has another length than recorded; fetching it again")
            return None
        if verify and sha256_of(path) != record.sha256:
            progress.note(f"{record.name}: its SHA-256 is not the recorded one; fetching it again")
            return None
    return record


def _there(file: PublicFile, folder: Path, size: int | None) -> int:
    """Bytes that lie there: a whole file that nobody recorded, or the part of one."""
    path = folder / file.name
    if size is not None and path.is_file() and path.stat().st_size == size:
        return size
    part = path.with_name(f"{path.name}.part")
    return part.stat().st_size if part.exists() else 0


def _ask_size(file: PublicFile, url: str, policy: Policy, progress: Progress) -> int | None:
    attempts = Attempts(file.name, policy, progress.note)
    with open_client(url, policy=policy) as client:
        while True:
            try:
                return size_of(client, url)
            except TransientError as error:
                attempts.failed(error)
