"""Samples of test patients to make questions of, drawn by a seed.

Only whole profiles (`LEAST_GENES` genes or more) are drawn, for a panel of 2,000 genes leaves most
questions open, and none whose values a batch correction has changed, for no user's file looks like
them.
"""

from __future__ import annotations

from collections import defaultdict

import numpy as np
import numpy.typing as npt

from specformer_encoder.corpus import Corpus
from specformer_encoder.corpus.labels import cohort_of

FloatArray = npt.NDArray[np.float32]

LEAST_GENES = 15_000
ADJUSTED = ("rsem_fpkm_combat",)

#: What tissue a cohort of normal samples is of: what biology cannot tell apart, no question asks.
TISSUES = {
    "TCGA-BLCA normal": "bladder",
    "GTEX-Bladder": "bladder",
    "TCGA-BRCA normal": "breast",
    "GTEX-Breast": "breast",
    "GTEX-Brain - Anterior cingulate cortex (BA24)": "cerebral cortex",
    "GTEX-Brain - Frontal Cortex (BA9)": "cerebral cortex",
    "TCGA-COAD normal": "large intestine",
    "TCGA-READ normal": "large intestine",
    "TCGA-HNSC normal": "head and neck",
    "TCGA-KIRC normal": "kidney",
    "TCGA-KIRP normal": "kidney",
    "TCGA-KICH normal": "kidney",
    "GTEX-Kidney": "kidney",
    "TCGA-LIHC normal": "liver",
    "TCGA-CHOL normal": "liver",
    "TCGA-LUAD normal": "lung",
    "TCGA-LUSC normal": "lung",
    "GTEX-Muscle - Skeletal": "skeletal muscle",
    "GTEX-Salivary Gland": "salivary gland",
    "TCGA-STAD normal": "stomach",
    "TCGA-THCA normal": "thyroid",
    "GTEX-Uterus": "uterus",
    "TCGA-UCEC normal": "uterus",
}
#: Tumours of one organ or one kind of tissue: what is easily taken for each other.
RELATED = (
    ("TCGA-LUAD tumor", "TCGA-LUSC tumor", "TCGA-MESO tumor"),
    ("TCGA-KIRC tumor", "TCGA-KIRP tumor", "TCGA-KICH tumor", "TCGA-ACC tumor"),
    ("TCGA-COAD tumor", "TCGA-READ tumor", "TCGA-STAD tumor", "TCGA-ESCA tumor"),
    ("TCGA-LIHC tumor", "TCGA-CHOL tumor", "TCGA-PAAD tumor"),
    ("TCGA-GBM tumor", "TCGA-LGG tumor", "TCGA-PCPG tumor"),
    ("TCGA-OV tumor", "TCGA-UCEC tumor", "TCGA-UCS tumor", "TCGA-CESC tumor"),
    ("TCGA-HNSC tumor", "TCGA-LUSC tumor", "TCGA-ESCA tumor", "TCGA-BLCA tumor", "TCGA-CESC tumor"),
    ("TCGA-SKCM tumor", "TCGA-UVM tumor"),
    ("TCGA-DLBC tumor", "TCGA-LAML tumor", "TARGET-ALL tumor", "TCGA-THYM tumor"),
)
#: Tumours that the reference holds but no release is taught to name: to name them and to decline
#: are both right.
UNTAUGHT = ("TARGET-ALL tumor",)
#: Tumours that expression does not tell apart: colon and rectum are one disease to it.
ONE_DISEASE = ("TCGA-COAD tumor", "TCGA-READ tumor")


