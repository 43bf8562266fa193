r"""Are pathway scores still in the embedding? Linear probes of 1,387 PARADIGM pathways.

The target is the direct ssGSEA score of each pathway, computed from the profile itself (see
`ssgsea`). A ridge regression is fitted from the frozen vectors of the training tumours to all
pathways at once, its strength chosen by the squared error on validation tumours; Pearson's
correlation is reported on test tumours. Only genome-wide profiles take part.

The target is a function of the very expression that was embedded, so this asks what a vector has
kept, and plain PCA is a strong competitor. Three cautions are built in:

* Scores are standardised by the training mean and deviation of each pathway before correlating
  over the pathways of one sample. Left as they are, one constant, the mean of each pathway over the
  training tumours, already correlates highly with every sample, because some pathways are high in
  all tissues. Both are given.
* Most of the variation between tumours is between cancer types. The training mean of a sample's
  true type therefore stands among the methods, and correlations within one type, for which that
  says nothing, stand beside the overall ones: the mean over pathways, then over types.
* A type's profiles come from several pipelines, and a pipeline shifts all scores together. So the
  same is given within one type of one pipeline.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.linear_model import Ridge
from sklearn.preprocessing import StandardScaler

from specformer_encoder.corpus.labels import SampleLabel
from specformer_encoder.errors import CorpusError
from specformer_encoder.evaluate.embedded import EmbeddedCorpus
from specformer_encoder.evaluate.metrics import Estimate, bootstrap
from specformer_encoder.evaluate.paradigm import read_paradigm
from specformer_encoder.evaluate.resampling import (
    GroupCorrelation,
    mean_estimate,
    row_correlation,
)
from specformer_encoder.evaluate.spaces import Spaces
from specformer_encoder.projection import FloatArray
from specformer_encoder.ssgsea import ssgsea

#: Ridge strengths that are tried, on standardised vectors; validation tumours choose.
ALPHAS = (0.1, 1.0, 10.0, 100.0, 1e3, 1e4, 1e5)
#: A type (or a type of one pipeline) with fewer test patients has no correlation of its own.
MINIMUM_PATIENTS = 20
#: A pathway scored in a smaller share of the training tumours is left out.
MINIMUM_SCORED = 0.95

TRUE_TYPE = "training mean of the true type"
TRAINING_MEAN = "training mean"

PER_SAMPLE = "per sample"
PER_SAMPLE_UNSCALED = "per sample, scores as they are"
PER_PATHWAY = "per pathway"
WITHIN_TYPE = "per pathway, within a type"
WITHIN_PIPELINE = "per pathway, within a type and pipeline"

Groups = dict[str, npt.NDArray[np.int64]]


def pathways(corpus: EmbeddedCorpus, spaces: Spaces, *, paradigm: Path | None) -> dict[str, Any]:
    """Predict pathway scores from the vectors of each space.

    Parameters
    ----------
    corpus
        Whose tumours are scored.
    spaces
        Name → (N, E) vectors of all profiles.
    paradigm
        `paradigm_1387.json`; without it the question is left out.

    Returns
    -------
    Only `left out`, a sentence, without pathways. Else `sets` (see `Paradigm.account`, and how
    many were `scored`), `tumors` and `patients` (split → number), `types` (type → test patients),
    `types of one pipeline` (the same), `alphas` (space → chosen strength) and `methods`: method →
    metric → estimate, where the metric can be had.

    Raises
    ------
    CorpusError
        If a split has no genome-wide tumour.
    """
    if paradigm is None:
        return {"left out": "The PARADIGM pathways were not given."}
    found = read_paradigm(paradigm)
    rows = {split: corpus.select(split) for split in ("train", "valid", "test")}
    for split, some in rows.items():
        if not some:
            raise CorpusError(
                f"The corpus has no genome-wide {split} tumour.", "Evaluate on one that has some."
            )
    scores = {
        split: corpus.corpus.map(lambda values: ssgsea(values, found.sets), some)
        for split, some in rows.items()
    }
    usable = _usable(scores["train"])
    scores = {split: some[:, usable] for split, some in scores.items()}
    mean, deviation = np.nanmean(scores["train"], axis=0), np.nanstd(scores["train"], axis=0)
    z = {split: (some - mean) / deviation for split, some in scores.items()}
    alphas, guesses = {}, {}
    for name, vectors in spaces.items():
        x = {split: vectors[some] for split, some in rows.items()}
        alphas[name], guesses[name] = ridge_probe(x, z)
    studies = {split: [corpus.labels[i].study for i in some] for split, some in rows.items()}
    guesses[TRUE_TYPE] = _type_means(z["train"], studies["train"], studies["test"])
    patients = corpus.people(rows["test"])
    labels = [corpus.labels[i] for i in rows["test"]]
    types = _groups(labels, lambda label: label.study)
    lines = _groups(labels, lambda label: f"{label.study}, {label.source} {label.unit}")
    judge = _Judge(scores["test"], z["test"], mean, deviation, patients, types, lines)
    methods = {
        name: judge.every_metric(guess, within=name != TRUE_TYPE) for name, guess in guesses.items()
    }
    constant = np.broadcast_to(mean, scores["test"].shape)
    methods[TRAINING_MEAN] = {PER_SAMPLE_UNSCALED: judge.per_sample(scores["test"], constant)}
    return {
        "sets": found.account() | {"pathways scored": int(usable.sum())},
        "tumors": {split: len(some) for split, some in rows.items()},
        "patients": {split: len(set(corpus.people(some))) for split, some in rows.items()},
        "types": {name: _patients(patients, some) for name, some in types.items()},
        "types of one pipeline": {name: _patients(patients, some) for name, some in lines.items()},
        "alphas": alphas,
        "methods": methods,
    }


def ridge_probe(x: dict[str, FloatArray], y: dict[str, FloatArray]) -> tuple[float, FloatArray]:
    """Predict all targets from standardised vectors, the strength chosen on `valid`.

    Parameters
    ----------
    x
        `train`, `valid` and `test` → (n, E) vectors.
    y
        `train` and `valid` → (n, P) targets in training deviations from the training mean, NaN
        where unknown: a missing target is taken for the mean in fitting, and left out in judging.

    Returns
    -------
    The strength, and (n, P) predictions for `test`.
    """
    # In float64: directions that hardly vary make the normal equations ill-conditioned.
    wide = {split: some.astype(np.float64) for split, some in x.items()}
    scaler = StandardScaler().fit(wide["train"])
    scaled = {split: scaler.transform(some) for split, some in wide.items()}
    target = np.nan_to_num(y["train"], nan=0.0)
    best: tuple[float, float, Ridge] | None = None
    for alpha in ALPHAS:
        fit = Ridge(alpha).fit(scaled["train"], target)
        error = float(np.nanmean((fit.predict(scaled["valid"]) - y["valid"]) ** 2))
        if best is None or error < best[0]:
            best = error, alpha, fit
    if best is None:
        raise ValueError("no strength was tried")
    return best[1], np.asarray(best[2].predict(scaled["test"]), np.float32)


@dataclass(frozen=True, slots=True)
class _Judge:
    """The test tumours, against which every method is held."""

    scores: FloatArray
    z: FloatArray
    mean: FloatArray
    deviation: FloatArray
    patients: list[str]
    types: Groups
    lines: Groups

    def every_metric(self, guess: FloatArray, *, within: bool) -> dict[str, Estimate]:
        """Every mean correlation with the (n, P) standardised predictions of one method."""
        unscaled = guess * self.deviation + self.mean
        found = {
            PER_SAMPLE: self.per_sample(self.z, guess),
            PER_SAMPLE_UNSCALED: self.per_sample(self.scores, unscaled),
            PER_PATHWAY: self._per_pathway(guess, {"all": np.arange(len(self.z))}),
        }
        if within and self.types:
            found[WITHIN_TYPE] = self._per_pathway(guess, self.types)
        if within and self.lines:
            found[WITHIN_PIPELINE] = self._per_pathway(guess, self.lines)
        return found

    def per_sample(self, truth: FloatArray, guess: FloatArray) -> Estimate:
        """Mean over samples of the correlation over pathways."""
        return mean_estimate(row_correlation(truth, guess), self.patients)

    def _per_pathway(self, guess: FloatArray, groups: Groups) -> Estimate:
        correlation = GroupCorrelation(self.z, guess, list(groups.values()))
        return bootstrap(correlation, self.patients)


def _usable(train: FloatArray) -> npt.NDArray[np.bool_]:
    """Which pathways are scored in nearly all training tumours and differ between them."""
    scored = ~np.isnan(train)
    first = np.where(scored, train, np.inf).min(axis=0)
    last = np.where(scored, train, -np.inf).max(axis=0)
    return np.asarray((scored.mean(axis=0) >= MINIMUM_SCORED) & (last > first))


def _type_means(z: FloatArray, studies: list[str], wanted: list[str]) -> FloatArray:
    """The training mean of each wanted type; of all tumours (0) where training has none."""
    names = np.array(studies)
    means = {
        name: np.nan_to_num(z[names == name], nan=0.0).mean(axis=0) for name in np.unique(names)
    }
    nothing = np.zeros(z.shape[1], np.float32)
    return np.stack([means.get(name, nothing) for name in wanted])


def _groups(labels: list[SampleLabel], key: Callable[[SampleLabel], str]) -> Groups:
    """Rows of each group of at least `MINIMUM_PATIENTS` patients, the largest group first."""
    rows: dict[str, list[int]] = {}
    for i, label in enumerate(labels):
        rows.setdefault(key(label), []).append(i)
    people = {name: len({labels[i].person for i in some}) for name, some in rows.items()}
    ordered = sorted(rows, key=lambda name: (-people[name], name))
    return {name: np.array(rows[name]) for name in ordered if people[name] >= MINIMUM_PATIENTS}


def _patients(patients: list[str], rows: npt.NDArray[np.int64]) -> int:
    return len({patients[i] for i in rows})
