"""What a release has to beat: plain methods on the same profiles, fitted in the same run.

PCA-256
    Principal components of the rank quantiles (mean rank of ties, 0 to 1). A gene that a profile
    does not measure takes the training mean, which is what is usually done.
PCA-256 + paired shifts
    Each training profile once more as it would look in the pipeline with which its own shares most
    samples (`paired_shift`). A shift is added to the components, which are linear in the ranks; the
    components themselves are those of the profiles as they are.
Bag of genes
    Which genes are among the first T of the TF-IDF sequence, without their order.
Untrained encoder
    The release's network with random weights, its vector centred and scaled like the release's.
    What it can do is not learnt.
SpecFormer embedding
    The frozen embedding of the release under the same two classifiers (linear probe, kNN).

Each ends in logistic regression, its strength chosen on validation patients, and in the vote of
the five nearest training profiles by cosine.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from scipy.sparse import csr_array  # type: ignore[import-untyped]
from sklearn.utils.extmath import randomized_svd

from specformer_encoder.embedder import Embedder
from specformer_encoder.errors import CorpusError
from specformer_encoder.evaluate import paired_shift
from specformer_encoder.evaluate.embedded import EmbeddedCorpus
from specformer_encoder.evaluate.methods import (
    Classifier,
    Embedded,
    Features,
    OnCorpus,
    Predictor,
    Rows,
    logistic,
    neighbours,
)
from specformer_encoder.evaluate.views import END, Views, look
from specformer_encoder.model import ModelConfig, SpecFormer
from specformer_encoder.ordering import quantile_values
from specformer_encoder.projection import unit_length

FloatArray = npt.NDArray[np.float32]

COMPONENTS = 256
PCA, BAG, UNTRAINED, EMBEDDING = "PCA-256", "Bag", "Untrained encoder", "SpecFormer embedding"
KINDS = (PCA, BAG, UNTRAINED, EMBEDDING)
_BLOCK = 512


@dataclass(frozen=True, slots=True)
class Components:
    """Principal components of rank quantiles.

    Attributes
    ----------
    mean
        (V,) training mean, which missing genes take.
    axes
        (C, V) orthonormal rows.
    """

    mean: FloatArray
    axes: FloatArray

    @classmethod
    def fit(cls, quantiles: npt.NDArray[np.uint8], *, seed: int) -> Components:
        """Fit on (n, V) quantiles; a gene that none measures has no part in any component."""
        ranks = quantile_values(quantiles)
        known = ~np.isnan(ranks)
        np.nan_to_num(ranks, copy=False)
        mean = (ranks.sum(axis=0, dtype=np.float64) / known.sum(axis=0).clip(1)).astype(np.float32)
        ranks -= mean
        ranks *= known
        size = min(COMPONENTS, len(ranks) - 1)
        # Three power iterations: the spectrum of ranks falls steeply, so the leading components
        # have settled, and the exact decomposition would take a minute and not a second.
        _, _, axes = randomized_svd(ranks, size, n_iter=3, random_state=seed)
        return cls(mean, np.asarray(axes, np.float32))

    def of(self, views: Views) -> FloatArray:
        """(n, C) components."""
        return self.project(views.quantiles, self.axes)

    def project(self, quantiles: npt.NDArray[np.uint8], axes: FloatArray) -> FloatArray:
        """(n, V) quantiles, filled and centred, on any (C, V) directions: (n, C)."""
        blocks = [
            np.nan_to_num(quantile_values(quantiles[start : start + _BLOCK]) - self.mean) @ axes.T
            for start in range(0, len(quantiles), _BLOCK)
        ]
        return np.concatenate([np.zeros((0, len(axes)), np.float32), *blocks])


@dataclass(frozen=True, slots=True)
class Bag:
    """Presence of each gene among the first of the sequence; `genes` is V."""

    genes: int

    def of(self, views: Views) -> csr_array:
        """(n, V) sparse, 1 where present."""
        return self.of_sequences(views.sequences)

    def of_sequences(self, sequences: npt.NDArray[np.uint16]) -> csr_array:
        """(n, T) sequences, ended by `END` → (n, V) sparse, 1 where present."""
        present = sequences != END
        starts = np.concatenate([[0], present.sum(axis=1).cumsum()])
        columns = sequences[present].astype(np.int32)
        ones = np.ones(len(columns), np.float32)
        return csr_array((ones, columns, starts.astype(np.int32)), (len(sequences), self.genes))


class Untrained:
    """The network before it has learnt anything, with the release's sizes.

    Parameters
    ----------
    config
        Sizes of the network.
    seed
        Of the random weights.
    """

    def __init__(self, config: ModelConfig, *, seed: int) -> None:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self._network = SpecFormer(config).eval()
        # Blocks start as the identity; leaving them out gives the same numbers much sooner.
        outputs = ("attention_out.weight", "down.weight")
        weights = self._network.blocks.named_parameters()
        if not any(weight.any() for name, weight in weights if name.endswith(outputs)):
            self._network.blocks = torch.nn.ModuleList()

    def pooled(self, sequences: npt.NDArray[np.uint16]) -> FloatArray:
        """(n, T) sequences → (n, E) vectors before centring and scaling."""
        lengths = (sequences != END).sum(axis=1)
        result = np.empty((len(sequences), self._network.config.width), np.float32)
        for length in np.unique(lengths):
            rows = np.flatnonzero(lengths == length)
            for start in range(0, len(rows), 64):
                some = rows[start : start + 64]
                tokens = sequences[some, :length].astype(np.int64)
                with torch.inference_mode():
                    states = self._network.states(torch.from_numpy(tokens))
                    result[some] = self._network.pool(states).numpy()
        return result


@dataclass(frozen=True, slots=True)
class Centred:
    """Vectors of an untrained network less their training mean `centre`, (E,), at unit length."""

    network: Untrained
    centre: FloatArray

    def of(self, views: Views) -> FloatArray:
        """(n, E) vectors of unit length."""
        return unit_length(self.network.pooled(views.sequences) - self.centre)


class Baselines:
    """Fits every plain method, and the release's frozen embedding, on rows of one corpus.

    Parameters
    ----------
    corpus
        N profiles.
    views
        Of all N.
    config
        Sizes of the untrained network.
    kinds
        Which of `KINDS` are fitted.
    seed
        Of the randomised PCA and of the untrained weights.
    """

    def __init__(
        self,
        corpus: EmbeddedCorpus,
        views: Views,
        *,
        config: ModelConfig,
        kinds: Collection[str] = KINDS,
        seed: int = 0,
    ) -> None:
        self.corpus = corpus
        self.views = views
        self.config = config
        self.kinds = kinds
        self.seed = seed
        self.untrained = Untrained(config, seed=seed)

    @cached_property
    def pooled(self) -> FloatArray:
        """(N, E) of the untrained network, which no fit changes."""
        return self.untrained.pooled(self.views.sequences)

    @classmethod
    def of(cls, corpus: EmbeddedCorpus, embedder: Embedder) -> Baselines:
        """Look at every profile of the corpus once; takes some minutes for ten thousand."""
        everyone = list(range(len(corpus.labels)))
        views = look(corpus.values, everyone, embedder, reading=corpus.reading)
        return cls(corpus, views, config=embedder.config)

    def __call__(self, train: Rows, valid: Rows, *, types: list[str]) -> Mapping[str, Predictor]:
        """Fit on rows; see `methods.Fit`. Whole tumour profiles of `types` are what is fitted."""
        fitted = self.methods(train, valid, types=types)
        return {name: OnCorpus(method, self.views) for name, method in fitted.items()}

    def methods(self, train: Rows, valid: Rows, *, types: list[str]) -> dict[str, Classifier]:
        """Fit on rows; what is given answers for any profiles.

        Raises
        ------
        CorpusError
            If no validation tumour is of a type that is trained.
        """
        whole = [row for row in train if self.corpus.genome_wide[row]]
        x_rows = self._tumors(whole, types)
        y = self._studies(x_rows)
        valid_rows = self._tumors([r for r in valid if self.corpus.genome_wide[r]], sorted(set(y)))
        if not valid_rows:
            raise CorpusError(
                f"None of {len(valid)} validation profiles is a genome-wide tumour of the types "
                f"{', '.join(types)}.",
                "Validation patients choose the regularisation: give some of these types.",
            )
        seen, held_out = self.views.take(x_rows), self.views.take(valid_rows)
        valid_y = self._studies(valid_rows)
        fitted: dict[str, Classifier] = {}
        for name in self.kinds:
            kind = self._features(name, seen, x_rows)
            scale = name != BAG
            title = f"Bag of {self.config.length} genes" if name == BAG else name
            if isinstance(kind, Centred):  # what `of` would give, without running the network
                x, v = (
                    unit_length(self.pooled[rows] - kind.centre) for rows in (x_rows, valid_rows)
                )
            else:
                x, v = kind.of(seen), kind.of(held_out)
            fitted |= _both(title, kind, x, y, v, valid_y, scale=scale)
            if isinstance(kind, Components):
                again, of = self._shifted(kind, x, x_rows, whole)
                if of:
                    more = np.concatenate([x, again]), y + [y[place] for place in of]
                    fitted |= _both(
                        f"{title} + paired shifts", kind, *more, v, valid_y, scale=scale
                    )
        return fitted

    def _features(self, name: str, seen: Views, rows: Rows) -> Features:
        if name == PCA:
            return Components.fit(seen.quantiles, seed=self.seed)
        if name == BAG:
            return Bag(self.config.genes)
        if name == UNTRAINED:
            return Centred(self.untrained, self.pooled[rows].mean(axis=0))
        return Embedded()

    def _tumors(self, rows: Rows, types: list[str]) -> Rows:
        labels = self.corpus.labels
        return [
            r for r in rows if labels[r].sample_type == "tumor" and labels[r].study in set(types)
        ]

    def _studies(self, rows: Rows) -> list[str]:
        return [self.corpus.labels[row].study for row in rows]

    def _shifted(
        self, pca: Components, x: FloatArray, x_rows: Rows, whole: Rows
    ) -> tuple[FloatArray, list[int]]:
        """Components of the shifted copies, and the place in `x_rows` of what each is a copy of."""
        labels = self.corpus.labels
        learnt = paired_shift.learn(labels, self.views.quantiles, whole)
        moves = {pair: pca.axes @ shift for pair, shift in learnt.shifts.items()}
        copies, of = [], []
        for place, row in enumerate(x_rows):
            here = paired_shift.quantifier_of(labels[row].unit)
            there = learnt.partner(here)
            if here and there:
                copies.append(x[place] + moves[here, there])
                of.append(place)
        return np.array(copies, np.float32), of


def _both(
    name: str, kind: Features, x: Any, y: list[str], v: Any, valid_y: list[str], *, scale: bool
) -> dict[str, Classifier]:
    linear = logistic(x, y, valid=v, valid_y=valid_y, scale=scale)
    return {
        f"{name} + logistic regression": Classifier(kind, linear),
        f"{name} + kNN": Classifier(kind, neighbours(x, y)),
    }
