"""The longest time that a tool may take to answer, and the count of how calls end."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import anyio
from mcp.server.context import CallNext, HandlerResult, ServerRequestContext
from mcp.server.mcpserver import MCPServer
from mcp_types import CallToolResult, TextContent

from specformer_mcp.calls import TOOL_CALL, Outcome, outcome_of, samples_in
from specformer_mcp.http.metrics import Metrics

_UNKNOWN = "unknown"


class LimitedCalls:
    """Give every tool call a time limit and count it (middleware of the MCP server).

    At the limit the client has its answer, and the tool is told to stop. One that computes in a
    thread looks for that between its steps; what it finds until then is dropped.
    """

    def __init__(
        self, server: MCPServer[Any], *, timeout_s: float, metrics: Metrics | None = None
    ) -> None:
        self._server = server
        self._timeout_s = timeout_s
        self._metrics = metrics
        self._names: frozenset[str] = frozenset()
        self._running: set[asyncio.Task[HandlerResult | None]] = set()

    async def __call__(
        self, ctx: ServerRequestContext[Any, Any], call_next: CallNext
    ) -> HandlerResult:
        """Answer a call in time."""
        if ctx.method != TOOL_CALL:
            return await call_next(ctx)
        tool = await self._tool(ctx)
        if self._metrics is not None:
            self._metrics.began()
        began = time.perf_counter()
        outcome: Outcome = "cancelled"
        samples = None
        try:
            result = await self._in_time(tool, ctx, call_next)
            if result is None:
                outcome = "timeout"
                return self._too_late(tool)
            outcome, samples = outcome_of(result), samples_in(result)
            return result
        except Exception as error:
            outcome = outcome_of(error)
            raise
        finally:
            if self._metrics is not None:
                seconds = time.perf_counter() - began
                self._metrics.ended(tool, outcome, seconds=seconds, samples=samples)

    async def _in_time(
        self, tool: str, ctx: ServerRequestContext[Any, Any], call_next: CallNext
    ) -> HandlerResult | None:
        """Return the answer, None if it took too long."""
        scope = anyio.CancelScope()

        async def call() -> HandlerResult | None:
            with scope:
                return await call_next(ctx)
            return None

        # A task of its own, because a cancel scope waits for the tool's thread to end.
        task = asyncio.create_task(call(), name=f"call {tool}")
        self._running.add(task)
        task.add_done_callback(self._ended)
        try:
            await asyncio.wait({task}, timeout=self._timeout_s)
        finally:
            if not task.done():
                # The tool's thread looks at the scope between two batches, and stops.
                scope.cancel()
        return task.result() if task.done() else None

    def _ended(self, task: asyncio.Task[HandlerResult | None]) -> None:
        self._running.discard(task)
        # Looked at, so that asyncio does not report a failure that came too late for anyone.
        if not task.cancelled():
            task.exception()

    def _too_late(self, tool: str) -> CallToolResult:
        text = (
            f"{tool} did not answer within {self._timeout_s:g} s and was stopped. Ask for less at "
            "a time (one sample, fewer results), or try again later: the server may be busy."
        )
        return CallToolResult(content=[TextContent(type="text", text=text)], is_error=True)

    async def _tool(self, ctx: ServerRequestContext[Any, Any]) -> str:
        name = ctx.params.get("name") if ctx.params else None
        if name not in self._names:
            self._names = frozenset(tool.name for tool in await self._server.list_tools())
        return name if isinstance(name, str) and name in self._names else _UNKNOWN
