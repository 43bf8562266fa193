"""What lies in a folder of downloads and where it came from: ``manifest.json``.

One record a file, written when the file has its name. The manifest is replaced whole, under a lock,
so that two downloads into one folder lose none of each other's records.
"""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from specformer_encoder.download.file import Fetched
from specformer_encoder.download.part import lock, storage_errors
from specformer_encoder.download.progress import Note
from specformer_encoder.errors import DownloadError
from specformer_encoder.files import write_whole

NAME = "manifest.json"
_LOCK = ".manifest.lock"
_FORMAT = 1


@dataclass(frozen=True, slots=True)
class Record:
    """Where a file came from and what it must be.

    Attributes
    ----------
    name
        Its name in the folder.
    url
        Its published address.
    asked_url, final_url
        The address that was asked (a mirror's, say), and the one that answered after redirects.
    date
        When it was whole, UTC, ISO 8601.
    bytes, sha256
        Of its content.
    md5
        The checksum that the publisher states, which it was checked against; None = none stated.
    etag, last_modified
        The version as the server names it.
    """

    name: str
    url: str
    asked_url: str
    final_url: str
    date: str
    bytes: int
    sha256: str
    md5: str | None
    etag: str | None
    last_modified: str | None

    @classmethod
    def of(cls, fetched: Fetched, *, url: str, md5: str | None) -> Record:
        """Describe a file that has just been fetched."""
        version = fetched.version
        return cls(
            name=fetched.path.name,
            url=url,
            asked_url=version.url if version else url,
            final_url=version.final_url if version else url,
            date=datetime.now(UTC).isoformat(timespec="seconds"),
            bytes=fetched.size,
            sha256=fetched.sha256,
            md5=md5 or (version.md5 if version else None),
            etag=version.etag if version else None,
            last_modified=version.last_modified if version else None,
        )


def read(folder: Path) -> dict[str, Record]:
    """Return the records of a folder by file name; none if it has no manifest.

    Raises
    ------
    DownloadError
        The manifest is damaged.
    """
    path = folder / NAME
    try:
        content = json.loads(path.read_bytes())
        if content["format"] != _FORMAT:
            raise ValueError(f"format {content['format']!r}")
        records = [Record(**record) for record in content["files"]]
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DownloadError(
            f"{NAME} in {folder.name!r} is not one that this version wrote ({error}).",
            "Move it away: intact files are recognised and recorded again.",
        ) from error
    return {record.name: record for record in records}


def add(folder: Path, record: Record, *, note: Note) -> None:
    """Write one record, in place of an older one of the same file.

    Raises
    ------
    DownloadError
        The manifest is damaged or cannot be written.
    """
    with storage_errors(folder / NAME), lock(folder / _LOCK, note=note):
        records = read(folder) | {record.name: record}
        content = {
            "format": _FORMAT,
            "files": [dataclasses.asdict(records[name]) for name in sorted(records)],
        }
        write_whole(folder / NAME, (json.dumps(content, indent=1) + "\n").encode())
