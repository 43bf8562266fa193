"""The guards of the HTTP server, against a real process over real sockets."""

import asyncio
import os
import random
import re
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import httpx
import pytest
from http_support import (
    HEADERS,
    call,
    connection,
    converse,
    drip,
    head,
    read_all,
    running,
)
from mcp import Client
from server_support import MODES, text_of

SMALL = {
    "rate_per_minute": 0,
    "max_concurrent": 4,
    "max_body_bytes": 100_000,
    "header_timeout_s": 1.0,
    "body_timeout_s": 1.5,
    "call_timeout_s": 3.0,
    "keep_alive_s": 3,
}


@pytest.fixture(scope="module")
def server():
    with running(**SMALL) as one:
        yield one


@pytest.mark.parametrize("path", ["/mcp", "/metrics", "/nothing"])
@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Host": "evil.example"}, 421),
        ({"Host": "evil.example:8765"}, 421),
        ({"Host": "localhost"}, 421),  # without the port it is another server's
        ({"Host": "127.0.0.1.evil.example"}, 421),
        ({"Origin": "https://evil.example"}, 403),
        ({"Origin": "null"}, 403),
        ({"Origin": "http://localhost"}, 403),
    ],
)
def test_hosts_and_origins_fail_closed(server, path, headers, status):
    for method in ("GET", "POST", "OPTIONS"):
        answer = httpx.request(method, server.base + path, headers=HEADERS | headers)
        assert answer.status_code == status, method


def test_health_is_for_everyone(server):
    for path in ("/health", "/ready"):
        answer = httpx.get(server.base + path, headers={"Host": "10.1.2.3:80"})
        assert answer.json()["status"] in {"alive", "idle", "loading"}


def test_a_request_without_host_is_refused(server):
    with connection(server) as plug:
        plug.sendall(b"POST /mcp HTTP/1.0\r\nContent-Length: 0\r\n\r\n")
        answer, _ = read_all(plug, within_s=5)
    assert b" 421 " in answer.splitlines()[0]


def test_a_body_past_the_limit(server):
    body = b'{"x": "' + b"a" * SMALL["max_body_bytes"] + b'"}'
    declared = httpx.post(server.url, content=body, headers=HEADERS)
    assert declared.status_code == 413

    def pieces():
        for start in range(0, len(body), 10_000):
            yield body[start : start + 10_000]

    chunked = httpx.post(server.url, content=pieces(), headers=HEADERS)
    assert chunked.status_code == 413
    assert server.post().status_code == 200


def test_a_client_that_trickles_its_body_is_cut(server):
    with connection(server) as plug:
        plug.sendall(head(port=server.port, length=1000))
        answer, seconds = drip(plug, [b"x"] * 100, every_s=0.1, within_s=8)
    assert b" 408 " in answer.splitlines()[0]
    assert seconds < 4


def test_a_client_that_trickles_its_head_is_cut(server):
    with connection(server) as plug:
        _, seconds = drip(
            plug, [bytes([one]) for one in head(port=server.port)], every_s=0.1, within_s=8
        )
    assert seconds < 3


def test_a_client_that_says_nothing_is_cut(server):
    with connection(server) as plug:
        answer, seconds = read_all(plug, within_s=5)
    assert answer == b""
    assert seconds < 3


def test_empty_lines_do_not_keep_a_connection(server):
    """HTTP lets blank lines stand before a request; they are no sign of life."""
    with connection(server) as plug:
        plug.sendall(head("/health", method="GET", port=server.port))
        time.sleep(0.3)
        answer, seconds = drip(plug, [b"\r\n"] * 100, every_s=0.2, within_s=8)
    assert b" 200 " in answer
    assert seconds < 4


def test_a_body_that_was_answered_already_cannot_hold_the_connection(server):
    with connection(server) as plug:
        foreign = head(port=server.port, length=50_000).replace(b"127.0.0.1", b"evil.test")
        plug.sendall(foreign)
        answer, seconds = drip(plug, [b"x"] * 100, every_s=0.1, within_s=8)
    assert b" 421 " in answer.splitlines()[0]
    assert seconds < 4


