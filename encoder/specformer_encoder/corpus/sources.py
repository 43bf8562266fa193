"""Where a corpus comes from: which files of a folder hold profiles, and whose they are.

Two kinds of folder are known. A **labelled folder** has `samples.tsv` and, in `expression/`, one
matrix for each source and unit. A **download folder** holds files of UCSC Xena and GTEx under the
names they have there; labels come from the barcodes and from the phenotype tables beside them:

- TCGA: the two digits of the sample type tell a tumour (01-09) from normal tissue (10-19); controls
  (20 and above) are left out. A patient has one disease, and the phenotype tables name it.
- TARGET: as TCGA. Codes of 40 to 42 are tumours too: recurrences and cells after treatment are
  numbered so, cell lines and xenografts from 50.
- GTEx: the tissue is `SMTSD` of the sample attributes, or Xena's copy of it.

A sample whose label these do not give is left out and named, never guessed.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import unquote

from specformer_encoder.corpus.disease_names import GTEX_TISSUES, TARGET_STUDIES, TCGA_STUDIES
from specformer_encoder.corpus.labels import FORM, SampleLabel, patient_of, read_labels
from specformer_encoder.download import catalogue
from specformer_encoder.errors import CorpusError, InputFileError
from specformer_encoder.readers.opening import OWN_FILES, open_text

#: What a matrix of a labelled folder may be called after `<source>.<unit>`.
_ENDING = re.compile(r"\.(parquet|feather|arrow|tsv|csv|txt|gct|h5ad)(\.(gz|bz2|zst))?")

#: Public files of profiles by their name on disk: file, source, name of the view. Xena's are one
#: source, so a sample that two of its files hold in one unit is taken once; the first five are the
#: five normalizations of one TCGA sample.
_MATRICES = {
    file.name: (file, source, unit)
    for file, source, unit in (
        (catalogue.TCGA_TPM, "xena", "tpm"),
        (catalogue.TCGA_FPKM, "xena", "fpkm"),
        (catalogue.TCGA_EXPECTED_COUNT, "xena", "expected_counts"),
        (catalogue.TCGA_NORM_COUNT, "xena", "rsem_normalized"),
        (catalogue.TCGA_EBPP, "xena", "rsem_batch_adjusted"),
        (catalogue.GTEX_TOIL_TPM, "xena", "tpm"),
        (catalogue.TOIL_TPM, "xena", "tpm"),
        (catalogue.GTEX_TPM, "gtex_v8", "tpm"),
    )
}
#: Files of a download folder that hold neither profiles nor labels, and are meant to be there.
_BESIDE = {"manifest.json"} | {
    file.name
    for files in catalogue.DATA_SETS.values()
    for file in files
    if file.role not in ("expression", "phenotype")
}

NO_LABEL = "no label"
CONTROL = "control or cell line"


@dataclass(frozen=True, slots=True)
class Source:
    """One file of profiles.

    Attributes
    ----------
    path
        The file.
    source, unit
        What its profiles carry as `source` and `unit`; the unit names the view.
    declared
        The unit of its values, handed to the unit detection.
    label_of
        Column name → label (its split perhaps still empty), or why the column is left out.
    expected
        Columns that must be there.
    columns
        How many there are, as far as that is known without reading the file.
    """

    path: Path
    source: str
    unit: str
    declared: str
    label_of: Callable[[str], SampleLabel | str]
    expected: frozenset[str]
    columns: int


@dataclass(slots=True)
class Found:
    """What the folders hold.

    Attributes
    ----------
    sources
        Files of profiles, by source, unit and name.
    labels
        All rows of `samples.tsv` files; they may state splits.
    tables
        Files that labels were read from.
    unused
        Files that nothing was read from: nobody labels them, or their name is not known.
    """

    sources: list[Source] = field(default_factory=list)
    labels: list[SampleLabel] = field(default_factory=list)
    tables: list[Path] = field(default_factory=list)
    unused: list[Path] = field(default_factory=list)


def find_sources(folders: list[Path]) -> Found:
    """Find the files of profiles in some folders, and their labels.

    Raises
    ------
    CorpusError
        If a folder is of neither kind, or a table of labels is missing or cannot be read.
    """
    found = Found()
    for folder in map(Path.resolve, folders):
        if not folder.is_dir():
            raise CorpusError(f"There is no folder {folder.name}.", "Name a folder that is there.")
        if (folder / "profiles.arrow").is_file():
            raise CorpusError(
                f"{folder.name} is a built corpus already.", "Pass it to the later steps as it is."
            )
        if (folder / "samples.tsv").is_file():
            _labelled(folder, found)
        else:
            _downloaded(folder, found)
    found.sources.sort(key=lambda source: (source.source, source.unit, source.path.name))
    return found


def _labelled(folder: Path, found: Found) -> None:
    labels = read_labels(folder)
    found.labels += labels
    found.tables.append(folder / "samples.tsv")
    groups: dict[tuple[str, str], dict[str, SampleLabel]] = {}
    for label in labels:
        groups.setdefault((label.source, label.unit), {})[label.barcode] = label
    files = {path.name: path for path in _files(folder / "expression")}
    for (source, unit), by_barcode in groups.items():
        name = f"{source}.{unit}"
        matching = [
            n for n in files if n.startswith(name) and _ENDING.fullmatch(n.removeprefix(name))
        ]
        if len(matching) != 1:
            raise CorpusError(
                f"samples.tsv names {source} in {unit}, and expression/ "
                + (f"holds it {len(matching)} times." if matching else f"has no {name}.parquet."),
                FORM,
            )
        found.sources.append(
            Source(
                path=files.pop(matching[0]),
                source=source,
                unit=unit,
                declared=unit,
                label_of=_looked_up(by_barcode),
                expected=frozenset(by_barcode),
                columns=len(by_barcode),
            )
        )
    found.unused += files.values()


def _looked_up(by_barcode: Mapping[str, SampleLabel]) -> Callable[[str], SampleLabel | str]:
    def label_of(column: str) -> SampleLabel | str:
        label = by_barcode.get(column)
        if label is None:
            return "not in samples.tsv"
        tissue = label.tissue if label.study == "GTEX" else label.sample_type
        return label if label.study and label.sample_type and tissue else NO_LABEL

    return label_of


def _downloaded(folder: Path, found: Found) -> None:
    # Some tools keep the %2B of the address in the name.
    files = {unquote(path.name): path for path in _files(folder)}
    matrices = [name for name in files if name in _MATRICES]
    if not matrices:
        raise CorpusError(
            f"{folder.name} has neither samples.tsv nor a file of profiles as Xena or GTEx names "
            f"it (say {catalogue.TCGA_TPM.name}).",
            f"{FORM} Or fetch a folder with `specformer data download`.",
        )
    studies, tissues = _phenotypes(files, found)
    if not studies and not tissues:
        raise CorpusError(
            f"{folder.name} has {files[matrices[0]].name} and no table that labels its samples.",
            f"Put {catalogue.TCGA_PHENOTYPE.name} (TCGA), {catalogue.TOIL_PHENOTYPE.name} (Xena's "
            f"TCGA, TARGET and GTEx) or {catalogue.GTEX_ATTRIBUTES.name} (GTEx) beside it; "
            "`specformer data download` fetches them.",
        )
    for name in matrices:
        path = files.pop(name)
        file, source, unit = _MATRICES[name]
        found.sources.append(
            Source(
                path=path,
                source=source,
                unit=unit,
                declared=file.unit or unit,
                label_of=_from_barcode(source, unit, studies, tissues),
                expected=frozenset(),
                columns=_columns(path),
            )
        )
    found.unused += [
        path for name, path in files.items() if path not in found.tables and name not in _BESIDE
    ]


def _phenotypes(
    files: Mapping[str, Path], found: Found
) -> tuple[dict[str, str | None], dict[str, str]]:
    """Patient → study, None where the tables disagree; GTEx sample → tissue."""
    studies: dict[str, str | None] = {}
    tissues: dict[str, str] = {}
    tables = (
        (catalogue.TCGA_PHENOTYPE, "sample", ("_primary_disease",)),
        (catalogue.TOIL_PHENOTYPE, "sample", ("detailed_category", "primary disease or tissue")),
        (catalogue.GTEX_ATTRIBUTES, "SAMPID", ("SMTSD",)),
    )
    for file, key, columns in tables:
        if file.name not in files:
            continue
        found.tables.append(files[file.name])
        for row in _rows(files[file.name], key, columns):
            sample = row[key] or ""
            said = next((text for column in columns if (text := row.get(column) or "")), "").strip()
            if sample.startswith("GTEX-"):
                if said:
                    tissues[sample] = GTEX_TISSUES.get(said.casefold(), said)
                continue
            names = TARGET_STUDIES if sample.startswith("TARGET-") else TCGA_STUDIES
            study = names.get(said.casefold())
            patient = patient_of(sample)
            if study and patient and studies.setdefault(patient, study) != study:
                studies[patient] = None
    return studies, tissues


def _rows(path: Path, key: str, columns: tuple[str, ...]) -> Iterator[dict[str, str | None]]:
    try:
        with open_text(path, OWN_FILES, "latin-1") as handle:
            reader = csv.DictReader(handle, delimiter="\t", quoting=csv.QUOTE_NONE)
            names = reader.fieldnames or []
            if key not in names or not any(column in names for column in columns):
                raise CorpusError(
                    f"{path.name} lacks the columns {key} and {' or '.join(columns)}; it has "
                    f"{', '.join(names[:8])}.",
                    "Download it again.",
                )
            yield from reader
    except (InputFileError, OSError, csv.Error) as error:
        raise CorpusError(
            f"{path.name} cannot be read ({error}).", "It is damaged: download it again."
        ) from None


def _from_barcode(
    source: str, unit: str, studies: Mapping[str, str | None], tissues: Mapping[str, str]
) -> Callable[[str], SampleLabel | str]:
    def label_of(column: str) -> SampleLabel | str:
        patient = patient_of(column)
        project = column.split("-", maxsplit=1)[0]
        study, tissue, kind = "", "", "normal"
        if project == "GTEX":
            study, tissue = "GTEX", tissues.get(column, "")
            if not tissue:
                return NO_LABEL
        else:
            code = _sample_type(column.removeprefix(patient))
            study = studies.get(patient) or ""
            if not patient or code is None or not study:
                return NO_LABEL
            if code < 10 or (project == "TARGET" and 40 <= code < 43):
                kind = "tumor"
            elif code >= 20:
                return CONTROL
        return SampleLabel(
            sample_id=f"{source}:{column}",
            source=source,
            unit=unit,
            barcode=column,
            patient=patient,
            study=study,
            tissue=tissue,
            sample_type=kind,
            split="",
            subtype="",
        )

    return label_of


def _sample_type(rest: str) -> int | None:
    """The two digits after the patient: ``-01A-11R`` → 1."""
    found = re.match(r"-(\d\d)", rest)
    return int(found.group(1)) if found else None


def _columns(path: Path) -> int:
    """Samples that the header names; 0 where it cannot be read, which the reader will say."""
    try:
        with open_text(path, OWN_FILES, "latin-1") as handle:
            line = handle.readline()
            if line.startswith("#1."):  # GCT: version, sizes, then the names
                handle.readline()
                line = handle.readline()
    except (InputFileError, OSError):
        return 0
    return line.count("\t")


def _files(folder: Path) -> list[Path]:
    if not folder.is_dir():
        return []
    return sorted(p for p in folder.iterdir() if p.is_file() and not p.name.startswith("."))
