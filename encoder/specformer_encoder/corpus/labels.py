"""Who a profile is of: its labels, its patient, and the split that the patient is in.

The documented form of a label table is `samples.tsv`: tab-separated, the columns of
`packed.LABELS`, one row a profile, unique by sample_id and unit.

A patient is in one split, whatever sources, units and barcodes the profiles come with; a model
that has seen a patient's tumour in counts knows it again in TPM. A TCGA, TARGET or GTEx barcode
names its patient, and what it names counts. A split that the table states is kept; where none is
stated for a patient, a hash of the patient's name decides, so that the same patient falls into the
same split in every corpus that is ever built.
"""

from __future__ import annotations

import csv
import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from specformer_encoder.errors import CorpusError
from specformer_encoder.packed import LABELS

SPLITS = ("train", "valid", "test")
SAMPLE_TYPES = ("tumor", "normal")

#: Percent of the patients without a stated split that go to train and to valid; the rest is test.
TRAIN_PERCENT, VALID_PERCENT = 70, 10
SPLIT_RULE = (
    "As samples.tsv states for the patient; where it states nothing, by the first 8 bytes of the "
    "SHA-256 of the patient's name (UTF-8) as a big-endian integer modulo 100: "
    f"0-{TRAIN_PERCENT - 1} train, {TRAIN_PERCENT}-{TRAIN_PERCENT + VALID_PERCENT - 1} valid, "
    f"{TRAIN_PERCENT + VALID_PERCENT}-99 test. A TCGA, TARGET or GTEx barcode names the patient. A "
    "sample whose patient is not known stands for itself, by its sample_id."
)
FORM = (
    "A labelled folder holds samples.tsv (tab-separated columns "
    f"{', '.join(LABELS)}) and expression/<source>.<unit>.parquet."
)

#: The part of a barcode that names the patient: project-site-participant, project-donor.
_PATIENT = re.compile(
    r"(?:TCGA-[A-Z0-9]{2}-[A-Z0-9]{4}|TARGET-\d\d-[A-Z0-9]+|GTEX-[A-Z0-9]+)(?=-|\.|$)"
)


@dataclass(frozen=True, slots=True)
class SampleLabel:
    """One row of `samples.tsv`; every field is a string, empty where nothing is known."""

    sample_id: str
    source: str
    unit: str
    barcode: str
    patient: str
    study: str
    tissue: str
    sample_type: str
    split: str
    subtype: str

    @property
    def person(self) -> str:
        """The patient; where it is not known, the sample stands for itself."""
        return self.patient or self.sample_id


def cohort_of(label: SampleLabel) -> str:
    """The cohort that a profile belongs to.

    Examples
    --------
    >>> luad = SampleLabel("s", "x", "tpm", "b", "p", "TCGA-LUAD", "", "tumor", "train", "")
    >>> cohort_of(luad)
    'TCGA-LUAD tumor'
    """
    if label.study == "GTEX":
        return f"GTEX-{label.tissue}"
    return f"{label.study} {label.sample_type}"


def patient_of(barcode: str) -> str:
    """The patient that a TCGA, TARGET or GTEx barcode names, else an empty string.

    Examples
    --------
    >>> patient_of("TCGA-44-3396-01A-01R-1206-07"), patient_of("GTEX-1117F-0226-SM-5GZZ7")
    ('TCGA-44-3396', 'GTEX-1117F')
    >>> patient_of("PRAD-0553")
    ''
    """
    found = _PATIENT.match(barcode)
    return found.group() if found else ""


def hashed_split(person: str) -> str:
    """The split of a patient whom no table puts into one; see `SPLIT_RULE`.

    Examples
    --------
    >>> hashed_split("TCGA-44-3396"), hashed_split("TCGA-02-0003")
    ('train', 'test')
    """
    number = int.from_bytes(hashlib.sha256(person.encode()).digest()[:8], "big") % 100
    if number < TRAIN_PERCENT:
        return "train"
    return "valid" if number < TRAIN_PERCENT + VALID_PERCENT else "test"


class Splits:
    """Which split each patient is in.

    Parameters
    ----------
    labels
        All labels that may state a split.

    Raises
    ------
    CorpusError
        If one patient is stated to be in two splits.
    """

    def __init__(self, labels: Iterable[SampleLabel]) -> None:
        self._stated: dict[str, str] = {}
        for label in labels:
            if not label.split:
                continue
            stated = self._stated.setdefault(label.person, label.split)
            if stated != label.split:
                raise CorpusError(
                    f"Patient {label.person} is in {stated} and, with sample {label.sample_id}, in "
                    f"{label.split}.",
                    "Give all profiles of a patient the same split, or the evaluation is "
                    "worthless.",
                )

    def put(self, label: SampleLabel) -> SampleLabel:
        """The label with its split filled in."""
        person = label.person
        return replace(label, split=self._stated.get(person) or hashed_split(person))


def read_labels(folder: Path) -> list[SampleLabel]:
    """Read and check `samples.tsv`.

    Parameters
    ----------
    folder
        A labelled folder.

    Returns
    -------
    Labels in file order, as they stand there but for the patient, which the barcode decides where
    it names one.

    Raises
    ------
    CorpusError
        If the table is missing, lacks a column or a name, names an unknown split or sample type, or
        names one profile twice.
    """
    path = folder / "samples.tsv"
    if not path.is_file():
        raise CorpusError(f"{folder.name} has no samples.tsv.", FORM)
    with path.open(newline="", encoding="utf-8-sig") as handle:
        reader = csv.DictReader(handle, delimiter="\t")
        missing = [name for name in LABELS if name not in (reader.fieldnames or [])]
        if missing:
            raise CorpusError(f"samples.tsv lacks the columns {', '.join(missing)}.", FORM)
        try:
            rows = list(reader)
        except UnicodeDecodeError as error:
            raise CorpusError(f"samples.tsv is not UTF-8 ({error}).", "Save it as UTF-8.") from None
    labels, seen = [], set()
    for number, row in enumerate(rows, 2):
        label = SampleLabel(**{name: (row[name] or "").strip() for name in LABELS})
        _check(label, number)
        if (key := (label.source, label.unit, label.barcode)) in seen:
            raise CorpusError(
                f"samples.tsv, line {number}: {label.barcode} of {label.source}.{label.unit} "
                "stands there twice.",
                "Keep one row a profile.",
            )
        seen.add(key)
        labels.append(replace(label, patient=patient_of(label.barcode) or label.patient))
    if not labels:
        raise CorpusError("samples.tsv has no rows.", FORM)
    return labels


def _check(label: SampleLabel, line: int) -> None:
    where = f"samples.tsv, line {line}"
    unnamed = [n for n in ("sample_id", "source", "unit", "barcode") if not getattr(label, n)]
    if unnamed:
        raise CorpusError(f"{where}: {', '.join(unnamed)} is empty.", FORM)
    for name, value, known in (
        ("split", label.split, SPLITS),
        ("sample_type", label.sample_type, SAMPLE_TYPES),
    ):
        if value and value not in known:
            raise CorpusError(
                f"{where}: sample {label.sample_id} has {name} {value!r}.",
                f"Use one of {', '.join(known)}, or leave it empty.",
            )
