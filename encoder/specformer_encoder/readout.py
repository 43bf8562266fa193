"""Fit everything behind network and factors: the projection, and the heads on the embedding.

One function for the release, and for an evaluation that leaves patients, sources or types out and
fits all of it anew.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from specformer_encoder.corpus.labels import cohort_of
from specformer_encoder.doubt import (
    ConformalSets,
    fit_calibration,
    fit_conformal,
    patient_weights,
)
from specformer_encoder.errors import CorpusError
from specformer_encoder.heads import (
    MINIMUM_TUMORS,
    Heads,
    class_weights,
    known_types,
    tumor_patients,
)
from specformer_encoder.novelty_fit import LabelledEvidence, fit_novelty
from specformer_encoder.projection import (
    FloatArray,
    Projection,
    fit_projection,
    unit,
    unit_length,
)
from specformer_encoder.reading import Labelled, Reading, evidence
from specformer_encoder.shifts import pipeline_of

#: Inverse regularisation strengths that are tried, for unit vectors divided by their mean spread;
#: validation log-loss chooses.
STRENGTHS = (0.03, 0.1, 0.3, 1.0)
#: Where the optimiser stops, as scikit-learn has it.
_TOLERANCE = 1e-4
#: Weight of a panel profile beside a genome-wide one of its type: a panel's genes say less.
PANEL_WEIGHT = 0.2
#: Weight of a thinned view beside its whole profile; between 0.2 and 1 it hardly matters.
THINNED_WEIGHT = 0.5
#: Weight of the cosine to a type's mean direction beside the regression. The regression alone also
#: learns which pipeline measured which type; leaving sources out among training and validation
#: patients, the mean adds about two points, and takes none from validation patients.
MEAN_WEIGHT = 10.0


@dataclass(frozen=True, slots=True)
class Material:
    """What a readout is fitted on.

    Attributes
    ----------
    train, valid
        Genome-wide profiles, tumours and normals. Training ones fit; validation ones choose the
        regularisation and set calibration, sets and novelty.
    panels, valid_panels
        Gene panels of the same patients.
    shifted
        Training profiles moved to another pipeline (see `shifts`): members of their cohort, from
        which the projection learns how little a pipeline matters. Heads that were fitted on them
        too were no better on validation patients.
    thinned, thinned_valid
        The genome-wide profiles with a random share of their genes only. Without them the heads
        would know few genes from panels alone, and take one for the other.
    shallow_valid
        The genome-wide validation profiles as if they had been sequenced little.
    simulated
        Tumours simulated from published cohort medians; types with hardly any real one.
    """

    train: Labelled
    valid: Labelled
    panels: Labelled
    valid_panels: Labelled
    shifted: Labelled
    thinned: Labelled
    thinned_valid: Labelled
    shallow_valid: Labelled
    simulated: Labelled


@dataclass(frozen=True, slots=True)
class Readout:
    """A fitted projection and the heads on it."""

    projection: Projection
    heads: Heads

    def embeddings(self, reading: Reading) -> FloatArray:
        """(S, E) of unit length."""
        return _embeddings(reading, self.projection)


def fit_readout(material: Material, types: list[str], *, network: int) -> Readout:
    """Fit projection and heads.

    Parameters
    ----------
    material
        See there.
    types
        The types to know; see `heads.known_types`.
    network
        How many of the raw dimensions, the leading ones, are the network's.

    Raises
    ------
    CorpusError
        If fewer than two types are to be known, or validation has no tumour of any.
    """
    valid = material.valid.of_types(types)
    if len(types) < 2 or not len(valid):
        raise CorpusError(
            f"The corpus has {len(types)} cancer types with at least {MINIMUM_TUMORS} training "
            f"tumours and {len(valid)} validation tumours of them; two types and some validation "
            "tumours are needed.",
            "Add labelled tumours, or fix the split column of samples.tsv.",
        )
    seen = Labelled.join([material.train, material.shifted])
    cohorts = [cohort_of(label) for label in seen.labels]
    projection = fit_projection(seen.reading.raw, cohorts, network=network)
    weight, bias = _fit_types(material, projection, types)

    def logits(of: Labelled) -> npt.NDArray[np.float64]:
        return np.asarray(_embeddings(of.reading, projection) @ weight.T + bias)

    partial = _partial(material).of_types(types)
    set_on, equal = _equally([valid, partial], types)
    calibration = fit_calibration(
        logits(set_on), _numbers(set_on, types), set_on.reading.measured, equal
    )

    def sets(of: Labelled) -> ConformalSets:
        probabilities = calibration.probabilities(logits(of), of.reading.measured)
        return fit_conformal(probabilities, _numbers(of, types), of.people)

    known = Labelled.join([material.train, material.simulated])
    heads = Heads(
        types=types,
        weight=weight.astype(np.float32),
        bias=bias.astype(np.float32),
        simulated=sorted(set(material.simulated.studies) & set(types)),
        calibration=calibration,
        sets=sets(valid),
        partial_sets=sets(partial),
        novelty=fit_novelty(
            labelled_evidence(known, projection),
            labelled_evidence(material.valid, projection),
            types=types,
            shallow=evidence(material.shallow_valid.of_types(types).reading, projection),
            partial=evidence(partial.reading, projection),
        ),
    )
    return Readout(projection, heads)


def _partial(material: Material) -> Labelled:
    """Validation profiles that measure some of the genes only."""
    return Labelled.join([material.thinned_valid, material.valid_panels])


def _equally(parts: list[Labelled], types: list[str]) -> tuple[Labelled, npt.NDArray[np.float64]]:
    """Profiles one after the other, and weights by which patients, and then parts, are equal.

    Calibrated on whole profiles alone, the scale's slope along the measured share would rest on
    small differences between pipelines and run wild for panels.
    """
    weights = []
    for part in parts:
        own = patient_weights(part.people, _numbers(part, types))
        weights.append(own / max(own.sum(), 1e-12))
    return Labelled.join(parts), np.concatenate(weights)


def labelled_evidence(profiles: Labelled, projection: Projection) -> LabelledEvidence:
    """The evidence with its labels."""
    labels = profiles.labels
    return LabelledEvidence(
        evidence(profiles.reading, projection),
        [label.study for label in labels],
        np.array([label.sample_type == "tumor" for label in labels], bool),
        [cohort_of(label) for label in labels],
        [pipeline_of(label.source, label.unit) for label in labels],
        [label.person for label in labels],
    )


def _numbers(profiles: Labelled, types: list[str]) -> npt.NDArray[np.int64]:
    """(N,) place of each study in `types`."""
    return np.array([types.index(study) for study in profiles.studies], np.int64)


def _fit_types(
    material: Material, projection: Projection, types: list[str]
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Logistic regression of equal types, drawn to their means: (K, E) and (K,)."""
    from sklearn.linear_model import LogisticRegression

    whole = Labelled.join([material.train, material.simulated]).of_types(types)
    # A type that panels alone would teach, beside a few whole profiles, would lie where panels do.
    taught = known_types(tumor_patients(material.train.labels)) + material.simulated.studies
    panels = material.panels.of_types([name for name in types if name in taught])
    thinned = material.thinned.of_types(types)
    fitting = Labelled.join([whole, panels, thinned])
    choosing, equal = _equally(
        [material.valid.of_types(types), _partial(material).of_types(types)], types
    )
    x, xv = (_embeddings(some.reading, projection) for some in (fitting, choosing))
    y, yv = _numbers(fitting, types), _numbers(choosing, types)
    # One scale for all columns: standardising each would undo the projection's weights.
    scale = max(float(x.std(axis=0).mean()), 1e-6)
    weights = class_weights(fitting.studies).astype(np.float32)
    weights[len(whole) :] *= PANEL_WEIGHT
    weights[len(whole) + len(panels) :] *= THINNED_WEIGHT / PANEL_WEIGHT
    means = _mean_directions(whole, material.shifted, projection, types)
    best: tuple[float, npt.NDArray[np.float64], npt.NDArray[np.float64]] | None = None
    for strength in STRENGTHS:
        model = LogisticRegression(C=strength, max_iter=2000, tol=_TOLERANCE)
        model.fit(x / scale, y, sample_weight=weights)
        weight, bias = _for_every_class(model, scale, len(types))
        weight = weight + MEAN_WEIGHT * means
        logits = xv @ weight.T + bias
        # Calibration comes after, so strengths are compared each at its own best scale.
        calibrated = fit_calibration(logits, yv, choosing.reading.measured, equal)
        p = calibrated.probabilities(logits, choosing.reading.measured)[np.arange(len(yv)), yv]
        loss = float(-(equal * np.log(np.maximum(p, 1e-12))).sum())
        if best is None or loss < best[0]:
            best = loss, weight, bias
    assert best is not None  # noqa: S101 - STRENGTHS is not empty
    return best[1], best[2]


