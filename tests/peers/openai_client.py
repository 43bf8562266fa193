"""An agent of the OpenAI Agents SDK over the server; see conversation.py.

The whole loop of the SDK runs: it lists the tools, converts their schemas to the strict form,
validates the calls, and hands the results back to the model. The model is scripted.
"""

import asyncio
import json
import re
import sys
from pathlib import Path

from agents import Agent, ModelResponse, RunConfig, Runner, Usage
from agents.mcp import MCPServerStdio, MCPServerStreamableHttp
from agents.models.interface import Model
from openai.types.responses import (
    ResponseFunctionToolCall,
    ResponseOutputMessage,
    ResponseOutputText,
)

REQUEST = json.loads(Path(sys.argv[1]).read_text())
SECONDS = 60
"""The SDK's own limit is 5 s, shorter than the first call, which waits for the model to load."""


class Scripted(Model):
    """A model that makes three calls, one a turn, and stops."""

    def __init__(self):
        self.tools = []
        self.outputs = []

    def next_call(self):
        match self.outputs:
            case []:
                return "embed_sample", REQUEST["embed"]
            case [embedded]:
                return "nearest_cohorts", {"sample": handle_of(embedded)}
            case [_, _]:
                return "embed_sample", REQUEST["bad"]
        return None

    async def get_response(self, system_instructions, input, model_settings, tools, *_, **__):  # noqa: A002, ARG002
        self.tools = tools
        self.outputs = [
            item["output"]
            for item in input
            if isinstance(item, dict) and item.get("type") == "function_call_output"
        ]
        call = self.next_call()
        number = str(len(self.outputs))
        if call is None:
            done = ResponseOutputText(type="output_text", text="done", annotations=[])
            output = ResponseOutputMessage(
                id=number, type="message", role="assistant", status="completed", content=[done]
            )
        else:
            output = ResponseFunctionToolCall(
                id=number,
                call_id=f"call_{number}",
                type="function_call",
                name=call[0],
                arguments=json.dumps(call[1]),
            )
        return ModelResponse(output=[output], usage=Usage(), response_id=None)

    def stream_response(self, *_, **__):
        raise NotImplementedError


def text_of(output):
    """Return the text of a tool's output, which is a string, a block or a list of blocks."""
    blocks = output if isinstance(output, list) else [output]
    return "\n".join(one if isinstance(one, str) else one.get("text", "") for one in blocks)


def handle_of(output):
    return re.search(r"smp_[0-9a-f]+", text_of(output))[0]


async def main():
    server = (
        MCPServerStdio(REQUEST["stdio"], client_session_timeout_seconds=SECONDS)
        if "stdio" in REQUEST
        else MCPServerStreamableHttp(
            {"url": REQUEST["url"]}, client_session_timeout_seconds=SECONDS
        )
    )
    model = Scripted()
    async with server:
        agent = Agent(
            name="peer",
            model=model,
            mcp_servers=[server],
            mcp_config={"convert_schemas_to_strict": True},
        )
        await Runner.run(agent, "What is this?", run_config=RunConfig(tracing_disabled=True))
        embedded, cohorts, bad = (text_of(output) for output in model.outputs)
        raw = await server.call_tool("embed_sample", REQUEST["bad"])
        resources = (await server.list_resources()).resources
        read = (await server.read_resource(str(resources[0].uri))).contents if resources else []
        prompts = (await server.list_prompts()).prompts
        messages = []
        if prompts:
            required = [one.name for one in prompts[0].arguments or [] if one.required]
            arguments = dict.fromkeys(required, handle_of(embedded))
            messages = (await server.get_prompt(prompts[0].name, arguments)).messages
    print(
        json.dumps(
            {
                "tools": [tool.name for tool in model.tools],
                "strict": [tool.name for tool in model.tools if tool.strict_json_schema],
                "embedded": embedded,
                "handle": handle_of(embedded),
                "cohorts": cohorts,
                "bad": bad,
                "bad_is_error": bool(getattr(raw, "is_error", getattr(raw, "isError", False))),
                "resources": [str(one.uri) for one in resources],
                "read": sum(len(one.text) for one in read),
                "prompts": [one.name for one in prompts],
                "messages": len(messages),
            }
        )
    )


asyncio.run(main())
