"""Completions: the names that prompts and resource templates take, while they are typed."""

from __future__ import annotations

from typing import Any

import anyio.to_thread
from mcp.server.mcpserver import MCPServer
from mcp_types import (
    Completion,
    CompletionArgument,
    CompletionContext,
    PromptReference,
    ResourceTemplateReference,
)

from specformer_mcp.owner import owner_of
from specformer_mcp.tools.common import Toolbox

MOST = 100
"""The protocol's limit on values in one answer."""
_HANDLES = {"handle", "sample", "responders", "non_responders"}
_COHORTS = {"cohort", "expected"}


def register_completions(server: MCPServer[Any], box: Toolbox) -> None:
    """Add completion of cohorts, studies, collections and handles to a server."""

    @server.completion()  # type: ignore[no-untyped-call, untyped-decorator]
    async def complete(
        ref: PromptReference | ResourceTemplateReference,
        argument: CompletionArgument,
        context: CompletionContext | None,
    ) -> Completion | None:
        del ref, context  # the names of arguments mean the same everywhere
        owner = owner_of()
        known = await anyio.to_thread.run_sync(_known, box, argument.name, owner)
        return None if known is None else _matching(argument, known)


def _known(box: Toolbox, name: str, owner: str) -> list[str] | None:
    """Everything that an argument may be, the likeliest first; None = anything."""
    if name in _HANDLES:
        return [summary.handle for summary in box.store.summaries(owner=owner)]
    if name == "collection":
        return sorted(set(box.engine.loaded().gene_sets.collections))
    if name in _COHORTS:
        index = box.engine.loaded().index
        return [*sorted(index.cohorts), *index.values_of("study")]
    if name == "study":
        return list(box.engine.loaded().index.values_of("study"))
    return None


def _matching(argument: CompletionArgument, known: list[str]) -> Completion:
    """Return what begins with the typed text, then what has it inside; of a list, its last item."""
    before, comma, typed = argument.value.rpartition(",")
    if argument.name not in {"responders", "non_responders"}:
        before, comma, typed = "", "", argument.value
    wanted = typed.strip().lower()
    begins = [name for name in known if name.lower().startswith(wanted)]
    inside = [name for name in known if wanted in name.lower()]
    found = [f"{before}{comma}{name}" for name in dict.fromkeys([*begins, *inside])]
    return Completion(values=found[:MOST], total=len(found), has_more=len(found) > MOST)
