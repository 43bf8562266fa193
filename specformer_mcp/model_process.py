"""The process that holds the network, for web workers that do not.

One process loads the network once; the workers ask it over HTTP on a Unix-domain socket that only
their user can reach. Profiles come as one ``.npy`` array, the reading goes back as ``.npz``, both
read without pickle, other answers as JSON. Statuses: 200 done; 409 another release than the
caller's; 422 the profiles cannot be read; 503 no room, with Retry-After; 504 the profiles waited
too long. A caller that closes the connection withdraws its profiles.
"""

from __future__ import annotations

import asyncio
import io
import logging
import os
import signal
import sys
import threading
from collections.abc import Awaitable, Callable
from dataclasses import asdict, dataclass
from multiprocessing import parent_process
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from specformer_encoder.errors import SpecformerError
from specformer_mcp.allocator import keep_memory_flat, never_collect_what_is_here
from specformer_mcp.batching import BATCH, CAPACITY
from specformer_mcp.local_model import LocalModel
from specformer_mcp.logs import tell
from specformer_mcp.readers import TIMEOUT_S, BusyError, OverdueError

if TYPE_CHECKING:
    from concurrent.futures import Future

    from starlette.applications import Starlette
    from starlette.requests import Request
    from starlette.responses import Response

    Answer = Callable[[Request], Awaitable[Response]]

T = TypeVar("T")

logger = logging.getLogger(__name__)

RELEASE_HEADER = "Specformer-Release"
TIMEOUT_HEADER = "Specformer-Timeout"
CANNOT_LOAD = 4
"""Exit code of a model process whose release cannot be opened: starting it again is no use."""
DRAIN_S = 1.5
_KEEP_ALIVE_S = 3600
_GONE = 499
"""Status of an answer that nobody hears."""


@dataclass(frozen=True, slots=True)
class ModelOptions:
    """How the model process is started.

    Attributes
    ----------
    socket
        Where it listens.
    release
        Folder of the release; None = the bundled one.
    batch, queue
        Profiles read together, and profiles that may wait.
    log_level
        What is told on stderr.
    """

    socket: Path
    release: Path | None = None
    batch: int = BATCH
    queue: int = CAPACITY
    log_level: str = "INFO"


def run_model(options: ModelOptions) -> None:
    """Load the network and answer until SIGTERM or the parent's end; the whole of the process."""
    import uvicorn

    leave_with_the_parent()
    keep_memory_flat()
    tell(options.log_level)
    from specformer_encoder.embedder import Embedder

    try:
        embedder = Embedder.load(options.release)
    except SpecformerError as error:
        logger.error("the model process cannot load its release: %s", error)
        sys.exit(CANNOT_LOAD)
    never_collect_what_is_here()
    model = LocalModel(embedder, batch=options.batch, capacity=options.queue)
    config = uvicorn.Config(
        model_app(model, release_sha256=embedder.release.sha256),
        uds=str(options.socket),
        log_level="warning",
        access_log=False,
        lifespan="off",
        # The workers keep their connections for less long: no request meets a closing one.
        timeout_keep_alive=_KEEP_ALIVE_S,
        timeout_graceful_shutdown=1,
    )
    logger.info("the model process has loaded %s", embedder.release.id)
    code = 0
    try:
        uvicorn.Server(config).run()
    except SystemExit as end:  # of SIGTERM, or because the socket cannot be bound
        code = end.code if isinstance(end.code, int) else 1
    finally:
        options.socket.unlink(missing_ok=True)
        model.close()
    # The ordinary end takes the libraries of the network down: seconds on a busy machine.
    os._exit(code)


def model_app(model: LocalModel, *, release_sha256: str) -> Starlette:
    """Return the application of the model process.

    Parameters
    ----------
    model
        What computes.
    release_sha256
        Hash of its release; callers with another are refused.
    """
    import numpy as np
    from starlette.applications import Starlette
    from starlette.responses import JSONResponse, Response
    from starlette.routing import Route

    async def read(request: Request) -> Response:
        values = np.load(io.BytesIO(await request.body()), allow_pickle=False)
        timeout_s = float(request.headers.get(TIMEOUT_HEADER, TIMEOUT_S))
        reading = await _unless_gone(model.submit(values, timeout_s=timeout_s), request.receive)
        if reading is None:
            return Response(status_code=_GONE)
        body = io.BytesIO()
        np.savez(body, **asdict(reading))
        return Response(body.getvalue(), media_type="application/octet-stream")

    async def explain(request: Request) -> Response:
        values = np.load(io.BytesIO(await request.body()), allow_pickle=False)
        asked = request.query_params
        future = model.explain(
            values, top=int(asked["top"]), surprisal=asked["surprisal"] == "True"
        )
        found = await _unless_gone(future, request.receive)
        return Response(status_code=_GONE) if found is None else JSONResponse(asdict(found))

    def of_this_release(answer: Answer) -> Answer:
        """Refuse callers with another release; turn errors into refusals."""

        async def checked(request: Request) -> Response:
            theirs = request.headers.get(RELEASE_HEADER)
            if theirs != release_sha256:
                return _refusal(
                    409,
                    f"The model process holds the release {release_sha256[:12]}, the worker "
                    f"{str(theirs)[:12]}.",
                    "Start the server again: its release was replaced.",
                )
            try:
                return await answer(request)
            except BusyError as error:
                headers = {"Retry-After": str(error.retry_after_s)}
                return _refusal(503, error.problem, error.remedy, headers)
            except OverdueError as error:
                return _refusal(504, error.problem, error.remedy)
            except SpecformerError as error:
                return _refusal(422, error.problem, error.remedy)

        return checked

    async def ready(_: Request) -> Response:
        return JSONResponse(
            {
                "release_sha256": release_sha256,
                "waiting": model.waiting,
                "reading": model.reading,
                "done": model.done,
            }
        )

    return Starlette(
        routes=[
            Route("/read", of_this_release(read), methods=["POST"]),
            Route("/explain", of_this_release(explain), methods=["POST"]),
            Route("/ready", ready, methods=["GET"]),
        ]
    )


def _refusal(
    status: int, problem: str, remedy: str, headers: dict[str, str] | None = None
) -> Response:
    from starlette.responses import JSONResponse

    return JSONResponse({"problem": problem, "remedy": remedy}, status, headers)


async def _unless_gone(future: Future[T], receive: Callable[[], Awaitable[Any]]) -> T | None:
    """Wait for an answer; None if the caller closed the connection first, and cancel it then."""

    async def gone() -> None:
        while (await receive())["type"] != "http.disconnect":
            pass

    answer = asyncio.wrap_future(future)
    leaving = asyncio.create_task(gone())
    either: set[asyncio.Future[Any]] = {answer, leaving}
    try:
        await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
        return answer.result() if answer.done() else None
    finally:
        leaving.cancel()
        answer.cancel()  # does nothing to what is done


def leave_with_the_parent() -> None:
    """Prepare a child process: end when the parent does, however it ends.

    SIGTERM ends the process in order: during the start at once, later when the server that runs
    here, which takes the signal over for that time, has drained and hands it on. An interrupt from
    the terminal reaches the parent too, which then ends its children.
    """
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = parent_process()
    if parent is None:
        return

    def watch() -> None:
        parent.join()
        os.kill(os.getpid(), signal.SIGTERM)
        threading.Event().wait(2 * DRAIN_S)
        os._exit(1)

    threading.Thread(target=watch, name="specformer-parent", daemon=True).start()
