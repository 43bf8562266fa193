"""The HTTP options that the server's settings ask for."""

from __future__ import annotations

from specformer_mcp.http.options import HttpOptions, OAuthOptions
from specformer_mcp.http.tokens import named_tokens, read_tokens
from specformer_mcp.settings import Settings


def http_options(settings: Settings, *, stateless: bool = False) -> HttpOptions:
    """Return the options, checked together; tokens are read from their file.

    Parameters
    ----------
    settings
        Of the server.
    stateless
        Keep nothing between requests; for several processes.

    Raises
    ------
    HttpOptionsError
        They are contradictory or unsafe, or the token file cannot be read.
    """
    tokens: dict[str, str] = {}
    if settings.token is not None:
        tokens = named_tokens(settings.token.get_secret_value(), source="the setting token")
    elif settings.token_file is not None:
        tokens = read_tokens(settings.token_file)
    oauth = None
    if settings.oauth_issuer is not None and settings.oauth_audience is not None:
        oauth = OAuthOptions(
            issuer=settings.oauth_issuer,
            audience=settings.oauth_audience,
            resource=settings.oauth_resource,
            jwks_url=settings.oauth_jwks,
            scopes=settings.oauth_scopes,
        )
    return HttpOptions(
        host=settings.host,
        port=settings.port,
        allow_hosts=settings.allow_hosts,
        allow_origins=settings.allow_origins,
        tokens=tokens,
        oauth=oauth,
        trusted_proxies=settings.trusted_proxies,
        rate_per_minute=settings.rate_per_minute,
        max_concurrent=settings.max_concurrent,
        max_body_bytes=settings.max_body_bytes,
        call_timeout_s=settings.call_timeout_s,
        metrics=settings.metrics,
        stateless=stateless,
    )
