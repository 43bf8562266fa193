"""Checking an authorization server's tokens (OAuth 2.1 resource server; RFC 9068, RFC 9728).

A token is accepted if its signature is by one of the issuer's published keys under an algorithm
that is on the list here (never one the token chooses: RFC 8725), it was issued by that issuer for
this server's audience, has not expired, and names a subject. The token goes no further.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import anyio
import httpx
import jwt
from mcp.server.auth.provider import AccessToken
from starlette.authentication import AuthenticationError

from specformer_mcp.http.options import HttpOptionsError, OAuthOptions, require_safe_url

logger = logging.getLogger(__name__)

ALGORITHMS = ("RS256", "ES256")
LEEWAY_S = 30
"""How far the two clocks may be apart."""
KEYS_LIFETIME_S = 3600.0
REFRESH_AT_MOST_EVERY_S = 60.0
_FIRST_AT_MOST_EVERY_S = 5.0
_FETCH_TIMEOUT_S = 5.0
_LARGEST_ANSWER = 512 * 1024
_LONGEST_TOKEN = 16 * 1024


class KeysUnavailableError(AuthenticationError):
    """The issuer's keys have never been fetched, so no token can be judged."""


class IssuerKeys:
    """The issuer's public keys, fetched when first needed and again when one is not among them.

    A token with an unknown key id asks the issuer at most once a minute, whoever sends it; keys
    that were fetched once are kept when the issuer does not answer.
    """

    def __init__(
        self, options: OAuthOptions, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._issuer = options.issuer
        self._url = options.jwks_url
        self._clock = clock
        self._lock = anyio.Lock()
        self._keys: list[jwt.PyJWK] = []
        self._fetched_at: float | None = None
        self._tried_at: float | None = None

    async def find(self, key_id: str | None, algorithm: str) -> jwt.PyJWK | None:
        """Return the key that a token names, None if the issuer has none such.

        Raises
        ------
        KeysUnavailableError
            The issuer has never answered.
        """
        if self._stale():
            await self._refresh()
        key = self._among(key_id, algorithm)
        if key is None:
            await self._refresh()
            key = self._among(key_id, algorithm)
        if key is None and self._fetched_at is None:
            raise KeysUnavailableError("the keys of the authorization server cannot be fetched")
        return key

    def _stale(self) -> bool:
        return self._fetched_at is None or self._clock() - self._fetched_at > KEYS_LIFETIME_S

    def _among(self, key_id: str | None, algorithm: str) -> jwt.PyJWK | None:
        fitting = [key for key in self._keys if key.algorithm_name == algorithm]
        if key_id is None:  # allowed where there is no choice
            return fitting[0] if len(fitting) == 1 else None
        return next((key for key in fitting if key.key_id == key_id), None)

    async def _refresh(self) -> None:
        async with self._lock:
            now = self._clock()
            pause = _FIRST_AT_MOST_EVERY_S if self._fetched_at is None else REFRESH_AT_MOST_EVERY_S
            if self._tried_at is not None and now - self._tried_at < pause:
                return
            self._tried_at = now
            try:
                async with httpx.AsyncClient(timeout=_FETCH_TIMEOUT_S) as client:
                    if self._url is None:
                        self._url = await self._discover(client)
                    self._keys = _usable(await _json(client, self._url))
            except (httpx.HTTPError, ValueError, HttpOptionsError) as error:
                logger.warning("cannot fetch the keys of %s: %s", self._issuer, error)
                return
            self._fetched_at = now
            logger.info("%d keys of %s", len(self._keys), self._issuer)

    async def _discover(self, client: httpx.AsyncClient) -> str:
        """Return where the issuer says that its keys are (RFC 8414, then OpenID Connect)."""
        parts = urlsplit(self._issuer)
        path = parts.path.rstrip("/")
        problem: Exception = ValueError("no metadata")
        for where in (
            f"/.well-known/oauth-authorization-server{path}",
            f"{path}/.well-known/openid-configuration",
        ):
            url = urlunsplit((parts.scheme, parts.netloc, where, "", ""))
            try:
                metadata = await _json(client, url)
            except (httpx.HTTPError, ValueError) as error:
                problem = error
                continue
            if metadata.get("issuer") != self._issuer:
                raise ValueError(f"{url} speaks for another issuer")
            address = str(metadata.get("jwks_uri", ""))
            require_safe_url(address, what=f"jwks_uri in {url}")
            return address
        raise problem


class JwtVerifier:
    """Checks access tokens of one issuer (a `TokenVerifier` of the SDK)."""

    def __init__(self, options: OAuthOptions, *, keys: IssuerKeys | None = None) -> None:
        self._options = options
        self._keys = IssuerKeys(options) if keys is None else keys

    async def verify_token(self, token: str) -> AccessToken | None:
        """Return whom a token speaks for, None if it is not good here.

        Raises
        ------
        KeysUnavailableError
            It cannot be judged now.
        """
        if len(token) > _LONGEST_TOKEN:
            return None
        try:
            header = jwt.get_unverified_header(token)
            algorithm, key_id = header.get("alg"), header.get("kid")
            if algorithm not in ALGORITHMS or not isinstance(key_id, str | None):
                return None
            key = await self._keys.find(key_id, algorithm)
            if key is None:
                return None
            claims = jwt.decode(
                token,
                key,
                algorithms=list(ALGORITHMS),
                issuer=self._options.issuer,
                audience=self._options.audience,
                leeway=LEEWAY_S,
                options={"require": ["exp", "iss", "aud", "sub"]},
            )
        except jwt.PyJWTError as error:
            logger.info("a token was refused: %s", type(error).__name__)
            return None
        subject = claims["sub"]
        if not subject:
            return None
        # Without the token itself: nothing behind this point could pass it on.
        return AccessToken(
            token="",
            client_id=str(claims.get("client_id") or claims.get("azp") or subject),
            subject=subject,
            scopes=_scopes(claims),
            resource=self._options.resource_url,
            claims={"iss": claims["iss"]},
        )


def _scopes(claims: dict[str, Any]) -> list[str]:
    """Return the scopes: ``scope`` of RFC 9068, ``scp`` of some issuers."""
    given = claims.get("scope", claims.get("scp", []))
    if isinstance(given, str):
        return given.split()
    return [str(scope) for scope in given] if isinstance(given, list) else []


def _usable(key_set: dict[str, Any]) -> list[jwt.PyJWK]:
    """Return the public signing keys of a set that an accepted algorithm can use."""
    listed = key_set.get("keys")
    if not isinstance(listed, list):
        raise ValueError("the answer is no JWK set")
    keys = []
    for one in listed:
        if not isinstance(one, dict) or one.get("use", "sig") != "sig":
            continue
        try:
            key = jwt.PyJWK(one)
        except jwt.PyJWTError:
            continue  # of a kind that this library does not know
        if key.algorithm_name in ALGORITHMS:
            keys.append(key)
    return keys


async def _json(client: httpx.AsyncClient, url: str) -> dict[str, Any]:
    """Fetch a JSON object of bounded size; redirects are not followed."""
    async with client.stream("GET", url, headers={"Accept": "application/json"}) as answer:
        if answer.status_code != 200:
            raise ValueError(f"{url} answered {answer.status_code}")
        body = bytearray()
        async for piece in answer.aiter_bytes():
            body += piece
            if len(body) > _LARGEST_ANSWER:
                raise ValueError(f"{url} answered with too much")
    found = httpx.Response(200, content=bytes(body)).json()
    if not isinstance(found, dict):
        raise ValueError(f"{url} answered no JSON object")
    return found
