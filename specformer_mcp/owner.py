"""Whose samples a request may see.

A handle is a name, not a permission: the store gives a sample to the owner who put it there. Over
HTTP with authentication the owner is the subject of the access token, as the verified token states
it, never anything that the caller can choose; where there is no authentication (stdio, a server on
the user's own machine) all requests have one owner.
"""

from __future__ import annotations

import hashlib
import json
from typing import Any

from mcp.server.auth.middleware.auth_context import get_access_token
from mcp.server.auth.middleware.bearer_auth import AuthenticatedUser
from mcp.server.auth.provider import AccessToken
from mcp.server.mcpserver import Context

LOCAL = "local"


def owner_of(ctx: Context[Any, Any] | None = None) -> str:
    """Return the owner that a request acts for.

    Parameters
    ----------
    ctx
        The request; None where the SDK hands over none (completions).

    Returns
    -------
    str
        ``local`` without authentication; else ``sub_`` and 32 hexadecimal digits, which tell
        neither the subject nor its issuer.
    """
    token = _token_of_request(ctx) or get_access_token()
    if token is None:
        return LOCAL
    issuer = (token.claims or {}).get("iss")
    # A subject is unique within its issuer only; a static token has none, then its client counts.
    who = (
        ["subject", issuer, token.subject] if token.subject else ["client", issuer, token.client_id]
    )
    return f"sub_{hashlib.sha256(json.dumps(who).encode()).hexdigest()[:32]}"


def _token_of_request(ctx: Context[Any, Any] | None) -> AccessToken | None:
    """The token of this very message: in a session, the context variable is that of its first."""
    if ctx is None:
        return None
    scope = getattr(ctx.request_context.request, "scope", None)
    user = scope.get("user") if isinstance(scope, dict) else None
    return user.access_token if isinstance(user, AuthenticatedUser) else None
