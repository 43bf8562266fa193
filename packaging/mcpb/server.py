"""Entry point of the MCP bundle: `specformer-mcp` in the environment that uv has made."""

import sys

from specformer_mcp.cli import serve_main

if __name__ == "__main__":
    sys.exit(serve_main())
