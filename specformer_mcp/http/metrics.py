"""Counters for Prometheus.

``prometheus_client`` is an extra; without it ``/metrics`` says what to install. Labels are tool
names, outcomes and status codes only, so that no request can add a series.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from types import ModuleType
from typing import TYPE_CHECKING, Any

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from specformer_mcp.calls import Outcome

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry

SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)

Count = Callable[[], float]


class Metrics:
    """What is counted, in a registry of its own.

    Parameters
    ----------
    client
        The module ``prometheus_client``.
    ready
        Whether model and index are loaded (1 or 0), asked at each scrape.
    store_samples
        Samples in the store, asked at each scrape; None = not shown.
    queue_depth
        Profiles that wait for the model, asked at each scrape; None = not shown.
    """

    def __init__(
        self,
        client: ModuleType,
        *,
        ready: Count,
        store_samples: Count | None = None,
        queue_depth: Count | None = None,
    ) -> None:
        self._client = client
        self.registry: CollectorRegistry = client.CollectorRegistry()
        new: dict[str, Any] = {"registry": self.registry}
        self._calls = client.Counter(
            "specformer_tool_calls", "Tool calls", ["tool", "outcome"], **new
        )
        self._seconds = client.Histogram(
            "specformer_tool_call_seconds",
            "Time to an answer of a tool",
            ["tool"],
            buckets=SECONDS,
            **new,
        )
        self._running = client.Gauge(
            "specformer_tool_calls_in_flight",
            "Tool calls being answered",
            multiprocess_mode="livesum",
            **new,
        )
        self._profiles = client.Counter(
            "specformer_profiles", "Profiles for which embed_sample gave a handle", **new
        )
        self._responses = client.Counter(
            "specformer_http_responses", "HTTP answers", ["status"], **new
        )
        for name, text, count in (
            ("specformer_ready", "Whether model and index are loaded", ready),
            ("specformer_store_samples", "Samples in the store", store_samples),
            ("specformer_queue_depth", "Profiles that wait for the model", queue_depth),
        ):
            if count is not None:
                gauge = client.Gauge(name, text, multiprocess_mode="livemax", **new)
                gauge.set_function(count)
        client.ProcessCollector(registry=self.registry)

    def began(self) -> None:
        """Count a call that begins."""
        self._running.inc()

    def ended(self, tool: str, outcome: Outcome, *, seconds: float, samples: int | None) -> None:
        """Count a call that ended."""
        self._running.dec()
        self._calls.labels(tool, outcome).inc()
        self._seconds.labels(tool).observe(seconds)
        if samples:
            self._profiles.inc(samples)

    def responded(self, status: int) -> None:
        """Count an HTTP answer."""
        self._responses.labels(str(status)).inc()

    async def page(self, _: Request) -> Response:
        """Answer a scrape, in the text format; of several processes the sum."""
        registry = self.registry
        if "PROMETHEUS_MULTIPROC_DIR" in os.environ:
            from prometheus_client.multiprocess import MultiProcessCollector

            registry = self._client.CollectorRegistry()
            MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
        # The store may ask its database for its size.
        text = await asyncio.to_thread(self._client.generate_latest, registry)
        return Response(
            text, media_type=None, headers={"Content-Type": self._client.CONTENT_TYPE_LATEST}
        )


async def not_installed(_: Request) -> Response:
    """Answer a scrape where ``prometheus_client`` is missing."""
    text = "Metrics need prometheus_client: pip install 'specformer-mcp[metrics]'\n"
    return PlainTextResponse(text, status_code=501)


class CountedResponses:
    """Count HTTP answers by status, refusals included."""

    def __init__(self, app: ASGIApp, *, metrics: Metrics) -> None:
        self._app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on and look at the answer's status."""

        async def counted(message: Message) -> None:
            if message["type"] == "http.response.start":
                self._metrics.responded(message["status"])
            await send(message)

        await self._app(scope, receive, counted)
