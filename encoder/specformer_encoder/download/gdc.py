"""One open-access expression file of the NCI Genomic Data Commons, by its UUID.

``gdc:<uuid>`` names a file as the GDC does. Its metadata say whether it is open and what it holds,
and give name, size and MD5, which are checked. The file then lies in the cache,
``$XDG_CACHE_HOME/specformer/gdc/<uuid>/`` (``~/.cache`` by default), with its metadata beside it:
a UUID never gets other content, so nobody is asked for it twice. A STAR file has 4 MB; the cache
grows with every new UUID and may be deleted at any time.

The server fetches what a language model names, so nothing it names can lead elsewhere: the UUID is
matched strictly, the address is built here, and a redirect is followed only to the host of the API
itself and to hosts below ``gdc.cancer.gov``, over https. A private address can thus be reached only
if the administrator made it the API (``SPECFORMER_GDC_API``).
"""

from __future__ import annotations

import contextlib
import json
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from specformer_encoder.download.digest import digest_of
from specformer_encoder.download.file import fetch as fetch_file
from specformer_encoder.download.progress import Note, Progress, Silent
from specformer_encoder.download.web import (
    Attempts,
    Policy,
    RefusedError,
    TransientError,
    answer,
    open_client,
    shown,
)
from specformer_encoder.errors import DownloadError
from specformer_encoder.files import write_whole

PREFIX = "gdc:"
API = "https://api.gdc.cancer.gov"
ENVIRONMENT = "SPECFORMER_GDC_API"
DATA_TYPE = "Gene Expression Quantification"

_UUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.ASCII)
_SAFE_NAME = re.compile(r"\w[\w.+-]{0,200}", re.ASCII)
_MD5 = re.compile(r"[0-9a-f]{32}")
_LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})
_LARGEST = 100_000_000
"""An expression file of one sample has 4 MB; what is much larger is none."""
_LARGEST_METADATA = 1_000_000
_METADATA = "metadata.json"
_PATIENCE = Policy(attempts=4, longest_wait_s=5.0)
"""Somebody waits for the answer of a tool."""

_checked: dict[Path, tuple[int, int]] = {}
"""Cached files whose MD5 this process has found right → length and time of change."""


@dataclass(frozen=True, slots=True)
class GdcFile:
    """An open expression file and what the GDC says of it; None = it does not say.

    Attributes
    ----------
    path
        Where it lies.
    uuid, file_name, md5, bytes
        As the GDC states them, checked.
    project
        As ``TCGA-LUAD``.
    case
        The patient, as ``TCGA-05-4244``.
    sample
        The sample's barcode, as ``TCGA-05-4244-01A``.
    sample_type
        As ``Primary Tumor``.
    workflow
        As ``STAR - Counts``.
    """

    path: Path
    uuid: str
    file_name: str
    md5: str
    bytes: int
    project: str | None
    case: str | None
    sample: str | None
    sample_type: str | None
    workflow: str | None


def parse_gdc(text: str) -> str:
    """Return the UUID of ``gdc:<uuid>``, in lower case.

    Raises
    ------
    DownloadError
        There is no UUID behind the prefix.

    Examples
    --------
    >>> parse_gdc("gdc:0F5A2C1E-9B1D-4E57-8C3A-1D2E3F405162")
    '0f5a2c1e-9b1d-4e57-8c3a-1d2e3f405162'
    """
    uuid = text.removeprefix(PREFIX).lower()
    if not text.startswith(PREFIX) or not _UUID.fullmatch(uuid):
        raise DownloadError(
            f"{text[:80]!r} does not name a GDC file.",
            "Write gdc: and the file's UUID, as gdc:0f5a2c1e-9b1d-4e57-8c3a-1d2e3f405162.",
        )
    return uuid


def cache_folder() -> Path:
    """Return where fetched files are kept."""
    base = os.environ.get("XDG_CACHE_HOME", "")
    # The standard says that a relative path is to be ignored.
    root = Path(base) if base and Path(base).is_absolute() else Path.home() / ".cache"
    return root / "specformer" / "gdc"


def fetch(
    uuid: str,
    *,
    cache: Path | None = None,
    api: str | None = None,
    policy: Policy = _PATIENCE,
    progress: Progress | None = None,
) -> GdcFile:
    """Fetch an open expression file, or take it from the cache.

    Parameters
    ----------
    uuid
        As `parse_gdc` returns it.
    cache
        Folder of the cache; None = `cache_folder`.
    api
        Address of the API; None = the environment variable ``SPECFORMER_GDC_API``, else the GDC's.
    policy
        How patient to be.
    progress
        Is told how it goes.

    Returns
    -------
    GdcFile
        The file, checked by size and MD5: when it is fetched, and again once in every process.

    Raises
    ------
    DownloadError
        The UUID is unknown, the file is controlled or no gene expression, or it cannot be fetched.
    """
    parse_gdc(PREFIX + uuid)  # it becomes the name of a folder and a part of an address
    progress = progress or Silent()
    folder = (cache or cache_folder()) / uuid
    if (cached := _from_cache(folder, uuid)) is not None:
        return cached
    base = _api(api or os.environ.get(ENVIRONMENT) or API)
    may_visit = _trusted(httpx.URL(base))
    metadata = _ask(base, uuid, policy, may_visit, progress.note)
    file = _describe(metadata, folder, uuid)
    fetch_file(
        f"{base}/data/{uuid}",
        file.path,
        size=file.bytes,
        md5=file.md5,
        may_visit=may_visit,
        policy=policy,
        progress=progress,
    )
    _remember(file.path)
    with contextlib.suppress(OSError):  # without it the GDC is asked again, no more
        write_whole(folder / _METADATA, json.dumps(metadata, indent=1).encode())
    return file


