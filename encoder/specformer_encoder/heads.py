r"""From a sample's vector to a cancer type, and how sure that is.

Four statements are made of one embedding, each fitted on training patients and set on validation
patients:

* Probabilities of the types the release knows: multinomial logistic regression, its logits
  divided by one temperature (Guo et al., ICML 2017).
* A conformal prediction set: the types whose probability reaches :math:`1 - \hat q`, where
  :math:`\hat q` is the :math:`\lceil (n + 1) \cdot 0.9 \rceil / n` quantile of one minus the true
  type's probability, one profile a patient (split conformal; Sadinle et al., JASA 114:223, 2019).
  Over patients like the validation patients, with genome-wide profiles, it is made to hold the true
  type nine times in ten; the card says how often it did. It is never empty: the top type always
  belongs to it.
* The probability that the sample is a tumour at all: logistic regression against normal tissue.
* Whether the sample is like any training tumour: its Mahalanobis distance to the nearest type mean
  under one shared covariance (Lee et al., NeurIPS 2018), against the distances of validation
  tumours.

Serving needs numpy alone; fitting needs scikit-learn.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import numpy.typing as npt

from specformer_encoder.errors import CorpusError

FloatArray = npt.NDArray[np.float32]

COVERAGE = 0.9
#: A type with fewer genome-wide training tumours is not among the types a release knows.
MINIMUM_TUMORS = 10
#: Share of validation tumours that the distance threshold lets through.
IN_DISTRIBUTION = 0.975
#: Inverse regularisation strengths that are tried; validation log-loss chooses.
STRENGTHS = (0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0)


@dataclass(frozen=True, slots=True)
class TypePrediction:
    """What the release says of one sample.

    Attributes
    ----------
    probabilities
        Cancer type → calibrated probability, highest first; they sum to 1 over the types known.
    prediction_set
        Types that the conformal set holds, highest probability first.
    coverage
        Share of patients like the validation patients whose true type the set holds.
    out_of_distribution
        Whether the sample is unlike the training tumours, so that the probabilities, which share
        out certainty among known types only, should not be believed.
    reasons
        Why, one sentence each; empty when `out_of_distribution` is false.
    tumor_probability
        Probability that the tissue is tumour rather than normal.
    """

    probabilities: dict[str, float]
    prediction_set: list[str]
    coverage: float
    out_of_distribution: bool
    reasons: list[str]
    tumor_probability: float

    @property
    def top_type(self) -> str:
        """The most probable type."""
        return next(iter(self.probabilities))


@dataclass(frozen=True, slots=True)
class Heads:
    """Fitted parameters; K types, E dimensions. `tensors` and `settings` take them to a file.

    Attributes
    ----------
    types
        K names, e.g. ``TCGA-LUAD``.
    weight, bias
        (K, E) and (K,) of the logistic regression.
    temperature
        Divides the logits.
    threshold
        Smallest probability of a member of the prediction set, 1 − q̂.
    tumor_weight, tumor_bias
        (E,) and () of tumour against normal.
    means, whitening
        (K, E) type means and (E, E) W such that the squared Mahalanobis distance is |W (z − μ)|².
    distance_limit
        Largest ordinary distance.
    """

    types: list[str]
    weight: FloatArray
    bias: FloatArray
    temperature: float
    threshold: float
    tumor_weight: FloatArray
    tumor_bias: float
    means: FloatArray
    whitening: FloatArray
    distance_limit: float

    def tensors(self) -> dict[str, FloatArray]:
        """The array parameters by name, in C order, for safetensors writes bytes as they lie."""
        arrays = {
            f.name: v for f in fields(self) if isinstance(v := getattr(self, f.name), np.ndarray)
        }
        return {name: np.ascontiguousarray(array) for name, array in arrays.items()}

    def settings(self) -> dict[str, Any]:
        """The other parameters by name, as JSON takes them."""
        return {
            f.name: v
            for f in fields(self)
            if not isinstance(v := getattr(self, f.name), np.ndarray)
        }

    def probabilities(self, embeddings: FloatArray) -> npt.NDArray[np.float64]:
        """(S, E) → (S, K) calibrated probabilities."""
        return softmax(self._logits(embeddings) / self.temperature)

    def _logits(self, embeddings: FloatArray) -> npt.NDArray[np.float64]:
        return embeddings.astype(np.float64) @ self.weight.T.astype(np.float64) + self.bias

    def tumor_probability(self, embeddings: FloatArray) -> npt.NDArray[np.float64]:
        """(S, E) → (S,) probability of tumour against normal."""
        logit = embeddings.astype(np.float64) @ self.tumor_weight + self.tumor_bias
        return np.asarray(1 / (1 + np.exp(-logit)))

    def distance(self, embeddings: FloatArray) -> npt.NDArray[np.float64]:
        """(S, E) → (S,) Mahalanobis distance to the nearest type mean."""
        z = embeddings.astype(np.float64) @ self.whitening.T
        means = self.means.astype(np.float64) @ self.whitening.T
        squared = ((z[:, None, :] - means[None]) ** 2).sum(axis=2)
        return np.asarray(np.sqrt(squared.min(axis=1)))

    def predict(self, embeddings: FloatArray) -> list[TypePrediction]:
        """Everything about each of (S, E) embeddings."""
        rows = zip(
            self.probabilities(embeddings),
            self.tumor_probability(embeddings),
            self.distance(embeddings),
            strict=True,
        )
        return [self._one(p, float(tumor), float(distance)) for p, tumor, distance in rows]

    def _one(
        self, probability: npt.NDArray[np.float64], tumor: float, distance: float
    ) -> TypePrediction:
        order = np.argsort(-probability, kind="stable")
        named = {self.types[k]: float(probability[k]) for k in order}
        inside = [name for name, p in named.items() if p >= self.threshold]
        reasons = []
        if distance > self.distance_limit:
            reasons.append(
                f"It is farther from every known tumour type than {IN_DISTRIBUTION:.1%} of "
                f"validation tumours are (distance {distance:.1f}, limit "
                f"{self.distance_limit:.1f})."
            )
        if tumor < 0.5:
            reasons.append(f"It looks like normal tissue (probability of tumour {tumor:.2f}).")
        return TypePrediction(
            probabilities=named,
            prediction_set=inside or [next(iter(named))],
            coverage=COVERAGE,
            out_of_distribution=bool(reasons),
            reasons=reasons,
            tumor_probability=tumor,
        )


def softmax(logits: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Row-wise softmax."""
    shifted = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray(shifted / shifted.sum(axis=1, keepdims=True))


