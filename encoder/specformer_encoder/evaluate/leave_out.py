"""Is a type still known when it comes from a pipeline in which it was never met.

Cancer types and data sources go together in public data, so a classifier can learn the pipeline
instead of the tumour, and a random split of patients does not notice. Here everything behind the
encoder is fitted anew without some rows, and judged on profiles of patients of whom no row was
left in training or validation:

* **A source left out**, for every source that shares a type with another: train without the
  source and without any other profile of its patients; test on all its tumours of the types that
  keep `MINIMUM_PATIENTS` training patients.
* **A type met in one pipeline only**: every lung adenocarcinoma of the corpus was quantified by
  RSEM, and so were a few squamous ones. Train on squamous tumours from the GDC's counts and FPKM
  alone; the RSEM pipeline has then only met lungs that are adenocarcinomas. Test on the squamous
  ones from RSEM, the paired gene panel among them, whose values are RSEM's too (their ranks agree
  with RSEM's at a correlation of 0.99, with counts' at 0.96). The other direction (an
  adenocarcinoma from counts) would need one, and the corpus has none.
* **One unit only**: every type that has `UNIT_PATIENTS` training patients in a unit is trained in
  that unit alone, the others as they are. Test on the test patients' profiles of these types in
  each unit, the same one for comparison.

The encoder itself was pretrained on the profiles of all training patients, without labels, and
those of the left-out source are among them; where a source is left out, accuracy is therefore
also given for the patients of the test split, whom it has never met. The baselines have met none
of the left-out profiles in any way.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from specformer_encoder.evaluate.classification import aligned, judge
from specformer_encoder.evaluate.embedded import EmbeddedCorpus
from specformer_encoder.evaluate.methods import Fit, Predictor, Rows, top
from specformer_encoder.evaluate.metrics import bootstrap_mean
from specformer_encoder.evaluate.paired_shift import RSEM, quantifier_of

#: Training patients that a type must keep without a source to be asked for.
MINIMUM_PATIENTS = 5
#: Training patients that a type must have in a unit to be trained in it alone.
UNIT_PATIENTS = 20
#: Sources whose names begin so are parts of one data set and are left out together.
ONE_DATA_SET = ("pancanatlas_",)

METRICS = ("accuracy", "balanced accuracy")

ADENOCARCINOMA, SQUAMOUS = "TCGA-LUAD", "TCGA-LUSC"


@dataclass(frozen=True, slots=True)
class Setting:
    """One fit and what it is tested on.

    Attributes
    ----------
    name
        What is left out, or kept.
    train, valid
        Rows that may be used: tumours and normals, whole profiles and panels.
    types
        Types to fit.
    tests
        Name → rows of tumours of `types`, of patients without a row in `train` and `valid`.
    """

    name: str
    train: Rows
    valid: Rows
    types: list[str]
    tests: dict[str, Rows]


def data_set(source: str) -> str:
    """The data set that a source is a part of; most are one by themselves.

    Examples
    --------
    >>> data_set("pancanatlas_83db448"), data_set("firehose_luad")
    ('pancanatlas', 'firehose_luad')
    """
    return next((p.rstrip("_") for p in ONE_DATA_SET if source.startswith(p)), source)


def sources_left_out(corpus: EmbeddedCorpus) -> list[Setting]:
    """A setting for each data set whose tumours of some type another one has too."""
    settings = []
    for name in sorted({data_set(label.source) for label in corpus.labels}):
        tested = [i for i in _tumors(corpus) if data_set(corpus.labels[i].source) == name]
        train, valid = _without(corpus, tested, source=name)
        types = _types(corpus, train)
        tested = [i for i in tested if corpus.labels[i].study in types]
        if tested:
            settings.append(Setting(name, train, valid, types, {"left out": tested}))
    return settings


def one_pipeline_only(corpus: EmbeddedCorpus) -> list[Setting]:
    """Squamous lung tumours from RSEM for methods that met only adenocarcinomas from there."""
    squamous = [
        i
        for i, label in enumerate(corpus.labels)
        if label.study == SQUAMOUS
        and label.sample_type == "tumor"
        and (quantifier_of(label.unit) == RSEM or not corpus.genome_wide[i])
    ]
    train, valid = _without(corpus, squamous)
    types = _types(corpus, train)
    if not squamous or not {ADENOCARCINOMA, SQUAMOUS} <= set(types):
        return []
    tests = {
        f"{SQUAMOUS} from RSEM": [i for i in squamous if corpus.genome_wide[i]],
        f"{SQUAMOUS}, gene panel": [i for i in squamous if not corpus.genome_wide[i]],
        f"{ADENOCARCINOMA} from RSEM": _test_of(corpus, ADENOCARCINOMA, rsem=True),
        f"{SQUAMOUS} from the GDC": _test_of(corpus, SQUAMOUS, rsem=False),
    }
    # A test patient of the last two may have given a squamous profile to the first: no matter.
    name = f"{SQUAMOUS} never from RSEM, {ADENOCARCINOMA} never from elsewhere"
    return [Setting(name, train, valid, types, {k: rows for k, rows in tests.items() if rows})]


def one_unit_only(corpus: EmbeddedCorpus) -> list[Setting]:
    """A setting for each unit in which some types can be trained alone and tested in another."""
    labels, settings = corpus.labels, []
    tumors = _tumors(corpus)
    for unit in sorted({labels[i].unit for i in tumors}):
        people: dict[str, set[str]] = defaultdict(set)
        for i in tumors:
            if labels[i].unit == unit and labels[i].split == "train":
                people[labels[i].study].add(labels[i].person)
        alone = {study for study, who in people.items() if len(who) >= UNIT_PATIENTS}
        other = [i for i in tumors if labels[i].split == "test" and labels[i].study in alone]
        # Only the types that another unit tests are of interest, in the own unit too.
        crossed = {labels[i].study for i in other if labels[i].unit != unit}
        if not crossed:
            continue
        tests: dict[str, Rows] = defaultdict(list)
        for i in other:
            if labels[i].study in crossed:
                tests[labels[i].unit].append(i)
        train, valid = (
            [
                i
                for i, label in enumerate(labels)
                if label.split == split
                and not (
                    label.sample_type == "tumor" and label.study in crossed and label.unit != unit
                )
            ]
            for split in ("train", "valid")
        )
        settings.append(Setting(unit, train, valid, _types(corpus, train), dict(tests)))
    return settings


def run(
    corpus: EmbeddedCorpus,
    settings: Sequence[Setting],
    fits: Sequence[Fit],
    *,
    progress: Callable[[str], None],
) -> dict[str, Any]:
    """Fit every method in every setting, and judge it.

    Parameters
    ----------
    corpus
        The corpus with its embeddings.
    settings
        From the functions of this module.
    fits
        Each gives one or more methods, fitted anew.
    progress
        Told in a line what is being done.

    Returns
    -------
    Setting → a dictionary with `training patients` (tested type → count) and `tests`: test → a
    dictionary with `profiles`, `patients`, `types` (type → patients) and `methods`: method → a
    dictionary with

    `accuracy`, `balanced accuracy`, each also with ``, COAD/READ merged``
        `Estimate`.
    `by type`
        Type → `Estimate` of the share rightly named.
    `named`
        Type → type → profiles so named.
    `accuracy, test patients`
        `Estimate`, or None without any; with `test patients`, their count, one level up.
    """
    results = {}
    for setting in settings:
        progress(f"fitting: {setting.name}")
        methods: dict[str, Predictor] = {}
        for fit in fits:
            methods |= fit(setting.train, setting.valid, types=setting.types)
        tested = sorted({corpus.labels[i].study for rows in setting.tests.values() for i in rows})
        patients = _patients(corpus, setting.train)
        results[setting.name] = {
            "training patients": {study: len(patients[study]) for study in tested},
            "tests": {
                test: _judged(corpus, rows, methods, setting.types)
                for test, rows in setting.tests.items()
            },
        }
    return results


def _judged(
    corpus: EmbeddedCorpus, rows: Rows, methods: dict[str, Predictor], types: list[str]
) -> dict[str, Any]:
    true = [corpus.labels[i].study for i in rows]
    people = corpus.people(rows)
    held_out = np.array([corpus.labels[i].split == "test" for i in rows])
    scored: dict[str, Any] = {}
    for name, predictor in methods.items():
        probabilities = aligned(predictor.probabilities(rows), predictor.types, types)
        guess = np.array(top(probabilities, types))
        right = guess == np.array(true)
        scored[name] = {
            **judge(probabilities, true, types=types, patients=people, metrics=METRICS),
            "by type": {
                study: _share(right, [t == study for t in true], people)
                for study in sorted(set(true))
            },
            "named": {
                study: dict(Counter(guess[np.array(true) == study].tolist()).most_common())
                for study in sorted(set(true))
            },
            "accuracy, test patients": _share(right, held_out.tolist(), people),
        }
    return {
        "profiles": len(rows),
        "patients": len(set(people)),
        "test patients": len({p for p, kept in zip(people, held_out, strict=True) if kept}),
        "types": dict(sorted(Counter(s for s, _ in set(zip(true, people, strict=True))).items())),
        "methods": scored,
    }


def _share(right: Any, of: list[bool], people: list[str]) -> Any:
    """Share of the chosen rows that is right, None if none is chosen."""
    chosen = np.flatnonzero(of)
    if not len(chosen):
        return None
    return bootstrap_mean(right[chosen], [people[i] for i in chosen])


def _tumors(corpus: EmbeddedCorpus) -> Rows:
    """Genome-wide TCGA tumours of all splits."""
    return [
        i
        for i, label in enumerate(corpus.labels)
        if label.sample_type == "tumor"
        and label.study.startswith("TCGA-")
        and corpus.genome_wide[i]
    ]


def _without(
    corpus: EmbeddedCorpus, tested: Rows, *, source: str | None = None
) -> tuple[Rows, Rows]:
    """Training and validation rows without a data set and without any of the tested patients."""
    people = set(corpus.people(tested))
    train, valid = (
        [
            i
            for i, label in enumerate(corpus.labels)
            if label.split == split
            and label.person not in people
            and data_set(label.source) != source
        ]
        for split in ("train", "valid")
    )
    return train, valid


def _patients(corpus: EmbeddedCorpus, rows: Rows) -> dict[str, set[str]]:
    """Type → patients with a genome-wide tumour profile among the rows."""
    people: dict[str, set[str]] = defaultdict(set)
    for i in rows:
        label = corpus.labels[i]
        if label.sample_type == "tumor" and corpus.genome_wide[i]:
            people[label.study].add(label.person)
    return people


def _types(corpus: EmbeddedCorpus, train: Rows) -> list[str]:
    """TCGA types with `MINIMUM_PATIENTS`."""
    return sorted(
        study
        for study, people in _patients(corpus, train).items()
        if study.startswith("TCGA-") and len(people) >= MINIMUM_PATIENTS
    )


def _test_of(corpus: EmbeddedCorpus, study: str, *, rsem: bool) -> Rows:
    labels = corpus.labels
    return [
        i
        for i in corpus.select("test")
        if labels[i].study == study and (quantifier_of(labels[i].unit) == RSEM) == rsem
    ]
