"""The tools, as a language model sees them: few, and each worth a call."""

from __future__ import annotations

from mcp.server.mcpserver.tools import Tool

from specformer_mcp.tools.answers import answer_tools
from specformer_mcp.tools.common import Toolbox
from specformer_mcp.tools.comparisons import comparison_tools
from specformer_mcp.tools.embedding import embedding_tools


def all_tools(box: Toolbox) -> list[Tool]:
    """Return the tools of a server, always in the same order."""
    embed, forget = embedding_tools(box)
    return [embed, *answer_tools(box), *comparison_tools(box), forget]