def known_types(patients: Mapping[str, int]) -> list[str]:
    """TCGA types with tumours of at least `MINIMUM_TUMORS` patients, by name."""
    return sorted(
        study for study, n in patients.items() if study.startswith("TCGA-") and n >= MINIMUM_TUMORS
    )


@dataclass(frozen=True, slots=True)
class LabelledEmbeddings:
    """Embeddings of one split with what is known of them.

    Attributes
    ----------
    vectors
        (N, E).
    studies
        N study names; the type where `tumor` is true.
    tumor
        (N,) bool.
    patients
        N names; profiles of one patient share theirs.
    """

    vectors: FloatArray
    studies: list[str]
    tumor: npt.NDArray[np.bool_]
    patients: list[str]

    def tumor_patients(self) -> Counter[str]:
        """Patients with a tumour, by study."""
        rows = zip(self.studies, self.patients, self.tumor, strict=True)
        return Counter(study for study, _ in {(s, p) for s, p, tumor in rows if tumor})

    def of_types(self, types: list[str]) -> LabelledEmbeddings:
        """The tumours whose type is among `types`."""
        keep = [i for i, s in enumerate(self.studies) if self.tumor[i] and s in types]
        return LabelledEmbeddings(
            self.vectors[keep],
            [self.studies[i] for i in keep],
            self.tumor[keep],
            [self.patients[i] for i in keep],
        )

    def numbers(self, types: list[str]) -> npt.NDArray[np.int64]:
        """(N,) place of each study in `types`."""
        return np.array([types.index(study) for study in self.studies], np.int64)


