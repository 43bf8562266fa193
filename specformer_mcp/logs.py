"""What is told on stderr; stdout belongs to the protocol."""

from __future__ import annotations

import logging

OURS = ("specformer_encoder", "specformer_index", "specformer_mcp")


def tell(level: str = "INFO") -> None:
    """Log to stderr: of this project's packages from `level` on, of others from warnings on."""
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s")
    for name in OURS:
        logging.getLogger(name).setLevel(level)
