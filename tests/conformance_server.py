"""The server over HTTP, with the fixtures that the MCP conformance suite asks for.

``python tests/conformance_server.py --port 8765`` runs `specformer serve --transport http` itself:
only `create_server` is wrapped, so that the suite's tools, resources and prompts are registered on
the very app that users get, behind the same middleware, limits and transport. The fixtures of the
multi-round-trip flow are in `conformance_rounds`.
"""

from __future__ import annotations

import asyncio
import base64
import functools
import json
import sys
from typing import Annotated, Any

from conformance_rounds import add_rounds, needs
from mcp.server.mcpserver import Context, MCPServer
from mcp.server.mcpserver.exceptions import ToolError
from mcp.server.mcpserver.prompts.base import UserMessage
from mcp_types import (
    AudioContent,
    Completion,
    EmbeddedResource,
    EmptyResult,
    ImageContent,
    SamplingMessage,
    SetLevelRequestParams,
    SubscribeRequestParams,
    TextContent,
    TextResourceContents,
    UnsubscribeRequestParams,
)
from pydantic import BaseModel, Field

from specformer_mcp import server as under_test
from specformer_mcp.cli import main

PNG = (
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mP8z8DwHwAFBQIAX8jx"
    "0gAAAABJRU5ErkJggg=="
)
WAV = "UklGRiYAAABXQVZFZm10IBAAAAABAAEAQB8AAAB9AAACABAAZGF0YQIAAAA="
STEP_S = 0.05
"""The suite wants to see that notifications arrive one by one."""


def text(words: str) -> TextContent:
    return TextContent(type="text", text=words)


def image() -> ImageContent:
    return ImageContent(type="image", data=PNG, mime_type="image/png")


def embedded(uri: str, mime_type: str, words: str) -> EmbeddedResource:
    return EmbeddedResource(
        type="resource",
        resource=TextResourceContents(uri=uri, mime_type=mime_type, text=words),
    )


def add_contents(server: MCPServer[Any]) -> None:
    """Tools that return every kind of content, and one that fails."""

    @server.tool()
    def test_simple_text() -> str:
        """Returns text."""
        return "This is a simple text response for testing."

    @server.tool(structured_output=False)
    def test_image_content() -> ImageContent:
        """Returns an image."""
        return image()

    @server.tool(structured_output=False)
    def test_audio_content() -> AudioContent:
        """Returns a sound."""
        return AudioContent(type="audio", data=WAV, mime_type="audio/wav")

    @server.tool(structured_output=False)
    def test_embedded_resource() -> EmbeddedResource:
        """Returns a resource."""
        return embedded(
            "test://embedded-resource", "text/plain", "This is an embedded resource content."
        )

    @server.tool(structured_output=False)
    def test_multiple_content_types() -> list[TextContent | ImageContent | EmbeddedResource]:
        """Returns text, an image and a resource."""
        return [
            text("Multiple content types test:"),
            image(),
            embedded(
                "test://mixed-content-resource",
                "application/json",
                json.dumps({"test": "data", "value": 123}),
            ),
        ]

    @server.tool()
    def test_error_handling() -> str:
        """Fails."""
        raise ToolError("This tool intentionally returns an error for testing")


def add_notifications(server: MCPServer[Any]) -> None:
    """Tools that send notifications, and requests of the server in the older revision."""

    @server.tool()
    async def test_tool_with_logging(ctx: Context) -> str:
        """Sends three log messages."""
        for step in ("started", None, "completed"):
            await ctx.info(f"Tool execution {step}" if step else "Tool processing data")
            await asyncio.sleep(STEP_S)
        return "Logged three messages"

    @server.tool()
    async def test_logging_tool(ctx: Context) -> str:
        """Sends a log message, which only a request that asks for it may see."""
        await ctx.info("A message")
        return "Logged"

    @server.tool()
    async def test_tool_with_progress(ctx: Context) -> str:
        """Reports progress three times."""
        for done in (0, 50, 100):
            await ctx.report_progress(done, 100)
            await asyncio.sleep(STEP_S)
        return "Done"

    @server.tool()
    async def test_trigger_tool_change(ctx: Context) -> str:
        """Says that the list of tools has changed."""
        await ctx.notify_tools_changed()
        return "Changed"

    @server.tool()
    async def test_trigger_prompt_change(ctx: Context) -> str:
        """Says that the list of prompts has changed."""
        await ctx.notify_prompts_changed()
        return "Changed"

    @server.tool()
    async def test_sampling(prompt: str, ctx: Context) -> str:
        """Asks the client's model."""
        question = SamplingMessage(role="user", content=text(prompt))
        answer = await ctx.session.create_message(
            [question], max_tokens=100, related_request_id=ctx.request_id
        )
        return f"LLM response: {getattr(answer.content, 'text', '')}"


class Response(BaseModel):
    """What `test_elicitation` asks."""

    username: str = Field(description="User's response")
    email: str = Field(description="User's email address")


class Defaults(BaseModel):
    """A default for every primitive type."""

    name: str = "John Doe"
    age: int = 30
    score: float = 95.5
    status: Annotated[str, Field(json_schema_extra={"enum": ["active", "inactive", "pending"]})] = (
        "active"
    )
    verified: bool = True


