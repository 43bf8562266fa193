"""What became of a tool call, for traces and counters: outcome and number of samples.

File names, gene names, values and handles are the caller's; none of them leaves through here.
"""

from __future__ import annotations

from typing import Any, Literal

from mcp.server.context import CallNext, HandlerResult, ServerRequestContext
from mcp.shared.exceptions import MCPError
from mcp_types import CallToolResult
from opentelemetry import trace

Outcome = Literal["ok", "tool_error", "refused", "timeout", "cancelled", "crash"]

TOOL_CALL = "tools/call"


async def trace_calls(ctx: ServerRequestContext[Any, Any], call_next: CallNext) -> HandlerResult:
    """Add outcome and number of samples to the SDK's span of a tool call.

    The span itself carries the tool's name (``gen_ai.tool.name``) and the error class; without an
    OpenTelemetry SDK in the process there is no span, and this costs microseconds.
    """
    if ctx.method != TOOL_CALL:
        return await call_next(ctx)
    span = trace.get_current_span()
    outcome: Outcome = "cancelled"
    try:
        result = await call_next(ctx)
        outcome = outcome_of(result)
        samples = samples_in(result)
        if samples is not None:
            span.set_attribute("specformer.samples", samples)
        return result
    except Exception as error:
        outcome = outcome_of(error)
        raise
    finally:
        span.set_attribute("specformer.outcome", outcome)


def outcome_of(result: object) -> Outcome:
    """Name what a call ended with: an answer, a tool's error, or an exception."""
    if isinstance(result, MCPError):
        return "refused"  # unknown tool, malformed arguments
    if isinstance(result, Exception):
        return "crash"
    if isinstance(result, CallToolResult):
        return "tool_error" if result.is_error else "ok"
    failed = isinstance(result, dict) and result.get("isError") is True
    return "tool_error" if failed else "ok"


def samples_in(result: object) -> int | None:
    """Count the samples in an answer of embed_sample; None for other answers."""
    # A middleware sees an answer either as the model or as it goes onto the wire.
    if isinstance(result, dict):
        content = result.get("structuredContent")
    else:
        content = result.structured_content if isinstance(result, CallToolResult) else None
    samples = content.get("samples") if isinstance(content, dict) else None
    return len(samples) if isinstance(samples, list) else None
