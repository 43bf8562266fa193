"""Whether a frozen probe can read histology and molecular subtype from a vector.

Multinomial logistic regression on standardised vectors, its strength chosen by the log-loss on
validation patients; accuracy, balanced accuracy and macro-F1 on test patients. The same probe is
put on PCA of the ranks: fitted on all training profiles, and on those of the question alone, which
spends all its directions on the difference that is asked for.

Where labels come from:

* Cancer types (adenocarcinoma or squamous, the three kidney carcinomas) are the study.
* Molecular subtypes and histology are read from a table of TCGA samples, by **sample**. A corpus
  keeps one subtype a patient, which is not good enough: PAM50 was also published for normal breast
  tissue beside tumours, and a patient's `BRCA.Normal` may be that of the normal sample.
* CMS of colorectal cancer and the expression classes of glioblastoma (Verhaak) are not in that
  table. What is there stands in: the gastrointestinal classes by instability (Liu et al., 2018) and
  the classes of diffuse glioma by methylation (Ceccarelli et al., 2016).

Every question is asked of genome-wide profiles, and once more of the largest panel, one pipeline
with few genes, where that has enough patients. A class with too few patients is left out, and the
result names it with its numbers. Classes may come from different pipelines (the result says which),
and then the pipeline helps to tell them: `mixed pipelines` is the accuracy on those test profiles
whose pipeline brings more than one class to the test, where they are neither few nor all.
"""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from specformer_encoder.corpus.labels import SampleLabel
from specformer_encoder.errors import InputFileError
from specformer_encoder.evaluate.baselines import Components
from specformer_encoder.evaluate.embedded import EmbeddedCorpus
from specformer_encoder.evaluate.methods import logistic
from specformer_encoder.evaluate.metrics import (
    Estimate,
    accuracy,
    balanced_accuracy,
    bootstrap,
    macro_f1,
)
from specformer_encoder.evaluate.resampling import mean_estimate
from specformer_encoder.evaluate.spaces import Spaces
from specformer_encoder.projection import FloatArray

SPLITS = ("train", "valid", "test")
#: A class with fewer patients in a split cannot be learnt, or its accuracy not be told.
MINIMUM_PATIENTS = {"train": 10, "valid": 1, "test": 5}
#: Fewer test profiles of mixed pipelines than this say nothing.
MINIMUM_MIXED = 10

OWN_PCA = "PCA-256 of the ranks of the question's own profiles"

Texts = npt.NDArray[np.str_]
Metric = Callable[[Texts, Texts], float]


@dataclass(frozen=True, slots=True)
class Question:
    """Which classes are told apart.

    Attributes
    ----------
    name
        As it is printed.
    studies
        Whose tumours take part.
    column
        Of the label table that names the class; the study itself if empty.
    prefix
        What the names of the classes begin with, left out in print; other names do not count.
    """

    name: str
    studies: tuple[str, ...]
    column: str = ""
    prefix: str = ""


QUESTIONS = (
    Question("lung adenocarcinoma or squamous", ("TCGA-LUAD", "TCGA-LUSC")),
    Question("kidney: clear cell, papillary, chromophobe", ("TCGA-KIRC", "TCGA-KIRP", "TCGA-KICH")),
    Question("breast, PAM50", ("TCGA-BRCA",), "subtype", "BRCA."),
    Question("colon and rectum, by instability", ("TCGA-COAD", "TCGA-READ"), "subtype", "GI."),
    Question("diffuse glioma, by methylation", ("TCGA-GBM", "TCGA-LGG"), "subtype", "GBM_LGG."),
    Question("lung squamous, expression", ("TCGA-LUSC",), "subtype", "LUSC."),
    Question("kidney clear cell, expression", ("TCGA-KIRC",), "subtype", "KIRC."),
    Question("lower grade glioma, histology", ("TCGA-LGG",), "histological_type"),
    Question("colon and rectum, mucinous or not", ("TCGA-COAD", "TCGA-READ"), "histological_type"),
)
#: Histologies that are one class: the site is asked elsewhere.
_HISTOLOGY = {
    "Colon Adenocarcinoma": "not mucinous",
    "Rectal Adenocarcinoma": "not mucinous",
    "Colon Mucinous Adenocarcinoma": "mucinous",
    "Rectal Mucinous Adenocarcinoma": "mucinous",
}
#: Names that stand for no class.
_UNKNOWN = ("", "NA", "[Discrepancy]")