def titled(*names: str) -> list[dict[str, str]]:
    return [{"const": name, "title": f"The {name}"} for name in names]


THREE = ["option1", "option2", "option3"]


class Enumerations(BaseModel):
    """Every way of the protocol to offer a choice."""

    untitledSingle: Annotated[str, Field(json_schema_extra={"enum": THREE})]  # noqa: N815
    titledSingle: Annotated[str, Field(json_schema_extra={"oneOf": titled(*THREE)})]  # noqa: N815
    legacyEnum: Annotated[  # noqa: N815
        str, Field(json_schema_extra={"enum": THREE, "enumNames": ["One", "Two", "Three"]})
    ]
    untitledMulti: Annotated[  # noqa: N815
        list[str], Field(json_schema_extra={"items": {"type": "string", "enum": THREE}})
    ]
    titledMulti: Annotated[  # noqa: N815
        list[str], Field(json_schema_extra={"items": {"anyOf": titled(*THREE)}})
    ]


def add_elicitations(server: MCPServer[Any]) -> None:
    """Tools that ask the user, in the older revision."""

    async def ask(ctx: Context, message: str, schema: type[BaseModel]) -> str:
        needs(ctx, "elicitation")
        result = await ctx.elicit(message, schema)
        content = result.data.model_dump() if result.action == "accept" else {}
        return f"Elicitation completed: action={result.action}, content={json.dumps(content)}"

    @server.tool()
    async def test_elicitation(message: str, ctx: Context) -> str:
        """Asks the user."""
        return await ask(ctx, message, Response)

    @server.tool()
    async def test_elicitation_sep1034_defaults(ctx: Context) -> str:
        """Asks with defaults."""
        return await ask(ctx, "Please fill in", Defaults)

    @server.tool()
    async def test_elicitation_sep1330_enums(ctx: Context) -> str:
        """Asks for choices."""
        return await ask(ctx, "Please choose", Enumerations)


def add_resources(server: MCPServer[Any]) -> None:
    """Resources, subscriptions, log level and completions."""

    @server.resource("test://static-text", mime_type="text/plain")
    def static_text() -> str:
        """Text."""
        return "This is the content of the static text resource."

    @server.resource("test://static-binary", mime_type="image/png")
    def static_binary() -> bytes:
        """An image."""
        return base64.b64decode(PNG)

    @server.resource("test://template/{id}/data", mime_type="application/json")
    def template(id: str) -> str:  # noqa: A002 - the suite's name
        """A resource with a parameter."""
        return json.dumps({"id": id, "templateTest": True, "data": f"Data for ID: {id}"})

    @server.resource("test://watched-resource", mime_type="text/plain")
    def watched() -> str:
        """A resource that may be subscribed to."""
        return "Watched"

    # The SDK serves these methods of the older revision only where a handler is given.
    low = server._lowlevel_server

    async def nothing(ctx: Any, params: Any) -> EmptyResult:  # noqa: ARG001
        return EmptyResult()

    low.add_request_handler("resources/subscribe", SubscribeRequestParams, nothing)
    low.add_request_handler("resources/unsubscribe", UnsubscribeRequestParams, nothing)
    low.add_request_handler("logging/setLevel", SetLevelRequestParams, nothing)
    if low.get_request_handler("completion/complete") is None:

        @server.completion()
        async def complete(ref: Any, argument: Any, context: Any) -> Completion:  # noqa: ARG001
            return Completion(values=[], total=0, has_more=False)


def add_prompts(server: MCPServer[Any]) -> None:
    """Prompts with every kind of content."""

    @server.prompt()
    def test_simple_prompt() -> str:
        """A prompt without arguments."""
        return "This is a simple prompt for testing."

    @server.prompt()
    def test_prompt_with_arguments(arg1: str, arg2: str) -> str:
        """A prompt with arguments."""
        return f"Prompt with arguments: arg1='{arg1}', arg2='{arg2}'"

    @server.prompt()
    def test_prompt_with_embedded_resource(resourceUri: str) -> list[UserMessage]:
        """A prompt with a resource."""
        words = "Embedded resource content for testing."
        return [
            UserMessage(embedded(resourceUri, "text/plain", words)),
            UserMessage("Please process the embedded resource above."),
        ]

    @server.prompt()
    def test_prompt_with_image() -> list[UserMessage]:
        """A prompt with an image."""
        return [UserMessage(image()), UserMessage("Please analyze the image above.")]


def with_fixtures(create: Any) -> Any:
    """Wrap `create_server` so that what it returns carries the fixtures as well."""

    @functools.wraps(create)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        server = create(*args, **kwargs)
        for add in (
            add_contents,
            add_notifications,
            add_elicitations,
            add_resources,
            add_prompts,
            add_rounds,
        ):
            add(server)
        return server

    return wrapped


if __name__ == "__main__":
    under_test.create_server = with_fixtures(under_test.create_server)
    sys.exit(main(["serve", "--transport", "http", *sys.argv[1:]]))