def _mean_directions(
    whole: Labelled, shifted: Labelled, projection: Projection, types: list[str]
) -> npt.NDArray[np.float64]:
    """(K, E) mean embedding of each type, of unit length.

    Profiles as they are and moved to other pipelines count as one half each, so that a type met in
    one pipeline has its mean between several.
    """
    parts = [
        (np.array(some.studies), _embeddings(some.reading, projection))
        for some in (whole, shifted.of_types(types))
    ]
    means = [
        np.mean(
            [x[studies == name].mean(axis=0) for studies, x in parts if name in studies], axis=0
        )
        for name in types
    ]
    return unit(np.array(means))


def _embeddings(reading: Reading, projection: Projection) -> FloatArray:
    """(S, E) of unit length."""
    return unit_length(projection.apply(reading.raw, reading.measured))


def _for_every_class(
    model: object, scale: float, K: int
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """(K, E) and (K,); of two classes scikit-learn gives the logit of the second alone."""
    weight = np.asarray(model.coef_, np.float64) / scale  # type: ignore[attr-defined]
    bias = np.asarray(model.intercept_, np.float64)  # type: ignore[attr-defined]
    if K == 2:
        return np.concatenate([-weight, weight]) / 2, np.concatenate([-bias, bias]) / 2
    return weight, bias
