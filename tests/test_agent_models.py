"""Models that the harness may ask: what is counted, and endpoints that speak the wire's form."""

import json
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import jsonschema
import pytest
from server_support import TUMOR, server_for, talk

from benchmarks.agents.checks import AnyOf
from benchmarks.agents.harness import Call, Said, Wants, ask
from benchmarks.agents.models import AnthropicMessages, ChatCompletions
from benchmarks.agents.questions import Question


class Recites:
    """A model that does what a list says."""

    name = "recites"

    def __init__(self, *actions):
        self.actions = list(actions)
        self.seen = []

    async def act(self, messages, tools):  # noqa: ARG002 - a model is given them
        self.seen = list(messages)
        return self.actions.pop(0) if len(self.actions) > 1 else self.actions[0]


QUESTION = Question(
    "q", "cohort", f"Which cohort is the sample in '{TUMOR}' from?", AnyOf(["TCGA-LUAD tumor"]), ""
)


def put(model, tmp_path, question=QUESTION):
    return talk(server_for(tmp_path), lambda client: ask(client, model, question))


@pytest.mark.parametrize(
    ("text", "right"),
    [
        ('{"answer": "TCGA-LUAD tumor"}', True),
        ('It is clear: {"sample": 1} and so {"answer": "tcga-luad TUMOR "}.', True),
        ('{"answer": "TCGA-LUSC tumor"}', False),
        ('{"answer": ["TCGA-LUAD tumor", "TCGA-LUSC tumor"]}', False),
        ("TCGA-LUAD tumor", False),
    ],
)
def test_only_the_right_answer_is_right(tmp_path, text, right):
    outcome = put(Recites(Said("assistant", text)), tmp_path)
    assert outcome.right is right
    assert bool(outcome.failure) == ("answer" not in text)


def test_a_model_is_told_of_its_mistakes_and_they_are_counted(tmp_path):
    model = Recites(
        Wants((Call("1", "no_such_tool", {}),)),
        Wants((Call("2", "nearest_cohorts", {"sample": "smp_0123456789abcdef"}),)),
        Wants((Call("3", "nearest_cohorts", {"sample": 3}), Call("4", "embed_sample", {}))),
        Said("assistant", '{"answer": "TCGA-LUAD tumor"}'),
    )
    outcome = put(model, tmp_path)
    assert (outcome.calls, outcome.errors, outcome.right) == (4, 4, True)
    answers = [message for message in model.seen if hasattr(message, "is_error")]
    assert all(answer.is_error and answer.text for answer in answers)


def test_a_model_that_never_ends_is_stopped(tmp_path):
    call = Call("1", "describe_reference", {"what": "collections"})
    outcome = put(Recites(Wants((call,))), tmp_path)
    assert not outcome.right
    assert "turns" in outcome.failure
    outcome = put(Recites(Wants((call,) * 25)), tmp_path)
    assert "50 calls" in outcome.failure


CHAT = {
    "type": "object",
    "required": ["model", "messages", "tools"],
    "properties": {
        "tools": {
            "minItems": 4,
            "items": {
                "required": ["type", "function"],
                "properties": {
                    "type": {"const": "function"},
                    "function": {"required": ["name", "description", "parameters"]},
                },
            },
        },
        "messages": {
            "items": {
                "oneOf": [
                    {
                        "required": ["role", "content"],
                        "properties": {
                            "role": {"enum": ["system", "user"]},
                            "content": {"type": "string"},
                        },
                    },
                    {
                        "required": ["role", "tool_calls"],
                        "properties": {
                            "role": {"const": "assistant"},
                            "tool_calls": {"items": {"required": ["id", "type", "function"]}},
                        },
                    },
                    {
                        "required": ["role", "tool_call_id", "content"],
                        "properties": {
                            "role": {"const": "tool"},
                            "content": {"type": "string", "minLength": 1},
                        },
                    },
                ]
            }
        },
    },
}
MESSAGES = {
    "type": "object",
    "required": ["model", "max_tokens", "system", "messages", "tools"],
    "properties": {
        "max_tokens": {"type": "integer"},
        "system": {"type": "string", "minLength": 1},
        "tools": {"minItems": 4, "items": {"required": ["name", "description", "input_schema"]}},
        "messages": {
            "items": {
                "required": ["role", "content"],
                "properties": {
                    "role": {"enum": ["user", "assistant"]},
                    "content": {"type": "array", "minItems": 1, "items": {"required": ["type"]}},
                },
            }
        },
    },
}


