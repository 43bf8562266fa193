"""The form that every method of the comparison has, and the two classifiers that most end in.

A *method* says of each profile, seen through `Views`, how probable each of its types is. A *fit*
makes methods of training and validation rows of the corpus, everything anew, so that one loop can
ask any question (whole training set, a source left out, one unit only) of all of them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from specformer_encoder.embedder import Embedder
from specformer_encoder.evaluate.views import Views

Rows = list[int]
Probabilities = npt.NDArray[np.float64]

NEIGHBOURS = 5
#: Inverse regularisation strengths that are tried, in half decades.
STRENGTHS = (0.03, 0.1, 0.3, 1.0)
#: Where the optimiser stops, as scikit-learn and the release have it.
_TOLERANCE = 1e-4


class Predictor(Protocol):
    """What is fitted and answers for rows of the corpus."""

    @property
    def types(self) -> list[str]:
        """K names."""

    def probabilities(self, rows: Rows) -> Probabilities:
        """(n, K) probability of each type."""


class Fit(Protocol):
    """Fits methods behind whatever they embed with, on the rows it is given and on no others."""

    def __call__(self, train: Rows, valid: Rows, *, types: list[str]) -> Mapping[str, Predictor]:
        """Fit on `train`, choose on `valid`, for tumours of `types`; name → predictor.

        The rows are all that may be used: tumours and normals, whole profiles and panels.
        """


def named(name: str, fit: Callable[..., Predictor]) -> Fit:
    """A fit of one method from a function `(train, valid, *, types)` that gives its predictor."""
    return lambda train, valid, *, types: {name: fit(train, valid, types=types)}


class Features(Protocol):
    """A fixed way from views to a matrix for a classifier."""

    def of(self, views: Views) -> Any:
        """(n, F) dense or sparse."""


class Embedded:
    """The release's embedding as features."""

    def of(self, views: Views) -> Any:
        """(n, E)."""
        return views.vectors


class Method(Protocol):
    """What answers for profiles, wherever they come from."""

    @property
    def types(self) -> list[str]:
        """K names."""

    def of(self, views: Views) -> Probabilities:
        """(n, K) probability of each type."""


@dataclass(frozen=True, slots=True)
class Classifier:
    """Features and a fitted scikit-learn classifier of them."""

    features: Features
    model: Any

    @property
    def types(self) -> list[str]:
        """K names."""
        return [str(name) for name in self.model.classes_]

    def of(self, views: Views) -> Probabilities:
        """(n, K) probability of each type."""
        return np.asarray(self.model.predict_proba(self.features.of(views)), np.float64)


@dataclass(frozen=True, slots=True)
class Shipped:
    """The release's own predictor, as it is served."""

    embedder: Embedder

    @property
    def types(self) -> list[str]:
        """K names."""
        return self.embedder.release.heads.types

    def of(self, views: Views) -> Probabilities:
        """(n, K) calibrated probability of each type."""
        predictions = self.embedder.predict(views.reading)
        return np.array([[p.probabilities[name] for name in self.types] for p in predictions])


@dataclass(frozen=True, slots=True)
class OnCorpus:
    """A method as a predictor of rows of the corpus whose views are kept."""

    method: Method
    views: Views

    @property
    def types(self) -> list[str]:
        """K names."""
        return self.method.types

    def probabilities(self, rows: Rows) -> Probabilities:
        """(n, K) probability of each type."""
        return self.method.of(self.views.take(rows))


def logistic(x: Any, y: list[str], *, valid: Any, valid_y: list[str], scale: bool = True) -> Any:
    """Multinomial logistic regression; validation log-loss chooses among `STRENGTHS`.

    Strengths are tried from the weakest fit to the strongest until the loss rises.

    Parameters
    ----------
    x, valid
        (N, F) and (M, F) features, sparse ones only without scaling.
    y, valid_y
        N and M type names; every one of `valid_y` is in `y`.
    scale
        Whether columns are standardised first.
    """
    steps = [StandardScaler()] if scale else []
    best, least = None, np.inf
    for strength in STRENGTHS:
        model = LogisticRegression(C=strength, max_iter=2000, tol=_TOLERANCE)
        fit = make_pipeline(*steps, model).fit(x, y)
        loss = log_loss(valid_y, fit.predict_proba(valid), labels=fit.classes_)
        # Weaker regularisation takes longest, and once the loss rises it goes on rising.
        if loss >= least:
            break
        best, least = fit, loss
    return best


def neighbours(x: Any, y: list[str]) -> Any:
    """Vote of the nearest training vectors by cosine."""
    number = min(NEIGHBOURS, x.shape[0])
    return KNeighborsClassifier(number, metric="cosine", algorithm="brute").fit(x, y)


def top(probabilities: Probabilities, types: list[str]) -> list[str]:
    """The most probable type of each row."""
    return [types[k] for k in probabilities.argmax(axis=1)]