def test_an_idle_connection_is_kept_for_the_next_request(server):
    """The deadline for a head is not the time between requests."""
    with httpx.Client() as client:
        assert client.get(f"{server.base}/health").status_code == 200
        time.sleep(2 * SMALL["header_timeout_s"])
        with connection(server):
            pass
        assert client.get(f"{server.base}/health").status_code == 200


def test_garbage_does_not_end_the_server(server):
    draw = random.Random(5)  # noqa: S311
    openings = [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",  # TLS
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"\x00" * 5000,
        b"\r\n\r\n\r\n",
        b"POST /mcp HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: -5\r\n\r\n",
        b"POST /mcp HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
        b"GET /\xff\xfe HTTP/1.1\r\nHost: x\r\n\r\n",
        *(draw.randbytes(draw.randrange(1, 3000)) for _ in range(40)),
    ]

    def answer_to(opening):
        with connection(server) as plug:
            plug.sendall(opening)
            return read_all(plug, within_s=8)[0]

    with ThreadPoolExecutor(12) as pool:
        for opening, answer in zip(openings, pool.map(answer_to, openings), strict=True):
            assert answer == b"" or answer.split()[1][:1] == b"4", (opening[:60], answer[:200])
    assert server.alive()


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b'"x"',
        b"[" * 20_000,
        b'{"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": 5}',
        b'{"jsonrpc": "2.0", "id": {"a": 1}, "method": "initialize"}',
        b'{"jsonrpc": "2.0", "id": 1' + b"0" * 5000 + b', "method": "ping"}',
        b"\xff\xfe\x00",
        b'{"jsonrpc": "2.0", "id": 1, "method": "\xed\xa0\x80"}',
    ],
)
@pytest.mark.parametrize("version", [None, "2026-07-28", "1999-01-01"])
def test_malformed_messages_are_refused(server, body, version):
    headers = HEADERS | ({"MCP-Protocol-Version": version} if version else {})
    answer = httpx.post(server.url, content=body, headers=headers)
    assert 400 <= answer.status_code < 500, answer.text
    assert "Traceback" not in answer.text


def test_a_huge_head_is_refused(server):
    many = "".join(f"X-{number}: {'a' * 1000}\r\n" for number in range(1000))
    for more in (many, f"X-Long: {'a' * 1_000_000}\r\n"):
        with connection(server) as plug:
            with suppress(BrokenPipeError, ConnectionResetError):  # while it was still coming
                plug.sendall(head("/health", method="GET", port=server.port, more=more))
            with suppress(ConnectionResetError):
                answer, _ = read_all(plug, within_s=5)
                assert not answer or b" 400 " in answer.splitlines()[0]
    assert server.alive()


def test_a_message_cannot_be_smuggled_in_a_body(server):
    """Two answers to what a proxy took for one request would be a way past it."""
    hidden = head("/health", method="GET", port=server.port)
    both = head(port=server.port, length=5, more="Transfer-Encoding: chunked\r\n")
    twice = head(port=server.port, length=5, more="Content-Length: 50\r\n")
    for opening in (both + b"0\r\n\r\n" + hidden, twice + hidden):
        with connection(server) as plug:
            plug.sendall(opening)
            answer, _ = read_all(plug, within_s=5)
        assert b'"alive"' not in answer


def test_half_closed_and_broken_connections(server):
    whole = b'{"jsonrpc": "2.0", "id": 1, "method": "ping"}'
    for piece in (b"", head(port=server.port), head(port=server.port, length=500) + b"{"):
        with connection(server) as plug:
            plug.sendall(piece)
            plug.shutdown(1)  # no more from here
            read_all(plug, within_s=5)
    for _ in range(20):  # gone in the middle of a body, and with an answer on its way
        with connection(server) as plug:
            plug.sendall(head(port=server.port, length=500) + b"{")
        with connection(server) as plug:
            plug.sendall(head(port=server.port, length=len(whole)) + whole)
    assert server.post().status_code == 200


