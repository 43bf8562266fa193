"""What to call the one sample of a quantifier's output file.

Salmon calls every result `quant.sf` and kallisto `abundance.tsv`; the folder says whose it is
(`S17/quant.sf`), unless people renamed the file (`S17.quant.sf`). Both are the sample `S17`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from specformer_encoder.readers.opening import stem

#: What a folder is called after the program or the step rather than the sample.
_STEP = re.compile(
    r"(^|[._-])(quants?|salmon|kallisto|rsem|star|htseq|featurecounts|counts?|outputs?|out|results?)$",
    re.IGNORECASE,
)
_JOINTS = "._-"
_UNNAMED = "sample"


def sample_name(path: Path, *, generic: Sequence[str]) -> str:
    """Name the sample of a single-sample file.

    Parameters
    ----------
    path
        The file; its folders are asked only where the file's own name says nothing.
    generic
        What the program itself calls the file, or ends its name with, the longest first; without
        the endings that `stem` takes off.

    Returns
    -------
    str
        The file's name without `generic`, else the name of the nearest folder that is not called
        after the program (`S17_quant` is `S17`).

    Examples
    --------
    >>> salmon = ("quant.genes.sf", "quant.sf", ".sf")
    >>> sample_name(Path("results/S17_quant/quant.sf"), generic=salmon)
    'S17'
    >>> sample_name(Path("results/S17.quant.sf.gz"), generic=salmon)
    'S17'
    """
    name = stem(path)
    for ending in generic:
        if name.lower().endswith(ending.lower()):
            name = name[: -len(ending)].rstrip(_JOINTS)
            break
    if name:
        return name
    for folder in path.absolute().parents:
        name = folder.name
        while name and (step := _STEP.search(name)):
            name = name[: step.start()]
        if name:
            return name
    return _UNNAMED
