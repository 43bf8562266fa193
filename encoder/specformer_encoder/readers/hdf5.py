"""HDF5 files that nobody has vouched for.

HDF5 lets a file reach outside itself (links to other files, external storage, virtual datasets) and
hides the size of what it holds behind compression. So each part is looked at before it is read: it
has to lie in the file, and to fit the cap once decoded.
"""

from __future__ import annotations

from typing import Any

import h5py  # type: ignore[import-untyped]
import numpy as np

from specformer_encoder.errors import InputFileError
from specformer_encoder.readers.opening import Limits

DAMAGED = "It is damaged or was written by another program: export it again."
_DEEPEST = 4
#: Other files that are HDF5: what a file must hold → (what it is, what to do).
_OTHERS: tuple[tuple[frozenset[str], str, str], ...] = (
    (
        frozenset({"matrix/barcodes", "matrix/indptr"}),
        "a 10x feature-barcode matrix (.h5)",
        "Give the folder of the same name that Cell Ranger wrote beside it, or in Python: "
        "scanpy.read_10x_h5(file).write_h5ad('table.h5ad').",
    ),
    (
        frozenset({"matrix", "row_attrs", "col_attrs"}),
        "a loom file",
        "In Python: anndata.io.read_loom(file).write_h5ad('table.h5ad').",
    ),
    (
        frozenset({"data/expression", "meta"}),
        "an ARCHS4 archive",
        "Take the samples that you need from it and save them as TSV, genes in rows.",
    ),
    (
        frozenset({"mod", "obs"}),
        "a MuData file (.h5mu)",
        "Save its RNA modality as .h5ad.",
    ),
)


class Contents:
    """What an open HDF5 file holds, given out only after a look.

    Parameters
    ----------
    file
        An open ``h5py.File``.
    source
        File name, for messages.
    limits
        Caps; ``max_inflated_bytes`` holds for each part.
    """

    def __init__(self, file: Any, source: str, limits: Limits) -> None:
        self.file = file
        self.source = source
        self.limits = limits

    def refuse_others(self) -> None:
        """Refuse by name what is HDF5 and not .h5ad."""
        for places, what, remedy in _OTHERS:
            if all(self._walk(place) is not None for place in places):
                raise InputFileError(f"{self.source!r} is {what}; .h5ad was expected.", remedy)
        if "obs" not in self.file or "var" not in self.file:
            held = ", ".join(sorted(self.file)[:6]) or "nothing"
            raise InputFileError(
                f"{self.source!r} is HDF5, but not .h5ad: it has no obs and var, it holds {held}.",
                "Save the expression table as TSV, CSV, Parquet or .h5ad.",
            )

    def get(self, place: str) -> Any:
        """Return a part of the file, a group with all that is in it; None if it is not there."""
        node = self._walk(place)
        if node is not None:
            size = self._size(node, place, _DEEPEST)
            if size > self.limits.max_inflated_bytes:
                raise InputFileError(
                    f"{place} of {self.source!r} holds {size:,} bytes once decoded; the limit is "
                    f"{self.limits.max_inflated_bytes:,}.",
                    "Split the matrix by samples, or raise the limit.",
                )
        return node

    def names(self, place: str) -> list[str]:
        """Names in a group, which is not looked into; none if it is not there."""
        node = self._walk(place)
        return list(node) if isinstance(node, h5py.Group) else []

    def _walk(self, place: str) -> Any:
        node = self.file
        for name in place.split("/"):
            link = node.get(name, getlink=True) if isinstance(node, h5py.Group) else None
            if link is None:
                return None
            self._own(link, place)
            node = node[name]
        return node

    def _own(self, link: Any, place: str) -> None:
        if not isinstance(link, h5py.HardLink):
            raise InputFileError(
                f"{place} of {self.source!r} is a link to another place or file, which is not "
                "followed.",
                "Write the file again with its data inside.",
            )

    def _size(self, node: Any, place: str, depth: int) -> int:
        """Bytes of a part once decoded; refused if any of it lies outside this file."""
        if isinstance(node, h5py.Group):
            if not depth:
                raise InputFileError(f"{place} of {self.source!r} is nested too deeply.", DAMAGED)
            size = 0
            for name in node:
                self._own(node.get(name, getlink=True), f"{place}/{name}")
                size += self._size(node[name], f"{place}/{name}", depth - 1)
            return size
        if not isinstance(node, h5py.Dataset):
            raise InputFileError(f"{place} of {self.source!r} holds no data.", DAMAGED)
        if node.external or node.is_virtual:
            raise InputFileError(
                f"{place} of {self.source!r} keeps its data in another file, which is not opened.",
                "Write the file again with its data inside.",
            )
        # Whole chunks are decoded, and a chunk may be larger than what is in it.
        return max(int(node.nbytes), int(np.prod(node.chunks or (0,))) * int(node.dtype.itemsize))