def read_sample_labels(path: Path) -> dict[str, dict[str, str]]:
    """Read the table of TCGA samples: sample (`TCGA-02-0001-01`) → column → text.

    Raises
    ------
    InputFileError
        If it cannot be read or lacks a column.
    """
    remedy = "Give a tab-separated table with the columns sample, subtype and histological_type."
    try:
        with path.open(newline="", encoding="utf-8") as handle:
            reader = csv.DictReader(handle, delimiter="\t")
            missing = {"sample", "subtype", "histological_type"} - set(reader.fieldnames or [])
            if missing:
                raise InputFileError(f"{path.name} lacks {', '.join(sorted(missing))}.", remedy)
            return {row["sample"]: row for row in reader}
    except OSError as error:
        raise InputFileError(f"{path.name} cannot be read ({error.strerror}).", remedy) from None
    except (UnicodeDecodeError, csv.Error) as error:
        raise InputFileError(f"{path.name} is no table ({error}).", remedy) from None


def subtypes(
    corpus: EmbeddedCorpus,
    spaces: Spaces,
    *,
    quantiles: npt.NDArray[np.uint8],
    labels: Path | None,
) -> dict[str, Any]:
    """Ask every question of every space.

    Parameters
    ----------
    corpus
        Whose tumours take part.
    spaces
        Name → (N, E) vectors of all profiles.
    quantiles
        (N, V) rank quantiles of all profiles.
    labels
        `tcga_labels.tsv`; without it only questions about studies are asked.

    Returns
    -------
    Question → `genome-wide` and `panel` → what was found: `classes` (class → split → patients),
    `too few` (the same, of classes left out) and, if two classes are left, `profiles`, `patients`
    (of test), `pipelines` (class → source and unit → test profiles), `mixed pipelines profiles` and
    `methods`: method → metric → estimate; else `left out`, a sentence.
    """
    table = None if labels is None else read_sample_labels(labels)
    results: dict[str, Any] = {}
    for question in QUESTIONS:
        if question.column and table is None:
            results[question.name] = {"left out": "The table of TCGA sample labels was not given."}
            continue
        classes = [class_of(label, question, table or {}) for label in corpus.labels]
        named = [
            i
            for i, label in enumerate(corpus.labels)
            if label.sample_type == "tumor" and classes[i]
        ]
        wide = [i for i in named if corpus.genome_wide[i]]
        panel = _largest_panel(corpus, [i for i in named if not corpus.genome_wide[i]])
        results[question.name] = {
            "genome-wide": _ask(corpus, spaces, classes, wide, quantiles),
            "panel": _ask(corpus, spaces, classes, panel, quantiles),
        }
    return results


def class_of(label: SampleLabel, question: Question, table: dict[str, dict[str, str]]) -> str:
    """Class of a profile's sample, empty where it has none or takes no part."""
    if label.study not in question.studies:
        return ""
    if not question.column:
        return label.study.removeprefix("TCGA-")
    # A barcode that ends with the patient stands for the primary tumour.
    barcode = label.barcode if len(label.barcode) > len("TCGA-02-0001") else f"{label.barcode}-01"
    text = table.get(barcode[: len("TCGA-02-0001-01")], {}).get(question.column) or ""
    if not text.startswith(question.prefix):
        return ""
    name = text.removeprefix(question.prefix)
    return "" if name in _UNKNOWN else _HISTOLOGY.get(name, name)


def _largest_panel(corpus: EmbeddedCorpus, rows: list[int]) -> list[int]:
    """Those of the source and unit with the most patients: panels of other genes rank otherwise."""
    people: dict[tuple[str, str], set[str]] = {}
    for i in rows:
        label = corpus.labels[i]
        people.setdefault((label.source, label.unit), set()).add(label.person)
    if not people:
        return []
    largest = max(people, key=lambda key: (len(people[key]), key))
    return [i for i in rows if (corpus.labels[i].source, corpus.labels[i].unit) == largest]


