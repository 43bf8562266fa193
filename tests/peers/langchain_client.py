"""LangChain's adapters, in their own environment with mcp 1; see conversation.py."""

import asyncio
import json
import re
import sys
from pathlib import Path

from langchain_mcp_adapters.client import MultiServerMCPClient
from langchain_mcp_adapters.prompts import load_mcp_prompt
from langchain_mcp_adapters.resources import load_mcp_resources
from langchain_mcp_adapters.tools import load_mcp_tools

REQUEST = json.loads(Path(sys.argv[1]).read_text())


def text_of(message):
    content = message.content
    return (
        content if isinstance(content, str) else "\n".join(one.get("text", "") for one in content)
    )


async def main():
    connection = (
        {"transport": "stdio", **REQUEST["stdio"]}
        if "stdio" in REQUEST
        else {"transport": "streamable_http", "url": REQUEST["url"]}
    )
    client = MultiServerMCPClient({"specformer": connection})
    async with client.session("specformer") as session:
        tools = {tool.name: tool for tool in await load_mcp_tools(session)}

        async def call(name, arguments):
            # As an agent's tool node calls it: a tool call in, a ToolMessage out.
            return await tools[name].ainvoke(
                {"type": "tool_call", "id": name, "name": name, "args": arguments}
            )

        embedded = await call("embed_sample", REQUEST["embed"])
        handle = embedded.artifact["structured_content"]["samples"][0]["sample"]
        assert handle == re.search(r"smp_[0-9a-f]+", text_of(embedded))[0]
        cohorts = await call("nearest_cohorts", {"sample": handle})
        bad = await call("embed_sample", REQUEST["bad"])
        listed = (await session.list_resources()).resources
        blobs = await load_mcp_resources(session, uris=str(listed[0].uri)) if listed else []
        prompts = (await session.list_prompts()).prompts
        messages = []
        if prompts:
            required = [one.name for one in prompts[0].arguments or [] if one.required]
            arguments = dict.fromkeys(required, handle)
            messages = await load_mcp_prompt(session, prompts[0].name, arguments=arguments)
    print(
        json.dumps(
            {
                "tools": list(tools),
                "embedded": text_of(embedded),
                "handle": handle,
                "cohorts": text_of(cohorts),
                "bad": text_of(bad),
                "bad_is_error": bad.status == "error",
                "resources": [str(one.uri) for one in listed],
                "read": sum(len(blob.as_string()) for blob in blobs),
                "prompts": [one.name for one in prompts],
                "messages": len(messages),
            }
        )
    )


asyncio.run(main())
