"""The server answers its first message before anything heavy is imported."""

import json
import subprocess
import sys

import pytest
from server_support import MODES, environment

HEAVY = ["torch", "lancedb", "pandas", "pyarrow", "numpy", "scipy", "sklearn"]

# An outer middleware looks at sys.modules at the moment the first answer leaves the server.
SCRIPT = """
import asyncio, json, sys
from mcp import Client
from specformer_mcp.engine import Engine
from specformer_mcp.paths import AllowedFolders
from specformer_mcp.server import create_server

seen = []
engine = Engine()
server = create_server(engine=engine, folders=AllowedFolders.for_stdio())

async def watch(ctx, call_next):
    result = await call_next(ctx)
    seen.append({"method": ctx.method, "state": engine.state, "modules": sorted(
        name for name in json.loads(sys.argv[2]) if name in sys.modules)})
    return result

server.middleware.insert(0, watch)

async def main():
    async with Client(server, mode=sys.argv[1]) as client:
        await client.list_tools()

asyncio.run(main())
print(json.dumps(seen))
"""


@pytest.mark.parametrize("mode", MODES)
def test_nothing_heavy_is_imported_before_the_first_answer(mode):
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, mode, json.dumps(HEAVY)],
        capture_output=True,
        text=True,
        timeout=60,
        env=environment(),
        check=True,
    )
    first = json.loads(done.stdout.splitlines()[-1])[0]
    assert first["method"] == {"legacy": "initialize", "auto": "server/discover"}[mode]
    assert first["modules"] == []
    assert first["state"] == "loading"  # begun, and only now


def test_the_help_of_the_command_line_is_light():
    code = (
        "import sys\n"
        "from specformer_mcp.cli import main\n"
        "try:\n    main(['--help'])\nexcept SystemExit:\n    pass\n"
        f"print([m for m in {[*HEAVY, 'mcp']!r} if m in sys.modules])\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout.splitlines()[-1] == "[]"
    for command in ("serve", "report", "embed", "neighbors", "predict", "pathways", "index"):
        assert command in done.stdout
