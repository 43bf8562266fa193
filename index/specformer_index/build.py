"""Build a reference index from a model release and a corpus.

Every profile of the corpus becomes one row; so do the published cohort medians, marked as
such. The index is written into a sibling directory, fsynced and renamed into place (see `files`).
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from specformer_encoder.corpus import Corpus
from specformer_encoder.corpus.labels import cohort_of
from specformer_encoder.embedder import Embedder
from specformer_encoder.files import move_into_place, sync_tree
from specformer_encoder.gene_sets import GeneSets
from specformer_encoder.packed import GENOME_WIDE
from specformer_encoder.ssgsea import ssgsea
from specformer_index.cohorts import CohortPathwayMoments
from specformer_index.errors import ReferenceIndexError
from specformer_index.medians import read_medians
from specformer_index.names import cohort_name
from specformer_index.opening import META, IndexInfo, read_info
from specformer_index.schema import MEDIAN, PROFILE
from specformer_index.write import write_tables

FloatArray = npt.NDArray[np.float32]
Progress = Callable[[str], None]

BATCH = 64
"""Profiles embedded and scored at once: 64 × 19k genes are 5 MB."""


def build_index(
    *,
    embedder: Embedder,
    corpus: Corpus,
    out: Path,
    medians: Path | None,
    gene_sets: GeneSets,
    replace: bool = False,
    progress: Progress | None = None,
) -> IndexInfo:
    """Embed a corpus and write the index directory `out`.

    Parameters
    ----------
    embedder
        The model release that gives the vectors.
    corpus
        The built corpus.
    out
        The directory to make. Its parent must exist.
    medians
        Parquet file of published cohort medians, or None to leave them out.
    gene_sets
        The gene sets whose scores are summarised by cohort.
    replace
        Whether an existing `out` may be replaced.
    progress
        Called with one line of text after every data set.

    Raises
    ------
    ReferenceIndexError
        `out` exists and `replace` is false, or is no index.
    """
    if out.exists() and not replace:
        raise ReferenceIndexError(
            f"{out} exists already.", "Give another --out, or --replace to replace it."
        )
    if out.exists() and not (out / META).is_file():
        raise ReferenceIndexError(
            f"{out} exists and is not an index (it has no {META}).", "Give another --out."
        )
    if not out.resolve().parent.is_dir():
        raise ReferenceIndexError(f"The folder {out.parent} does not exist.", "Create it first.")
    partial = out.resolve().with_name(f"{out.name}.partial-{os.getpid()}")
    partial.mkdir()
    try:
        collected = _Collected(embedder, gene_sets, progress or (lambda _: None))
        collected.add_corpus(corpus)
        if medians is not None:
            collected.add_medians(medians)
        write_tables(
            partial,
            rows=collected.rows,
            vectors=np.concatenate(collected.vectors),
            pathways=collected.pathways,
            release_id=embedder.release.id,
            release_sha256=embedder.release.sha256,
        )
        sync_tree(partial)
        move_into_place(partial, out.resolve(), replace=replace)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return read_info(out)


class _Collected:
    """Rows, vectors and pathway sums while the corpus passes by."""

    def __init__(self, embedder: Embedder, gene_sets: GeneSets, progress: Progress) -> None:
        self._embedder = embedder
        self._gene_sets = gene_sets
        self._progress = progress
        self.rows: list[dict[str, Any]] = []
        self.vectors: list[FloatArray] = []
        self.pathways = CohortPathwayMoments(gene_sets.names, gene_sets.collections)

    def add_corpus(self, corpus: Corpus) -> None:
        genes_measured = corpus.genes_measured()
        numbered = enumerate(corpus.labels)
        for (source, unit), group in groupby(numbered, lambda pair: (pair[1].source, pair[1].unit)):
            rows, labels = zip(*group, strict=True)
            cohorts = [cohort_of(label) for label in labels]
            measured = genes_measured[list(rows)]
            for label, cohort, genes in zip(labels, cohorts, measured, strict=True):
                self.rows.append(
                    {
                        "id": f"{label.sample_id}#{label.unit}",
                        "kind": PROFILE,
                        "cohort": cohort,
                        "cohort_name": cohort_name(
                            study=label.study, tissue=label.tissue, sample_type=label.sample_type
                        ),
                        "study": label.study,
                        "tissue": label.tissue,
                        "sample_type": label.sample_type,
                        "patient": label.patient,
                        "source": label.source,
                        "unit": label.unit,
                        "split": label.split,
                        "subtype": label.subtype,
                        "genes_measured": int(genes),
                    }
                )
            for start in range(0, len(rows), BATCH):
                some = slice(start, start + BATCH)
                wide = measured[some] >= GENOME_WIDE
                self._add_values(corpus.values(rows[some]), wide, cohorts[some])
            self._progress(f"{source} {unit}: {len(labels)} profiles")

    def add_medians(self, path: Path) -> None:
        for labels, profiles in read_medians(path):
            measured = np.isfinite(profiles.values).sum(axis=1)
            for label, genes in zip(labels, measured, strict=True):
                self.rows.append(
                    {
                        "id": label.cohort,
                        "kind": MEDIAN,
                        "cohort": label.cohort,
                        "cohort_name": label.name,
                        "study": label.study,
                        "tissue": label.tissue,
                        "sample_type": label.sample_type,
                        "patient": "",
                        "source": path.name,
                        "unit": label.unit,
                        "split": "",
                        "subtype": "",
                        "genes_measured": int(genes),
                    }
                )
            self._add_values(profiles.values, np.zeros(len(labels), bool), [])
            self._progress(f"medians in {labels[0].unit}: {len(labels)}")

    def _add_values(
        self, values: FloatArray, score: npt.NDArray[np.bool_], cohorts: list[str]
    ) -> None:
        for start in range(0, len(values), BATCH):
            batch = values[start : start + BATCH]
            self.vectors.append(np.asarray(self._embedder.embed(batch), dtype=np.float32))
            chosen = np.flatnonzero(score[start : start + BATCH])
            if chosen.size:
                scores = ssgsea(batch[chosen], self._gene_sets)
                for position, row in zip(chosen, scores, strict=True):
                    self.pathways.add(cohorts[start + position], row)
