"""The bundled gene table: the vocabulary of a release, and every identifier that is known.

Both come from Parquet files that `encoder/scripts/build_gene_table.py` writes. The identifiers are
kept by namespace, one row group each, and a namespace is read when a file first needs it: symbols
are of no use to a file of Ensembl ids.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from itertools import repeat
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

DATA = Path(__file__).parents[1] / "data"

#: Row groups of `identifiers.parquet`, in order. `spelling` has symbols as `fold` writes them, and
#: `date` what a spreadsheet makes of them.
NAMESPACES = ("ensembl", "entrez", "symbol", "spelling", "date")
#: How a name belongs to its gene, strongest first: it is the current one, the gene had it once
#: (an earlier symbol; an id that was retired in favour of another), or it is merely in use.
HOW = ("current", "previous", "alias", "none")
CURRENT, PREVIOUS, ALIAS, NONE = range(len(HOW))
#: What stands for a vocabulary position where there is none: a known gene that is not in the
#: vocabulary, a name of several genes, a name of none.
OUTSIDE, AMBIGUOUS, UNKNOWN = -1, -2, -3


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """The ordered gene list of a release, V genes.

    Attributes
    ----------
    ensembl_ids, symbols
        V names each.
    lengths
        (V,) float32, exonic length in base pairs; see `encoder/scripts/build_gene_lengths.py`.
    """

    ensembl_ids: list[str]
    symbols: list[str]
    lengths: npt.NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.ensembl_ids)


@cache
def vocabulary() -> Vocabulary:
    """The bundled gene vocabulary: protein-coding in GENCODE and in HGNC, by Ensembl id."""
    genes = _read("genes.parquet", ["ensembl_id", "symbol", "length", "in_vocabulary"])
    genes = genes.filter(genes["in_vocabulary"])
    ids = genes["ensembl_id"].to_pylist()
    return Vocabulary(ids, genes["symbol"].to_pylist(), _lengths(ids, genes["length"].to_numpy()))


def _read(name: str, columns: list[str]) -> pa.Table:
    # `pq.read_table` would import pyarrow.dataset first, a fifth of a second for nothing.
    return pq.ParquetFile(DATA / name).read(columns=columns)


def _lengths(ensembl_ids: list[str], transcript: npt.NDArray[np.int32]) -> npt.NDArray[np.float32]:
    """Exonic lengths; a gene without one keeps GENCODE's median transcript, to the same scale."""
    table = _read("gene_lengths.parquet", ["ensembl_id", "length"])
    exonic = dict(zip(table["ensembl_id"].to_pylist(), table["length"].to_pylist(), strict=True))
    lengths = np.array([exonic.get(gene, np.nan) for gene in ensembl_ids])
    lengths = np.where(np.isnan(lengths), transcript * np.nanmedian(lengths / transcript), lengths)
    return lengths.astype(np.float32)


@dataclass(frozen=True, slots=True)
class Found:
    """What one name was found to be.

    Attributes
    ----------
    gene
        Vocabulary position, or `OUTSIDE`, `AMBIGUOUS`, `UNKNOWN`.
    how
        Index into `HOW`.
    others
        Symbols of other genes: all that an ambiguous name may mean; for a current symbol, the
        genes that had it before.
    """

    gene: int = UNKNOWN
    how: int = NONE
    others: tuple[str, ...] = ()

    @property
    def known(self) -> bool:
        """Whether it is one gene, in the vocabulary or not."""
        return self.gene >= OUTSIDE


NOTHING = Found()


@dataclass(frozen=True, slots=True)
class Lookup:
    """The identifiers of one namespace, K keys."""

    row: dict[str, int]
    # (K + 1,) arrays: the last entry, row -1, stands for a name that is not there.
    gene: npt.NDArray[np.int32]
    how: npt.NDArray[np.int8]
    others: dict[int, tuple[str, ...]]

    def rows(self, names: Iterable[str]) -> npt.NDArray[np.int32]:
        """Row of each name, -1 where it is not there."""
        return np.array(list(map(self.row.get, names, repeat(-1))), np.int32)

    def one(self, name: str | None) -> Found:
        """Look one name up; None is unknown."""
        row = self.row.get(name) if name else None
        if row is None:
            return NOTHING
        return Found(int(self.gene[row]), int(self.how[row]), self.others.get(row, ()))


@cache
def lookup(namespace: str) -> Lookup:
    """Identifiers of one of `NAMESPACES`."""
    file = pq.ParquetFile(DATA / "identifiers.parquet")
    table = file.read_row_group(NAMESPACES.index(namespace), ["key", "gene", "how", "others"])
    others = table["others"].combine_chunks()
    filled = np.flatnonzero(others.is_valid().to_numpy(zero_copy_only=False))
    texts = others.take(pa.array(filled)).to_pylist()
    return Lookup(
        row=dict(zip(table["key"].to_pylist(), range(table.num_rows), strict=True)),
        gene=np.append(table["gene"].to_numpy(), UNKNOWN).astype(np.int32),
        how=np.append(table["how"].to_numpy(), NONE).astype(np.int8),
        others={int(row): tuple(text.split(", ")) for row, text in zip(filled, texts, strict=True)},
    )
