"""The machine: folders, store, disk, memory, port."""

from __future__ import annotations

import os
import shutil
import socket
import sys
import tempfile
from pathlib import Path

from specformer_encoder.errors import SpecformerError
from specformer_mcp.doctor.finding import Finding, ok, problem, warning
from specformer_mcp.paths import AllowedFolders
from specformer_mcp.samples.folder import data_folder
from specformer_mcp.samples.table import SampleTable
from specformer_mcp.settings import Settings

_GIGA = 1e9
_DISK = 1.0
_MEMORY = 1.5
"""GB that the server needs at its peak, with room for one file."""


def check_folders(settings: Settings) -> list[Finding]:
    """Ask whether the folders are there that files may be read from."""
    of = AllowedFolders.for_stdio if settings.transport == "stdio" else AllowedFolders.for_http
    try:
        folders = of([str(folder) for folder in settings.allow_dirs])
    except SpecformerError as error:
        return [problem("folders", error.problem, error.remedy)]
    closed = [folder for folder in folders.folders if not os.access(folder, os.R_OK | os.X_OK)]
    if closed:
        names = ", ".join(map(str, closed))
        return [problem("folders", f"{names} cannot be read", "Change their permissions.")]
    return [ok("folders", f"files are read from {folders.describe()}")]


def check_store(settings: Settings) -> list[Finding]:
    """Ask whether samples can be kept, and those that are there be read."""
    if settings.store == "none":
        return [ok("store", "samples are kept in memory only, as set")]
    folder = settings.store or data_folder()
    there = _first_existing(folder)
    try:
        # In the folder itself only if it is there: asking should not make it.
        with tempfile.NamedTemporaryFile(dir=there):
            pass
    except OSError as error:
        return [
            problem(
                "store",
                f"{folder} cannot be written ({error.strerror}): samples are forgotten when the "
                "server ends",
                "Make it writable, or name another folder with --store DIR.",
            )
        ]
    if not (folder / "samples").exists():
        return [ok("store", f"{folder} can be written, and is empty yet")]
    try:
        rows = SampleTable(folder, keep_versions_s=60).light()
    except Exception as error:  # LanceDB raises OSError, ValueError or RuntimeError
        return [
            warning(
                "store",
                f"what lies in {folder} cannot be read ({str(error).splitlines()[0][:150]})",
                "The server will set it aside and begin anew when it starts; nothing to do.",
            )
        ]
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    return [ok("store", f"{folder} holds {len(rows)} samples in {size / 1e6:,.1f} MB")]


def check_disk(settings: Settings) -> list[Finding]:
    """Ask whether there is room on the disk."""
    folder = data_folder() if settings.store in (None, "none") else Path(str(settings.store))
    there = _first_existing(folder)
    free = shutil.disk_usage(there).free / _GIGA
    said = f"{free:,.1f} GB free at {there}"
    if free < _DISK:
        return [warning("disk", said, "Free some, or keep samples elsewhere with --store DIR.")]
    return [ok("disk", said)]


def check_memory(_: Settings) -> list[Finding]:
    """Ask whether there is enough memory for the model and a file."""
    free = available_memory()
    if free is None:
        return []
    said = f"{free / _GIGA:,.1f} GB free"
    if free < _MEMORY * _GIGA:
        return [warning("memory", f"{said}, up to {_MEMORY} GB are needed", "Close something.")]
    return [ok("memory", said)]


def available_memory() -> int | None:
    """Return the bytes that are free for us, None where the system does not say."""
    if sys.platform != "linux":
        return None
    lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
    fields = dict(line.split(":", 1) for line in lines)
    free = int(fields["MemAvailable"].split()[0]) * 1024
    group = Path("/sys/fs/cgroup")
    try:  # a container may have less
        limit = (group / "memory.max").read_text(encoding="ascii").strip()
        used = int((group / "memory.current").read_text(encoding="ascii"))
    except (OSError, ValueError):
        return free
    return free if limit == "max" else min(free, int(limit) - used)


def check_port(settings: Settings) -> list[Finding]:
    """Ask whether the port can be bound."""
    if settings.transport != "http":
        return []
    where = f"{settings.host}:{settings.port}"
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            settings.host, settings.port, type=socket.SOCK_STREAM
        )[0]
        with socket.socket(family, kind, protocol) as probe:
            # As the server does: a connection that is being closed does not count.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
    except OSError as error:
        return [
            problem(
                "port",
                f"{where} cannot be bound ({error.strerror})",
                "End what uses it, or give another --port or --host.",
            )
        ]
    return [ok("port", f"{where} is free")]


def _first_existing(folder: Path) -> Path:
    return next(path for path in (folder, *folder.absolute().parents) if path.exists())
