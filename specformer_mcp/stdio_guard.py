"""Keep the wire clean: over stdio, stdout carries the protocol and nothing else, from start to end.

The SDK's own guard moves descriptor 1 aside while it serves. That leaves three ways onto the wire:
what is printed before it begins (imports), what is printed after it has ended (exit handlers, C++
destructors), and what a ``print`` left in Python's buffer, which is flushed at exit, when the SDK
has put the descriptor back. A client that reads one such line counts the server as broken. So the
process takes its stdout away before anything else is imported and never puts it back.
"""

from __future__ import annotations

import io
import os
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mcp.server.mcpserver import MCPServer

_STDOUT, _STDERR = 1, 2


def take_stdout() -> io.TextIOWrapper:
    """Return the process's stdout for the protocol alone; descriptor 1 becomes stderr.

    Prints, C libraries and child processes write to stderr from here on; the returned stream is not
    inherited by children. Call it once, before libraries are imported.
    """
    wire = _duplicate(_STDOUT)
    try:
        os.dup2(_STDERR, _STDOUT)
    except OSError:  # stderr is closed: what is printed is lost, and the wire stays clean
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, _STDOUT)
        os.close(nowhere)
    sys.stdout.flush()  # only now: what was printed so far is not protocol either
    if isinstance(sys.stdout, io.TextIOWrapper):
        # As prompt as stderr, so that prints and log lines keep their order.
        sys.stdout.reconfigure(line_buffering=True)
    return io.TextIOWrapper(os.fdopen(wire, "wb"), encoding="utf-8", newline="\n")


async def serve(server: MCPServer[Any], *, wire: io.TextIOWrapper) -> None:
    """Serve one client over stdin and the wire until it closes stdin.

    Parameters
    ----------
    server
        What answers.
    wire
        From `take_stdout`.
    """
    import anyio
    from mcp.server.stdio import stdio_server

    # `MCPServer.run_stdio_async` is these lines with the SDK's guard of stdout in place of ours;
    # it has no public way to be given a stream.
    lowlevel = server._lowlevel_server
    async with stdio_server(stdout=anyio.wrap_file(wire)) as (received, answers):
        await lowlevel.run(received, answers, lowlevel.create_initialization_options())


def _duplicate(descriptor: int) -> int:
    """Duplicate a descriptor beyond the standard ones, closed in child processes."""
    if sys.platform == "win32":
        return os.dup(descriptor)
    import fcntl

    return fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, _STDERR + 1)