def chat_turn(body):
    """What a model behind chat completions would do next, in the wire's form."""
    last = body["messages"][-1]
    if last["role"] == "user":
        call = {
            "name": "embed_sample",
            "arguments": json.dumps({"path": paths_at(last["content"])}),
        }
    elif "Nearest cohorts" not in last["content"]:
        call = {
            "name": "nearest_cohorts",
            "arguments": json.dumps({"sample": handle_in(last["content"])}),
        }
    else:
        cohort = last["content"].split("1. ")[1].split(" (")[0]
        message = {"role": "assistant", "content": json.dumps({"answer": cohort})}
        return {"choices": [{"index": 0, "finish_reason": "stop", "message": message}]}
    used = {"id": f"call_{len(body['messages'])}", "type": "function", "function": call}
    message = {"role": "assistant", "content": None, "tool_calls": [used]}
    return {"choices": [{"index": 0, "finish_reason": "tool_calls", "message": message}]}


def messages_turn(body):
    """What a model behind the messages endpoint would do next, in the wire's form."""
    turns = body["messages"]
    assert [turn["role"] for turn in turns] == (["user", "assistant"] * len(turns))[: len(turns)]
    last = turns[-1]["content"][-1]
    if last["type"] == "text":
        name, given = "embed_sample", {"path": paths_at(last["text"])}
    else:
        used = turns[-2]["content"][-1]
        assert (last["type"], last["tool_use_id"]) == ("tool_result", used["id"])
        if used["name"] == "nearest_cohorts":
            cohort = last["content"].split("1. ")[1].split(" (")[0]
            text = f"So it is:\n{json.dumps({'answer': cohort})}"
            return {"stop_reason": "end_turn", "content": [{"type": "text", "text": text}]}
        name, given = "nearest_cohorts", {"sample": handle_in(last["content"])}
    use = {"type": "tool_use", "id": f"toolu_{len(turns)}", "name": name, "input": given}
    said = {"type": "text", "text": "Let me see."}
    return {"stop_reason": "tool_use", "content": [said, use]}


def paths_at(text):
    return text.split("'")[1]


def handle_in(text):
    return "smp_" + text.split("smp_")[1][:16]


@contextmanager
def endpoint(path, schema, turn, key):
    """An endpoint on the loopback interface that checks each request before it answers."""
    problems = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            status, answer = 200, None
            try:
                assert self.path == path
                assert key.items() <= {k.lower(): v for k, v in self.headers.items()}.items()
                jsonschema.validate(body, schema)
                answer = turn(body)
            except Exception as error:
                problems.append(error)
                status, answer = 400, {"error": {"message": str(error)}}
            told = json.dumps(answer).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(told)))
            self.end_headers()
            self.wfile.write(told)

        def log_message(self, *_):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as http:
        thread = threading.Thread(target=http.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{http.server_port}", problems
        finally:
            http.shutdown()
            thread.join()


def test_a_model_behind_chat_completions(tmp_path, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "k1")
    key = {"authorization": "Bearer k1"}
    with endpoint("/v1/chat/completions", CHAT, chat_turn, key) as (base, problems):
        outcome = put(ChatCompletions("some", base=f"{base}/v1"), tmp_path)
    assert problems == []
    assert outcome.failure == ""
    assert (outcome.calls, outcome.errors) == (2, 0)
    assert outcome.tools == {"embed_sample": 1, "nearest_cohorts": 1}
    assert str(outcome.answer).endswith((" tumor", " normal"))


def test_a_model_behind_the_messages_endpoint(tmp_path, monkeypatch):
    monkeypatch.setenv("ANTHROPIC_API_KEY", "k2")
    key = {"x-api-key": "k2", "anthropic-version": "2023-06-01"}
    with endpoint("/v1/messages", MESSAGES, messages_turn, key) as (base, problems):
        outcome = put(AnthropicMessages("some", base=base), tmp_path)
    assert problems == []
    assert outcome.failure == ""
    assert (outcome.calls, outcome.errors) == (2, 0)
    assert str(outcome.answer).endswith((" tumor", " normal"))


@pytest.mark.parametrize("model", [ChatCompletions, AnthropicMessages])
def test_an_endpoint_that_fails_costs_one_question(tmp_path, model):
    with endpoint("/elsewhere", {}, lambda _: {}, {}) as (base, problems):
        outcome = put(model("some", base=base, key="k"), tmp_path)
    assert "400" in outcome.failure
    assert len(problems) == 1
    assert not outcome.right
    gone = put(model("some", base=base, key="k"), tmp_path)
    assert "cannot be reached" in gone.failure


@pytest.mark.parametrize("model", [ChatCompletions, AnthropicMessages])
def test_an_endpoint_of_another_kind_is_told_apart(tmp_path, model):
    path = "/chat/completions" if model is ChatCompletions else "/v1/messages"
    with endpoint(path, {}, lambda _: {"result": "hello"}, {}) as (base, _):
        outcome = put(model("some", base=base, key="k"), tmp_path)
    assert "not a" in outcome.failure
