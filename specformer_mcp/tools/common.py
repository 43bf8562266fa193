"""What all tools share: how one is made, how it answers, how it fails, whose samples it sees.

Every tool returns the same answer twice: compact text for the model to read, and the typed model as
structured content for programs. Clients may show a model either, so `detail` cuts both. A failure
that the caller can mend is a `ToolError` that says what to do next; anything else is logged with
its traceback and told in one sentence.
"""

from __future__ import annotations

import functools
import inspect
import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Annotated, Any, TypeVar, cast

import anyio.from_thread
from mcp.server.mcpserver import Context
from mcp.server.mcpserver.exceptions import ToolError
from mcp.server.mcpserver.tools import Tool
from mcp_types import CallToolResult, ResourceLink, TextContent, ToolAnnotations
from pydantic import Field

from specformer_encoder.errors import SpecformerError
from specformer_mcp.analysis import close_matches, concise
from specformer_mcp.engine import Engine, Watch
from specformer_mcp.follower import one_version
from specformer_mcp.owner import owner_of
from specformer_mcp.paths import AllowedFolders
from specformer_mcp.results import Answer, Detail, Result
from specformer_mcp.samples import Sample, SampleStore, UnknownSampleError

logger = logging.getLogger(__name__)

Ctx = Context[Any, Any]
Handle = Annotated[str, Field(description="Handle from embed_sample, smp_…")]
DetailArgument = Annotated[Detail, Field(description="full: more rows and fields")]
Cursor = Annotated[str | None, Field(description="next_cursor of the page before")]
AnyAnswer = TypeVar("AnyAnswer", bound=Answer)


class UnknownHandleError(SpecformerError):
    """The caller has no sample of this handle."""


def count(text: str, largest: int) -> Any:
    """Return the field of a count; the range is in the schema, the error is ours."""
    return Field(description=text, json_schema_extra={"minimum": 1, "maximum": largest})


@dataclass(frozen=True, slots=True)
class Toolbox:
    """What tools work with.

    Attributes
    ----------
    engine
        What answers; loaded when it is first needed.
    store
        Where handles live.
    folders
        From where files may be read.
    allow_paths
        Whether a caller may name files of this machine; not over HTTP.
    """

    engine: Engine
    store: SampleStore
    folders: AllowedFolders
    allow_paths: bool

    def sample(self, handle: str, ctx: Ctx | None) -> Sample:
        """Return the caller's sample of a handle.

        Raises
        ------
        UnknownHandleError
            The caller has no such sample; the text names handles that were perhaps meant.
        """
        owner = owner_of(ctx)
        try:
            return self.store.get(handle.strip(), owner=owner)
        except UnknownSampleError as error:
            kept = {one.handle: one.name for one in self.store.summaries(owner=owner)}
            meant = [known for known, name in kept.items() if name == handle.strip()][:3]
            meant = meant or close_matches(handle, kept, most=2)
            question = f" Did you mean {' or '.join(meant)}?" if meant else ""
            raise UnknownHandleError(f"{error.problem}{question}", error.remedy) from error

    def samples(self, handles: str | Sequence[str], ctx: Ctx | None) -> list[Sample]:
        """Return the caller's samples of handles, in their order."""
        given = [handles] if isinstance(handles, str) else handles
        return [self.sample(handle, ctx) for handle in given]


def make(
    function: Callable[..., Any],
    title: str,
    *,
    name: str | None = None,
    open_world: bool = False,
    destructive: bool = False,
) -> Tool:
    """Return a tool whose name, description and arguments are those of a function."""
    tool = Tool.from_function(
        _guarded(function, name or function.__name__),
        name=name,
        title=title,
        description=inspect.getdoc(function),
        annotations=ToolAnnotations(
            title=title,
            read_only_hint=not destructive,
            destructive_hint=destructive,
            idempotent_hint=True,
            open_world_hint=open_world,
        ),
    )
    # The names of arguments say what their titles would; models pay for every token.
    for argument in tool.parameters.get("properties", {}).values():
        argument.pop("title", None)
    tool.parameters.pop("title", None)
    return tool


def answer_with(
    answer: AnyAnswer,
    render: Callable[[AnyAnswer], str],
    *,
    detail: Detail = "full",
    links: Sequence[ResourceLink] = (),
) -> CallToolResult:
    """Return an answer as text and as structured content, cut to the detail asked for."""
    shown = answer if detail == "full" else cast(AnyAnswer, concise(answer))
    return result_of(shown, render(shown), links=links)


def result_of(answer: Result, text: str, *, links: Sequence[ResourceLink] = ()) -> CallToolResult:
    """Return a tool's result; what only a full answer holds is left out where it is empty."""
    return CallToolResult(
        content=[TextContent(type="text", text=text), *links],
        structured_content=answer.model_dump(mode="json", exclude_defaults=True),
    )


def link(handle: str, part: str, title: str, mime_type: str) -> ResourceLink:
    """Return the link to a part of a sample, so that its bulk is fetched by a program."""
    uri = f"specformer://samples/{handle}/{part}"
    return ResourceLink(uri=uri, name=f"{handle}/{part}", title=title, mime_type=mime_type)


def offset_of(cursor: str | None) -> int:
    """Return the row that a cursor stands for.

    Raises
    ------
    SpecformerError
        It is none that was given out.
    """
    if cursor is None or not cursor.strip():
        return 0
    if not (cursor.isascii() and cursor.isdigit() and len(cursor) <= 9):
        raise SpecformerError(
            f"The cursor {cursor[:40]!r} is not one that this server gave out.",
            "Pass next_cursor of the page before, or leave cursor out for the first page.",
        )
    return int(cursor)


def watch_of(ctx: Ctx) -> Watch:
    """Return what tells the client of progress, and stops the work that the client has cancelled.

    Tools run in worker threads, where a cancellation cannot reach; so it is asked for here.
    """
    told = 0

    def watch(done: int, total: int) -> None:
        nonlocal told
        anyio.from_thread.check_cancelled()
        if done > told and total > 1:  # progress has to grow from one notification to the next
            told = done
            text = f"{done} of {total} samples embedded"
            anyio.from_thread.run(ctx.report_progress, done, total, text)

    return watch


@contextmanager
def errors_for_the_model(tool: str) -> Iterator[None]:
    """Turn every failure into text that tells the model what to do."""
    try:
        yield
    except ToolError:
        raise
    except SpecformerError as error:
        raise ToolError(str(error)) from error
    except Exception as error:
        logger.exception("%s failed unexpectedly", tool)
        raise ToolError(
            f"An internal error ({type(error).__name__}) stopped {tool}; its traceback is in the "
            "server's log. Do not repeat the same call; try another file or tell the user."
        ) from error


def _guarded(function: Callable[..., Any], name: str) -> Callable[..., Any]:
    """Wrap a tool so that its failures are told; signature and annotations stay."""

    @functools.wraps(function)
    def tool(*args: Any, **kwargs: Any) -> Any:
        with errors_for_the_model(name), one_version():
            return function(*args, **kwargs)

    return tool
