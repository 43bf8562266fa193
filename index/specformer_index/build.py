"""Build a reference index from a model release and a corpus.

Every profile of the corpus becomes one row; so do the published cohort medians, marked as
such. The index is written into a sibling directory, fsynced and renamed into place (see `files`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

from specformer_encoder.corpus import Corpus
from specformer_encoder.corpus.labels import SampleLabel, cohort_of
from specformer_encoder.embedder import Embedder
from specformer_encoder.gene_sets import GeneSets
from specformer_index.collecting import BATCH, Collector
from specformer_index.medians import read_medians
from specformer_index.names import cohort_name
from specformer_index.opening import IndexInfo, read_info
from specformer_index.schema import MEDIAN, PROFILE
from specformer_index.write import new_directory, write_tables

Progress = Callable[[str], None]


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
        `out` exists and `replace` is false, or is no index, or another process is building it.
    """
    with new_directory(out, replace=replace) as partial:
        collector = Collector(embedder, gene_sets)
        tell = progress or (lambda _: None)
        _add_corpus(collector, corpus, tell)
        if medians is not None:
            _add_medians(collector, medians, tell)
        write_tables(
            partial,
            rows=collector.rows,
            vectors=collector.matrix(),
            pathways=collector.pathways,
            release_id=embedder.release.id,
            release_sha256=embedder.release.sha256,
        )
    return read_info(out)


def _rows_of(labels: Sequence[SampleLabel], genes_measured: Sequence[int]) -> list[dict[str, Any]]:
    return [
        {
            "id": f"{label.sample_id}#{label.unit}",
            "kind": PROFILE,
            "cohort": cohort_of(label),
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
        for label, genes in zip(labels, genes_measured, strict=True)
    ]


def _add_corpus(collector: Collector, corpus: Corpus, progress: Progress) -> None:
    genes_measured = corpus.genes_measured()
    numbered = enumerate(corpus.labels)
    for (source, unit), group in groupby(numbered, lambda pair: (pair[1].source, pair[1].unit)):
        places, labels = zip(*group, strict=True)
        rows = _rows_of(labels, genes_measured[list(places)].tolist())
        for start in range(0, len(rows), BATCH):
            some = slice(start, start + BATCH)
            collector.add(rows[some], corpus.values(places[some]))
        progress(f"{source} {unit}: {len(labels)} profiles")


def _add_medians(collector: Collector, path: Path, progress: Progress) -> None:
    for labels, profiles in read_medians(path):
        rows = [
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
            for label, genes in zip(labels, profiles.genes_measured(), strict=True)
        ]
        collector.add(rows, profiles.values)
        progress(f"medians in {labels[0].unit}: {len(labels)}")