def test_pipelined_requests_are_answered_in_order(server):
    health = head("/health", method="GET", port=server.port)
    nothing = head("/nothing", method="GET", port=server.port)
    last = head("/health", method="GET", port=server.port, more="Connection: close\r\n")
    with connection(server) as plug:
        plug.sendall(health + nothing + health + last)
        answer, _ = read_all(plug, within_s=5)
    assert re.findall(rb"HTTP/1.1 (\d+) ", answer) == [b"200", b"404", b"200", b"200"]


@pytest.mark.parametrize("mode", MODES)
def test_a_tool_that_takes_too_long_is_answered_in_time(server, mode):
    async def conversation(client):
        began = time.monotonic()
        answer = await client.call_tool("slow", {"seconds": 8})
        return answer, time.monotonic() - began

    before = server.metric('specformer_tool_calls_total{outcome="timeout",tool="slow"}')
    answer, seconds = converse(server.url, conversation, mode=mode)
    assert answer.is_error
    assert "within 3 s" in text_of(answer)
    assert 2.9 < seconds < 5
    after = server.metric('specformer_tool_calls_total{outcome="timeout",tool="slow"}')
    assert after == before + 1


def test_one_request_too_many_is_refused_at_once(server):
    message, headers = call("slow", seconds=2.5)
    with ThreadPoolExecutor(4) as pool:
        full = [pool.submit(server.post, message, headers=headers) for _ in range(4)]
        time.sleep(1)
        refused = server.post(message, headers=headers)
        assert not any(one.done() for one in full)
        assert server.alive()
        assert {one.result().status_code for one in full} == {200}
    assert refused.status_code == 503
    assert int(refused.headers["Retry-After"]) >= 1
    assert server.post(message, headers=headers).status_code == 200


def test_slow_bodies_do_not_take_the_places_of_others(server):
    stop = threading.Event()

    def hold():
        with connection(server) as plug:
            plug.sendall(head(port=server.port, length=1000) + b"{")
            stop.wait(1)

    with ThreadPoolExecutor(20) as pool:
        held = [pool.submit(hold) for _ in range(20)]
        time.sleep(0.3)
        status = server.post().status_code
        stop.set()
        for one in held:
            one.result()
    assert status == 200


def test_a_client_that_leaves_frees_its_place(server):
    message, headers = call("slow", seconds=1)
    for _ in range(6):
        with pytest.raises(httpx.ReadTimeout):
            httpx.post(server.url, json=message, headers=HEADERS | headers, timeout=0.3)
    time.sleep(3)
    assert server.post(message, headers=headers).status_code == 200
    assert server.metric("specformer_tool_calls_in_flight") == 0


def test_sixty_four_clients_at_once():
    async def one(url, mode, number):
        async with Client(url, mode=mode, read_timeout_seconds=60) as client:
            tools = await client.list_tools()
            answer = await client.call_tool("slow", {"seconds": 0.001 * number})
            bad = await client.call_tool("nearest_cohorts", {"sample": "smp_0000000000000000"})
            return len(tools.tools), answer.is_error, bad.is_error

    async def all_of_them(url, mode):
        return await asyncio.gather(*(one(url, mode, number) for number in range(64)))

    with running(rate_per_minute=0) as server:
        for times, mode in enumerate(MODES, start=1):
            answers = asyncio.run(all_of_them(server.url, mode))
            assert {answer[1:] for answer in answers} == {(False, True)}
            assert len({answer[0] for answer in answers}) == 1
            answered = server.metric('specformer_tool_calls_total{outcome="ok",tool="slow"}')
            assert answered == 64 * times
        assert server.metric("specformer_tool_calls_in_flight") == 0