class Material:
    """Whole profiles of the test patients of a corpus.

    A row is one profile of the corpus. Within a question, until `fresh` is called, a person is
    taken once.

    Parameters
    ----------
    corpus
        A built corpus.
    seed
        Decides every draw.

    Attributes
    ----------
    random
        What every random choice of a question is made with.
    taken
        Barcodes of the rows that this question has taken, in order.
    """

    def __init__(self, corpus: Corpus, *, seed: int) -> None:
        self.corpus = corpus
        self.random = np.random.default_rng(seed)
        self.taken: list[str] = []
        self._taken: set[str] = set()
        self._people: dict[str, dict[str, list[int]]] = defaultdict(lambda: defaultdict(list))
        self._training: dict[str, list[int]] = defaultdict(list)
        for row, genes in enumerate(corpus.genes_measured()):
            label = corpus.labels[row]
            if genes < LEAST_GENES or label.unit in ADJUSTED:
                continue
            if label.split == "test":
                self._people[cohort_of(label)][label.person].append(row)
            elif label.split == "train":
                self._training[cohort_of(label)].append(row)

    def fresh(self) -> None:
        """Begin a question: everybody may be drawn again."""
        self.taken.clear()
        self._taken.clear()

    def cohorts(self, sample_type: str, *, least: int = 1) -> list[str]:
        """Return the cohorts of at least so many test patients, ``tumor`` or ``normal``."""
        return sorted(
            name
            for name, people in self._people.items()
            if len(people) >= least and name.endswith("tumor") == (sample_type == "tumor")
        )

    def cohort(self, sample_type: str, *, least: int = 1, among: tuple[str, ...] = ()) -> str:
        """Draw a cohort of at least so many test patients, each as likely."""
        known = self.cohorts(sample_type, least=least)
        return str(self.random.choice([c for c in known if not among or c in among]))

    def take(self, cohort: str, n: int = 1, *, source: str | None = None) -> list[int]:
        """Draw n rows of a cohort, of different people whom this question has not taken yet."""
        open_rows = []
        for person, rows in sorted(self._people[cohort].items()):
            fitting = [r for r in rows if source in (None, self.corpus.labels[r].source)]
            if person not in self._taken and fitting:
                open_rows.append(int(self.random.choice(fitting)))
        chosen = self.random.choice(open_rows, n, replace=False)
        self._taken |= {self.corpus.labels[row].person for row in chosen}
        self.taken += [self.corpus.labels[row].barcode for row in chosen]
        return [int(row) for row in chosen]

    def people_left(self, cohort: str) -> int:
        """Return how many people of a cohort this question has not taken yet."""
        return len(self._people[cohort].keys() - self._taken)

    def of_commonest_source(self, cohort: str) -> list[int]:
        """Return one row of each person of the data set that has most people of a cohort."""
        by_source: dict[str, dict[str, int]] = defaultdict(dict)
        for person, rows in sorted(self._people[cohort].items()):
            for row in rows:
                by_source[self.corpus.labels[row].source].setdefault(person, row)
        return list(max(sorted(by_source.items()), key=lambda item: len(item[1]))[1].values())

    def measured_twice(self, *, least: int) -> dict[str, list[tuple[int, int]]]:
        """Return cohort → pairs of rows of one sample from two data sets, at least so many."""
        found: dict[str, list[tuple[int, int]]] = {}
        for cohort, people in sorted(self._people.items()):
            by_sources: dict[tuple[str, str], list[tuple[int, int]]] = defaultdict(list)
            for _, rows in sorted(people.items()):
                for i, j in ((i, j) for i in rows for j in rows):
                    one, other = self.corpus.labels[i], self.corpus.labels[j]
                    same = one.barcode[:15] == other.barcode[:15]
                    if same and one.source < other.source:
                        by_sources[one.source, other.source].append((i, j))
            # Of people with several samples, one is enough.
            enough = {
                sources: list({self.corpus.labels[i].person: (i, j) for i, j in pairs}.values())
                for sources, pairs in by_sources.items()
            }
            most = max(enough.values(), key=len, default=[])
            if len(most) >= least:
                found[cohort] = most
        return found

    def training_rows(self, cohort: str, *, most: int) -> list[int]:
        """Draw at most so many rows of training patients of a cohort."""
        rows = self._training[cohort]
        n = min(most, len(rows))
        return sorted(int(row) for row in self.random.choice(rows, n, replace=False))

    def values(self, rows: list[int]) -> FloatArray:
        """(n, V) expression of rows, linear, each summing to 10⁶, NaN where not measured."""
        return self.corpus.values(rows)

    def cohort_of(self, row: int) -> str:
        """Return the cohort of a row."""
        return cohort_of(self.corpus.labels[row])


def related(cohort: str) -> list[str]:
    """Return the other tumours that a tumour is easily taken for, but that are not `alike`.

    Examples
    --------
    >>> related("TCGA-COAD tumor"), related("TCGA-PRAD tumor")
    (['TCGA-ESCA tumor', 'TCGA-STAD tumor'], [])
    """
    near = {name for group in RELATED if cohort in group for name in group}
    return sorted(near - set(alike(cohort)))


def alike(cohort: str) -> list[str]:
    """Return the cohorts that are right where this one is: of the same normal tissue, or disease.

    Examples
    --------
    >>> alike("TCGA-LUSC normal"), alike("TCGA-LUSC tumor")
    (['TCGA-LUAD normal', 'TCGA-LUSC normal'], ['TCGA-LUSC tumor'])
    """
    if cohort in ONE_DISEASE:
        return list(ONE_DISEASE)
    tissue = TISSUES.get(cohort)
    return [name for name, of in TISSUES.items() if tissue and of == tissue] or [cohort]
