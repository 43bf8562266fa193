"""Models behind an HTTP endpoint of the OpenAI kind (chat completions) or of the Anthropic kind.

Most makers and most local servers speak the first. The key comes from the environment, never from
an argument, so that it stands in no shell history and in no log.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from typing import Any

import httpx
from mcp_types import Tool

from benchmarks.agents.harness import Call, Got, Message, ModelError, Said, Wants

TIMEOUT_S = 300.0
MOST_TOKENS = 4096
ANTHROPIC_VERSION = "2023-06-01"


class ChatCompletions:
    """A model behind ``POST {base}/chat/completions``.

    Parameters
    ----------
    model
        As the endpoint names it.
    base
        As ``https://api.openai.com/v1`` or ``http://127.0.0.1:8080/v1``.
    key
        Sent as a bearer token; by default the environment's ``OPENAI_API_KEY``, where it is set.
    """

    def __init__(self, model: str, *, base: str, key: str | None = None) -> None:
        self.name = model
        key = key or os.environ.get("OPENAI_API_KEY")
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        self._base, self._headers = base.rstrip("/"), headers

    async def act(self, messages: Sequence[Message], tools: Sequence[Tool]) -> Wants | Said:
        """Ask for the next turn."""
        body = {
            "model": self.name,
            "messages": [_for_chat(message) for message in messages],
            "tools": [
                {
                    "type": "function",
                    "function": {
                        "name": tool.name,
                        "description": tool.description or "",
                        "parameters": tool.input_schema,
                    },
                }
                for tool in tools
            ],
        }
        answer = await _post(f"{self._base}/chat/completions", self._headers, body)
        try:
            message = answer["choices"][0]["message"]
            calls = tuple(
                Call(c["id"], c["function"]["name"], json.loads(c["function"]["arguments"] or "{}"))
                for c in message.get("tool_calls") or []
            )
        except (KeyError, IndexError, TypeError, json.JSONDecodeError) as error:
            raise ModelError(f"not a chat completion ({error!r}): {answer}") from error
        return _action(calls, message.get("content") or "")


class AnthropicMessages:
    """A model behind ``POST {base}/v1/messages``.

    Parameters
    ----------
    model
        As the endpoint names it.
    base
        As ``https://api.anthropic.com``.
    key
        By default the environment's ``ANTHROPIC_API_KEY``.
    """

    def __init__(self, model: str, *, base: str, key: str | None = None) -> None:
        self.name = model
        key = key or os.environ.get("ANTHROPIC_API_KEY", "")
        headers = {"x-api-key": key, "anthropic-version": ANTHROPIC_VERSION}
        self._base, self._headers = base.rstrip("/"), headers

    async def act(self, messages: Sequence[Message], tools: Sequence[Tool]) -> Wants | Said:
        """Ask for the next turn."""
        said = [m for m in messages if isinstance(m, Said) and m.role == "system"]
        body = {
            "model": self.name,
            "max_tokens": MOST_TOKENS,
            "system": "\n".join(message.text for message in said),
            "messages": _for_messages([m for m in messages if m not in said]),
            "tools": [
                {
                    "name": tool.name,
                    "description": tool.description or "",
                    "input_schema": tool.input_schema,
                }
                for tool in tools
            ],
        }
        answer = await _post(f"{self._base}/v1/messages", self._headers, body)
        try:
            blocks = answer["content"]
            used = [block for block in blocks if block["type"] == "tool_use"]
            calls = tuple(Call(use["id"], use["name"], use["input"]) for use in used)
            text = "".join(block["text"] for block in blocks if block["type"] == "text")
        except (KeyError, TypeError) as error:
            raise ModelError(f"not a message ({error!r}): {answer}") from error
        return _action(calls, text)


def _action(calls: tuple[Call, ...], text: str) -> Wants | Said:
    return Wants(calls, text) if calls else Said("assistant", text)


async def _post(url: str, headers: dict[str, str], body: dict[str, Any]) -> Any:
    try:
        async with httpx.AsyncClient(headers=headers, timeout=TIMEOUT_S) as http:
            response = await http.post(url, json=body)
        if response.is_error:
            told = response.text[:500]
            raise ModelError(f"{url} answered {response.status_code}: {told}")
        return response.json()
    except httpx.HTTPError as error:
        raise ModelError(f"{url} cannot be reached ({error!r}).") from error
    except json.JSONDecodeError as error:
        raise ModelError(f"{url} answered no JSON.") from error


def _for_chat(message: Message) -> dict[str, Any]:
    match message:
        case Said():
            return {"role": message.role, "content": message.text}
        case Wants():
            calls = [
                {
                    "id": call.id,
                    "type": "function",
                    "function": {"name": call.tool, "arguments": json.dumps(call.arguments)},
                }
                for call in message.calls
            ]
            return {"role": "assistant", "content": message.text or None, "tool_calls": calls}
        case Got():
            return {"role": "tool", "tool_call_id": message.call.id, "content": message.text}


def _for_messages(messages: Sequence[Message]) -> list[dict[str, Any]]:
    """Turns of user and model by turns: the answers to one turn's calls go into one message."""
    turns: list[dict[str, Any]] = []
    for message in messages:
        role, blocks = _blocks(message)
        if turns and turns[-1]["role"] == role:
            turns[-1]["content"] += blocks
        else:
            turns.append({"role": role, "content": blocks})
    return turns


def _blocks(message: Message) -> tuple[str, list[dict[str, Any]]]:
    match message:
        case Said():
            return message.role, [{"type": "text", "text": message.text}]
        case Wants():
            text = [{"type": "text", "text": message.text}] if message.text else []
            used = [
                {"type": "tool_use", "id": c.id, "name": c.tool, "input": c.arguments}
                for c in message.calls
            ]
            return "assistant", [*text, *used]
        case Got():
            result = {
                "type": "tool_result",
                "tool_use_id": message.call.id,
                "content": message.text,
                "is_error": message.is_error,
            }
            return "user", [result]
