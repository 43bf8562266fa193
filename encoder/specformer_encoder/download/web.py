"""HTTP for downloads: what is tried again, how long is waited, where a redirect may lead.

Public archives are slow, busy and behind proxies. A failure that may pass (no connection, a time
out, a body that ends early, status 408, 425, 429 or 5xx) is tried again after a wait that doubles,
with jitter, or for as long as ``Retry-After`` asks; any other refusal is final and says what to do.
Proxies and certificates come from the environment (``HTTPS_PROXY``, ``NO_PROXY``,
``SSL_CERT_FILE``), as httpx does by itself.
"""

from __future__ import annotations

import base64
import binascii
import email.utils
import functools
import random
import re
import ssl
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

import httpx

from specformer_encoder.download.progress import Note
from specformer_encoder.errors import DownloadError

IDENTITY = {"Accept-Encoding": "identity"}
"""The file as it is stored: a ``.gz`` must stay one, and ranges must count its own bytes."""

_MOST_REDIRECTS = 5
_LONGEST_ASKED_WAIT_S = 300.0
_MAY_PASS = frozenset({408, 425, 429})
_UNDERSTOOD = frozenset({200, 206, 416})


@dataclass(frozen=True, slots=True)
class Policy:
    """How patient a download is.

    Attributes
    ----------
    attempts
        Failures in a row, without a new byte between them, after which it gives up.
    first_wait_s, longest_wait_s
        The wait after the first failure, doubled after each further one up to the longest.
    connect_s, read_s
        Longest silence of the server before and after it has answered.
    """

    attempts: int = 6
    first_wait_s: float = 1.0
    longest_wait_s: float = 60.0
    connect_s: float = 10.0
    read_s: float = 60.0


class TransientError(Exception):
    """A failure that may pass, with the seconds that the server asks to wait, if it does."""

    def __init__(self, reason: str, *, retry_after_s: float | None = None) -> None:
        super().__init__(reason)
        self.retry_after_s = retry_after_s


class RefusedError(DownloadError):
    """The server answered, and the answer is final.

    Parameters
    ----------
    status
        The HTTP status.
    """

    def __init__(self, problem: str, remedy: str, *, status: int) -> None:
        super().__init__(problem, remedy)
        self.status = status


class Attempts:
    """Counts failures in a row, waits after each, gives up after the last.

    Parameters
    ----------
    what
        Names the file in messages.
    policy
        How patient to be.
    note
        Told before each wait.
    """

    def __init__(self, what: str, policy: Policy, note: Note) -> None:
        self._what = what
        self._policy = policy
        self._note = note
        self._failures = 0

    def failed(self, error: TransientError, *, progressed: bool = False) -> None:
        """Wait before the next attempt; failures before any progress do not count.

        Raises
        ------
        DownloadError
            There have been enough attempts, or the server asks to wait too long.
        """
        self._failures = 1 if progressed else self._failures + 1
        if self._failures >= self._policy.attempts:
            raise DownloadError(
                f"{self._what}: {error}, {self._failures} times in a row.",
                "Check the network and the proxy (HTTPS_PROXY), or wait; the same command goes on "
                "where this one stopped.",
            )
        wait_s = min(
            self._policy.first_wait_s * 2 ** (self._failures - 1), self._policy.longest_wait_s
        )
        # Jitter, so that many clients of a server that was down do not come back at once.
        wait_s *= random.uniform(0.5, 1.0)  # noqa: S311 - no secret depends on it
        if error.retry_after_s is not None:
            wait_s = error.retry_after_s
        if wait_s > _LONGEST_ASKED_WAIT_S:
            raise DownloadError(
                f"{self._what}: {error}, and the server asks to wait {wait_s:.0f} s.",
                "Run the same command again then; it goes on where this one stopped.",
            )
        self._note(
            f"{self._what}: {error}; attempt {self._failures + 1} of {self._policy.attempts} "
            f"in {wait_s:.1f} s"
        )
        time.sleep(wait_s)


def open_client(
    url: str, *, policy: Policy, may_visit: Callable[[httpx.URL], bool] | None = None
) -> httpx.Client:
    """Return a client for one address and where it redirects to.

    Parameters
    ----------
    url
        The first address. If it is https, no redirect may leave https.
    policy
        Time limits.
    may_visit
        Says of every further address whether a redirect may lead there; None = anywhere.

    Raises
    ------
    DownloadError
        The address or a proxy setting of the environment is malformed.
    """
    try:
        first = httpx.URL(url)
    except httpx.InvalidURL as error:
        raise _malformed(url) from error
    if first.scheme not in {"http", "https"} or not first.host:
        raise _malformed(url)

    def guard(request: httpx.Request) -> None:
        if first.scheme == "https" and request.url.scheme != "https":
            reason = "which is not encrypted"
        elif may_visit is not None and not may_visit(request.url):
            reason = "which is another host than the ones trusted here"
        else:
            return
        raise DownloadError(
            f"{shown(first)} redirects to {shown(request.url)}, {reason}; this is not followed.",
            "Check the address and that no proxy or captive portal answers in its place.",
        )

    try:
        return httpx.Client(
            verify=_certificates(),
            follow_redirects=True,
            max_redirects=_MOST_REDIRECTS,
            timeout=httpx.Timeout(policy.read_s, connect=policy.connect_s),
            headers={"User-Agent": "specformer-mcp", **IDENTITY},
            event_hooks={"request": [guard]},
        )
    except (ImportError, ValueError, httpx.InvalidURL) as error:
        raise DownloadError(
            f"The proxy settings of the environment cannot be used: {error}.",
            "Mend HTTP_PROXY, HTTPS_PROXY and ALL_PROXY; a SOCKS proxy needs "
            "`pip install 'httpx[socks]'`.",
        ) from error
    except OSError as error:
        raise DownloadError(
            f"The trusted certificates cannot be read: {error}.",
            "Mend or unset SSL_CERT_FILE and SSL_CERT_DIR.",
        ) from error


