"""A real server process for the tests of the HTTP guards: options from JSON, two more tools.

`python http_runner.py OPTIONS`, where OPTIONS is a JSON object of `HttpOptions` fields. The engine
is the real one, but it loads only when a tool needs it: most guards can be tried without torch.
"""

import json
import sys
import time
from typing import Any

from mcp.server.mcpserver import Context

from specformer_mcp.engine import Engine
from specformer_mcp.http import HttpOptions, OAuthOptions, serve_http
from specformer_mcp.owner import owner_of
from specformer_mcp.paths import AllowedFolders
from specformer_mcp.samples import SampleStore
from specformer_mcp.server import create_server


class LazyEngine(Engine):
    def start(self, *, delay_s: float = 0.0) -> None:
        pass


def main() -> None:
    given: dict[str, Any] = json.loads(sys.argv[1])
    if given.pop("without_prometheus_client", False):
        sys.modules["prometheus_client"] = None  # type: ignore[assignment]
    if "oauth" in given:
        given["oauth"] = OAuthOptions(
            **{k: tuple(v) if isinstance(v, list) else v for k, v in given["oauth"].items()}
        )
    options = HttpOptions(**{k: tuple(v) if isinstance(v, list) else v for k, v in given.items()})
    engine = LazyEngine()
    store = SampleStore()
    server = create_server(engine=engine, folders=AllowedFolders.for_http(), store=store)

    def slow(seconds: float) -> str:
        """Compute for a while in a thread, as a tool that cannot be interrupted does."""
        time.sleep(seconds)
        return "done"

    def whoami(ctx: Context[Any, Any]) -> str:
        """Name the owner that a request acts for."""
        return owner_of(ctx)

    for tool in (slow, whoami):
        server.add_tool(tool)
    serve_http(server, engine=engine, options=options, store_samples=lambda: len(store))
    print("left in order", file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
