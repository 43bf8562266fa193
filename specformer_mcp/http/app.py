"""The HTTP application: the MCP endpoint behind its guards, outermost first.

Host and Origin → CORS → who is it → how often → may they → is the body whole in time and size → is
there room → the MCP server. Each refusal costs less than what it protects.
"""

from __future__ import annotations

import importlib
import logging
import signal
import sys
import threading
from collections.abc import Callable
from types import FrameType
from typing import Any

import uvicorn
from mcp.server.auth.middleware.auth_context import AuthContextMiddleware
from mcp.server.auth.middleware.bearer_auth import BearerAuthBackend, RequireAuthMiddleware
from mcp.server.auth.provider import TokenVerifier
from mcp.server.auth.routes import build_resource_metadata_url, create_protected_resource_routes
from mcp.server.mcpserver import MCPServer
from mcp.server.transport_security import RequestBodyLimitMiddleware
from pydantic import AnyHttpUrl, ConfigDict, TypeAdapter
from starlette.applications import Starlette
from starlette.authentication import AuthenticationError
from starlette.middleware import Middleware
from starlette.middleware.authentication import AuthenticationMiddleware
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import HTTPConnection
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from specformer_mcp.engine import Engine
from specformer_mcp.http.call_limit import LimitedCalls
from specformer_mcp.http.limits import BodyDeadline, ConcurrencyLimit, RateLimit, refusal
from specformer_mcp.http.metrics import CountedResponses, Metrics, not_installed
from specformer_mcp.http.options import (
    HEALTH_PATHS,
    MCP_PATH,
    METRICS_PATH,
    HttpOptions,
    OAuthOptions,
    is_loopback,
)
from specformer_mcp.http.protocol import protocol_with
from specformer_mcp.http.security import HostAndOrigin, http_security
from specformer_mcp.http.tokens import FixedTokens

logger = logging.getLogger(__name__)

LARGEST_HEAD = 32 * 1024
"""Bytes of a request's line and headers; an access token may take half of them."""
_GRACE_S = 5
# Without it pydantic would add a slash to an address without a path, and clients compare exactly.
_URL: TypeAdapter[AnyHttpUrl] = TypeAdapter(
    AnyHttpUrl, config=ConfigDict(url_preserve_empty_path=True)
)


def http_app(
    server: MCPServer[Any],
    *,
    engine: Engine,
    options: HttpOptions,
    store_samples: Callable[[], float] | None = None,
    queue_depth: Callable[[], float] | None = None,
) -> Starlette:
    """Return the ASGI application of a server; call it once for a server.

    Parameters
    ----------
    server
        With its tools and health routes.
    engine
        Whose state ``specformer_ready`` shows.
    options
        Who may come in and how much they may ask.
    store_samples, queue_depth
        Asked at each scrape; see `specformer_mcp.http.metrics.Metrics`.
    """
    metrics = None
    if options.metrics:
        metrics = _metrics(engine, store_samples=store_samples, queue_depth=queue_depth)
    server.middleware.append(
        LimitedCalls(server, timeout_s=options.call_timeout_s, metrics=metrics)
    )
    security = http_security(
        host=options.host,
        port=options.port,
        hosts=options.allow_hosts,
        origins=options.allow_origins,
    )
    app = server.streamable_http_app(
        streamable_http_path=MCP_PATH,
        stateless_http=options.stateless,
        max_request_body_size=options.max_body_bytes,
        max_sessions=options.max_sessions,
        transport_security=security,
        host=options.host,
    )
    open_paths = set(HEALTH_PATHS)
    gate: list[Middleware] = []
    verifier, scopes, metadata_url = _verifier(options), [], None
    if options.oauth is not None:
        routes = _metadata_routes(options.oauth)
        app.router.routes.extend(routes)
        open_paths |= {route.path for route in routes}
        scopes = list(options.oauth.scopes)
        metadata_url = build_resource_metadata_url(_URL.validate_python(options.oauth.resource_url))
    if verifier is not None:
        gate = [
            Middleware(
                AuthenticationMiddleware,
                backend=BearerAuthBackend(verifier),
                on_error=_cannot_judge,
            ),
            Middleware(AuthContextMiddleware),
        ]
    if options.rate_per_minute:
        gate.append(Middleware(RateLimit, per_minute=options.rate_per_minute))
    if verifier is not None:
        gate.append(
            Middleware(
                RequireToken, open_paths=open_paths, scopes=scopes, metadata_url=metadata_url
            )
        )
    if options.metrics:
        endpoint = not_installed if metrics is None else metrics.page
        app.router.routes.append(Route(METRICS_PATH, endpoint, methods=["GET"]))
    app.user_middleware = [
        *([] if metrics is None else [Middleware(CountedResponses, metrics=metrics)]),
        Middleware(HostAndOrigin, settings=security),
        *_cors(options),
        *gate,
        Middleware(BodyDeadline, timeout_s=options.body_timeout_s),
        Middleware(RequestBodyLimitMiddleware, max_body_size=options.max_body_bytes),
        Middleware(
            ConcurrencyLimit,
            most=options.max_concurrent,
            timeout_s=options.call_timeout_s + 2 * options.write_timeout_s,
        ),
    ]
    return app


