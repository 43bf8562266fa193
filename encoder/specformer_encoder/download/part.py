"""A file that is still being fetched: its bytes, what is known of it, and the lock.

The bytes go to ``NAME.part``, beside it ``NAME.part.json`` says which version of which address they
are of. The part is its own lock (flock), which the system takes back from a process that dies. So
a process may be killed at any moment: the next one finds the lock free and the part as long as it
got. Only a whole, checked, fsynced file is renamed to ``NAME``.

After a power cut a file may be long and yet hold zeros where nothing had reached the disk. The note
therefore keeps how many bytes were surely on it, and the boot of the machine; after another boot
only those bytes are believed.
"""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import fcntl
import io
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from specformer_encoder.download.digest import BLOCK, Digest, SpoiledError
from specformer_encoder.download.progress import Note
from specformer_encoder.errors import DownloadError
from specformer_encoder.files import fsync, unfinished, write_whole

_SYNC_EVERY = 64 << 20
_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
_NO_LOCKS = frozenset({errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOLCK})
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


@dataclass(frozen=True, slots=True)
class Version:
    """What a server says of one version of a file; None = it does not say.

    Attributes
    ----------
    url, final_url
        The address asked, and the one that answered after redirects, both without secrets.
    etag, last_modified
        The validators of HTTP.
    size
        Bytes.
    md5
        Published checksum.
    """

    url: str
    final_url: str
    etag: str | None = None
    last_modified: str | None = None
    size: int | None = None
    md5: str | None = None

    @property
    def validator(self) -> str | None:
        """What ``If-Range`` may hold: a strong ETag, else the date."""
        if self.etag is not None and not self.etag.startswith("W/"):
            return self.etag
        return self.last_modified

    def may_be(self, other: Version) -> bool:
        """Whether nothing tells the two versions apart."""
        pairs = [(self.etag, other.etag), (self.size, other.size), (self.md5, other.md5)]
        if self.etag is None or other.etag is None:
            pairs.append((self.last_modified, other.last_modified))
        return all(a == b for a, b in pairs if a is not None and b is not None)


class Part:
    """The part of a file, open and locked; see `locked_part`.

    Attributes
    ----------
    digest
        Of the bytes that are there.
    version
        Which version they are of; None = there are none.
    """

    def __init__(self, path: Path, handle: io.FileIO, *, gzipped: bool) -> None:
        self._path = path
        self._note_path = _note_path(path)
        self._handle = handle
        self._gzipped = gzipped
        self._synced = 0
        self.version: Version | None = None
        self.digest = Digest(gzipped=gzipped)

    @property
    def size(self) -> int:
        """How many bytes are there."""
        return self.digest.size

    def restore(self, url: str) -> None:
        """Take up what an earlier run left of the same address; otherwise begin again."""
        try:
            saved = json.loads(self._note_path.read_bytes())
            version = Version(**saved["version"])
            believed = os.fstat(self._handle.fileno()).st_size
            if not _boot() or saved["boot"] != _boot():
                believed = min(believed, int(saved["synced"]))
            self._synced = min(believed, int(saved["synced"]))
        except (OSError, ValueError, KeyError, TypeError):
            self.restart()
            return
        if version.url != url:
            self.restart()
            return
        self._handle.truncate(believed)
        self._handle.seek(0)
        self.version = version
        try:
            while block := self._handle.read(BLOCK):
                self.digest.update(block)
        except SpoiledError:
            self.restart()

    def restart(self) -> None:
        """Forget all bytes."""
        self._handle.truncate(0)
        self._handle.seek(0)
        os.fsync(self._handle.fileno())
        self._synced = 0
        self.version = None
        self.digest = Digest(gzipped=self._gzipped)

    def begin(self, version: Version) -> None:
        """Say which version the bytes to come are of; they follow those that are there."""
        self.version = version
        self._write_note()

    def write(self, block: bytes) -> None:
        """Append bytes; now and then bring them onto the disk."""
        view = memoryview(block)
        while view:
            written = self._handle.write(view)
            self.digest.update(view[:written])
            view = view[written:]
        if self.size - self._synced >= _SYNC_EVERY:
            self.sync()

    def sync(self) -> None:
        """Bring the bytes onto the disk and note how many they are."""
        os.fsync(self._handle.fileno())
        self._synced = self.size
        if self.version is not None:
            self._write_note()

    def name(self, out: Path) -> None:
        """Give the whole file its name, so that it outlives a power cut."""
        os.fsync(self._handle.fileno())
        # Before the rename: afterwards the note could be that of the next process.
        _forget_note(self._path)
        self._path.replace(out)
        fsync(out.parent)

    def _write_note(self) -> None:
        assert self.version is not None  # noqa: S101 - callers have set it
        note = {
            "version": dataclasses.asdict(self.version),
            "synced": self._synced,
            "boot": _boot(),
            "process": os.getpid(),
        }
        write_whole(self._note_path, json.dumps(note, indent=1).encode())


