"""The two passes of a corpus build over its files.

The first reads every file by blocks of samples, writes the profiles, and sums up what the training
patients say of each gene. The second reads the profiles back by the same blocks and packs train and
valid for pretraining, for which it needs those sums. Memory holds one block, the sums, and in the
second pass the profiles that shifts between pipelines are learnt from (at most
`shifts.MOST_SAMPLES` samples a pair of pipelines), whatever the number of samples.

Every statistic is fitted on genome-wide profiles of training patients.
"""

from __future__ import annotations

import json
import platform
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, fields
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from specformer_encoder.corpus import FORMAT, GENES, INFO, PROFILES
from specformer_encoder.corpus.labels import SPLIT_RULE, SPLITS, SampleLabel, Splits, cohort_of
from specformer_encoder.corpus.packing import Progress, write_packed
from specformer_encoder.corpus.qc import PROFILE_COLUMNS, GeneSums, profile_qc
from specformer_encoder.corpus.sources import Found, Source
from specformer_encoder.errors import CorpusError, SpecformerError
from specformer_encoder.files import sha256_of
from specformer_encoder.genes import GeneReport, vocabulary
from specformer_encoder.packed import (
    GENOME_WIDE,
    LABELS,
    GeneStatistics,
    vocabulary_hash,
    write_arrow,
)
from specformer_encoder.profiles import BLOCK, ProfileSet, iter_profiles
from specformer_encoder.readers import OWN_FILES
from specformer_encoder.shifts import find_pairs, pipeline_of
from specformer_encoder.units import UnitCall

_TWICE = "the same profile was read from an earlier file"


@dataclass(slots=True)
class FileRead:
    """What became of one file."""

    path: Path
    source: Source
    samples: int = 0
    kept: int = 0
    unit: UnitCall | None = None
    genes: GeneReport | None = None
    notes: list[str] = field(default_factory=list)
    dropped: dict[str, list[str]] = field(default_factory=dict)


