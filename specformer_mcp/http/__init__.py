"""Serving over HTTP: who may come in, how much each may ask, and what is counted.

Nothing of it is imported when the server speaks over stdio.
"""

from specformer_mcp.http.app import http_app, serve_http, uvicorn_config
from specformer_mcp.http.options import HttpOptions, HttpOptionsError, OAuthOptions
from specformer_mcp.http.tokens import named_tokens, read_tokens

__all__ = [
    "HttpOptions",
    "HttpOptionsError",
    "OAuthOptions",
    "http_app",
    "named_tokens",
    "read_tokens",
    "serve_http",
    "uvicorn_config",
]