def _ask(
    corpus: EmbeddedCorpus,
    spaces: Spaces,
    classes: list[str],
    rows: list[int],
    quantiles: npt.NDArray[np.uint8],
) -> dict[str, Any]:
    """Fit and judge the probe of every space on these labelled profiles."""
    people: dict[str, dict[str, set[str]]] = {}
    for i in rows:
        splits = people.setdefault(classes[i], {split: set() for split in SPLITS})
        splits[corpus.labels[i].split].add(corpus.labels[i].person)
    counts = {
        name: {split: len(some) for split, some in splits.items()}
        for name, splits in sorted(people.items())
    }
    enough = {
        name
        for name, splits in counts.items()
        if all(splits[split] >= least for split, least in MINIMUM_PATIENTS.items())
    }
    account: dict[str, Any] = {
        "classes": {name: splits for name, splits in counts.items() if name in enough},
        "too few": {name: splits for name, splits in counts.items() if name not in enough},
    }
    if len(enough) < 2:
        least = ", ".join(f"{number} {split}" for split, number in MINIMUM_PATIENTS.items())
        return account | {"left out": f"Fewer than two classes have enough patients ({least})."}
    kept = [i for i in rows if classes[i] in enough]
    y = np.array([classes[i] for i in kept])
    split = np.array([corpus.labels[i].split for i in kept])
    test = [i for i, part in zip(kept, split, strict=True) if part == "test"]
    line = np.array([f"{corpus.labels[i].source} {corpus.labels[i].unit}" for i in test])
    mixed = _brings_several(y[split == "test"], line)
    vectors = {name: space[kept] for name, space in spaces.items()}
    own = Components.fit(quantiles[np.array(kept)[split == "train"]], seed=0)
    vectors[OWN_PCA] = own.project(quantiles[kept], own.axes)
    patients = corpus.people(test)
    return account | {
        "profiles": len(test),
        "patients": len(set(patients)),
        "pipelines": _pipelines(y[split == "test"], line),
        "mixed pipelines profiles": int(mixed.sum()),
        "methods": {
            name: _score(y[split == "test"], probe(some, y, split), patients, mixed)
            for name, some in vectors.items()
        },
    }


def probe(x: FloatArray, y: Texts, split: Texts) -> Texts:
    """Classes of the test rows by logistic regression.

    Parameters
    ----------
    x
        (n, E) vectors.
    y, split
        (n,) class and split of each.

    Returns
    -------
    (test rows,) classes.
    """
    train, valid, test = (split == name for name in SPLITS)
    fit = logistic(x[train], y[train].tolist(), valid=x[valid], valid_y=y[valid].tolist())
    return np.asarray(fit.predict(x[test]))


def _brings_several(y: Texts, line: Texts) -> npt.NDArray[np.bool_]:
    """(n,) whether the profile's pipeline has more than one class."""
    several = [name for name in np.unique(line) if len(set(y[line == name])) > 1]
    return np.isin(line, several)


def _pipelines(y: Texts, line: Texts) -> dict[str, dict[str, int]]:
    return {str(name): dict(Counter(line[y == name].tolist())) for name in np.unique(y)}


def _score(
    truth: Texts, guess: Texts, patients: list[str], mixed: npt.NDArray[np.bool_]
) -> dict[str, Estimate]:
    metrics = {"accuracy": accuracy, "balanced accuracy": balanced_accuracy, "macro-F1": macro_f1}
    scores = {
        name: bootstrap(partial(_on_rows, metric, truth, guess), patients)
        for name, metric in metrics.items()
    }
    if mixed.sum() >= MINIMUM_MIXED and not mixed.all():
        some = [person for person, inside in zip(patients, mixed, strict=True) if inside]
        right = (truth == guess)[mixed].astype(np.float64)
        scores["accuracy, mixed pipelines"] = mean_estimate(right, some)
    return scores


def _on_rows(metric: Metric, truth: Texts, guess: Texts, rows: npt.NDArray[np.int64]) -> float:
    return metric(truth[rows], guess[rows])
