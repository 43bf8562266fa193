"""A user's own labelled profiles become cohorts of the index.

The files are read as any expression file is; a table of labels says which sample belongs to which
cohort. The samples are embedded by the release that the index was built with, so that they lie in
the same space, and their cohorts are ranked, filtered and compared like those of the reference.
"""

from __future__ import annotations

import contextlib
import csv
import shutil
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from specformer_encoder.corpus.labels import SAMPLE_TYPES, patient_of
from specformer_encoder.embedder import Embedder
from specformer_encoder.gene_sets import GeneSets
from specformer_encoder.profiles import ProfileSet, resolve_blocks
from specformer_encoder.readers import OWN_FILES, read
from specformer_index.changes import USER, add_cohorts
from specformer_index.collecting import Collector
from specformer_index.errors import ReferenceIndexError
from specformer_index.opening import BUNDLED, IndexInfo, check_release, open_table, read_info
from specformer_index.schema import PROFILE
from specformer_index.vectors import as_matrix
from specformer_index.write import new_directory, only_writer

SAMPLE_COLUMNS = ("sample", "sample_id", "sample_name", "barcode", "id")
LONGEST_NAME = 120
SAME_PROFILE = 0.9999
"""Cosine from which on two profiles are taken to be the same one."""


@dataclass(frozen=True, slots=True)
class UserLabel:
    """What the table of labels says of one sample; empty where it says nothing."""

    cohort: str
    patient: str = ""
    tissue: str = ""
    sample_type: str = ""
    subtype: str = ""


@dataclass(slots=True)
class Added:
    """What `add_files` did.

    Attributes
    ----------
    info
        The new version of the index.
    cohorts
        Profiles added, by cohort.
    unlabelled
        Samples of the files that the labels do not name; they were not added.
    missing
        Samples that the labels name and no file holds.
    left_out
        Samples that cannot be ordered → why.
    twins
        Sample → the reference profile that has the same embedding.
    notes
        What was decided in reading.
    """

    info: IndexInfo
    cohorts: dict[str, int]
    unlabelled: list[str]
    missing: list[str]
    left_out: dict[str, str]
    twins: dict[str, str]
    notes: list[str]