def _from_cache(folder: Path, uuid: str) -> GdcFile | None:
    """Return the cached file if it is there and intact."""
    try:
        file = _describe(json.loads((folder / _METADATA).read_bytes()), folder, uuid)
        status = file.path.stat()
        if _checked.get(file.path) == (status.st_size, status.st_mtime_ns):
            return file
        if status.st_size != file.bytes or digest_of(file.path).md5 != file.md5:
            return None
    except (OSError, ValueError, DownloadError):
        return None
    _remember(file.path)
    return file


def _remember(path: Path) -> None:
    status = path.stat()
    _checked[path] = (status.st_size, status.st_mtime_ns)


def _ask(
    base: str,
    uuid: str,
    policy: Policy,
    may_visit: Callable[[httpx.URL], bool],
    note: Note,
) -> dict[str, Any]:
    """Return the metadata of a file."""
    url = f"{base}/files/{uuid}?expand=cases.project,cases.samples"
    attempts = Attempts(f"{PREFIX}{uuid}", policy, note)
    with open_client(url, policy=policy, may_visit=may_visit) as client:
        while True:
            try:
                with answer(client, "GET", url) as response:
                    body = b""
                    for chunk in response.iter_bytes():
                        body += chunk
                        if len(body) > _LARGEST_METADATA:
                            break
                break
            except TransientError as error:
                attempts.failed(error)
            except RefusedError as error:
                if error.status not in {400, 404}:
                    raise
                raise DownloadError(
                    f"The GDC knows no file {uuid}.",
                    "Check the UUID: that of the file is needed, not that of a case or sample. "
                    "A file of an older data release may have been replaced by a new one.",
                ) from error
    try:
        data = json.loads(body)["data"]
        if not isinstance(data, dict):
            raise TypeError
    except (ValueError, KeyError, TypeError) as error:
        raise DownloadError(
            f"{shown(base)} answered something else than the metadata of {uuid}.",
            f"A proxy may have answered in its place; check {ENVIRONMENT} and HTTPS_PROXY.",
        ) from error
    return data


def _describe(data: Mapping[str, Any], folder: Path, uuid: str) -> GdcFile:
    """Read metadata; refuse a file that is not an open expression profile of one sample."""
    name, size, md5 = data.get("file_name"), data.get("file_size"), data.get("md5sum")
    if data.get("access") != "open":
        raise DownloadError(
            f"gdc:{uuid} is under {data.get('access') or 'unknown'} access; only open files are "
            "fetched.",
            "Controlled files need dbGaP authorisation: fetch it with the GDC Data Transfer Tool "
            "and your token, and give the path.",
        )
    strategy = data.get("experimental_strategy")
    if data.get("data_type") not in {None, DATA_TYPE} or strategy not in {None, "RNA-Seq"}:
        what = f"{data.get('data_type')}{f', {strategy}' if strategy else ''}"
        raise DownloadError(
            f"gdc:{uuid} is no bulk gene expression but {what} ({str(name)[:120]}).",
            f"Choose the file of this sample with data type '{DATA_TYPE}' and strategy 'RNA-Seq' "
            "(workflow 'STAR - Counts').",
        )
    if (
        not (isinstance(name, str) and _SAFE_NAME.fullmatch(name))
        or not (isinstance(md5, str) and _MD5.fullmatch(md5))
        or not isinstance(size, int)
        or not 0 < size <= _LARGEST
        or name == _METADATA
    ):
        raise DownloadError(
            f"The metadata of gdc:{uuid} have no usable name, size or MD5 "
            f"({str(name)[:120]!r}, {size!r}, {str(md5)[:40]!r}).",
            "Fetch the file from the GDC portal and give its path.",
        )
    cases = _objects(data.get("cases"))
    samples = [sample for case in cases for sample in _objects(case.get("samples"))]
    project = _objects([cases[0].get("project")] if cases else None)
    return GdcFile(
        path=folder / name,
        uuid=uuid,
        file_name=name,
        md5=md5,
        bytes=size,
        project=_only(project, "project_id"),
        case=_only(cases, "submitter_id"),
        sample=_only(samples, "submitter_id"),
        sample_type=_only(samples, "sample_type"),
        workflow=_only(_objects([data.get("analysis")]), "workflow_type"),
    )


def _objects(value: Any) -> list[dict[str, Any]]:
    return [one for one in value if isinstance(one, dict)] if isinstance(value, list) else []


def _only(objects: list[dict[str, Any]], key: str) -> str | None:
    """Return the value that all objects share, if it is text."""
    values = {value for one in objects if isinstance(value := one.get(key), str) and value}
    return values.pop()[:200] if len(values) == 1 else None


def _api(address: str) -> str:
    try:
        url = httpx.URL(address.rstrip("/"))
    except httpx.InvalidURL:
        url = httpx.URL()
    if not url.host or not (url.scheme == "https" or _is_local_http(url)):
        raise DownloadError(
            f"{shown(url) or address[:100]!r} cannot be the GDC API: it has to be an https "
            "address, or http on this machine.",
            f"Mend or unset {ENVIRONMENT}.",
        )
    return str(url).rstrip("/")


def _is_local_http(url: httpx.URL) -> bool:
    return url.scheme == "http" and url.host in _LOOPBACK


def _trusted(api: httpx.URL) -> Callable[[httpx.URL], bool]:
    """Return the rule for where the API may redirect to."""

    def may_visit(url: httpx.URL) -> bool:
        if (url.scheme, url.host, url.port) == (api.scheme, api.host, api.port):
            return True
        return url.scheme == "https" and url.port is None and url.host.endswith(".gdc.cancer.gov")

    return may_visit
