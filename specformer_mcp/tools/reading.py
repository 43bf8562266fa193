"""From what a caller names or sends to samples; a file is read once, however often it is paged."""

from __future__ import annotations

import dataclasses
import threading
from collections import OrderedDict
from pathlib import Path

from specformer_encoder.download.progress import Silent
from specformer_encoder.errors import InputFileError
from specformer_encoder.sources import Located, is_remote, locate
from specformer_mcp.analysis import Listing
from specformer_mcp.engine import Watch, samples_of
from specformer_mcp.samples import Sample, UnknownSampleError
from specformer_mcp.tools.common import Toolbox

MOST_VALUES = 100_000
REMEMBERED = 32
"""Files whose listing is kept; the samples themselves live in the store."""

Key = tuple[str, str, int, int, str | None, str | None]


@dataclasses.dataclass(frozen=True, slots=True)
class Read:
    """The samples of a file; `fresh` ones are not in the store yet."""

    samples: list[Sample]
    listing: Listing
    fresh: bool


class ReadFiles:
    """Listings of the files read lately, by owner, file, its time and size, and arguments.

    Only a shortcut: a file that is not here, or of which a sample has gone, is read again.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._kept: OrderedDict[Key, Listing] = OrderedDict()

    def get(self, key: Key) -> Listing | None:
        """Return the listing of a file, if it is remembered."""
        with self._lock:
            if key in self._kept:
                self._kept.move_to_end(key)
            return self._kept.get(key)

    def put(self, key: Key, listing: Listing) -> None:
        """Remember a listing; the one unused for longest goes."""
        with self._lock:
            self._kept[key] = listing
            self._kept.move_to_end(key)
            while len(self._kept) > REMEMBERED:
                self._kept.popitem(last=False)


class _Fetching(Silent):
    """Stops a download that the caller has cancelled."""

    def __init__(self, watch: Watch) -> None:
        self._watch = watch

    def update(self, name: str, done: int, total: int | None) -> None:
        """Look whether to go on."""
        del name, done, total
        self._watch(0, 1)


def read_file(
    box: Toolbox,
    files: ReadFiles,
    source: str,
    owner: str,
    *,
    unit: str | None,
    sample: str | None,
    watch: Watch,
) -> Read:
    """Read the samples of a file, or find them in the store if it was read lately.

    Raises
    ------
    SpecformerError
        The file may not or cannot be read, or has more samples than are kept.
    """
    if is_remote(source):
        located = locate(source, progress=_Fetching(watch))
    else:
        located = Located(box.folders.resolve(source))
    state = located.path.stat()
    key = (owner, str(located.path), state.st_mtime_ns, state.st_size, unit, sample)
    # The time of a folder says nothing of the files in it.
    listing = files.get(key) if located.path.is_file() else None
    if listing is not None and (kept := _kept(box, listing, owner)) is not None:
        return Read(kept, listing, fresh=False)
    return _read(box, files, key, located, watch)


def read_values(
    box: Toolbox, values: dict[str, float], *, unit: str | None, sample: str | None
) -> Read:
    """Read one profile that came as gene → value."""
    if len(values) > MOST_VALUES:
        raise InputFileError(
            f"{len(values)} inline values came; at most {MOST_VALUES} are taken.",
            "Send one value a gene.",
        )
    profiles = box.engine.read_values(values, sample=sample or "sample", unit=unit)
    samples = samples_of(profiles)
    return Read(samples, Listing.of(samples, [profiles]), fresh=True)


def _read(box: Toolbox, files: ReadFiles, key: Key, located: Located, watch: Watch) -> Read:
    _, _, _, _, unit, sample = key
    raw = box.engine.open(Path(located.path))
    watch(0, 1)
    if sample is None and len(raw.samples) > box.store.capacity:
        raise InputFileError(
            f"{raw.source} holds {len(raw.samples)} samples; the server keeps "
            f"{box.store.capacity} at a time.",
            "Name one with sample=NAME, or split the file.",
        )
    raw = dataclasses.replace(raw, notes=(*located.notes, *raw.notes))
    samples: list[Sample] = []
    blocks = []
    for block in map(located.label, box.engine.resolve(raw, unit=unit, sample=sample)):
        watch(0, 1)
        samples += samples_of(block)
        blocks.append(dataclasses.replace(block, values=block.values[:0], samples=[]))
    listing = Listing.of(samples, blocks)
    files.put(key, listing)
    return Read(samples, listing, fresh=True)


def _kept(box: Toolbox, listing: Listing, owner: str) -> list[Sample] | None:
    try:
        return [box.store.get(handle, owner=owner) for handle in listing.handles]
    except UnknownSampleError:
        return None
