r"""From a sample's embedding to a cancer type, and how sure that is.

Statements are made of one embedding, each fitted on training patients and set on validation
patients:

* Probabilities of the types the release knows: multinomial logistic regression in which every type
  weighs the same, however many patients it has, so that a type with few is not explained away by
  one with many; calibrated (`doubt.Calibration`).
* Conformal prediction sets at three levels (`doubt.ConformalSets`). A set may be empty: no type is
  likely enough to be named at that level.
* Whether the sample is like any tumour of the known types, and whether it is a tumour at all
  (`novelty`).

Serving needs numpy alone; `readout` fits.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from specformer_encoder.corpus.labels import SampleLabel
from specformer_encoder.doubt import PARTIAL, Calibration, ConformalSets
from specformer_encoder.novelty import Evidence, Novelty

FloatArray = npt.NDArray[np.float32]
DoubleArray = npt.NDArray[np.float64]

#: Level of the prediction set that an answer leads with.
COVERAGE = 0.9
#: A type with genome-wide tumours of fewer training patients is not among the types a release
#: knows.
MINIMUM_TUMORS = 10


@dataclass(frozen=True, slots=True)
class TypePrediction:
    """What the release says of one sample.

    Attributes
    ----------
    probabilities
        Cancer type → calibrated probability, highest first; they sum to 1 over the types known.
    prediction_sets
        Level → types that the conformal set of that coverage holds, highest probability first; an
        empty set says that no type is likely enough to be named at that level.
    typicality
        Share of validation tumours of known types that are at least as odd; small means unlike.
    out_of_distribution
        Whether the sample is unlike the training tumours, so that the probabilities, which share
        out certainty among known types only, should not be believed.
    reasons
        Why, one sentence each; empty when `out_of_distribution` is false.
    tumor_probability
        Probability that the tissue is tumour rather than normal.
    """

    probabilities: dict[str, float]
    prediction_sets: dict[float, list[str]]
    typicality: float
    out_of_distribution: bool
    reasons: list[str]
    tumor_probability: float

    @property
    def top_type(self) -> str:
        """The most probable type."""
        return next(iter(self.probabilities))

    @property
    def prediction_set(self) -> list[str]:
        """The set at `COVERAGE`."""
        return self.prediction_sets[COVERAGE]


@dataclass(frozen=True, slots=True)
class Heads:
    """Fitted parameters; K types, E dimensions. `tensors` and `settings` take them to a file.

    Attributes
    ----------
    types
        K names, e.g. ``TCGA-LUAD``.
    weight, bias
        (K, E) and (K,) of the logistic regression.
    simulated
        Those of the types that were learnt from tumours simulated from published cohort medians
        (see `simulate`), not from real ones alone.
    calibration
        Of the logits.
    sets, partial_sets
        Thresholds of the prediction sets, for whole profiles and for those that measure less than
        `PARTIAL` of the genes.
    novelty
        What an odd sample is.
    """

    types: list[str]
    weight: FloatArray
    bias: FloatArray
    simulated: list[str]
    calibration: Calibration
    sets: ConformalSets
    partial_sets: ConformalSets
    novelty: Novelty

    def tensors(self) -> dict[str, FloatArray]:
        """The arrays by name, in C order, for safetensors writes bytes as they lie."""
        own = {name: getattr(self, name) for name in ("weight", "bias")}
        return {name: np.ascontiguousarray(array) for name, array in own.items()} | {
            f"{part}.{name}": array
            for part, fitted in (
                ("sets", self.sets),
                ("partial_sets", self.partial_sets),
                ("novelty", self.novelty),
            )
            for name, array in fitted.tensors().items()
        }

    def settings(self) -> dict[str, Any]:
        """The other parameters by name, as JSON takes them."""
        return {
            "types": self.types,
            "simulated": self.simulated,
            "calibration": self.calibration.settings(),
            "sets": self.sets.settings(),
            "partial_sets": self.partial_sets.settings(),
            "novelty": self.novelty.settings(),
        }

    @classmethod
    def of(cls, tensors: Mapping[str, FloatArray], settings: Mapping[str, Any]) -> Heads:
        """The heads of what `tensors` and `settings` gave."""

        def part(name: str) -> dict[str, Any]:
            prefix = f"{name}."
            arrays = {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}
            merged: dict[str, Any] = arrays | settings[name]
            return merged

        return cls(
            types=settings["types"],
            weight=tensors["weight"],
            bias=tensors["bias"],
            simulated=settings["simulated"],
            calibration=Calibration(**settings["calibration"]),
            sets=ConformalSets(**part("sets")),
            partial_sets=ConformalSets(**part("partial_sets")),
            novelty=Novelty.of(part("novelty")),
        )

    def logits(self, embeddings: FloatArray) -> DoubleArray:
        """(S, E) embeddings → (S, K)."""
        return np.asarray(
            embeddings.astype(np.float64) @ self.weight.T.astype(np.float64) + self.bias
        )

    def probabilities(self, embeddings: FloatArray, share: npt.NDArray[Any]) -> DoubleArray:
        """Calibrated probabilities.

        Parameters
        ----------
        embeddings
            (S, E).
        share
            (S,) share of the vocabulary that is measured.

        Returns
        -------
        (S, K).
        """
        return self.calibration.probabilities(self.logits(embeddings), share)

    def predict(self, embeddings: FloatArray, evidence: Evidence) -> list[TypePrediction]:
        """Everything about each of S samples.

        Parameters
        ----------
        embeddings
            (S, E) of unit length.
        evidence
            What novelty is judged by.
        """
        probability = self.probabilities(embeddings, evidence.measured)
        normal = self.novelty.normal_logit(evidence.vectors)
        odd = self.novelty.judge(evidence)
        flagged = odd.flagged()
        partial = (evidence.measured < PARTIAL)[:, None]
        members = {
            level: np.where(
                partial,
                self.partial_sets.members(probability, level),
                self.sets.members(probability, level),
            )
            for level in self.sets.levels
        }
        predictions = []
        for row, p in enumerate(probability):
            order = np.argsort(-p, kind="stable")
            predictions.append(
                TypePrediction(
                    probabilities={self.types[k]: float(p[k]) for k in order},
                    prediction_sets={
                        level: [self.types[k] for k in order if inside[row, k]]
                        for level, inside in members.items()
                    },
                    typicality=float(odd.typicality[row]),
                    out_of_distribution=bool(flagged[row]),
                    reasons=odd.reasons(row),
                    tumor_probability=float(1 / (1 + np.exp(normal[row]))),
                )
            )
        return predictions


def known_types(patients: Mapping[str, int]) -> list[str]:
    """TCGA types with tumours of at least `MINIMUM_TUMORS` patients, by name."""
    return sorted(
        study for study, n in patients.items() if study.startswith("TCGA-") and n >= MINIMUM_TUMORS
    )


def tumor_patients(labels: Sequence[SampleLabel]) -> Counter[str]:
    """Patients with a tumour, by study."""
    pairs = {(label.study, label.person) for label in labels if label.sample_type == "tumor"}
    return Counter(study for study, _ in pairs)


def class_weights(y: Sequence[str]) -> DoubleArray:
    """(N,) weights by which every class counts the same; their mean is 1.

    Examples
    --------
    >>> class_weights(["a", "a", "a", "b"]).round(2).tolist()
    [0.67, 0.67, 0.67, 2.0]
    """
    _, group, size = np.unique(np.array(y), return_inverse=True, return_counts=True)
    return np.asarray(len(y) / (len(size) * size[group]))
