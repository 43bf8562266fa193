"""Gene sets: which genes make up a pathway, over the gene vocabulary.

Three collections are bundled: MSigDB Hallmark (50 broad states, each refined from many founder
sets), Reactome (curated reactions and pathways, nested) and WikiPathways (community-curated
pathways). Each set keeps the genes of the vocabulary that its source names, whatever identifier
the source uses; sets that keep fewer than 5 or more than 500 genes are not bundled. The origin,
version and licence of each collection stand in the metadata of ``data/gene_sets.parquet``, which
``encoder/scripts/build_gene_sets.py`` writes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from specformer_encoder.errors import ReleaseError
from specformer_encoder.genes import vocabulary

BUNDLED = Path(__file__).parent / "data" / "gene_sets.parquet"


@dataclass(frozen=True, slots=True, eq=False)
class GeneSets:
    """P gene sets as rows of a sparse 0/1 matrix over the V genes of the vocabulary.

    Attributes
    ----------
    names
        P unique names, as ``HALLMARK_HYPOXIA`` or ``WP4159 GABA receptor signaling``.
    collections
        P names of collections: ``hallmark``, ``reactome`` or ``wikipathways`` in the bundled sets.
    urls
        P addresses of the sets' own pages; empty where the source gives none.
    genes
        (M,) int32: the members of all sets, one set after the other, as vocabulary positions.
    offsets
        (P + 1,) int64: the members of set i are ``genes[offsets[i]:offsets[i + 1]]``.
    vocabulary_size
        V.
    """

    names: list[str]
    collections: list[str]
    urls: list[str]
    genes: npt.NDArray[np.int32]
    offsets: npt.NDArray[np.int64]
    vocabulary_size: int

    def __post_init__(self) -> None:
        if not len(self.names) == len(self.collections) == len(self.urls) == len(self.offsets) - 1:
            raise ValueError("names, collections, urls and offsets differ in length")
        if len(set(self.names)) != len(self.names):
            raise ValueError("names of gene sets are not unique")
        if (self.sizes < 1).any():
            raise ValueError("a gene set is empty")
        if self.genes.size and not 0 <= self.genes.min() <= self.genes.max() < self.vocabulary_size:
            raise ValueError("a member lies outside the vocabulary")

    def __len__(self) -> int:
        return len(self.names)

    @property
    def sizes(self) -> npt.NDArray[np.int64]:
        """Genes in each set, (P,)."""
        return np.diff(self.offsets)

    def members(self, name: str) -> npt.NDArray[np.int32]:
        """Vocabulary positions of the genes in the set called `name`, ascending.

        Raises
        ------
        KeyError
            There is no set of this name.
        """
        if name not in self.names:
            raise KeyError(name)
        i = self.names.index(name)
        return self.genes[self.offsets[i] : self.offsets[i + 1]]

    @classmethod
    def from_members(
        cls,
        names: Sequence[str],
        members: Sequence[npt.ArrayLike],
        *,
        vocabulary_size: int,
        collections: Sequence[str] | None = None,
    ) -> GeneSets:
        """Build from a list of vocabulary positions for each set.

        Parameters
        ----------
        names
            P unique names.
        members
            P non-empty lists of positions, 0 to V - 1; a position named twice in a set counts once.
        vocabulary_size
            V.
        collections
            P names; ``custom`` for all if None.
        """
        rows = [np.unique(np.asarray(row, np.int32)) for row in members]
        return cls(
            names=list(names),
            collections=list(collections or ["custom"] * len(rows)),
            urls=[""] * len(rows),
            genes=np.concatenate(rows) if rows else np.empty(0, np.int32),
            offsets=np.cumsum([0, *map(len, rows)], dtype=np.int64),
            vocabulary_size=vocabulary_size,
        )

    @classmethod
    def load(cls) -> GeneSets:
        """Read the bundled sets over `vocabulary()`; read once per process.

        Raises
        ------
        ReleaseError
            The bundled file names a gene that the vocabulary does not have.
        """
        return _load()


@cache
def _load() -> GeneSets:
    table = pq.read_table(BUNDLED)
    ensembl_ids = vocabulary().ensembl_ids
    lists = table["ensembl_ids"].combine_chunks()
    genes = pc.index_in(lists.flatten(), value_set=pa.array(ensembl_ids))
    if genes.null_count:
        raise ReleaseError(
            f"{BUNDLED.name} names {genes.null_count} genes that are not in the vocabulary.",
            "The installation mixes two versions; install specformer-mcp again.",
        )
    return GeneSets(
        names=table["name"].to_pylist(),
        collections=table["collection"].to_pylist(),
        urls=table["url"].to_pylist(),
        genes=genes.to_numpy().astype(np.int32),
        offsets=np.concatenate([[0], np.cumsum(pc.list_value_length(lists).to_numpy())]),
        vocabulary_size=len(ensembl_ids),
    )
