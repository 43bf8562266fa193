"""Fixtures of the conformance suite for revision 2026-07-28: results that ask for input first."""

from __future__ import annotations

from typing import Any

from mcp.server.mcpserver import Context, MCPServer
from mcp.shared.exceptions import MCPError
from mcp_types import (
    MISSING_REQUIRED_CLIENT_CAPABILITY,
    CreateMessageRequest,
    CreateMessageRequestParams,
    ElicitRequest,
    ElicitRequestFormParams,
    ElicitResult,
    InputRequiredResult,
    ListRootsRequest,
    ListRootsResult,
    SamplingMessage,
    TextContent,
)


def needs(ctx: Context, capability: str) -> None:
    """Refuse a client that did not declare a capability, as the protocol says."""
    declared = ctx.client_capabilities
    if declared is None or getattr(declared, capability) is None:
        raise MCPError(
            code=MISSING_REQUIRED_CLIENT_CAPABILITY,
            message=f"This tool needs the client's {capability} capability.",
            data={"requiredCapabilities": {capability: {}}},
        )


def form(message: str, field: str, kind: str = "string") -> ElicitRequest:
    schema = {"type": "object", "properties": {field: {"type": kind}}, "required": [field]}
    return ElicitRequest(params=ElicitRequestFormParams(message=message, requested_schema=schema))


def sampling(question: str, max_tokens: int) -> CreateMessageRequest:
    message = SamplingMessage(role="user", content=TextContent(type="text", text=question))
    return CreateMessageRequest(
        params=CreateMessageRequestParams(messages=[message], max_tokens=max_tokens)
    )


def ask(state: str | None = None, **requests: Any) -> InputRequiredResult:
    return InputRequiredResult(input_requests=requests, request_state=state)


def field_of(ctx: Context, key: str, field: str) -> Any:
    """Return a field of an accepted form, None where there is none."""
    answer = (ctx.input_responses or {}).get(key)
    if isinstance(answer, ElicitResult) and answer.action == "accept" and answer.content:
        return answer.content.get(field)
    return None


def text_of_answer(ctx: Context, key: str) -> str | None:
    answer = (ctx.input_responses or {}).get(key)
    return getattr(getattr(answer, "content", None), "text", None)


def roots_of(ctx: Context, key: str) -> list[str] | None:
    answer = (ctx.input_responses or {}).get(key)
    return [str(root.uri) for root in answer.roots] if isinstance(answer, ListRootsResult) else None


NAME = form("What is your name?", "name")


def add_single_questions(server: MCPServer[Any]) -> None:
    """One question of each kind."""

    @server.tool()
    async def test_missing_capability(ctx: Context) -> str:
        """Needs sampling."""
        needs(ctx, "sampling")
        return "The client can sample"

    @server.tool(structured_output=False)
    async def test_input_required_result_elicitation(ctx: Context) -> str | InputRequiredResult:
        """Asks for a name."""
        name = field_of(ctx, "user_name", "name")
        return f"Hello, {name}!" if name is not None else ask(user_name=NAME)

    @server.tool(structured_output=False)
    async def test_streaming_elicitation(ctx: Context) -> str | InputRequiredResult:
        """Reports progress, then asks for a name."""
        await ctx.report_progress(0, 1)
        name = field_of(ctx, "user_name", "name")
        return f"Hello, {name}!" if name is not None else ask(user_name=NAME)

    @server.tool(structured_output=False)
    async def test_input_required_result_sampling(ctx: Context) -> str | InputRequiredResult:
        """Asks the client's model."""
        answer = text_of_answer(ctx, "capital_question")
        question = sampling("What is the capital of France?", 100)
        return answer if answer is not None else ask(capital_question=question)

    @server.tool(structured_output=False)
    async def test_input_required_result_list_roots(ctx: Context) -> str | InputRequiredResult:
        """Asks for the client's roots."""
        roots = roots_of(ctx, "client_roots")
        return f"Roots: {roots}" if roots is not None else ask(client_roots=ListRootsRequest())

    @server.tool(structured_output=False)
    async def test_input_required_result_capabilities(ctx: Context) -> str | InputRequiredResult:
        """Asks only what the client says it can answer."""
        declared = ctx.client_capabilities
        questions: dict[str, Any] = {}
        if declared is not None and declared.sampling is not None:
            questions["greeting"] = sampling("Generate a greeting", 50)
        if declared is not None and declared.elicitation is not None:
            questions["user_name"] = NAME
        return ask(**questions) if questions and not ctx.input_responses else "Nothing to ask"

    @server.prompt()
    async def test_input_required_result_prompt(ctx: Context) -> str | InputRequiredResult:
        """Asks for a context."""
        context = field_of(ctx, "user_context", "context")
        question = form("What context should the prompt use?", "context")
        return f"Use {context}" if context is not None else ask(user_context=question)


def add_states(server: MCPServer[Any]) -> None:
    """Questions with a state that the client carries, sealed by the SDK."""

    def confirm(ctx: Context, state: str) -> str | InputRequiredResult:
        if ctx.request_state == state and field_of(ctx, "confirm", "ok") is not None:
            return "state-ok"
        return ask(state, confirm=form("Please confirm", "ok", "boolean"))

    @server.tool(structured_output=False)
    async def test_input_required_result_request_state(ctx: Context) -> str | InputRequiredResult:
        """Asks, and knows its own state again."""
        return confirm(ctx, "asked")

    @server.tool(structured_output=False)
    async def test_input_required_result_tampered_state(ctx: Context) -> str | InputRequiredResult:
        """Asks; the SDK refuses a state that it did not seal."""
        return confirm(ctx, "sealed")

    @server.tool(structured_output=False)
    async def test_input_required_result_multiple_inputs(ctx: Context) -> str | InputRequiredResult:
        """Asks three things at once."""
        name = field_of(ctx, "user_name", "name")
        greeting = text_of_answer(ctx, "greeting")
        roots = roots_of(ctx, "client_roots")
        if ctx.request_state == "three" and None not in (name, greeting, roots):
            return f"{greeting}, {name}; {roots}"
        return ask(
            "three",
            user_name=NAME,
            greeting=sampling("Generate a greeting", 50),
            client_roots=ListRootsRequest(),
        )

    @server.tool(structured_output=False)
    async def test_input_required_result_multi_round(ctx: Context) -> str | InputRequiredResult:
        """Asks twice, one after the other."""
        if ctx.request_state == "second" and (color := field_of(ctx, "step2", "color")) is not None:
            return f"Your color is {color}"
        if ctx.request_state == "first" and field_of(ctx, "step1", "name") is not None:
            question = form("Step 2: What is your favorite color?", "color")
            return ask("second", step2=question)
        return ask("first", step1=form("Step 1: What is your name?", "name"))


def add_rounds(server: MCPServer[Any]) -> None:
    """Register all of them."""
    add_single_questions(server)
    add_states(server)
