"""Fixed bearer tokens: for one user or a few, without an authorization server.

A token file has one token a line, or ``NAME TOKEN`` where several people share a server: the name
is the owner, and nobody sees another owner's samples. Digests are compared, every one and each in
constant time, so that timing tells nothing of a token.
"""

from __future__ import annotations

import hashlib
import hmac
import logging
import re
from collections.abc import Mapping
from pathlib import Path

from mcp.server.auth.provider import AccessToken

from specformer_mcp.http.options import HttpOptionsError

logger = logging.getLogger(__name__)

SHORTEST = 16
"""Characters; a shorter token could be guessed within a rate limit and a year."""
ONLY_OWNER = "token"
_TOKEN = re.compile(r"[A-Za-z0-9._~+/-]+=*")  # b64token of RFC 6750
_HOW = "Make one with: python3 -c 'import secrets; print(secrets.token_urlsafe(32))'"


def read_tokens(path: Path) -> dict[str, str]:
    """Return owner → token of a token file.

    Raises
    ------
    HttpOptionsError
        The file cannot be read, holds no token, or a line is malformed; the message never shows it.
    """
    try:
        text = path.read_text(encoding="utf-8")
        mode = path.stat().st_mode
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not UTF-8 text"
        raise HttpOptionsError(
            f"The token file {path} cannot be read ({reason}).", "Check --token-file."
        ) from error
    if mode & 0o077:
        logger.warning("%s can be read by other users of this machine; chmod 600 it", path)
    return named_tokens(text, source=f"the token file {path}")


def named_tokens(text: str, *, source: str) -> dict[str, str]:
    """Return owner → token of lines ``TOKEN`` or ``NAME TOKEN``; ``#`` begins a comment line.

    Parameters
    ----------
    text
        The lines.
    source
        Where they are from, for messages.

    Raises
    ------
    HttpOptionsError
        There is no token, or one is malformed, too short or given twice.
    """
    tokens: dict[str, str] = {}
    for number, line in enumerate(text.splitlines(), start=1):
        words = line.split()
        if not words or words[0].startswith("#"):
            continue
        owner, token = (ONLY_OWNER, words[0]) if len(words) == 1 else (words[0], words[1])
        if len(words) > 2 or not _TOKEN.fullmatch(token) or len(token) < SHORTEST:
            raise HttpOptionsError(
                f"Line {number} of {source} must be TOKEN or NAME TOKEN, the token at least "
                f"{SHORTEST} characters of A-Z a-z 0-9 . _ ~ + / -.",
                _HOW,
            )
        if owner in tokens or token in tokens.values():
            raise HttpOptionsError(
                f"Line {number} of {source} repeats a name or a token.",
                "Give each owner one line with a token of its own.",
            )
        tokens[owner] = token
    if not tokens:
        raise HttpOptionsError(f"There is no token in {source}.", _HOW)
    return tokens


class FixedTokens:
    """Knows the owners of fixed tokens (a `TokenVerifier` of the SDK)."""

    def __init__(self, tokens: Mapping[str, str]) -> None:
        self._owners = [(owner, _digest(token)) for owner, token in tokens.items()]

    async def verify_token(self, token: str) -> AccessToken | None:
        """Return whose token it is, None if nobody's."""
        given, found = _digest(token), None
        for owner, digest in self._owners:  # all of them, so that time tells nothing
            if hmac.compare_digest(given, digest):
                found = owner
        if found is None:
            return None
        # Without the token itself: nothing behind this point could pass it on.
        return AccessToken(token="", client_id=found, subject=found, scopes=[])


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode("utf-8", "surrogateescape")).digest()
