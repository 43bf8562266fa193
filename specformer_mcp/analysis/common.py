"""What all answers need: provenance, ranges, what a misspelt name may have meant."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from specformer_encoder.errors import SpecformerError
from specformer_mcp import __version__
from specformer_mcp.engine import Engine
from specformer_mcp.results import Provenance

if TYPE_CHECKING:
    from specformer_encoder.profiles import FloatArray
    from specformer_mcp.samples import Sample


def provenance(engine: Engine) -> Provenance:
    """Say which release, index and server give the answers."""
    loaded = engine.loaded()
    release = loaded.embedder.release
    return Provenance(
        release=release.id,
        release_sha256=release.sha256,
        index=loaded.index.info.version,
        server=__version__,
    )


def check_range(name: str, value: int, largest: int) -> None:
    """Refuse a count outside 1 to `largest`."""
    if not 1 <= value <= largest:
        raise SpecformerError(
            f"{name} must be 1 to {largest}; it is {value}.",
            f"Call again with {name} in that range.",
        )


def close_matches(word: str, known: Iterable[str], *, most: int = 3) -> list[str]:
    """Return the known names that a misspelt or shortened one may have meant, the best first.

    Examples
    --------
    >>> close_matches("tcga-luad tumour", ["TCGA-LUAD tumor", "TCGA-OV tumor"])
    ['TCGA-LUAD tumor', 'TCGA-OV tumor']
    >>> close_matches("lugn", ["Lung, normal (GTEx)", "Liver, normal (GTEx)"])
    ['Lung, normal (GTEx)']
    """
    wanted = word[:80].strip().lower()
    names = {name.lower(): name for name in known if name}
    close = difflib.get_close_matches(wanted, names, n=most)
    inside = [lower for lower in names if wanted and wanted in lower]
    found = list(dict.fromkeys([*close, *inside]))
    if not found:  # one word of a longer name
        words = {w for lower in names for w in re.findall(r"\w+", lower)}
        like = difflib.get_close_matches(wanted, words, n=most)
        found = [lower for w in like for lower in names if w in lower]
    return [names[lower] for lower in dict.fromkeys(found)][:most]


def did_you_mean(word: str, known: Sequence[str]) -> str:
    """Return a sentence that names close matches, led by a space; empty where there are none."""
    close = close_matches(word, known)
    return f" Did you mean {' or '.join(repr(name) for name in close)}?" if close else ""


def shares_of_types(engine: Engine, samples: Sequence[Sample]) -> tuple[dict[str, int], int]:
    """Count top types, the most frequent first, and samples out of distribution."""
    counts: dict[str, int] = {}
    odd = 0
    for prediction in engine.predictions(samples):
        counts[prediction.top_type] = counts.get(prediction.top_type, 0) + 1
        odd += bool(prediction.out_of_distribution)
    return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0]))), odd


def vectors_of(engine: Engine, samples: Sequence[Sample]) -> FloatArray:
    """(S, E) embeddings of samples."""
    import numpy as np

    engine.embed(samples)
    return np.stack([engine.embedding(sample) for sample in samples])