def fit_heads(train: LabelledEmbeddings, valid: LabelledEmbeddings, types: list[str]) -> Heads:
    """Fit all heads.

    Parameters
    ----------
    train
        Fits every weight, mean and covariance.
    valid
        Chooses the regularisation, the temperature and the thresholds.
    types
        The types to know; see `known_types`.

    Returns
    -------
    Heads
        Ready to be saved.

    Raises
    ------
    CorpusError
        If fewer than two types have enough training tumours, or validation has none of them.
    """
    fitting, setting = train.of_types(types), valid.of_types(types)
    x, y = fitting.vectors, fitting.numbers(types)
    xv, yv = setting.vectors, setting.numbers(types)
    if len(types) < 2 or not len(yv):
        raise CorpusError(
            f"The corpus has {len(types)} cancer types with at least {MINIMUM_TUMORS} training "
            f"tumours and {len(yv)} validation tumours of them; two types and some validation "
            "tumours are needed.",
            "Add labelled tumours, or fix the split column of samples.tsv.",
        )
    weight, bias = _fit_types(x, y, xv, yv)
    logits = xv.astype(np.float64) @ weight.T + bias
    temperature = _fit_temperature(logits, yv)
    # Conformal prediction counts on exchangeable cases: patients are, profiles of one are not.
    _, one_each = np.unique(np.array(setting.patients), return_index=True)
    true = softmax(logits / temperature)[np.arange(len(yv)), yv][one_each]
    tumor_weight, tumor_bias = _fit_tumor(train, valid)
    means = np.stack([x[y == k].mean(axis=0) for k in range(len(types))])
    whitening = _whitening(x - means[y])
    heads = Heads(
        types=types,
        weight=weight.astype(np.float32),
        bias=bias.astype(np.float32),
        temperature=temperature,
        threshold=1 - conformal_quantile(1 - true, COVERAGE),
        tumor_weight=tumor_weight.astype(np.float32),
        tumor_bias=tumor_bias,
        means=means.astype(np.float32),
        whitening=whitening.astype(np.float32),
        distance_limit=0.0,
    )
    limit = float(np.quantile(heads.distance(xv), IN_DISTRIBUTION))
    return Heads(**{**heads.tensors(), **heads.settings(), "distance_limit": limit})


def conformal_quantile(scores: npt.NDArray[np.float64], coverage: float) -> float:
    """The split-conformal quantile of nonconformity scores.

    Examples
    --------
    >>> conformal_quantile(np.arange(1, 10) / 10, 0.9)
    0.9
    """
    rank = int(np.ceil((len(scores) + 1) * coverage))
    # With too few scores for the coverage, only the set of all types has it.
    return 1.0 if rank > len(scores) else float(np.sort(scores)[rank - 1])


def _standardised_logistic(
    x: FloatArray, y: npt.NDArray[Any], strength: float
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Logistic regression on standardised columns, a row a class, given back for plain columns."""
    from sklearn.linear_model import LogisticRegression

    mean, spread = x.mean(axis=0), np.maximum(x.std(axis=0), 1e-6)
    model = LogisticRegression(C=strength, max_iter=2000).fit((x - mean) / spread, y)
    weight, bias = model.coef_ / spread, model.intercept_
    if len(weight) == 1:  # two classes: scikit-learn gives the logit of the second alone
        weight, bias = np.concatenate([-weight, weight]) / 2, np.concatenate([-bias, bias]) / 2
    return weight, bias - weight @ mean


def _fit_types(
    x: FloatArray, y: npt.NDArray[np.int64], xv: FloatArray, yv: npt.NDArray[np.int64]
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    fits = [_standardised_logistic(x, y, strength) for strength in STRENGTHS]
    losses = [_log_loss(xv.astype(np.float64) @ w.T + b, yv) for w, b in fits]
    return fits[int(np.argmin(losses))]


def _fit_tumor(
    train: LabelledEmbeddings, valid: LabelledEmbeddings
) -> tuple[npt.NDArray[np.float64], float]:
    """Tumour against normal; without normals in the corpus the head says tumour, always."""
    if train.tumor.all() or valid.tumor.all():
        return np.zeros(train.vectors.shape[1]), 10.0
    best: tuple[float, npt.NDArray[np.float64], float] | None = None
    for strength in STRENGTHS:
        weight, bias = _standardised_logistic(train.vectors, train.tumor, strength)
        logits = valid.vectors.astype(np.float64) @ weight.T + bias
        loss = _log_loss(logits, valid.tumor.astype(np.int64))
        if best is None or loss < best[0]:
            best = loss, weight[1] - weight[0], float(bias[1] - bias[0])
    assert best is not None  # noqa: S101 - STRENGTHS is not empty
    return best[1], best[2]


def _log_loss(logits: npt.NDArray[np.float64], y: npt.NDArray[np.int64]) -> float:
    return float(-np.log(softmax(logits)[np.arange(len(y)), y].clip(1e-12)).mean())


def _fit_temperature(logits: npt.NDArray[np.float64], y: npt.NDArray[np.int64]) -> float:
    """The temperature with the lowest validation log-loss, on a fine grid."""
    grid = np.exp(np.linspace(np.log(0.25), np.log(4), 161))
    return float(min(grid, key=lambda t: _log_loss(logits / t, y)))


def _whitening(residuals: FloatArray) -> npt.NDArray[np.float64]:
    """W with WᵀW the inverse of the shared covariance, shrunk as Ledoit and Wolf do."""
    from sklearn.covariance import ledoit_wolf

    covariance, _ = ledoit_wolf(residuals.astype(np.float64), assume_centered=True)
    values, vectors = np.linalg.eigh(covariance)
    return np.asarray((vectors / np.sqrt(values)).T)
