"""What is wrong with an installation, and how to mend it.

One small function a question; each answers with findings, and none stops the others. The last one
does what a client does: it starts the server and asks it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from specformer_mcp.doctor.data import check_openvino, check_release_and_index
from specformer_mcp.doctor.finding import Finding, problem
from specformer_mcp.doctor.packages import check_packages, check_python, check_torch
from specformer_mcp.doctor.place import (
    check_disk,
    check_folders,
    check_memory,
    check_port,
    check_store,
)
from specformer_mcp.doctor.start import check_start
from specformer_mcp.settings import Settings

__all__ = ["CHECKS", "Finding", "examine"]

CHECKS: Mapping[str, Callable[[Settings], list[Finding]]] = {
    "python": check_python,
    "packages": check_packages,
    "torch": check_torch,
    "release and index": check_release_and_index,
    "openvino": check_openvino,
    "folders": check_folders,
    "store": check_store,
    "disk": check_disk,
    "memory": check_memory,
    "port": check_port,
    "start": check_start,
}


def examine(settings: Settings, *, leave_out: frozenset[str] = frozenset()) -> Iterator[Finding]:
    """Answer every question but those left out, one after the other."""
    for name, check in CHECKS.items():
        if name in leave_out:
            continue
        try:
            yield from check(settings)
        except Exception as error:  # a check that fails is a finding too
            yield problem(
                name,
                f"the check itself failed: {_first_line(error)}",
                "Report this with the whole output of `specformer doctor --json`.",
            )


def _first_line(error: Any) -> str:
    return f"{type(error).__name__}: {error}".splitlines()[0][:300]
