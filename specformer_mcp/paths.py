"""Which files the server may read.

A language model chooses the path, so the path is not to be trusted: it is resolved first (symbolic
links, ``..``, relative parts) and then has to lie in an allowed folder. Over stdio the user's own
client started the server, and the working directory and the home directory are allowed; over HTTP
nothing is, except what was named on the command line. The example files of a checkout are public.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from specformer_encoder.errors import InputFileError

ENVIRONMENT = "SPECFORMER_ALLOW_DIRS"
_HOW = f"--allow-dir FOLDER or the environment variable {ENVIRONMENT}"


def examples_dir() -> Path | None:
    """Return the checkout's ``examples`` folder, or None where there is no checkout."""
    root = Path(__file__).resolve().parents[1]
    return root / "examples" if (root / "pyproject.toml").is_file() else None


@dataclass(frozen=True, slots=True)
class AllowedFolders:
    """The folders from which files may be read, resolved.

    `base` is the folder that a relative path is taken from, None where relative paths mean nothing.
    """

    folders: tuple[Path, ...]
    base: Path | None

    @classmethod
    def for_stdio(cls, extra: Sequence[str] = ()) -> AllowedFolders:
        """Allow the given folders, the working directory, the home directory, the examples."""
        own = [Path.cwd(), Path.home()]
        # A server that a desktop client starts often has the root as its working directory.
        own = [path for path in own if path.resolve() != Path(path.anchor)]
        given = _given(extra)
        return cls(_distinct([*given, *own, *_examples()]), next(iter([*own, *given]), None))

    @classmethod
    def for_http(cls, extra: Sequence[str] = ()) -> AllowedFolders:
        """Allow the given folders and the examples, nothing else."""
        given = _given(extra)
        return cls(_distinct([*given, *_examples()]), next(iter(given), None))

    def resolve(self, path: str) -> Path:
        """Return the real path of a file that may be read.

        Parameters
        ----------
        path
            As the caller gave it: absolute, relative to the base folder, or with a leading ``~``.

        Raises
        ------
        InputFileError
            The path is malformed, leads outside the allowed folders, or names no file.
        """
        if not path.strip() or "\0" in path:
            raise InputFileError("The path is empty or holds a NUL character.", "Give a file path.")
        try:
            given = Path(path).expanduser()
            if not given.is_absolute():
                if self.base is None:
                    raise InputFileError(
                        f"The path {_shown(path)} is relative.", "Give an absolute path."
                    )
                given = self.base / given
            real = given.resolve()
        except (OSError, RuntimeError) as error:
            raise InputFileError(
                f"The path {_shown(path)} cannot be resolved.", "Give another path."
            ) from error
        # Checked before anything is asked of the file: an error must not tell what lies outside.
        if not any(real.is_relative_to(folder) for folder in self.folders):
            raise InputFileError(
                f"{_shown(path)} lies outside the folders this server may read "
                f"({self.describe()}).",
                f"Move the file there, or ask the user to start the server with {_HOW}.",
            )
        try:
            mode = real.stat().st_mode
        except OSError as error:
            raise InputFileError(
                f"There is no readable file {_shown(str(real))} "
                f"({(error.strerror or 'error').lower()}).",
                "Check the spelling; relative paths are taken from "
                f"{self.base if self.base is not None else 'nowhere'}.",
            ) from error
        # Some formats are folders; the readers refuse the others.
        if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
            raise InputFileError(
                f"{_shown(str(real))} is not a regular file.", "Give the path of a file."
            )
        return real

    def describe(self) -> str:
        """Name the allowed folders for a message."""
        return ", ".join(str(folder) for folder in self.folders) or "none"


def _given(extra: Sequence[str]) -> list[Path]:
    named = [*extra, *os.environ.get(ENVIRONMENT, "").split(os.pathsep)]
    folders = [Path(name).expanduser() for name in named if name]
    for folder in folders:
        if not folder.is_dir():
            raise InputFileError(f"The allowed folder {folder} does not exist.", f"Mend {_HOW}.")
    return folders


def _examples() -> list[Path]:
    folder = examples_dir()
    return [folder] if folder is not None else []


def _distinct(folders: Sequence[Path]) -> tuple[Path, ...]:
    return tuple(dict.fromkeys(folder.resolve() for folder in folders))


def _shown(path: str) -> str:
    return repr(path if len(path) <= 200 else f"{path[:200]}…")
