"""Several web workers behind one model process, for many clients at once.

The workers parse requests, resolve genes, search the index and score pathways; the network lives
in one process, which they ask (see `model_process`). They share the port and no memory: a call may
land on any of them, so the protocol is served without sessions, and samples live in a store on disk
that all of them see.
"""

from __future__ import annotations

import dataclasses
import functools
import logging
import os
import shutil
import socket
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from specformer_encoder.errors import SpecformerError
from specformer_mcp.allocator import keep_memory_flat
from specformer_mcp.engine import Engine, from_environment
from specformer_mcp.model_client import ModelClient
from specformer_mcp.model_process import (
    CANNOT_LOAD,
    DRAIN_S,
    ModelOptions,
    leave_with_the_parent,
    run_model,
)
from specformer_mcp.readers import ProfileReader
from specformer_mcp.supervisor import Child, supervise

if TYPE_CHECKING:
    import uvicorn

    from specformer_encoder.release import Release

logger = logging.getLogger(__name__)

Connect = Callable[["Release"], ProfileReader]
MakeWorker = Callable[[Connect], tuple[Engine, "uvicorn.Config"]]
WORKER_DRAIN_S = 5
"""Seconds that running calls have to end; with the model's own, and some air, under ten."""
_AIR_S = 0.5
_BACKLOG = 512
_ONE_THREAD = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


class WorkersError(SpecformerError):
    """The mode with several workers cannot be used, or its address is taken."""


def serve_workers(
    make_worker: MakeWorker,
    *,
    host: str,
    port: int,
    workers: int,
    release: Path | None = None,
    batch: int | None = None,
    queue: int | None = None,
    log_level: str = "INFO",
) -> int:
    """Serve until SIGTERM or an interrupt; running calls have `WORKER_DRAIN_S` to end then.

    Parameters
    ----------
    make_worker
        Called in each worker with what gives its engine the way to the model process (`connect` of
        `Engine`); returns the engine and how uvicorn serves it, without sessions. A function at the
        top level of a module, or a `functools.partial` of one.
    host, port
        Where to listen.
    workers
        Web processes.
    release
        Folder; None = as for `Engine`.
    batch, queue
        Profiles read together, and profiles that may wait; None = `BatchQueue`'s.
    log_level
        What the model process tells on stderr.

    Returns
    -------
    Exit code.

    Raises
    ------
    WorkersError
        The address cannot be bound, or this system has no Unix-domain sockets.
    """
    if not hasattr(socket, "AF_UNIX") or sys.platform == "win32":
        raise WorkersError(
            "Several workers need Unix-domain sockets, which this system does not have.",
            "Serve without --workers.",
        )
    workers = max(1, workers)
    listeners = _bind(host, port, workers)
    folder = Path(tempfile.mkdtemp(prefix="specformer-"))  # only its owner can enter
    release = release or from_environment("SPECFORMER_RELEASE")
    model = ModelOptions(socket=folder / "model.sock", release=release, log_level=log_level)
    if batch is not None:
        model = dataclasses.replace(model, batch=batch)
    if queue is not None:
        model = dataclasses.replace(model, queue=queue)
    # Each process computes one thing at a time; threads of the linear algebra would only collide.
    for name in _ONE_THREAD:
        os.environ.setdefault(name, "1")
    parts = [
        Child(f"specformer-web-{number}", run_worker, (make_worker, model.socket, listener))
        for number, listener in enumerate(listeners, start=1)
    ]
    network = Child("specformer-model", run_model, (model,), fatal=frozenset({CANNOT_LOAD}))
    try:
        return supervise([([network], DRAIN_S), (parts, WORKER_DRAIN_S + _AIR_S)])
    finally:
        for listener in listeners:
            listener.close()
        shutil.rmtree(folder, ignore_errors=True)


def run_worker(make_worker: MakeWorker, model: Path, listener: socket.socket) -> None:
    """Serve requests until SIGTERM or the parent's end; the whole of a web process.

    Parameters
    ----------
    make_worker
        See `serve_workers`.
    model
        Where the model process listens.
    listener
        Where requests come in.
    """
    import uvicorn

    leave_with_the_parent()
    keep_memory_flat()
    engine, config = make_worker(functools.partial(_connect, model))
    engine.start()
    config.backlog = _BACKLOG
    config.timeout_graceful_shutdown = WORKER_DRAIN_S
    try:
        uvicorn.Server(config).run(sockets=[listener])
    finally:
        loading = engine.state == "loading"
        engine.close()
        if loading:
            # The ordinary exit would stop the loading thread inside a C++ library, which then
            # aborts the process; nothing is left to write.
            os._exit(0)


def _connect(path: Path, release: Release) -> ModelClient:
    return ModelClient(path, release_sha256=release.sha256)


def _bind(host: str, port: int, number: int) -> list[socket.socket]:
    """Return a listening socket for each worker, before any process is started.

    On Linux each has its own queue, over which the kernel spreads the connections: of one common
    queue an idle worker takes all that it finds, and with clients that keep their connections one
    worker would do nearly all the work. The parent keeps the sockets open, so connections to a
    worker that died wait for its successor.
    """
    spread = sys.platform == "linux" and number > 1
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        # Sockets that share a port do not notice another server's that do; this one does.
        first = _listen(family, host, port, shared=False)
        if not spread:
            return [first, *(first.dup() for _ in range(number - 1))]
        port = first.getsockname()[1]
        first.close()
        return [_listen(family, host, port, shared=True) for _ in range(number)]
    except OSError as error:
        raise WorkersError(
            f"{host}:{port} cannot be bound ({(error.strerror or str(error)).lower()}).",
            "Stop what listens there, or give another --host or --port.",
        ) from error


def _listen(family: socket.AddressFamily, host: str, port: int, *, shared: bool) -> socket.socket:
    # asyncio sends what is small at once only where the protocol is named; else an answer's second
    # part waits for the acknowledgement of its first, 40 ms.
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if shared:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        listener.bind((host, port))
        listener.listen(_BACKLOG)
    except BaseException:
        listener.close()
        raise
    return listener
