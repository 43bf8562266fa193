"""What a user names as input, as a file on disk.

A path stays a path. ``gdc:<uuid>`` is fetched from the Genomic Data Commons into the cache, and
what the GDC says of the sample comes along: a profile is better known by its barcode than by the
UUID of its file.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from specformer_encoder.download.progress import Progress
    from specformer_encoder.profiles import ProfileSet

_GDC = "gdc:"


@dataclass(frozen=True, slots=True)
class Located:
    """A file, and what its source says of it.

    Attributes
    ----------
    path
        Where it lies.
    sample
        The name of its one sample; None = the file itself has to say.
    notes
        What a reader of the answer would want to know, one sentence each.
    """

    path: Path
    sample: str | None = None
    notes: tuple[str, ...] = ()

    def label(self, profiles: ProfileSet) -> ProfileSet:
        """Return the profiles of this file under the name that the source gives to their sample."""
        if self.sample is None or len(profiles) != 1:
            return profiles
        return dataclasses.replace(profiles, samples=[self.sample])


def is_remote(text: str) -> bool:
    """Whether the text names a file that has to be fetched, not a path."""
    return text.startswith(_GDC)


def locate(text: str, *, progress: Progress | None = None) -> Located:
    """Return the file that the text names, fetching it if need be.

    Parameters
    ----------
    text
        A path, or ``gdc:<uuid>``.
    progress
        Is told how fetching goes.

    Raises
    ------
    DownloadError
        The file cannot be fetched. Whether a path exists is not asked here.
    """
    if not is_remote(text):
        return Located(Path(text))
    from specformer_encoder.download import gdc

    file = gdc.fetch(gdc.parse_gdc(text), progress=progress)
    known = {"project": file.project, "sample type": file.sample_type, "workflow": file.workflow}
    facts = ", ".join(f"{name} {value}" for name, value in known.items() if value)
    note = f"{text.lower()} is {file.file_name} of the GDC{f': {facts}' if facts else ''}."
    return Located(file.path, file.sample, (note,))
