"""``python -m specformer_mcp`` is the `specformer` command."""

import sys

from specformer_mcp.cli import main

if __name__ == "__main__":
    sys.exit(main())