def read_user_labels(path: Path, *, cohort_column: str = "cohort") -> dict[str, UserLabel]:
    """Read a table of labels: sample → label.

    Parameters
    ----------
    path
        Tab- or comma-separated text with a header. The sample is in the first of `SAMPLE_COLUMNS`
        that there is, else in the first column; patient, tissue, sample_type and subtype may
        follow. A sample without a cohort is left out.
    cohort_column
        The column with the cohort.

    Raises
    ------
    ReferenceIndexError
        The table is missing or no such table; a sample is named twice; or a label is unusable.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise ReferenceIndexError(
            f"The labels {path} cannot be read ({error}).", "Give a table of text in UTF-8."
        ) from error
    lines = text.splitlines()
    rows = csv.DictReader(lines, delimiter="\t" if lines and "\t" in lines[0] else ",")
    columns = list(rows.fieldnames or [])
    if cohort_column not in columns or len(columns) < 2:
        raise ReferenceIndexError(
            f"{path.name} has no column {cohort_column!r}; it has {', '.join(columns) or 'none'}.",
            "Name the column that holds the cohort with --cohort-column.",
        )
    sample_column = next((name for name in SAMPLE_COLUMNS if name in columns), columns[0])
    labels: dict[str, UserLabel] = {}
    for number, row in enumerate(rows, 2):
        told = {name: (row.get(name) or "").strip() for name in columns}
        sample, cohort = told[sample_column], told[cohort_column]
        if not sample or not cohort:
            continue
        if sample in labels:
            raise ReferenceIndexError(
                f"{path.name}, line {number}: the sample {sample[:60]!r} stands there twice.",
                "Keep one row a sample.",
            )
        labels[sample] = UserLabel(
            cohort=cohort,
            patient=patient_of(sample) or told.get("patient", ""),
            tissue=told.get("tissue", ""),
            sample_type=told.get("sample_type", "").lower(),
            subtype=told.get("subtype", ""),
        )
        _check(labels[sample], f"{path.name}, line {number}")
    if not labels:
        raise ReferenceIndexError(
            f"{path.name} gives no sample a cohort.",
            f"Fill the columns {sample_column} and {cohort_column}.",
        )
    return labels


def add_files(
    files: Sequence[Path],
    labels: Mapping[str, UserLabel],
    *,
    name: str,
    embedder: Embedder,
    gene_sets: GeneSets,
    index: Path | None = None,
    out: Path | None = None,
    unit: str | None = None,
    replace: bool = False,
    progress: Callable[[str], None] | None = None,
) -> Added:
    """Add the labelled samples of expression files to an index.

    Parameters
    ----------
    files
        What `specformer_encoder.readers.read` takes.
    labels
        Sample → label.
    name
        Of the user's data set; the source of its profiles is ``user:NAME``.
    embedder, gene_sets
        The release that the index was built with, and the gene sets to score.
    index
        The index to change, or to copy where `out` is given; None = the bundled one.
    out
        A new directory for a copy that is changed; None = `index` itself is changed.
    unit
        Overrides the detection of the unit.
    replace
        Whether cohorts of the same name and source are replaced.
    progress
        Called with one line of text after every block of samples.

    Raises
    ------
    SpecformerError
        A file cannot be read, no sample is labelled, or the index cannot be changed.
    """
    info = read_info(index)
    check_release(info, embedder.release.sha256)
    if out is None and info.path.resolve() == BUNDLED:
        raise ReferenceIndexError(
            "The bundled index is never changed.",
            "Give --out DIR to make a copy with your cohort, or --index DIR for one of your own.",
        )
    _check_name(name)
    collected = _Files(Collector(embedder, gene_sets), labels, f"{USER}{name}")
    for file in files:
        for profiles in resolve_blocks(read(file, limits=OWN_FILES), unit=unit):
            collected.add(profiles)
            if progress is not None:
                progress(f"{file.name}: {len(collected.collector.rows)} profiles")
    rows, vectors = collected.rows_and_vectors()
    twins = _twins(info, rows, vectors)
    with contextlib.ExitStack() as stack:
        target = info.path
        if out is not None:
            if info.path.resolve() != BUNDLED:  # which nobody writes
                stack.enter_context(only_writer(info.path.resolve()))
            target = stack.enter_context(new_directory(out))
            shutil.copytree(info.path, target, dirs_exist_ok=True)
        add_cohorts(
            target,
            rows=rows,
            vectors=vectors,
            pathways=collected.collector.pathways,
            source=collected.source,
            replace=replace,
        )
    changed = read_info(out or info.path)
    return Added(
        info=changed,
        cohorts=dict(sorted(Counter(str(row["cohort"]) for row in rows).items())),
        unlabelled=collected.unlabelled,
        missing=sorted(labels.keys() - collected.seen),
        left_out=collected.left_out,
        twins=twins,
        notes=sorted(collected.notes),
    )


@dataclass(slots=True)
class _Files:
    """The samples of all files as they come."""

    collector: Collector
    labels: Mapping[str, UserLabel]
    source: str
    seen: set[str] = field(default_factory=set)
    unlabelled: list[str] = field(default_factory=list)
    left_out: dict[str, str] = field(default_factory=dict)
    notes: set[str] = field(default_factory=set)

    def add(self, profiles: ProfileSet) -> None:
        self.notes |= {*profiles.notes, *profiles.unit.warnings}
        self.left_out |= profiles.left_out
        self.seen |= {*profiles.samples, *profiles.left_out}
        chosen = [i for i, sample in enumerate(profiles.samples) if sample in self.labels]
        self.unlabelled += [name for name in profiles.samples if name not in self.labels]
        if not chosen:
            return
        measured = profiles.genes_measured()
        rows = [
            self._row(profiles.samples[i], profiles.unit.unit, int(measured[i])) for i in chosen
        ]
        self.collector.add(rows, profiles.values[chosen])

    def rows_and_vectors(self) -> tuple[list[dict[str, Any]], npt.NDArray[np.float32]]:
        if not self.collector.rows:
            some = ", ".join(repr(name) for name in [*self.unlabelled, *self.left_out][:5])
            named = ", ".join(repr(name) for name in list(self.labels)[:5])
            raise ReferenceIndexError(
                f"No sample of the files has a label; the files hold {some}, the labels name "
                f"{named}.",
                "Use the samples' names as they stand in the file.",
            )
        return self.collector.rows, self.collector.matrix()

    def _row(self, sample: str, unit: str, genes: int) -> dict[str, Any]:
        label = self.labels[sample]
        return {
            "id": f"{self.source}:{sample}#{unit}",
            "kind": PROFILE,
            "cohort": label.cohort,
            "cohort_name": label.cohort,
            "study": self.source.removeprefix(USER),
            "tissue": label.tissue,
            "sample_type": label.sample_type,
            "patient": label.patient,
            "source": self.source,
            "unit": unit,
            "split": "",
            "subtype": label.subtype,
            "genes_measured": genes,
        }


def _twins(
    info: IndexInfo, rows: Sequence[dict[str, Any]], vectors: npt.NDArray[np.float32]
) -> dict[str, str]:
    """Return new row → reference profile of the same embedding, for those that have one."""
    scan = open_table(info).search().select(["id", "source", "vector"]).limit(None)
    found: dict[str, str] = {}
    source = str(rows[0]["source"])
    for batch in scan.to_batches(batch_size=8192):
        cosines = as_matrix(batch["vector"]) @ vectors.T  # (batch, new)
        for there, new in np.argwhere(cosines >= SAME_PROFILE):
            if batch["source"][int(there)].as_py() != source:
                found.setdefault(str(rows[new]["id"]), batch["id"][int(there)].as_py())
    return found


def _check(label: UserLabel, where: str) -> None:
    for text in (label.cohort, label.patient, label.tissue, label.subtype):
        if len(text) > LONGEST_NAME or not text.isprintable():
            raise ReferenceIndexError(
                f"{where}: {text[:40]!r} is too long or holds a character that cannot be shown.",
                f"Use at most {LONGEST_NAME} printable characters.",
            )
    if label.sample_type and label.sample_type not in SAMPLE_TYPES:
        raise ReferenceIndexError(
            f"{where}: the sample_type is {label.sample_type[:40]!r}.",
            f"Use one of {', '.join(SAMPLE_TYPES)}, or leave it empty.",
        )


def _check_name(name: str) -> None:
    if not name or len(name) > LONGEST_NAME or not name.replace("-", "").replace("_", "").isalnum():
        raise ReferenceIndexError(
            f"{name[:60]!r} cannot be the name of a data set.",
            "Use letters, digits, - and _ with --name.",
        )
