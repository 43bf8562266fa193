"""The client of FastMCP 4, in its own environment; see conversation.py."""

import asyncio
import json
import sys
from pathlib import Path

from fastmcp import Client
from fastmcp.client.transports import StdioTransport, StreamableHttpTransport
from fastmcp.exceptions import ToolError

REQUEST = json.loads(Path(sys.argv[1]).read_text())


def text_of(result):
    return "\n".join(getattr(block, "text", "") for block in result.content)


async def main():
    stdio = REQUEST.get("stdio")
    transport = (
        StdioTransport(**stdio, keep_alive=False)
        if stdio
        else StreamableHttpTransport(REQUEST["url"])
    )
    async with Client(transport) as client:
        tools = await client.list_tools()
        embedded = await client.call_tool("embed_sample", REQUEST["embed"])
        # FastMCP builds typed objects from the output schema.
        handle = embedded.data.samples[0].sample
        assert embedded.structured_content["samples"][0]["sample"] == handle
        cohorts = await client.call_tool("nearest_cohorts", {"sample": handle})
        try:
            await client.call_tool("embed_sample", REQUEST["bad"])
            bad = None
        except ToolError as error:
            bad = str(error)
        resources = await client.list_resources()
        read = await client.read_resource(resources[0].uri) if resources else []
        prompts = await client.list_prompts()
        messages = []
        if prompts:
            required = [one.name for one in prompts[0].arguments or [] if one.required]
            prompt = await client.get_prompt(prompts[0].name, dict.fromkeys(required, handle))
            messages = prompt.messages
    print(
        json.dumps(
            {
                "tools": [tool.name for tool in tools],
                "embedded": text_of(embedded),
                "handle": handle,
                "cohorts": text_of(cohorts),
                "bad": bad or "",
                "bad_is_error": bad is not None,
                "resources": [str(one.uri) for one in resources],
                "read": sum(len(one.text) for one in read),
                "prompts": [one.name for one in prompts],
                "messages": len(messages),
            }
        )
    )


asyncio.run(main())
