"""`specformer serve`: the MCP server. Its options are the fields of `Settings`."""

from __future__ import annotations

import argparse
import atexit
import os
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NoReturn, get_args, get_origin

from specformer_mcp.allocator import keep_memory_flat
from specformer_mcp.logs import tell
from specformer_mcp.stdio_guard import take_stdout

if TYPE_CHECKING:
    import uvicorn
    from pydantic.fields import FieldInfo

    from specformer_mcp.engine import Engine
    from specformer_mcp.samples import SampleStore
    from specformer_mcp.settings import Settings
    from specformer_mcp.workers import Connect

_NO_FLAG = frozenset({"token"})
"""The command line can be read by every user of the machine."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare an option for every setting."""
    from specformer_mcp.settings import CONFIG, Settings, is_list, variable_of

    for name, field in Settings.model_fields.items():
        if name in _NO_FLAG:
            continue
        repeated = is_list(name)
        flag = f"--{(name.removesuffix('s') if repeated else name).replace('_', '-')}"
        options: dict[str, Any] = {"dest": name, "default": argparse.SUPPRESS}
        if field.annotation is bool:
            options["action"] = argparse.BooleanOptionalAction
        elif get_origin(field.annotation) is Literal:
            options["choices"] = get_args(field.annotation)
        else:
            options["metavar"] = _metavar(field, flag)
        if repeated:
            options["action"] = "append"
        parser.add_argument(flag, help=_help(field, repeated, variable_of(name)), **options)
    parser.add_argument(
        "--config", type=Path, metavar="FILE", help=f"TOML file with settings; also {CONFIG}"
    )
    parser.add_argument(
        "--show-settings", action="store_true", help="print the settings with their sources"
    )


def run(args: argparse.Namespace) -> int:
    """Serve until the client goes or the process is interrupted."""
    settings = load_settings(args)
    if args.show_settings:
        print("\n".join(settings.lines()))
        return 0
    return _serve(settings)


def load_settings(args: argparse.Namespace) -> Settings:
    """Return the settings of a command line that `add_arguments` declared."""
    from specformer_mcp.settings import Settings

    flags = {name: value for name, value in vars(args).items() if name in Settings.model_fields}
    return Settings.load(flags, file=args.config)


def open_store(settings: Settings) -> SampleStore:
    """Return the sample store that the settings ask for; nothing is written before it is used."""
    from specformer_mcp.samples import SampleStore
    from specformer_mcp.samples.folder import data_folder

    directory = None if settings.store == "none" else settings.store or data_folder()
    return SampleStore(
        directory=directory,
        capacity=settings.store_samples,
        max_bytes=settings.store_bytes,
        lifetime_s=settings.store_days * 24 * 3600,
    )


def _serve(settings: Settings) -> int:
    # Before any library is imported: what libraries print must not reach the client.
    wire = take_stdout() if settings.transport == "stdio" else None
    keep_memory_flat()
    from specformer_mcp.paths import AllowedFolders
    from specformer_mcp.server import create_server, serve_stdio

    tell(settings.log_level)
    engine = _engine(settings)
    store = open_store(settings)
    named = [str(folder) for folder in settings.allow_dirs]
    if wire is not None:
        folders = AllowedFolders.for_stdio(named)
        serve_stdio(create_server(engine=engine, folders=folders, store=store), wire=wire)
    else:
        from specformer_mcp.http import serve_http
        from specformer_mcp.http.from_settings import http_options

        if settings.workers > 1:
            return _serve_workers(settings)
        options = http_options(settings)
        server = create_server(
            engine=engine,
            folders=AllowedFolders.for_http(named),
            store=store,
            allow_paths=False,
        )
        serve_http(
            server,
            engine=engine,
            options=options,
            store_samples=lambda: len(store),
            queue_depth=lambda: engine.waiting,
        )
    store.close()
    if engine.state != "idle":
        _leave()
    return 0


def _leave() -> NoReturn:
    """End the process without tearing down the interpreter.

    The background load, if the client left during it, would be stopped inside a C++ library, which
    then aborts the process; what LanceDB's own threads finish last may meet an interpreter that is
    half gone; a call that outlasted the shutdown would be waited for. Nothing is left to write but
    what was registered for the exit.
    """
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)


def _serve_workers(settings: Settings) -> int:
    from specformer_mcp.settings import SettingsError
    from specformer_mcp.workers import serve_workers

    if settings.store == "none":
        raise SettingsError(
            "Several workers find each other's samples in the store on disk; store is 'none'.",
            "Name a folder with --store, or set workers to 1.",
        )
    return serve_workers(
        partial(_web_worker, settings=settings),
        host=settings.host,
        port=settings.port,
        workers=settings.workers,
        release=settings.release,
        batch=settings.batch,
        queue=settings.queue,
        log_level=settings.log_level,
    )


def _engine(settings: Settings, connect: Connect | None = None) -> Engine:
    from specformer_mcp.engine import Engine

    return Engine(
        release=settings.release,
        index=settings.index,
        index_version=settings.index_version,
        max_bytes=settings.max_file_bytes,
        max_inflated_bytes=settings.max_inflated_bytes,
        batch=settings.batch,
        queue=settings.queue,
        connect=connect,
    )


def _web_worker(connect: Connect, *, settings: Settings) -> tuple[Engine, uvicorn.Config]:
    """Return the engine of one of several web workers, and how uvicorn serves it."""
    from specformer_mcp.http import http_app, uvicorn_config
    from specformer_mcp.http.from_settings import http_options
    from specformer_mcp.paths import AllowedFolders
    from specformer_mcp.server import create_server

    tell(settings.log_level)
    engine = _engine(settings, connect)
    options = http_options(settings, stateless=True)
    store = open_store(settings)
    server = create_server(
        engine=engine,
        folders=AllowedFolders.for_http([str(folder) for folder in settings.allow_dirs]),
        store=store,
        allow_paths=False,
    )
    app = http_app(
        server,
        engine=engine,
        options=options,
        store_samples=lambda: len(store),
        queue_depth=lambda: engine.waiting,
    )
    return engine, uvicorn_config(app, options=options)


def _metavar(field: FieldInfo, flag: str) -> str:
    for word in ("DIR", "FILE"):
        if f"'metavar': '{word}'" in f"{field.annotation} {field.metadata}":
            return word
    return flag.rsplit("-", 1)[-1].upper()


def _help(field: FieldInfo, repeated: bool, variable: str) -> str:
    parts = [str(field.description)]
    if repeated:
        parts.append("may be repeated")
    if field.default is not None and not repeated and "default" not in parts[0]:
        parts.append(f"default: {field.default}")
    return f"{'; '.join(parts)}; also {variable}".replace("%", "%%")
