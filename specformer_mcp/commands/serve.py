"""`specformer serve`: the MCP server."""

from __future__ import annotations

import argparse
import os
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import uvicorn

    from specformer_mcp.engine import Engine
    from specformer_mcp.http import HttpOptions
    from specformer_mcp.paths import AllowedFolders

from specformer_mcp.stdio_guard import take_stdout


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("--transport", choices=("stdio", "http"), default="stdio")
    parser.add_argument("--host", default="127.0.0.1", help="address to bind to (http)")
    parser.add_argument("--port", type=int, default=8765, help="port to bind to (http)")
    parser.add_argument(
        "--allow-dir",
        action="append",
        default=[],
        metavar="DIR",
        help="folder that files may be read from; may be repeated; also SPECFORMER_ALLOW_DIRS. "
        "Over stdio the working and home directories are allowed as well, over http nothing is",
    )
    parser.add_argument(
        "--allow-host",
        action="append",
        default=[],
        metavar="HOST",
        help="further Host header to accept (http), as specformer.example.org",
    )
    parser.add_argument(
        "--allow-origin",
        action="append",
        default=[],
        metavar="ORIGIN",
        help="further Origin header to accept (http), as https://example.org",
    )
    parser.add_argument(
        "--workers",
        type=int,
        default=0,
        metavar="N",
        help="web processes behind one process that holds the network (http); 0 = one for all",
    )
    parser.add_argument(
        "--token-file",
        type=Path,
        metavar="FILE",
        help="bearer tokens to ask for (http): lines TOKEN or NAME TOKEN",
    )
    parser.add_argument("--release", type=Path, metavar="DIR", help="model release")
    parser.add_argument("--index", type=Path, metavar="DIR", help="reference index")


def run(args: argparse.Namespace) -> int:
    """Serve until the client goes or the process is interrupted."""
    # Before any library is imported: what libraries print must not reach the client.
    wire = take_stdout() if args.transport == "stdio" else None
    from specformer_mcp.engine import Engine
    from specformer_mcp.paths import AllowedFolders
    from specformer_mcp.server import create_server, serve_stdio

    engine = Engine(release=args.release, index=args.index)
    if wire is not None:
        folders = AllowedFolders.for_stdio(args.allow_dir)
        serve_stdio(create_server(engine=engine, folders=folders), wire=wire)
    else:
        from specformer_mcp.http import HttpOptions, read_tokens, serve_http

        folders = AllowedFolders.for_http(args.allow_dir)
        options = HttpOptions(
            host=args.host,
            port=args.port,
            allow_hosts=tuple(args.allow_host),
            allow_origins=tuple(args.allow_origin),
            tokens=read_tokens(args.token_file) if args.token_file else {},
            stateless=args.workers > 0,
        )
        if args.workers:
            from specformer_mcp.samples.folder import data_folder
            from specformer_mcp.workers import serve_workers

            store = data_folder() / "samples"
            return serve_workers(
                partial(_web_worker, folders=folders, options=options, store=store),
                host=args.host,
                port=args.port,
                workers=args.workers,
                release=args.release,
                index=args.index,
            )
        serve_http(create_server(engine=engine, folders=folders), engine=engine, options=options)
    if engine.state == "loading":
        # The client left during the background load. The interpreter's ordinary exit would stop
        # that thread inside a C++ library, which then aborts the process; nothing is left to
        # write, so leave at once.
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(0)
    return 0


def _web_worker(
    engine: Engine, *, folders: AllowedFolders, options: HttpOptions, store: Path
) -> uvicorn.Config:
    """Return how one of several web workers serves."""
    from specformer_mcp.http.app import http_app, uvicorn_config
    from specformer_mcp.samples import SampleStore
    from specformer_mcp.server import create_server

    samples = SampleStore(directory=store)
    app = http_app(
        create_server(engine=engine, folders=folders, store=samples),
        engine=engine,
        options=options,
        queue_depth=lambda: engine.waiting,
    )
    return uvicorn_config(app, options=options)
