"""What a release has to beat: plain methods on the same profiles, fitted in the same run.

Profiles become ranks within the sample (mean rank of ties, scaled to 0-1), so unit and library
size do not matter to the baselines either. A gene that a profile does not measure takes the
training mean, which is what is usually done with PCA.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from specformer_encoder.heads import STRENGTHS
from specformer_encoder.ordering import quantile_values, rank_quantiles

FloatArray = npt.NDArray[np.float32]

COMPONENTS = 256
NEIGHBOURS = 5


@dataclass(frozen=True, slots=True)
class Predictions:
    """Names predicted for the test profiles by one method."""

    method: str
    types: list[str]


def knn(x: FloatArray, y: list[str], test: FloatArray) -> list[str]:
    """Majority of the nearest training vectors by cosine."""
    model = KNeighborsClassifier(min(NEIGHBOURS, len(x)), metric="cosine").fit(x, y)
    return [str(name) for name in model.predict(test)]


def rank_baselines(
    train: FloatArray,
    y: list[str],
    test: FloatArray,
    *,
    valid: FloatArray,
    valid_y: list[str],
    seed: int = 0,
) -> list[Predictions]:
    """PCA-256 + logistic regression, and kNN on the same components.

    Parameters
    ----------
    train, test
        (N, V) and (M, V) linear expression, NaN where not measured.
    y
        N type names.
    valid, valid_y
        Choose the strength of the regularisation, as they do for the release.
    seed
        Of the randomised PCA.

    Returns
    -------
    One `Predictions` a baseline, M names each.
    """
    x, mean = _ranks(train, None)
    z, _ = _ranks(test, mean)
    pca = PCA(min(COMPONENTS, len(x) - 1), svd_solver="randomized", random_state=seed)
    components, test_components = pca.fit_transform(x), pca.transform(z)
    held_out = pca.transform(_ranks(valid, mean)[0])
    fits = [
        make_pipeline(StandardScaler(), LogisticRegression(C=strength, max_iter=2000)).fit(
            components, y
        )
        for strength in STRENGTHS
    ]
    logistic = max(fits, key=lambda fit: fit.score(held_out, valid_y))
    return [
        Predictions(
            "PCA-256 + logistic regression",
            [str(name) for name in logistic.predict(test_components)],
        ),
        Predictions("PCA-256 + kNN", knn(components, y, test_components)),
    ]


def _ranks(values: FloatArray, mean: FloatArray | None) -> tuple[FloatArray, FloatArray]:
    """Rank quantiles with missing genes filled by `mean`, that of these profiles by default."""
    ranks = quantile_values(np.stack([rank_quantiles(row) for row in values]))
    if mean is None:
        known = ~np.isnan(ranks)
        mean = np.where(known, ranks, 0).sum(axis=0) / np.maximum(known.sum(axis=0), 1)
    return np.where(np.isnan(ranks), mean, ranks).astype(np.float32), mean.astype(np.float32)
