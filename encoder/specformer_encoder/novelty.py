r"""Whether a sample is like any tumour of the types that the release knows.

A classifier shares its certainty out among the types it was taught; it is as sure of a normal
kidney, a leukaemia or a file with its gene names mixed up. Four questions are asked instead, each
answered by a p-value: the share of validation tumours of known types that are at least as odd.

* **Distance** to the nearest type: squared Mahalanobis distance of the projected profile x (the
  embedding before it is scaled to unit length) to a type's mean μ from n training profiles,

  .. math:: d^2 = \min_k \frac{(x - μ_k)^\top Σ^{-1} (x - μ_k)}{1 + 1/n_k}, \quad
            Σ = S_w + \frac{1}{2} S_p + \frac{\mathrm{tr} S_w}{E} I

  (K. Lee et al., NeurIPS 2018). S_w is the scatter within types, large types counting no more than
  60 profiles. S_p is the scatter of one cohort's means between pipelines: without it, a pipeline
  that is new looks like a new disease. The denominator is that of the predictive distribution, for
  the mean of twelve profiles is itself uncertain.
* **Normal tissue**: the logit of a logistic regression of normal tissue against known tumours.
* **Misfit**: how unlikely the gene-to-gene pattern of the profile is under the factor model with
  loadings W and noise ψ, by the squared Mahalanobis distance of its centred ranks x per measured
  gene, :math:`x^\top (W W^\top + Ψ)^{-1} x / n = (|x - W z|^2_Ψ + |z|^2) / n`. It is near 1 for any
  number of genes. Swapped or scrambled genes, another species, noise, tissue that the factors have
  never met. The reference also holds thinned and shallow views of the validation tumours, since a
  poor measurement of a known tumour is still one. The share of variance explained would do for
  scrambled genes, but not for a new tissue, of which the factors explain much and leave more.
* **Lineages**: the content of cells that any piece of tissue holds; see `lineages`. Cell lines.

A profile that measures less than half of the genes is held against partial views of the validation
tumours and against their gene panels, for each question: fewer genes leave it nearer to the centre
of all profiles, and so farther from every type.

They become one number as in the weighted Bonferroni method, :math:`c = \min_j p_j / w_j` with
weights that sum to one (C. Genovese, K. Roeder, L. Wasserman, Biometrika 93:509, 2006). That bounds
a p-value. The typicality of a profile is the share of validation tumours whose c is no larger,
theirs being taken against the other validation tumours.

What was tried besides on validation patients and was worse for some kind of odd profile: relative
Mahalanobis distance (J. Ren et al., 2021), cosine and k nearest neighbours (of the types held out,
one has an area under the ROC curve below 0.8), largest logit and energy (0.85), logistic regression
against everything else in the corpus (blind to what the corpus lacks), Simes' and Fisher's
combinations.

Scoring needs numpy alone; `novelty_fit` fits.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import numpy.typing as npt

from specformer_encoder.doubt import PARTIAL
from specformer_encoder.projection import unit

FloatArray = npt.NDArray[np.float32]
DoubleArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

#: Share of known tumours that may be flagged.
LEVEL = 0.05
#: The questions and their share of that level. Normal tissue and mixed-up genes lie so far out
#: that a small share does for them; a type that was never seen needs the most.
QUESTIONS = {"distance": 0.5, "normal": 0.15, "misfit": 0.25, "lineages": 0.1}
WEIGHTS = np.array(list(QUESTIONS.values()))
_ARRAYS = ("means", "whitening", "sizes", "normal_weight")


@dataclass(frozen=True, slots=True)
class Evidence:
    """What novelty is judged by; S profiles.

    Attributes
    ----------
    vectors
        (S, E) projected profiles before they are scaled to unit length.
    misfit
        (S,) squared Mahalanobis distance under the factor model, per measured gene.
    lineages
        (S,) of `lineages.lineage_content`; NaN where it says nothing.
    measured
        (S,) share of the vocabulary's genes that the profile measures.
    """

    vectors: FloatArray
    misfit: FloatArray
    lineages: FloatArray
    measured: FloatArray

    def __len__(self) -> int:
        return len(self.vectors)

    def rows(self, rows: IntArray) -> Evidence:
        """Some of the profiles, by number."""
        return Evidence(*(getattr(self, f.name)[rows] for f in fields(self)))


@dataclass(frozen=True, slots=True)
class Oddness:
    """How odd S profiles are.

    Attributes
    ----------
    parts
        (S, 4) the p-value of each of `QUESTIONS`: the share of validation tumours whose answer is
        at least as odd; 1 where the question could not be asked.
    typical
        (S, 4) the typicality that each question by itself would give.
    nearest
        (S,) number of the nearest type.
    """

    parts: DoubleArray
    typical: DoubleArray
    nearest: npt.NDArray[np.int64]

    @property
    def typicality(self) -> DoubleArray:
        """(S,) from 0 to 1: the share of validation tumours of known types at least as odd."""
        return np.asarray(self.typical.min(axis=1))

    def flagged(self, level: float = LEVEL) -> npt.NDArray[np.bool_]:
        """(S,) whether the type probabilities should not be believed."""
        return np.asarray(self.typicality <= level)

    def reasons(self, row: int, *, level: float = LEVEL) -> list[str]:
        """Why one profile is flagged, a sentence each; empty where it is not."""
        texts = {
            "distance": "It is farther from every known tumour type than {share} of validation "
            "tumours of known types are: its type may not be among those this release knows.",
            "normal": "It looks like normal tissue, more than {share} of validation tumours do.",
            "misfit": "Its gene-to-gene pattern is not that of an expression profile: {share} of "
            "validation tumours fit better. Are genes swapped, or is it another species?",
            "lineages": "It lacks the vessels, connective tissue and immune cells of a piece of "
            "tissue: {share} of validation tumours hold more of them. Is it a cell line?",
        }
        return [
            texts[name].format(share=f"{1 - p:.1%}")
            for name, p, typical in zip(QUESTIONS, self.parts[row], self.typical[row], strict=True)
            if typical <= level
        ]


@dataclass(frozen=True, slots=True)
class References:
    """What a profile is held against.

    Attributes
    ----------
    distance, normal, misfit, lineages
        The scores of validation tumours that each question compares with, ascending; larger is
        odder.
    combined
        (n,) c of those tumours, ascending.
    """

    distance: FloatArray
    normal: FloatArray
    misfit: FloatArray
    lineages: FloatArray
    combined: FloatArray

    def typical(self, scores: FloatArray) -> tuple[DoubleArray, DoubleArray]:
        """(S, 4) scores → (S, 4) p-values, and the typicality that each would give by itself."""
        parts = np.stack(
            [p_values(scores[:, j], getattr(self, name)) for j, name in enumerate(QUESTIONS)],
            axis=1,
        )
        # The least weighted p-value is the oddest: p_values counts what is at least as large.
        weighted = (parts / WEIGHTS).astype(np.float32)
        return parts, p_values(-weighted.ravel(), -self.combined[::-1]).reshape(parts.shape)


@dataclass(frozen=True, slots=True)
class Novelty:
    """Fitted parameters; K types, E dimensions. `tensors` and `settings` take them to a file.

    Attributes
    ----------
    types
        K names.
    means
        (K, E) type means.
    whitening
        (E, E) W with WᵀW = Σ⁻¹.
    sizes
        (K,) training profiles of each type, n.
    normal_weight, normal_bias
        (E,) and () of the logit of normal tissue, on unit vectors.
    whole, partial
        What profiles are held against, those that measure less than `doubt.PARTIAL` of the genes
        against the second.
    """

    types: list[str]
    means: FloatArray
    whitening: FloatArray
    sizes: FloatArray
    normal_weight: FloatArray
    normal_bias: float
    whole: References
    partial: References

    def tensors(self) -> dict[str, FloatArray]:
        """The array parameters by name, in C order, for safetensors writes bytes as they lie."""
        named = {name: getattr(self, name) for name in _ARRAYS} | {
            f"{part}.{f.name}": getattr(getattr(self, part), f.name)
            for part in ("whole", "partial")
            for f in fields(References)
        }
        return {name: np.ascontiguousarray(array) for name, array in named.items()}

    def settings(self) -> dict[str, Any]:
        """The other parameters by name, as JSON takes them."""
        return {"types": self.types, "normal_bias": self.normal_bias}

    @classmethod
    def of(cls, given: Mapping[str, Any]) -> Novelty:
        """The novelty of what `tensors` and `settings` gave together."""

        def references(part: str) -> References:
            return References(*(given[f"{part}.{f.name}"] for f in fields(References)))

        arrays = {name: given[name] for name in _ARRAYS}
        return cls(
            types=given["types"],
            normal_bias=given["normal_bias"],
            whole=references("whole"),
            partial=references("partial"),
            **arrays,
        )

    def distances(self, vectors: FloatArray) -> DoubleArray:
        """(S, E) → (S, K) squared distance to every type."""
        x = vectors.astype(np.float64) @ self.whitening.T
        means = self.means.astype(np.float64) @ self.whitening.T
        squared = (x**2).sum(axis=1)[:, None] - 2 * x @ means.T + (means**2).sum(axis=1)
        return np.asarray(np.maximum(squared, 0) / (1 + 1 / self.sizes))

    def normal_logit(self, vectors: FloatArray) -> DoubleArray:
        """(S, E) → (S,) logit of normal tissue against a known tumour."""
        return np.asarray(unit(vectors) @ self.normal_weight + self.normal_bias, np.float64)

    def scores(self, evidence: Evidence) -> FloatArray:
        """(S, 4) of `QUESTIONS`, larger is odder; NaN where a question cannot be asked."""
        return self._scores(evidence, self.distances(evidence.vectors))

    def _scores(self, evidence: Evidence, distances: DoubleArray) -> FloatArray:
        columns = (
            distances.min(axis=1),
            self.normal_logit(evidence.vectors),
            evidence.misfit,
            -evidence.lineages,
        )
        return np.stack(columns, axis=1).astype(np.float32)

    def judge(self, evidence: Evidence) -> Oddness:
        """How odd each profile is, and which question says so."""
        distances = self.distances(evidence.vectors)
        scores = self._scores(evidence, distances)
        few = (evidence.measured < PARTIAL)[:, None]
        whole, partial = self.whole.typical(scores), self.partial.typical(scores)
        parts, typical = (np.where(few, b, a) for a, b in zip(whole, partial, strict=True))
        return Oddness(parts, typical, distances.argmin(axis=1))


def p_values(scores: FloatArray, reference: FloatArray) -> DoubleArray:
    """Conformal p-values, (1 + number of reference scores at least as large) / (n + 1).

    Parameters
    ----------
    scores
        (S,); NaN has p-value 1.
    reference
        (n,) ascending. Without any, every p-value is 1.

    Examples
    --------
    >>> p_values(np.array([0, 9], np.float32), np.array([1, 2, 3], np.float32)).tolist()
    [1.0, 0.25]
    """
    n = len(reference)
    at_least = n - np.searchsorted(reference, scores, side="left")
    return np.where(np.isnan(scores), 1.0, (1 + at_least) / (n + 1))
