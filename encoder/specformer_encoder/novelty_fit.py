"""Fit `novelty.Novelty`: means and scatters on training profiles, p-values on validation tumours.

Needs scikit-learn; serving does not come here.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from specformer_encoder.errors import CorpusError
from specformer_encoder.novelty import (
    QUESTIONS,
    WEIGHTS,
    DoubleArray,
    Evidence,
    FloatArray,
    Novelty,
    References,
    p_values,
)
from specformer_encoder.projection import unit

#: A type counts in the scatter within types with at most so many profiles' weight.
_LARGE_TYPE = 60
#: Fewer profiles of a cohort in a pipeline have no mean worth comparing.
_SMALL_GROUP = 3
#: Weights of the scatter between pipelines and of the identity, against the scatter within types.
#: Chosen on validation patients: more of the first flags fewer tumours of pipelines left out of
#: training, and finds fewer of the types left out.
_PIPELINES, _SHRINKAGE = 0.5, 1.0
#: Inverse regularisation strength of normal tissue against tumour.
_STRENGTH = 0.1


@dataclass(frozen=True, slots=True)
class LabelledEvidence:
    """The evidence of one split with what is known of its N genome-wide profiles.

    Attributes
    ----------
    evidence
        N profiles.
    studies
        N study names; the type where `tumor` is true.
    tumor
        (N,) bool.
    cohorts, pipelines
        N names: what the sample is, and how it was measured (source and unit).
    people
        N names; profiles of one patient share theirs.
    """

    evidence: Evidence
    studies: list[str]
    tumor: npt.NDArray[np.bool_]
    cohorts: list[str]
    pipelines: list[str]
    people: list[str]

    def __len__(self) -> int:
        return len(self.evidence)

    def rows(self, keep: npt.NDArray[np.bool_]) -> LabelledEvidence:
        """The profiles that a (N,) mask keeps."""
        at = np.flatnonzero(keep)
        return LabelledEvidence(
            self.evidence.rows(at),
            [self.studies[i] for i in at],
            self.tumor[at],
            [self.cohorts[i] for i in at],
            [self.pipelines[i] for i in at],
            [self.people[i] for i in at],
        )

    def of_types(self, types: list[str]) -> LabelledEvidence:
        """The tumours whose type is among `types`."""
        return self.rows(self.tumor & np.isin(np.array(self.studies), types))


def fit_novelty(
    train: LabelledEvidence,
    valid: LabelledEvidence,
    *,
    types: list[str],
    shallow: Evidence | None = None,
    partial: Evidence | None = None,
) -> Novelty:
    """Fit everything that novelty is judged by.

    Parameters
    ----------
    train
        Fits means, scatters and the logit of normal tissue. Tumours of other types take part in
        the scatter between pipelines only.
    valid
        Its tumours of known types are what a profile is compared with.
    types
        K ≥ 2 types to know.
    shallow
        Views of the validation tumours with few reads: references for misfit too.
    partial
        Views of the validation tumours with few genes, and their panels, which partial profiles
        are held against; without any, they are held against whole ones.

    Raises
    ------
    CorpusError
        If a type has fewer than two training tumours, or validation has no tumour of any.
    """
    known, reference = train.of_types(types), valid.of_types(types)
    studies = np.array(known.studies)
    sizes = np.array([(studies == name).sum() for name in types])
    if len(types) < 2 or sizes.min() < 2 or not len(reference):
        raise CorpusError(
            f"Telling odd samples needs two types with two training tumours each and a validation "
            f"tumour; got {len(types)} types, the smallest with {min(sizes, default=0)}, and "
            f"{len(reference)} validation tumours.",
            "Add labelled tumours, or fix the split column of samples.tsv.",
        )
    x = known.evidence.vectors.astype(np.float64)
    means = np.stack([x[studies == name].mean(axis=0) for name in types])
    within = _within(x, means, np.array([types.index(s) for s in known.studies]), sizes)
    E = x.shape[1]
    ridge = max(np.trace(within) / E, 1e-12)
    covariance = within + _PIPELINES * _between_pipelines(train) + _SHRINKAGE * ridge * np.eye(E)
    values, vectors = np.linalg.eigh(covariance)
    weight, bias = _fit_normal(train, known)
    none = References(*np.zeros((5, 0), np.float32))
    novelty = Novelty(
        types=list(types),
        means=means.astype(np.float32),
        whitening=(vectors / np.sqrt(values)).T.astype(np.float32),
        sizes=sizes.astype(np.float32),
        normal_weight=weight.astype(np.float32),
        normal_bias=bias,
        whole=none,
        partial=none,
    )
    whole = _references(
        novelty.scores(reference.evidence), misfit=None if shallow is None else shallow.misfit
    )
    if partial is None or not len(partial):
        return replace(novelty, whole=whole, partial=whole)
    return replace(novelty, whole=whole, partial=_references(novelty.scores(partial)))


def _references(own: FloatArray, *, misfit: FloatArray | None = None) -> References:
    """What (n, 4) scores are as references, with further ones of misfit alone."""
    columns = dict(zip(QUESTIONS, own.T, strict=True))
    if misfit is not None:
        columns["misfit"] = np.concatenate([columns["misfit"], misfit])
    found = {name: np.sort(scores[~np.isnan(scores)]) for name, scores in columns.items()}
    parts = [_against_others(own[:, j], found[name]) for j, name in enumerate(QUESTIONS)]
    combined = (np.stack(parts, axis=1) / WEIGHTS).min(axis=1)
    return References(**found, combined=np.sort(combined).astype(np.float32))


def _against_others(scores: FloatArray, reference: FloatArray) -> DoubleArray:
    """(N,) p-values of scores that are themselves in the reference, against the rest of it."""
    n = max(len(reference), 1)
    # p_values adds one for the profile itself, which is already there.
    return np.where(np.isnan(scores), 1.0, (p_values(scores, reference) * (n + 1) - 1) / n)


def _within(
    x: DoubleArray, means: DoubleArray, type_of: npt.NDArray[np.int64], sizes: npt.NDArray[np.int64]
) -> DoubleArray:
    """(E, E) scatter within types, each profile weighing 1 or 60 / n, the smaller."""
    weight = np.minimum(1, _LARGE_TYPE / sizes)[type_of]
    unbiased = (sizes / (sizes - 1))[type_of]  # the mean was taken from the same profiles
    residual = (x - means[type_of]) * np.sqrt(weight * unbiased)[:, None]
    return np.asarray(residual.T @ residual / weight.sum())


def _between_pipelines(train: LabelledEvidence) -> DoubleArray:
    """(E, E) mean scatter of a cohort's means over the pipelines that measured it."""
    x = train.evidence.vectors.astype(np.float64)
    cohorts, pipelines = np.array(train.cohorts), np.array(train.pipelines)
    deviations = []
    for cohort in np.unique(cohorts):
        of = cohorts == cohort
        names, counts = np.unique(pipelines[of], return_counts=True)
        names = names[counts >= _SMALL_GROUP]
        if len(names) < 2:
            continue
        means = np.stack([x[of & (pipelines == name)].mean(axis=0) for name in names])
        unbiased = np.sqrt(len(names) / (len(names) - 1))
        deviations.append((means - means.mean(axis=0)) * unbiased)
    if not deviations:
        return np.zeros((x.shape[1], x.shape[1]))
    d = np.concatenate(deviations)
    return np.asarray(d.T @ d / len(d))


def _fit_normal(train: LabelledEvidence, known: LabelledEvidence) -> tuple[FloatArray, float]:
    """Logistic regression of normal tissue against known tumours, both classes weighing the same.

    Without normal tissue in the corpus the logit is zero for all, and the question says nothing.
    """
    from sklearn.linear_model import LogisticRegression

    normal = train.rows(~train.tumor).evidence.vectors
    if not len(normal):
        return np.zeros(known.evidence.vectors.shape[1], np.float32), 0.0
    x = unit(np.concatenate([known.evidence.vectors, normal]))
    y = np.arange(len(x)) >= len(known)
    scale = max(float(x.std(axis=0).mean()), 1e-12)
    model = LogisticRegression(C=_STRENGTH, class_weight="balanced", max_iter=2000)
    model.fit(x / scale, y)
    return np.asarray(model.coef_[0] / scale, np.float32), float(model.intercept_[0])
