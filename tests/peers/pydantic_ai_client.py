"""An agent of Pydantic AI over the server, with a scripted model; see conversation.py."""

import asyncio
import json
import re
import sys
from pathlib import Path

from fastmcp.client import Client
from fastmcp.client.transports import StdioTransport, StreamableHttpTransport
from pydantic_ai import Agent
from pydantic_ai.mcp import MCPToolset
from pydantic_ai.messages import (
    ModelResponse,
    RetryPromptPart,
    TextPart,
    ToolCallPart,
    ToolReturnPart,
)
from pydantic_ai.models.function import FunctionModel

REQUEST = json.loads(Path(sys.argv[1]).read_text())


class Script:
    """What the model does: three calls, one a turn, and stop."""

    def __init__(self):
        self.tools = []
        self.parts = []

    def __call__(self, messages, info):
        self.tools = info.function_tools
        kinds = (ToolReturnPart, RetryPromptPart)
        self.parts = [one for each in messages for one in each.parts if isinstance(one, kinds)]
        match self.parts:
            case []:
                return ModelResponse([ToolCallPart("embed_sample", REQUEST["embed"])])
            case [embedded]:
                call = ToolCallPart("nearest_cohorts", {"sample": handle_of(embedded)})
                return ModelResponse([call])
            case [_, _]:
                return ModelResponse([ToolCallPart("embed_sample", REQUEST["bad"])])
        return ModelResponse([TextPart("done")])


def text_of(part):
    content = part.content
    return content if isinstance(content, str) else json.dumps(content)


def handle_of(part):
    return re.search(r"smp_[0-9a-f]+", text_of(part))[0]


async def main():
    stdio = REQUEST.get("stdio")
    transport = (
        StdioTransport(**stdio, keep_alive=False)
        if stdio
        else StreamableHttpTransport(REQUEST["url"])
    )
    script = Script()
    toolset = MCPToolset(Client(transport))
    async with toolset:
        agent = Agent(FunctionModel(script), toolsets=[toolset])
        await agent.run("What is this?")
        embedded, cohorts, bad = script.parts
        handle = handle_of(embedded)
        resources = await toolset.list_resources()
        read = await toolset.read_resource(resources[0].uri) if resources else ""
        prompts = await toolset.list_prompts()
        messages = []
        if prompts:
            required = [one.name for one in prompts[0].arguments or [] if one.required]
            prompt = await toolset.get_prompt(prompts[0].name, dict.fromkeys(required, handle))
            messages = prompt.messages
    print(
        json.dumps(
            {
                "tools": [tool.name for tool in script.tools],
                "embedded": text_of(embedded),
                "handle": handle,
                "cohorts": text_of(cohorts),
                "bad": text_of(bad),
                "bad_is_error": isinstance(bad, RetryPromptPart) or bad.outcome != "success",
                "resources": [one.uri for one in resources],
                "read": len(read),
                "prompts": [one.name for one in prompts],
                "messages": len(messages),
            }
        )
    )


asyncio.run(main())