def uvicorn_config(app: ASGIApp, *, options: HttpOptions) -> uvicorn.Config:
    """Return how uvicorn serves the application, with its deadlines."""
    return uvicorn.Config(
        app,
        host=options.host,
        port=options.port,
        http=protocol_with(
            header_timeout_s=options.header_timeout_s, write_timeout_s=options.write_timeout_s
        ),
        ws="none",
        lifespan="on",
        log_config=None,  # through the root logger, to stderr
        access_log=False,
        server_header=False,
        limit_concurrency=options.max_connections,
        h11_max_incomplete_event_size=LARGEST_HEAD,
        timeout_keep_alive=options.keep_alive_s,
        timeout_graceful_shutdown=_GRACE_S,
        proxy_headers=bool(options.trusted_proxies),
        forwarded_allow_ips=list(options.trusted_proxies),
    )


def serve_http(
    server: MCPServer[Any],
    *,
    engine: Engine,
    options: HttpOptions,
    store_samples: Callable[[], float] | None = None,
    queue_depth: Callable[[], float] | None = None,
) -> None:
    """Serve streamable HTTP at ``/mcp`` until interrupted; see `http_app` for the parameters.

    ``/health``, ``/ready`` and ``/metrics`` are beside it. SIGTERM and SIGINT let running requests
    end for 5 s and return from here, so that the caller can close what it has open.
    """
    if not (is_loopback(options.host) or options.authenticated):
        logger.warning("no token is asked for: whoever reaches this server can use it")
    app = http_app(
        server,
        engine=engine,
        options=options,
        store_samples=store_samples,
        queue_depth=queue_depth,
    )
    running = uvicorn.Server(uvicorn_config(app, options=options))

    def terminated(number: int, _: FrameType | None) -> None:
        # Uvicorn raises the signal again after it has shut down; the caller goes on from there.
        if not running.should_exit:
            sys.exit(128 + number)

    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, terminated)
    engine.start()
    running.run()


class RequireToken:
    """Ask for a token everywhere but at the paths that are open; see the SDK's middleware."""

    def __init__(
        self,
        app: ASGIApp,
        *,
        open_paths: set[str],
        scopes: list[str],
        metadata_url: AnyHttpUrl | None,
    ) -> None:
        self._app = app
        self._open_paths = open_paths
        self._guarded = RequireAuthMiddleware(app, scopes, metadata_url)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer 401 or 403, or pass the request on."""
        is_open = scope["type"] != "http" or scope["path"] in self._open_paths
        await (self._app if is_open else self._guarded)(scope, receive, send)


def _verifier(options: HttpOptions) -> TokenVerifier | None:
    if options.oauth is not None:
        from specformer_mcp.http.oauth import JwtVerifier

        return JwtVerifier(options.oauth)
    return FixedTokens(options.tokens) if options.tokens else None


def _cannot_judge(_: HTTPConnection, error: AuthenticationError) -> Response:
    return refusal(503, str(error), retry_after_s=5)


def _metadata_routes(oauth: OAuthOptions) -> list[Route]:
    return create_protected_resource_routes(
        resource_url=_URL.validate_python(oauth.resource_url),
        authorization_servers=[_URL.validate_python(oauth.issuer)],
        scopes_supported=list(oauth.scopes) or None,
        resource_name="SpecFormer",
    )


def _cors(options: HttpOptions) -> list[Middleware]:
    """Let pages of the named origins read answers; nobody else's can."""
    if not options.allow_origins:
        return []
    return [
        Middleware(
            CORSMiddleware,
            allow_origins=list(options.allow_origins),
            allow_methods=["GET", "POST", "DELETE"],
            allow_headers=["*"],
            expose_headers=["Mcp-Session-Id", "WWW-Authenticate", "Retry-After"],
        )
    ]


def _metrics(
    engine: Engine,
    *,
    store_samples: Callable[[], float] | None,
    queue_depth: Callable[[], float] | None,
) -> Metrics | None:
    try:
        client = importlib.import_module("prometheus_client")
    except ModuleNotFoundError:
        return None
    return Metrics(
        client,
        ready=lambda: float(engine.state == "ready"),
        store_samples=store_samples,
        queue_depth=queue_depth,
    )
