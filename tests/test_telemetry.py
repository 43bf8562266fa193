"""What a trace says of a tool call, seen by a real OpenTelemetry SDK with an in-memory exporter."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from server_support import MODES, environment

pytest.importorskip("opentelemetry.sdk")

# A process of its own, because a tracer provider can be set only once in one.
SCRIPT = """
import asyncio, json, shutil, sys
from pathlib import Path
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

spans = InMemorySpanExporter()
provider = TracerProvider()
provider.add_span_processor(SimpleSpanProcessor(spans))
trace.set_tracer_provider(provider)

from mcp import Client
from server_support import COADREAD, engine, server_for

folder = Path(sys.argv[2])
secret = folder / "patient-4711-secret.csv.gz"
shutil.copy(COADREAD, secret)

engine().loaded()

async def main():
    async with Client(server_for(folder), mode=sys.argv[1], read_timeout_seconds=120) as client:
        done = await client.call_tool("embed_sample", {"path": str(secret)})
        assert not done.is_error, done
        await client.call_tool("embed_sample", {"path": str(folder / "missing-secret.tsv")})
        await client.call_tool("embed_sample", {"values": {"SECRETGENE": 47.11}})
        await client.call_tool("nearest_cohorts", {"sample": "smp_secret"})
        return len(done.structured_content["samples"])

n = asyncio.run(main())
found = [
    {"name": s.name, "attributes": dict(s.attributes), "status": s.status.status_code.name,
     "all": s.to_json()}
    for s in spans.get_finished_spans() if s.kind is trace.SpanKind.SERVER
]
print(json.dumps({"n": n, "spans": found}))
"""


@pytest.mark.parametrize("mode", MODES)
def test_spans_of_tool_calls(mode, tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, mode, str(tmp_path)],
        capture_output=True,
        text=True,
        timeout=400,
        env=environment(),
        cwd=Path(__file__).parent,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    seen = json.loads(done.stdout.splitlines()[-1])
    calls = [s for s in seen["spans"] if s["attributes"]["mcp.method.name"] == "tools/call"]
    assert [s["name"] for s in calls] == ["tools/call embed_sample"] * 3 + [
        "tools/call nearest_cohorts"
    ]
    assert [s["attributes"]["gen_ai.tool.name"] for s in calls] == ["embed_sample"] * 3 + [
        "nearest_cohorts"
    ]
    assert [s["attributes"]["specformer.outcome"] for s in calls] == ["ok"] + ["tool_error"] * 3
    assert calls[0]["attributes"]["specformer.samples"] == seen["n"] > 1
    assert [s["status"] for s in calls] == ["UNSET"] + ["ERROR"] * 3
    for span in seen["spans"]:
        for private in ("4711", "secret", "SECRETGENE", "47.11", str(tmp_path)):
            assert private not in span["all"], span