@contextmanager
def answer(
    client: httpx.Client, method: str, url: str, headers: Mapping[str, str] | None = None
) -> Iterator[httpx.Response]:
    """Ask, and give the response with its body still to come.

    Raises
    ------
    TransientError
        Also while the body is read.
    RefusedError, DownloadError
        The answer is final.
    """
    try:
        with client.stream(method, url, headers=dict(headers or {})) as response:
            _check(response)
            yield response
    except httpx.TooManyRedirects as error:
        raise DownloadError(
            f"{shown(url)} redirects more than {_MOST_REDIRECTS} times.", "Check the address."
        ) from error
    except httpx.RequestError as error:
        if "CERTIFICATE_VERIFY_FAILED" in str(error):
            raise DownloadError(
                f"The certificate of {httpx.URL(url).host} is not trusted ({error}).",
                "Behind a proxy that opens TLS, name the institute's certificates with "
                "SSL_CERT_FILE.",
            ) from error
        raise TransientError(_reason(error, httpx.URL(url).host)) from error


def size_of(client: httpx.Client, url: str) -> int | None:
    """Ask how many bytes a file has; None = the server does not say.

    Raises
    ------
    TransientError, RefusedError, DownloadError
        As `answer`.
    """
    try:
        with answer(client, "HEAD", url) as response:
            if response.headers.get("Content-Encoding", "identity") != "identity":
                return None
            return whole(response.headers.get("Content-Length"))
    except RefusedError as error:
        # Signed addresses and some servers refuse HEAD and allow GET.
        if error.status in {403, 405, 501}:
            return None
        raise


def published_md5(headers: httpx.Headers) -> str | None:
    """Return the MD5 of the stored file where the storage service states it, else None.

    Google Cloud Storage sends it as ``x-goog-hash``. On Amazon S3 the ETag is the MD5 of an object
    that was uploaded in one piece and not encrypted with a customer's key.
    """
    for part in headers.get("x-goog-hash", "").split(","):
        name, _, value = part.strip().partition("=")
        if name == "md5":
            try:
                return base64.b64decode(value, validate=True).hex()
            except binascii.Error:
                return None
    etag = str(headers.get("ETag", "")).strip('"')
    encryption = headers.get("x-amz-server-side-encryption", "AES256")
    plain = encryption == "AES256" and not any(
        name.startswith("x-amz-server-side-encryption-customer") for name in headers
    )
    if headers.get("Server") == "AmazonS3" and plain and re.fullmatch("[0-9a-f]{32}", etag):
        return etag
    return None


def shown(url: str | httpx.URL) -> str:
    """Return an address without what may be secret in it: user, password and query."""
    parts = httpx.URL(url)
    return str(parts.copy_with(username=None, password=None, query=None, fragment=None))


def whole(text: str | None) -> int | None:
    """Return a header's value as a number, None where it is none."""
    return int(text) if text is not None and text.isascii() and text.isdigit() else None


@functools.cache
def _certificates() -> ssl.SSLContext:
    """Reading them takes a while, and every file has its client."""
    return httpx.create_ssl_context()


def _check(response: httpx.Response) -> None:
    status = response.status_code
    if status in _UNDERSTOOD:
        return
    address = shown(response.url)
    if status in _MAY_PASS or status >= 500:
        raise TransientError(
            f"{response.url.host} answered {status} {response.reason_phrase}".rstrip(),
            retry_after_s=_seconds(response.headers.get("Retry-After")),
        )
    if status in {404, 410}:
        remedy = "It was moved or withdrawn, or a mirror lacks it: check the address in a browser."
    elif status in {401, 403, 407, 451}:
        remedy = "Check that the file is public, and whether a proxy or firewall blocks it."
    else:
        remedy = "Check the address."
    raise RefusedError(
        f"{address} answered {status} {response.reason_phrase}".rstrip() + ".",
        remedy,
        status=status,
    )


def _seconds(retry_after: str | None) -> float | None:
    """``Retry-After`` holds seconds or a date (RFC 9110, section 10.2.3)."""
    if retry_after is None:
        return None
    if (seconds := whole(retry_after.strip())) is not None:
        return float(seconds)
    try:
        return max(0.0, email.utils.parsedate_to_datetime(retry_after).timestamp() - time.time())
    except ValueError:
        return None


def _reason(error: httpx.RequestError, host: str) -> str:
    if isinstance(error, httpx.ConnectTimeout | httpx.ConnectError | httpx.ProxyError):
        return f"{host} cannot be reached ({str(error) or 'time out'})"
    if isinstance(error, httpx.TimeoutException):
        return f"{host} has fallen silent"
    return f"the connection to {host} broke ({str(error) or type(error).__name__})"


def _malformed(url: str) -> DownloadError:
    return DownloadError(
        f"{url.rpartition('@')[2][:200]!r} is no address of a file.",
        "An address starts with https:// and a host name.",
    )