class Passes:
    """The two passes of one build.

    Parameters
    ----------
    folder
        The directory to write into.
    found
        Files of profiles, and their labels.
    tell
        Called with one line of text now and then.
    """

    def __init__(self, folder: Path, found: Found, tell: Progress) -> None:
        self._folder = folder
        self._found = found
        self._tell = tell
        self._splits = Splits(found.labels)
        self._sums = GeneSums()
        self._measured = np.zeros(len(vocabulary()), np.int64)
        self._labels: list[SampleLabel] = []
        self._wide_train: list[int] = []
        self._seen: set[tuple[str, str]] = set()
        self._read: list[FileRead] = []

    def run(self) -> dict[str, Any]:
        """Write the files of the corpus and return the content of `corpus.json`."""
        write_arrow(self._folder / PROFILES, _profiles_schema(), self._profiles())
        self._check_enough()
        statistics = self._sums.statistics()
        pq.write_table(self._sums.table(self._measured), self._folder / GENES, compression="zstd")
        self._pack(statistics)
        info = self._info(statistics)
        (self._folder / INFO).write_text(
            json.dumps(info, indent=1, ensure_ascii=False) + "\n", encoding="utf-8"
        )
        return info

    def _profiles(self) -> Iterator[pa.RecordBatch]:
        """The first pass: every block of every file, and the sums on the way."""
        for source in self._found.sources:
            read = FileRead(source.path, source)
            self._read.append(read)
            self._tell(f"{source.path.name}: reading as {source.source}, {source.unit}")
            for block in _blocks(source):
                read.unit, read.genes = block.unit, block.genes
                read.samples += len(block) + len(block.left_out)
                read.notes += [note for note in block.notes if note not in read.notes]
                for column, reason in block.left_out.items():
                    read.dropped.setdefault(reason, []).append(column)
                rows, labels = self._choose(read, block)
                read.kept += len(rows)
                if rows:
                    yield self._take(read, block, rows, labels)
                if read.samples % (8 * BLOCK) == 0:
                    self._tell(f"{source.path.name}: {read.samples} samples")
            self._check_file(read)
            left_out = sum(map(len, read.dropped.values()))
            self._tell(f"{source.path.name}: {read.kept} profiles, {left_out} left out")

    def _choose(self, read: FileRead, block: ProfileSet) -> tuple[list[int], list[SampleLabel]]:
        """Which samples of a block are kept, with their labels; the others are noted."""
        rows, labels = [], []
        for row, column in enumerate(block.samples):
            label = read.source.label_of(column)
            if isinstance(label, str):
                reason = label
            elif (label.sample_id, label.unit) in self._seen:
                reason = _TWICE
            else:
                self._seen.add((label.sample_id, label.unit))
                rows.append(row)
                labels.append(self._splits.put(label))
                continue
            read.dropped.setdefault(reason, []).append(column)
        return rows, labels

    def _take(
        self, read: FileRead, block: ProfileSet, rows: list[int], labels: list[SampleLabel]
    ) -> pa.RecordBatch:
        values = block.values[rows]
        known = ~np.isnan(values)
        self._measured += known.sum(axis=0)
        train = np.array([label.split == "train" for label in labels])
        fitted = train & (known.sum(axis=1) >= GENOME_WIDE)
        self._sums.add(values[fitted])
        self._wide_train += (np.flatnonzero(fitted) + len(self._labels)).tolist()
        self._labels += labels
        columns = [pa.array([getattr(label, n) for label in labels], pa.string()) for n in LABELS]
        call = block.unit
        texts = (read.path.name, call.unit, call.scale)
        columns += [pa.array([text] * len(rows), pa.string()) for text in texts]
        columns.append(pa.array([call.confidence] * len(rows), pa.float32()))
        columns += profile_qc(values, block.totals[rows])
        flat = pa.array(values.ravel())
        columns.append(pa.FixedSizeListArray.from_arrays(flat, values.shape[1]))
        return pa.record_batch(columns, schema=_profiles_schema())

    def _check_file(self, read: FileRead) -> None:
        came = {label.barcode for label in self._labels[len(self._labels) - read.kept :]}
        absent = read.source.expected - came - {s for some in read.dropped.values() for s in some}
        if absent:
            raise CorpusError(
                f"{read.path.name} lacks {len(absent)} samples of samples.tsv, {min(absent)} "
                "first.",
                "Name the columns by the barcodes of samples.tsv.",
            )

    def _check_enough(self) -> None:
        valid = sum(label.split == "valid" for label in self._labels)
        if self._sums.profiles < 2 or not valid:
            raise CorpusError(
                f"There are {self._sums.profiles} training profiles of at least {GENOME_WIDE:,} "
                f"genes and {valid} validation profiles (of {len(self._labels)} in all); two and "
                "one are the least.",
                "Give more labelled samples, or state their splits in samples.tsv.",
            )

    def _pack(self, statistics: GeneStatistics) -> None:
        """The second pass: train and valid for pretraining."""
        labels = self._labels
        pipelines = [pipeline_of(label.source, label.unit) for label in labels]
        samples = [(label.person, label.tissue, label.sample_type) for label in labels]
        paired = find_pairs(self._wide_train, pipelines, samples)
        packed = sum(label.split != "test" for label in labels)
        write_packed(self._folder, statistics, profiles=packed, paired=paired, tell=self._tell)

    def _info(self, statistics: GeneStatistics) -> dict[str, Any]:
        labels = self._labels
        unknown = {label.sample_id for label in labels if not label.patient}
        cohorts: dict[str, Counter[str]] = {}
        for label in labels:
            cohorts.setdefault(cohort_of(label), Counter())[label.split] += 1
        named = (*SPLITS,)
        packages = ("specformer-mcp", "numpy", "pyarrow")
        return {
            "format": FORMAT,
            "versions": {"python": platform.python_version()}
            | {package: version(package) for package in packages},
            "genes": len(vocabulary()),
            "vocabulary_sha256": vocabulary_hash(vocabulary().ensembl_ids),
            "split_rule": SPLIT_RULE,
            "counts": {
                "profiles": len(labels),
                "samples": len({label.sample_id for label in labels}),
                "patients": len({label.person for label in labels}),
                "samples_without_patient": len(unknown),
                "fitted_on": self._sums.profiles,
                "by_split": {s: sum(label.split == s for label in labels) for s in named},
                "by_unit": dict(sorted(Counter(label.unit for label in labels).items())),
                "by_cohort": {
                    cohort: {s: cohorts[cohort][s] for s in named} for cohort in sorted(cohorts)
                },
            },
            "warnings": self._warnings(statistics),
            "files": [_told(read) for read in self._read],
            "label_tables": [_identity(path) for path in self._found.tables],
            "unused_files": sorted(path.name for path in self._found.unused),
        }

    def _warnings(self, statistics: GeneStatistics) -> list[str]:
        labels, said = self._labels, []
        classes = {cohort_of(label) for label in labels if label.split == "train"}
        if len(classes) == 1:
            said.append(f"All training profiles are {min(classes)}: nothing can be told apart.")
        if not any(label.split == "test" for label in labels):
            said.append("No profile is in test: nothing that is trained on this can be judged.")
        if unknown := len({label.sample_id for label in labels if not label.patient}):
            said.append(
                f"The patient of {unknown} samples is not known; each stands for itself, so two of "
                "one patient may be in two splits."
            )
        if unused := sorted(path.name for path in self._found.unused):
            said.append(
                f"{len(unused)} files were not used, for no table or rule labels them: "
                + ", ".join(unused[:5])
            )
        for read in self._read:
            told = read.unit.warnings if read.unit else []
            said += [f"{read.path.name}: {warning}" for warning in told]
        if silent := int((statistics.idf == 0).sum()):
            said.append(f"{silent} genes have no weight: no training profile expresses them.")
        return said


def _blocks(source: Source) -> Iterator[ProfileSet]:
    """The profiles of one file; what the unit detection refuses is told with the file's name."""
    try:
        yield from iter_profiles(source.path, unit=source.declared, limits=OWN_FILES)
    except SpecformerError as error:
        if source.path.name in error.problem:
            raise
        raise type(error)(f"{source.path.name}: {error.problem}", error.remedy) from error


def _profiles_schema() -> pa.Schema:
    columns = [pa.field(name, pa.string()) for name in LABELS]
    columns += [pa.field(name, pa.string()) for name in ("file", "called_unit", "scale")]
    columns.append(pa.field("unit_confidence", pa.float32()))
    columns += [pa.field(name, kind) for name, kind in PROFILE_COLUMNS]
    columns.append(pa.field("values", pa.list_(pa.float32(), len(vocabulary()))))
    return pa.schema(columns)


def _told(read: FileRead) -> dict[str, Any]:
    return _identity(read.path) | {
        "source": read.source.source,
        "unit": read.source.unit,
        "samples": read.samples,
        "profiles": read.kept,
        "dropped": read.dropped,
        "notes": read.notes,
        "unit_call": _call(read.unit) if read.unit else None,
        "gene_report": asdict(read.genes) if read.genes else None,
    }


def _call(unit: UnitCall) -> dict[str, Any]:
    """What was decided and why, without the numbers that it was decided on."""
    names = (f.name for f in fields(unit) if f.name != "typical")
    return {name: getattr(unit, name) for name in names}


def _identity(path: Path) -> dict[str, Any]:
    return {"name": path.name, "bytes": path.stat().st_size, "sha256": sha256_of(path)}
