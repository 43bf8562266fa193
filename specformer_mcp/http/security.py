"""Host and Origin: a page in a browser must not reach a server on the user's machine.

DNS rebinding makes a foreign page's requests arrive at 127.0.0.1 under the page's own Host, and any
page may post across origins. So both headers are compared with a list, and what is not on it is
refused (421, 403) before anything else of the request is looked at.
"""

from __future__ import annotations

from collections.abc import Sequence

from mcp.server.transport_security import TransportSecurityMiddleware, TransportSecuritySettings
from starlette.requests import Request
from starlette.types import ASGIApp, Receive, Scope, Send

from specformer_mcp.http.limits import refusal
from specformer_mcp.http.options import HEALTH_PATHS

LOOPBACK = ("127.0.0.1", "localhost", "[::1]")


def http_security(
    *, host: str, port: int, hosts: Sequence[str] = (), origins: Sequence[str] = ()
) -> TransportSecuritySettings:
    """Return the Host and Origin values that are accepted; all others are refused.

    Set always and explicitly: the SDK accepts every Host when a server binds to a public address
    without these settings.

    Parameters
    ----------
    host, port
        What the server binds to.
    hosts, origins
        Further values to accept, as ``specformer.example.org`` and ``https://example.org``.
    """
    names = [*LOOPBACK, f"[{host}]" if ":" in host else host]
    accepted = [f"{name}:{port}" for name in dict.fromkeys(names)]
    return TransportSecuritySettings(
        enable_dns_rebinding_protection=True,
        allowed_hosts=[*accepted, *hosts],
        allowed_origins=[*(f"http://{name}" for name in accepted), *origins],
    )


class HostAndOrigin:
    """Refuse a foreign Host or Origin, whatever is asked for, and a body of two lengths.

    The SDK checks both headers too, but only after it has read the body and only at the MCP
    endpoint. The health routes are free: an orchestrator asks them by an address that is in
    nobody's list, and they tell no more than that the server lives.
    """

    def __init__(self, app: ASGIApp, *, settings: TransportSecuritySettings) -> None:
        self._app = app
        self._check = TransportSecurityMiddleware(settings)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer 400, 421 or 403, or pass the request on."""
        if scope["type"] == "http" and _ambiguous(scope):
            answer = refusal(400, "the request has both Content-Length and Transfer-Encoding")
            answer.headers["Connection"] = "close"
            await answer(scope, receive, send)
            return
        if scope["type"] == "http" and scope["path"] not in HEALTH_PATHS:
            foreign = await self._check.validate_request(Request(scope), is_post=False)
            if foreign is not None:
                await foreign(scope, receive, send)
                return
        await self._app(scope, receive, send)


def _ambiguous(scope: Scope) -> bool:
    """Whether a proxy could see another end of the body: what follows would be smuggled in."""
    names = {name for name, _ in scope["headers"]}
    return b"content-length" in names and b"transfer-encoding" in names
