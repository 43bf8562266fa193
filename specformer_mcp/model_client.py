"""A web worker's way to the network in the model process."""

from __future__ import annotations

import contextlib
import io
import logging
import threading
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import ExitStack
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anyio
from anyio.from_thread import BlockingPortal, start_blocking_portal

from specformer_encoder.errors import ExpressionValueError, SpecformerError
from specformer_mcp.model_process import RELEASE_HEADER, TIMEOUT_HEADER
from specformer_mcp.readers import TIMEOUT_S, BusyError, OverdueError, overdue

if TYPE_CHECKING:
    import httpx

    from specformer_encoder.profiles import FloatArray
    from specformer_encoder.reading import Reading
    from specformer_encoder.unexpected import UnexpectedGenes

logger = logging.getLogger(__name__)

START_S = 15.0
"""Seconds that a call waits for a model process that is starting."""
_RETRY_S = 5
_LOOK_S = 0.25
_KEPT = 16


class ModelProcessError(BusyError):
    """The model process has ended, is starting, or answers nonsense."""


class ModelClient:
    """Reads profiles in the model process; safe to use from several threads.

    Parameters
    ----------
    socket
        Where the model process listens.
    release_sha256
        Hash of the release that its answers are interpreted with.
    start_s
        Seconds that a call waits for a model process that is starting.
    """

    def __init__(self, socket: Path, *, release_sha256: str, start_s: float = START_S) -> None:
        import httpx

        self._start_s = start_s
        self._up = threading.Event()
        self._waiting = 0
        self._http = httpx.AsyncClient(
            transport=httpx.AsyncHTTPTransport(
                uds=str(socket),
                limits=httpx.Limits(max_keepalive_connections=_KEPT, keepalive_expiry=60),
            ),
            base_url="http://model",
            headers={RELEASE_HEADER: release_sha256},
        )
        # An event loop beside the tools' threads, because a request can be cancelled in one.
        self._exit = ExitStack()
        self._portal: BlockingPortal = self._exit.enter_context(
            start_blocking_portal(name="specformer-model-client")
        )
        self._watching = self._portal.start_task_soon(self._watch)

    @property
    def available(self) -> bool:
        """Whether the model process answered when it was last asked."""
        return self._up.is_set()

    @property
    def waiting(self) -> int:
        """Profiles of all workers that waited when the model process was last asked."""
        return self._waiting

    def submit(self, values: FloatArray, *, timeout_s: float = TIMEOUT_S) -> Future[Reading]:
        """Send profiles to the model process; see `ProfileReader.submit`.

        A full queue fails the future, not the submission.
        """
        try:
            return self._portal.start_task_soon(self._read, values, timeout_s)
        except RuntimeError as error:  # the portal is closed
            raise BusyError("The server is stopping.", retry_after_s=10) from error

    def explain(self, values: FloatArray, *, top: int, surprisal: bool) -> Future[UnexpectedGenes]:
        """Have a profile explained by the model process; see `ProfileReader.explain`."""
        try:
            return self._portal.start_task_soon(self._explain, values, top, surprisal)
        except RuntimeError as error:
            raise BusyError("The server is stopping.", retry_after_s=10) from error

    def close(self) -> None:
        """Give up what runs and close the connections."""
        self._watching.cancel()
        with contextlib.suppress(RuntimeError):
            self._portal.call(self._http.aclose)
            # Calls that still wait for the model process are not waited for.
            self._portal.call(self._portal.stop, True)
        self._exit.close()

    async def _read(self, values: FloatArray, timeout_s: float) -> Reading:
        import numpy as np

        from specformer_encoder.reading import Reading

        answer = await self._post("/read", values, timeout_s)
        with np.load(io.BytesIO(answer.content), allow_pickle=False) as arrays:
            return Reading(**arrays)

    async def _explain(self, values: FloatArray, top: int, surprisal: bool) -> UnexpectedGenes:
        from specformer_encoder.unexpected import UnexpectedGene, UnexpectedGenes

        answer = await self._post(f"/explain?top={top}&surprisal={surprisal}", values, TIMEOUT_S)
        told = answer.json()
        lists = {name: [UnexpectedGene(**gene) for gene in told[name]] for name in ("has", "lacks")}
        return UnexpectedGenes(**(told | lists))

    async def _post(self, path: str, values: FloatArray, timeout_s: float) -> httpx.Response:
        """Send profiles and return the answer, or raise what it says."""
        import numpy as np

        body = io.BytesIO()
        np.save(body, values, allow_pickle=False)
        with anyio.move_on_after(timeout_s):
            await self._wait_until_up()
            with _as_our_errors(self._up):
                answer = await self._http.post(
                    path,
                    content=body.getvalue(),
                    headers={TIMEOUT_HEADER: f"{timeout_s:.3f}"},
                    timeout=None,
                )
            if answer.status_code != HTTPStatus.OK:
                raise _error_of(answer)
            return answer
        raise overdue(timeout_s)

    async def _wait_until_up(self) -> None:
        with anyio.move_on_after(self._start_s):
            while not self._up.is_set():
                await anyio.sleep(_LOOK_S / 5)
            return
        raise ModelProcessError(
            "The model process is not running; it is being started.", retry_after_s=_RETRY_S
        )

    async def _watch(self) -> None:
        """Ask the model process every now and then whether it is there."""
        while True:
            with contextlib.suppress(ModelProcessError), _as_our_errors(self._up):
                answer = await self._http.get("/ready", timeout=2)
                answer.raise_for_status()
                self._waiting = int(answer.json()["waiting"])
                self._up.set()
            await anyio.sleep(_LOOK_S)


@contextlib.contextmanager
def _as_our_errors(up: threading.Event) -> Iterator[None]:
    """Say of a failed request that the model process is down."""
    import httpx

    try:
        yield
    except httpx.HTTPError as error:
        # A busy process that answers late is still there; a broken connection says that it is not.
        if not isinstance(error, httpx.TimeoutException):
            if up.is_set():
                logger.warning("the model process does not answer (%s)", type(error).__name__)
            up.clear()
        raise ModelProcessError(
            "The model process ended before it had read the profile; it is being started again.",
            retry_after_s=_RETRY_S,
        ) from error


def _error_of(answer: httpx.Response) -> SpecformerError:
    """The error that a refusal of the model process stands for."""
    try:
        told: dict[str, Any] = answer.json()
        problem, remedy = str(told["problem"]), str(told["remedy"])
    except (ValueError, KeyError):
        return ModelProcessError(
            f"The model process failed (status {answer.status_code}); the server's log says why.",
            retry_after_s=_RETRY_S,
        )
    if answer.status_code == HTTPStatus.SERVICE_UNAVAILABLE:
        return BusyError(problem, retry_after_s=int(answer.headers.get("Retry-After", _RETRY_S)))
    if answer.status_code == HTTPStatus.GATEWAY_TIMEOUT:
        return OverdueError(problem, remedy)
    if answer.status_code == HTTPStatus.UNPROCESSABLE_ENTITY:
        return ExpressionValueError(problem, remedy)
    return SpecformerError(problem, remedy)
