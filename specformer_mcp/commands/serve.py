"""`specformer serve`: the MCP server."""

from __future__ import annotations

import argparse
import os
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mcp.server.transport_security import TransportSecuritySettings
    from starlette.types import ASGIApp

    from specformer_mcp.engine import Engine
    from specformer_mcp.paths import AllowedFolders


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
    parser.add_argument("--release", type=Path, metavar="DIR", help="model release")
    parser.add_argument("--index", type=Path, metavar="DIR", help="reference index")


def run(args: argparse.Namespace) -> int:
    """Serve until the client goes or the process is interrupted."""
    from specformer_mcp.engine import Engine
    from specformer_mcp.paths import AllowedFolders
    from specformer_mcp.server import create_server, http_security, serve_http, serve_stdio

    engine = Engine(release=args.release, index=args.index)
    if args.transport == "stdio":
        folders = AllowedFolders.for_stdio(args.allow_dir)
        serve_stdio(create_server(engine=engine, folders=folders))
    else:
        folders = AllowedFolders.for_http(args.allow_dir)
        security = http_security(
            host=args.host, port=args.port, hosts=args.allow_host, origins=args.allow_origin
        )
        if args.workers:
            from specformer_mcp.workers import serve_workers

            return serve_workers(
                partial(_stateless_app, folders=folders, security=security),
                host=args.host,
                port=args.port,
                workers=args.workers,
                release=args.release,
                index=args.index,
            )
        serve_http(
            create_server(engine=engine, folders=folders),
            engine=engine,
            host=args.host,
            port=args.port,
            security=security,
        )
    if engine.state == "loading":
        # The client left during the background load. The interpreter's ordinary exit would stop
        # that thread inside a C++ library, which then aborts the process; nothing is left to
        # write, so leave at once.
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(0)
    return 0


def _stateless_app(
    engine: Engine, *, folders: AllowedFolders, security: TransportSecuritySettings
) -> ASGIApp:
    """Return what one of several web workers serves."""
    from specformer_mcp.server import MCP_PATH, create_server

    return create_server(engine=engine, folders=folders).streamable_http_app(
        streamable_http_path=MCP_PATH, stateless_http=True, transport_security=security
    )
