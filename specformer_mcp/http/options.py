"""What can be set about serving over HTTP, checked before a port is opened."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from specformer_encoder.errors import SpecformerError

MCP_PATH = "/mcp"
HEALTH_PATHS = ("/health", "/ready")
METRICS_PATH = "/metrics"
MIB = 1024 * 1024


class HttpOptionsError(SpecformerError):
    """What was asked for is contradictory, unsafe or impossible."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OAuthOptions:
    """An authorization server whose tokens are accepted; this server only checks them.

    Attributes
    ----------
    issuer
        Its address, exactly as its tokens carry it in ``iss``.
    audience
        What a token must carry in ``aud`` to be meant for this server.
    resource
        Public address of this server's MCP endpoint, published in its RFC 9728 metadata; None =
        the audience, which must be an address then.
    jwks_url
        Where its public keys are; None = as its own metadata says.
    scopes
        Scopes that every token must have.
    """

    issuer: str
    audience: str
    resource: str | None = None
    jwks_url: str | None = None
    scopes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        require_safe_url(self.issuer, what="OAuth issuer")
        if self.jwks_url is not None:
            require_safe_url(self.jwks_url, what="address of the OAuth keys")
        if not self.audience:
            raise HttpOptionsError(
                "OAuth without an audience would accept tokens that were issued for others.",
                "Name the audience that the authorization server puts into tokens for this server.",
            )
        require_safe_url(self.resource_url, what="public address of this server (OAuth resource)")

    @property
    def resource_url(self) -> str:
        """The address published as this protected resource."""
        return self.audience if self.resource is None else self.resource


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpOptions:
    """How to serve over HTTP.

    Attributes
    ----------
    host, port
        What to bind to.
    allow_hosts, allow_origins
        Host and Origin headers accepted beside the loopback names and the bound address, as
        ``specformer.example.org`` and ``https://example.org``.
    tokens
        Owner → bearer token; empty = none asked for.
    oauth
        Accept this authorization server's tokens instead.
    trusted_proxies
        Addresses or networks whose ``X-Forwarded-For`` is believed.
    rate_per_minute
        Requests of one owner (without authentication: of one address) in a minute; they may come
        at once. 0 = no limit.
    max_concurrent
        Requests worked on at a time; one more is refused, not queued.
    max_connections, max_sessions
        Connections open at a time, sessions of the older protocol revision kept.
    max_body_bytes
        Largest request body.
    header_timeout_s, body_timeout_s, write_timeout_s, keep_alive_s
        Longest time for a client to send a request's head, its body, to take what is sent to it,
        and to leave a connection idle.
    call_timeout_s
        Longest time for a tool to answer. Clients give up at 60 s.
    metrics
        Whether ``/metrics`` is served (needs ``prometheus_client``).
    stateless
        Keep nothing between requests of the older revision either; for several processes.
    """

    host: str = "127.0.0.1"
    port: int = 8765
    allow_hosts: tuple[str, ...] = ()
    allow_origins: tuple[str, ...] = ()
    tokens: Mapping[str, str] = field(default_factory=dict, repr=False)
    oauth: OAuthOptions | None = None
    trusted_proxies: tuple[str, ...] = ()
    rate_per_minute: int = 600
    max_concurrent: int = 128
    max_connections: int = 1024
    max_sessions: int = 1000
    max_body_bytes: int = 4 * MIB
    header_timeout_s: float = 10.0
    body_timeout_s: float = 30.0
    write_timeout_s: float = 30.0
    keep_alive_s: int = 30
    call_timeout_s: float = 55.0
    metrics: bool = True
    stateless: bool = False

    def __post_init__(self) -> None:
        if self.tokens and self.oauth is not None:
            raise HttpOptionsError(
                "Both fixed bearer tokens and an OAuth issuer were given.",
                "Choose one of the two.",
            )
        if not (is_loopback(self.host) or self.authenticated or self.allow_hosts):
            raise HttpOptionsError(
                f"Binding to {self.host or 'all addresses'} would let every machine that reaches "
                "it use this server: no token is asked for and no Host is named.",
                "Give --token-file or --oauth-issuer, or at least --allow-host NAME; or bind to "
                "127.0.0.1.",
            )
        for name in ("max_concurrent", "max_connections", "max_sessions", "max_body_bytes"):
            if getattr(self, name) < 1:
                raise HttpOptionsError(
                    f"{name} must be at least 1; {getattr(self, name)} was given.",
                    "Leave it out for the default.",
                )
        if self.rate_per_minute < 0:
            raise HttpOptionsError(
                f"rate_per_minute must not be negative; {self.rate_per_minute} was given.",
                "Use 0 for no limit.",
            )

    @property
    def authenticated(self) -> bool:
        """Whether a request needs a token."""
        return bool(self.tokens) or self.oauth is not None


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach what is bound to a host.

    >>> [is_loopback(host) for host in ("127.0.0.1", "::1", "localhost", "0.0.0.0", "::", "")]
    [True, True, True, False, False, False]
    """
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host.lower() == "localhost"


def require_safe_url(url: str, *, what: str) -> None:
    """Refuse an address that is not https; plain http is for this machine only.

    Raises
    ------
    HttpOptionsError
        It is something else.
    """
    try:
        parts = urlsplit(url)
        host = parts.hostname or ""
    except ValueError:
        parts, host = None, ""
    if parts is None or not host or parts.fragment or parts.username is not None:
        raise HttpOptionsError(
            f"The {what} must be an https address; {url!r} is none.",
            "Give it as https://host/path.",
        )
    if parts.scheme != "https" and not (parts.scheme == "http" and is_loopback(host)):
        raise HttpOptionsError(
            f"The {what} must be https; {url!r} could be read and changed on its way.",
            "Give its https address; http is accepted for this machine's own addresses only.",
        )
