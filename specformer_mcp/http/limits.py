"""How much a client may ask: requests in a minute, at a time, and time to send one.

Plain ASGI middleware: nothing here buffers an answer, so that streams stay streams. What is too
much is refused at once with 429, 503 or 408 and never queued, so that a full server still answers
those it has let in.
"""

from __future__ import annotations

import ipaddress
import math
import time
from collections import OrderedDict
from collections.abc import Callable

import anyio
from mcp.server.auth.middleware.bearer_auth import AuthenticatedUser
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from specformer_mcp.http.options import HEALTH_PATHS

_MOST_CLIENTS = 10_000


class TokenBuckets:
    """One bucket for each client: a minute's worth of requests, refilled evenly.

    Parameters
    ----------
    per_minute
        Requests that fit a bucket and that flow in each minute.
    clock
        Seconds that only grow.
    """

    def __init__(self, per_minute: int, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._capacity = float(per_minute)
        self._per_second = per_minute / 60.0
        self._clock = clock
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def wait_s(self, client: str) -> float:
        """Take one request out of a client's bucket; 0, or the seconds until there is one.

        >>> buckets = TokenBuckets(2, clock=lambda: 0.0)
        >>> [buckets.wait_s("a"), buckets.wait_s("a"), buckets.wait_s("a"), buckets.wait_s("b")]
        [0.0, 0.0, 30.0, 0.0]
        """
        now = self._clock()
        left, at = self._buckets.pop(client, (self._capacity, now))
        left = min(self._capacity, left + (now - at) * self._per_second)
        wait = 0.0 if left >= 1.0 else (1.0 - left) / self._per_second
        self._buckets[client] = (left - 1.0 if wait == 0.0 else left, now)
        if len(self._buckets) > _MOST_CLIENTS:
            self._buckets.popitem(last=False)
        return wait


class RateLimit:
    """Refuse an owner's, or without authentication an address's, requests beyond its rate."""

    def __init__(self, app: ASGIApp, *, per_minute: int) -> None:
        self._app = app
        self._buckets = TokenBuckets(per_minute)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer 429, or pass the request on."""
        if scope["type"] == "http" and scope["path"] not in HEALTH_PATHS:
            wait = self._buckets.wait_s(client_of(scope))
            if wait > 0:
                await refusal(429, "too many requests", retry_after_s=wait)(scope, receive, send)
                return
        await self._app(scope, receive, send)


class BodyDeadline:
    """Cut a client that takes too long to send a body; the body is capped further in."""

    def __init__(self, app: ASGIApp, *, timeout_s: float) -> None:
        self._app = app
        self._timeout_s = timeout_s

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer 408 and close, or pass the request on."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        deadline = anyio.current_time() + self._timeout_s
        whole = started = False

        async def timed() -> Message:
            nonlocal whole
            if whole:  # from here on it is the disconnection that is waited for
                return await receive()
            with anyio.CancelScope(deadline=deadline) as timer:
                message = await receive()
            if timer.cancelled_caught:
                raise _BodyTooSlowError
            if message["type"] == "http.disconnect":
                raise _ClientLeftError  # half a body is nobody's request
            whole = not message.get("more_body", False)
            return message

        async def watched(message: Message) -> None:
            nonlocal started
            started = True
            await send(message)

        try:
            await self._app(scope, timed, watched)
        except _BodyTooSlowError:
            if not started:
                answer = refusal(408, f"the body did not arrive within {self._timeout_s:g} s")
                answer.headers["Connection"] = "close"
                await answer(scope, receive, send)
        except _ClientLeftError:
            return


class ConcurrencyLimit:
    """Refuse a request when as many are worked on as the server can hold, and end stuck ones.

    Only POST counts: the stream that a client of the older revision keeps open does no work.
    """

    def __init__(self, app: ASGIApp, *, most: int, timeout_s: float) -> None:
        self._app = app
        self._most = most
        self._timeout_s = timeout_s
        self._running = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer 503, or pass the request on."""
        if scope["type"] != "http" or scope["method"] != "POST":
            await self._app(scope, receive, send)
            return
        if self._running >= self._most:
            await refusal(503, "the server is busy", retry_after_s=1)(scope, receive, send)
            return
        self._running += 1
        try:
            # A tool has its own, shorter limit; this one is for whatever else could hold a place.
            with anyio.move_on_after(self._timeout_s):
                await self._app(scope, receive, send)
        finally:
            self._running -= 1


class _BodyTooSlowError(Exception):
    pass


class _ClientLeftError(Exception):
    pass


def client_of(scope: Scope) -> str:
    """Name who asks: the owner of the token, or the address (of IPv6 its /64 network)."""
    user = scope.get("user")
    if isinstance(user, AuthenticatedUser):
        return f"owner {user.access_token.subject}"
    address = str((scope.get("client") or ("unknown",))[0])
    try:
        ip = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return f"address {address}"
    if ip.version == 6 and ip.ipv4_mapped is None:
        # A single user is given a whole /64.
        return f"address {ipaddress.ip_network((int(ip), 64), strict=False)}"
    return f"address {ip}"


def refusal(status: int, reason: str, *, retry_after_s: float | None = None) -> JSONResponse:
    """Return an answer that refuses, and says when to come again."""
    if retry_after_s is None:
        return JSONResponse({"error": f"{reason}."}, status_code=status)
    seconds = max(1, math.ceil(retry_after_s))
    return JSONResponse(
        {"error": f"{reason}; try again in {seconds} s."},
        status_code=status,
        headers={"Retry-After": str(seconds)},
    )
