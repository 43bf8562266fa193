"""Build a corpus: files of labelled profiles → one directory, whole or not at all.

The directory is written beside its place and renamed into it, under a lock, so a build that is
killed leaves nothing that a reader could take for a corpus, an older corpus stays as it was, and
the next build clears up. What goes into it is in `passes`.
"""

from __future__ import annotations

import contextlib
import errno
import shutil
from pathlib import Path
from typing import Any

from specformer_encoder.corpus import GENES, INFO, PACKED, PROFILES
from specformer_encoder.corpus.packing import Progress
from specformer_encoder.corpus.passes import Passes
from specformer_encoder.corpus.sources import find_sources
from specformer_encoder.errors import CorpusError
from specformer_encoder.files import move_into_place, only_builder, sync_tree
from specformer_encoder.genes import vocabulary

#: Bytes of a row's labels and quality numbers, generously.
_ROW_BYTES = 1000


def build_corpus(
    folders: list[Path], out: Path, *, replace: bool = False, progress: Progress | None = None
) -> dict[str, Any]:
    """Build a corpus directory.

    Parameters
    ----------
    folders
        Labelled folders and download folders; see `sources`.
    out
        The directory to make. Its parent must exist.
    replace
        Whether a corpus that is there may be replaced. It stays until the new one is whole.
    progress
        Called with one line of text now and then.

    Returns
    -------
    The content of `corpus.json`.

    Raises
    ------
    CorpusError
        If there is nothing to build from, labels contradict each other, too little is left for
        training, `out` is taken, or the disk cannot hold the corpus.
    InputFileError, GeneIdentifierError, ExpressionValueError
        If a file cannot be read, named or ordered.
    """
    out = out.resolve()
    tell = progress or (lambda _: None)
    _check_place(out, replace)
    found = find_sources(folders)
    needed = _bytes_needed(sum(source.columns for source in found.sources))
    _check_space(out.parent, needed)
    try:
        with only_builder(out) as alone:
            if not alone:
                raise CorpusError(
                    f"Another process is building {out.name}.",
                    "Wait for it, or give another --out.",
                )
            partial = _empty_partial(out)
            try:
                info = Passes(partial, found, tell).run()
                sync_tree(partial)
                move_into_place(partial, out, replace=replace)
            finally:
                shutil.rmtree(partial, ignore_errors=True)
    except OSError as error:
        raise _unwritable(out, needed, error) from error
    return info


def _check_place(out: Path, replace: bool) -> None:
    if not out.parent.is_dir():
        raise CorpusError(f"The folder {out.parent.name} does not exist.", "Create it first.")
    if not out.exists():
        return
    if not out.is_dir() or not _is_corpus(out):
        raise CorpusError(f"{out.name} exists and is not a corpus.", "Give another --out.")
    if not replace:
        raise CorpusError(
            f"{out.name} exists already.", "Give another --out, or --replace to replace it."
        )


def _is_corpus(folder: Path) -> bool:
    return (folder / INFO).is_file() and (folder / PROFILES).is_file()


def _empty_partial(out: Path) -> Path:
    """The directory to build in; one that a killed build left behind is removed first."""
    partial = out.with_name(f"{out.name}.partial")
    if partial.exists():
        foreign = {path.name for path in partial.iterdir()} - {PROFILES, GENES, PACKED, INFO}
        if foreign:
            raise CorpusError(
                f"{partial.name} is in the way, and it holds {min(foreign)}, which no build left.",
                "Move it, or give another --out.",
            )
        shutil.rmtree(partial)
    partial.mkdir()
    return partial


def _bytes_needed(profiles: int) -> int:
    genes = len(vocabulary())
    return profiles * (4 * genes + 2 * genes + 2 * _ROW_BYTES)


def _check_space(folder: Path, needed: int) -> None:
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise CorpusError(
            f"The corpus needs up to {needed:,} bytes, and {folder.name} has {free:,} bytes free.",
            "Make room, or give an --out on another disk.",
        )


def _unwritable(out: Path, needed: int, error: OSError) -> CorpusError:
    remedy = "Give an --out in a folder that you may write to."
    told = ""
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        with contextlib.suppress(OSError):
            told = f", and {shutil.disk_usage(out.parent).free:,} are free"
        told = f" The corpus needs up to {needed:,} bytes{told}."
        remedy = "Make room, or give an --out on another disk."
    reason = error.strerror or str(error)
    return CorpusError(
        f"{out.name} could not be written in {out.parent.name} ({reason}).{told}", remedy
    )
