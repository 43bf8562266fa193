"""Put questions to a model that has the tools of a server, and count what that takes.

A model is anything that, given the conversation so far and the list of tools, says what it does
next: call tools, or say something, which ends the conversation. The harness calls the tools through
the real protocol, and hands their answers back as a client would: the text, and beside it the
structured content. What is right is decided by the question's own check.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol

from mcp import Client
from mcp.shared.exceptions import MCPError
from mcp_types import INVALID_PARAMS, METHOD_NOT_FOUND, TextContent, Tool

from benchmarks.agents.questions import Question

sys.path.append(str(Path(__file__).parents[2] / "tests"))
from tokens import as_json, tokens  # type: ignore[import-not-found]

MOST_TURNS = 30
MOST_CALLS = 60
_MODELS_FAULT = (INVALID_PARAMS, METHOD_NOT_FOUND)
"""Protocol errors that a wrong call of a model gives, as of a tool that is not there."""

SYSTEM = (
    "You answer questions about bulk RNA-seq files with the tools you are given; you cannot read "
    "files yourself. Work until you can answer, then write one line of JSON and nothing else: "
    '{"answer": …}, in the form that the question asks for. If you cannot find out, give your best '
    "guess in that form."
)


@dataclass(frozen=True, slots=True)
class Said:
    """A text of the instructions, the user or the model."""

    role: Literal["system", "user", "assistant"]
    text: str


@dataclass(frozen=True, slots=True)
class Call:
    """A tool call that a model wants; `id` is the model's name for it."""

    id: str
    tool: str
    arguments: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Wants:
    """The tool calls of one turn of the model, and what it said beside them."""

    calls: tuple[Call, ...]
    text: str = ""


@dataclass(frozen=True, slots=True)
class Got:
    """What one tool call gave; `data` is the structured content, empty after a failure."""

    call: Call
    text: str
    data: dict[str, Any]
    is_error: bool


Message = Said | Wants | Got


class ModelError(RuntimeError):
    """The model's endpoint refused a request or answered in another form."""


class Model(Protocol):
    """What answers questions.

    Attributes
    ----------
    name
        As a table names it.
    """

    name: str

    async def act(self, messages: Sequence[Message], tools: Sequence[Tool]) -> Wants | Said:
        """Say what to do next; `Said` ends the conversation.

        Parameters
        ----------
        messages
            Instructions, question, then turns of the model and the answers of its tools.
        tools
            As the server lists them.
        """


@dataclass(slots=True)
class Outcome:
    """How one question went.

    Attributes
    ----------
    question, kind
        Its id and kind.
    right
        Whether the answer was right.
    answer, wanted, truth
        What was answered, what would have been right, where the samples come from.
    calls, errors
        Tool calls, and how many of them the server refused.
    tool_list
        Tokens of the tool list.
    read
        Tokens that the model reads once: tool list, instructions, question, texts of the tools.
    structured
        Tokens of the tools' structured content, for clients that show it instead of the text.
    written
        Tokens that the model writes: calls and the answer.
    seconds
        Wall time.
    failure
        Why there is no answer; empty when there is one.
    """

    question: str
    kind: str
    wanted: str
    truth: str
    right: bool = False
    answer: Any = None
    calls: int = 0
    errors: int = 0
    tool_list: int = 0
    read: int = 0
    structured: int = 0
    written: int = 0
    seconds: float = 0.0
    failure: str = ""
    tools: dict[str, int] = field(default_factory=dict)


async def ask(client: Client, model: Model, question: Question) -> Outcome:
    """Put one question to a model, with the tools of a server.

    Returns
    -------
    How it went. What the model or its endpoint does wrong is part of it; a lost connection to the
    server is raised.
    """
    began = time.monotonic()
    tools = (await client.list_tools()).tools
    outcome = Outcome(question.id, question.kind, question.check.told(), question.truth)
    shown = [t.model_dump(by_alias=True, exclude_none=True, mode="json") for t in tools]
    outcome.tool_list = tokens(as_json(shown))
    outcome.read = outcome.tool_list + tokens(SYSTEM) + tokens(question.text)
    messages: list[Message] = [Said("system", SYSTEM), Said("user", question.text)]
    for _ in range(MOST_TURNS):
        try:
            action = await model.act(messages, tools)
        except ModelError as error:
            outcome.failure = str(error)
            break
        messages.append(action)
        outcome.written += tokens(action.text)
        if isinstance(action, Said):
            _judge(outcome, question, action.text)
            break
        if not action.calls or outcome.calls + len(action.calls) > MOST_CALLS:
            outcome.failure = f"stopped after {outcome.calls} calls"
            break
        messages += [await _carry_out(client, call, outcome) for call in action.calls]
    else:
        outcome.failure = f"no answer within {MOST_TURNS} turns"
    outcome.seconds = round(time.monotonic() - began, 2)
    return outcome


async def _carry_out(client: Client, call: Call, outcome: Outcome) -> Got:
    data: dict[str, Any] = {}
    try:
        result = await client.call_tool(call.tool, call.arguments)
    except MCPError as error:
        if error.code not in _MODELS_FAULT:
            raise
        text, refused = error.message, True
    else:
        text = "\n".join(b.text for b in result.content if isinstance(b, TextContent))
        refused = bool(result.is_error)
        data = {} if refused else result.structured_content or {}
    outcome.calls += 1
    outcome.errors += refused
    outcome.tools[call.tool] = outcome.tools.get(call.tool, 0) + 1
    outcome.written += tokens(as_json({call.tool: call.arguments}))
    outcome.read += tokens(text)
    outcome.structured += tokens(as_json(data))
    return Got(call, text, data, refused)


def _judge(outcome: Outcome, question: Question, text: str) -> None:
    found = answer_in(text)
    if found is None:
        outcome.failure = "the last text holds no answer in JSON"
        return
    outcome.answer = found["answer"]
    outcome.right = question.check.holds(outcome.answer)


def answer_in(text: str) -> dict[str, Any] | None:
    r"""Return the last JSON object of a text that has the key ``answer``.

    Examples
    --------
    >>> answer_in('I think so. ```json\n{"answer": {"right": true}}\n```')
    {'answer': {'right': True}}
    >>> answer_in("I give up.")
    """
    decoder, found = json.JSONDecoder(), None
    start = text.find("{")
    while start >= 0:
        try:
            value, end = decoder.raw_decode(text, start)
        except json.JSONDecodeError:
            end = start + 1
        else:
            found = value if isinstance(value, dict) and "answer" in value else found
        start = text.find("{", end)
    return found