@contextmanager
def locked_part(out: Path, *, gzipped: bool, note: Note) -> Iterator[Part]:
    """Open the part of `out`, waiting until no other process works on it.

    Parameters
    ----------
    out
        The file that is to be.
    gzipped
        Whether it is to be a gzip file.
    note
        Told whom it waits for.
    """
    path = out.with_name(f"{out.name}.part")
    handle = _open_locked(path, note)
    part = Part(path, handle, gzipped=gzipped)
    try:
        yield part
    finally:
        with contextlib.suppress(OSError):
            if _is_at(handle, path):
                if os.fstat(handle.fileno()).st_size == 0:
                    _forget_note(path)
                    path.unlink()
                else:
                    part.sync()
        handle.close()


@contextmanager
def storage_errors(path: Path) -> Iterator[None]:
    """Tell what the disk refuses in the words of a person.

    Raises
    ------
    DownloadError
        In place of an `OSError`.
    """
    try:
        yield
    except OSError as error:
        if error.errno in _FULL:
            raise DownloadError(
                f"The disk or the quota is full while {path.name!r} is written "
                f"({error.strerror}); what came is kept.",
                "Make room and run the same command again: it goes on where it stopped.",
            ) from error
        raise DownloadError(
            f"{path.name!r} cannot be read or written ({error.strerror or error}).",
            "Check the folder and its permissions.",
        ) from error


@contextmanager
def lock(path: Path, *, note: Note) -> Iterator[None]:
    """Hold a lock file, which stays where it is and stays empty."""
    handle = _open_locked(path, note)
    try:
        yield
    finally:
        handle.close()


def _open_locked(path: Path, note: Note) -> io.FileIO:
    while True:
        handle = io.FileIO(os.open(path, os.O_RDWR | os.O_CREAT, 0o666), "r+")
        try:
            _flock(handle, path, note)
            # Whoever held the lock may have renamed or removed the file: then it locks nothing.
            if _is_at(handle, path):
                return handle
        except BaseException:
            handle.close()
            raise
        handle.close()


def _flock(handle: io.FileIO, path: Path, note: Note) -> None:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        note(f"{path.name}: another process {_holder(path)}works on it; waiting until it is done")
        fcntl.flock(handle, fcntl.LOCK_EX)
    except OSError as error:
        if error.errno not in _NO_LOCKS:
            raise
        note(f"{path.name}: this file system has no locks; let no second download run in it")


def _holder(path: Path) -> str:
    try:
        return f"({json.loads(_note_path(path).read_bytes())['process']}) "
    except (OSError, ValueError, KeyError, TypeError):
        return ""


def _is_at(handle: io.FileIO, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(handle.fileno()), path.stat())
    except FileNotFoundError:
        return False


def _note_path(path: Path) -> Path:
    return path.with_name(f"{path.name}.json")


def _forget_note(path: Path) -> None:
    for note in (_note_path(path), unfinished(_note_path(path))):
        note.unlink(missing_ok=True)


def _boot() -> str:
    try:
        return _BOOT_ID.read_text().strip()
    except OSError:
        return ""