@pytest.fixture(scope="module")
def slow_server():
    """Let each address in twenty times a minute; nothing that is not needed is installed."""
    with running(rate_per_minute=20, without_prometheus_client=True) as one:
        yield one


def test_the_rate_of_an_address(slow_server):
    # Whoever claims to be somebody else is still the one who asks.
    answers = [slow_server.post(headers={"X-Forwarded-For": f"198.51.100.{n}"}) for n in range(22)]
    assert {one.status_code for one in answers[:20]} == {200}
    assert answers[-1].status_code == 429
    assert 1 <= int(answers[-1].headers["Retry-After"]) <= 3
    assert "try again" in answers[-1].json()["error"]
    assert slow_server.alive()  # the health routes are not counted
    time.sleep(int(answers[-1].headers["Retry-After"]))
    assert slow_server.post().status_code == 200


def test_metrics_say_what_to_install(slow_server):
    time.sleep(3)  # the rate
    answer = httpx.get(f"{slow_server.base}/metrics")
    assert answer.status_code == 501
    assert "pip install" in answer.text


ORIGIN = "https://app.example"


@pytest.fixture(scope="module")
def proxied():
    """Stand behind a proxy on all addresses, with a page of one origin as client."""
    with running(
        host="0.0.0.0",  # noqa: S104
        allow_hosts=["specformer.example.org"],
        allow_origins=[ORIGIN],
        trusted_proxies=["127.0.0.1"],
        rate_per_minute=2,
        metrics=False,
    ) as one:
        yield one


def test_a_trusted_proxy_names_the_address(proxied):
    for asked in (200, 200, 429):
        answers = {
            proxied.post(headers={"X-Forwarded-For": f"198.51.100.{n}"}).status_code
            for n in range(4)
        }
        assert answers == {asked}


def test_a_named_host_is_accepted_and_no_other(proxied):
    for host, status in (("specformer.example.org", 200), ("other.example.org", 421)):
        headers = {"Host": host, "X-Forwarded-For": "198.51.100.99"}
        assert proxied.post(headers=headers).status_code == status
    assert "no token is asked for" in proxied.log.read_text()


def test_a_page_of_a_named_origin_may_read_answers(proxied):
    sent = {"Origin": ORIGIN, "X-Forwarded-For": "198.51.100.98"}
    asked = {
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "authorization, mcp-protocol-version",
    }
    preflight = httpx.options(proxied.url, headers=sent | asked)
    answer = proxied.post(headers=sent)
    other = proxied.post(headers=sent | {"Origin": f"{ORIGIN}.evil"})
    assert preflight.status_code == 200
    assert preflight.headers["Access-Control-Allow-Origin"] == ORIGIN
    assert "mcp-protocol-version" in preflight.headers["Access-Control-Allow-Headers"]
    assert answer.status_code == 200
    assert answer.headers["Access-Control-Allow-Origin"] == ORIGIN
    assert other.status_code == 403


def test_metrics_can_be_left_out(proxied):
    headers = {"X-Forwarded-For": "198.51.100.97"}
    assert httpx.get(f"{proxied.base}/metrics", headers=headers).status_code == 404


def test_metrics(server):
    server.post(*call("no_such_tool_" + "x" * 50)[:1], headers=call("no_such_tool_" + "x" * 50)[1])
    page = httpx.get(f"{server.base}/metrics")
    assert page.headers["Content-Type"].startswith("text/plain; version=")
    for name in (
        "specformer_tool_call_seconds_bucket",
        "specformer_tool_calls_in_flight",
        "specformer_profiles_total",
        "specformer_http_responses_total",
        "specformer_ready 0.0",
        "specformer_store_samples 0.0",
    ):
        assert name in page.text
    if os.path.exists("/proc/self"):  # noqa: PTH110
        assert "process_resident_memory_bytes" in page.text
    assert 'tool="unknown"' in page.text
    assert "no_such_tool" not in page.text
