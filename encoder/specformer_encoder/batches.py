"""Training batches as a pure function of (corpus, recipe, step).

Nothing here keeps a state: step 1,000 is the same batch whether training ran through to it or was
resumed ten times on the way. Profiles are drawn with a weight that falls with the square root of
their cohort's size, so that the largest cohorts do not fill every batch.

A training step sees each drawn sample in two views: the profile drawn, and one of all profiles of
that sample, itself among them, so another unit or pipeline where the corpus has one. In some views
genes are dropped at random, as if a panel had not measured them; the whole profile is still to be
decoded.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from specformer_encoder.ordering import quantile_values
from specformer_encoder.packed import GENOME_WIDE, PackedCorpus
from specformer_encoder.recipe import Recipe

#: Share of genes hidden in validation, whatever the recipe hides in training.
VALIDATION_MASK = 0.15
#: Spreads below this are those of genes that hardly any profile expresses.
_SMALLEST_SPREAD = 0.01


@dataclass(frozen=True, slots=True)
class Batch:
    """What one step needs.

    Attributes
    ----------
    tokens
        (B, T) int64 gene tokens, hidden genes replaced by the mask token.
    hidden
        (B, M) int64 positions of the hidden genes.
    genes
        (B, M) int64 the genes that stood there.
    measured
        (B, V) bool: genes that compete for a hidden place; those not measured take no part.
    target
        (B, V) float32 standardised rank quantiles.
    decodable
        (B, V) bool: where `target` counts. All false in a panel profile's row.
    """

    tokens: Tensor
    hidden: Tensor
    genes: Tensor
    measured: Tensor
    target: Tensor
    decodable: Tensor


class Batches:
    """Draws the batches of one split.

    Parameters
    ----------
    corpus
        The packed corpus.
    recipe
        Seed, sizes and augmentation.
    """

    def __init__(self, corpus: PackedCorpus, recipe: Recipe) -> None:
        self.corpus = corpus
        self.recipe = recipe
        self.train_rows = corpus.rows("train")
        self.valid_rows = corpus.rows("valid")
        self._weights = self._draw_weights()
        self._views = self._rows_by_sample()
        statistics = corpus.statistics
        self._spread = np.maximum(statistics.spread, _SMALLEST_SPREAD)
        self._decoded = statistics.spread > _SMALLEST_SPREAD

    def _draw_weights(self) -> npt.NDArray[np.float64]:
        labels = self.corpus.labels
        keys = [
            (labels["study"][row], labels["tissue"][row], labels["sample_type"][row])
            for row in self.train_rows
        ]
        sizes = Counter(keys)
        weights = np.array([sizes[key] ** -0.5 for key in keys])
        panel = self.corpus.genes_measured[self.train_rows] < GENOME_WIDE
        weights[panel] *= self.recipe.train.panel_weight
        return np.asarray(weights / weights.sum())

    def _rows_by_sample(self) -> dict[int, list[int]]:
        """Row → training rows of the same tissue sample, itself among them."""
        labels = self.corpus.labels
        groups: dict[tuple[str, str, str], list[int]] = {}
        for row in self.train_rows:
            # A donor's tissues are different samples; GTEx has several of most donors.
            who = labels["patient"][row] or labels["sample_id"][row]
            key = who, labels["tissue"][row], labels["sample_type"][row]
            groups.setdefault(key, []).append(int(row))
        return {row: group for group in groups.values() for row in group}

    def training(self, step: int) -> tuple[Batch, Batch]:
        """The two views of one step; row i of both is the same sample."""
        train = self.recipe.train
        draw = np.random.default_rng([train.seed, step])
        first = draw.choice(self.train_rows, train.batch, p=self._weights)
        second = np.array([draw.choice(self._views[int(row)]) for row in first])
        one, other = (
            self._assemble(rows, draw, self._keep(draw), train.mask) for rows in (first, second)
        )
        return one, other

    def _keep(self, draw: np.random.Generator) -> float:
        train = self.recipe.train
        if draw.random() < train.dropout_probability:
            return float(train.dropout_keep ** draw.random())
        return 1.0

    def validation(self) -> list[Batch]:
        """Fixed batches over the validation patients, all genes kept."""
        rows = self.valid_rows
        size = self.recipe.train.batch
        return [
            self._assemble(
                rows[start : start + size], np.random.default_rng([1, start]), 1.0, VALIDATION_MASK
            )
            for start in range(0, len(rows), size)
        ]

    def _assemble(
        self, rows: npt.NDArray[np.int64], draw: np.random.Generator, keep: float, mask: float
    ) -> Batch:
        corpus, config = self.corpus, self.recipe.model
        sequences = []
        measured = np.stack([corpus.measured(row) for row in rows])
        for i, row in enumerate(rows):
            sequence = corpus.sequence(row)
            if keep < 1:
                dropped = draw.random(config.genes) >= keep
                sequence = sequence[~dropped[sequence]]
                measured[i] &= ~dropped
            sequences.append(sequence)
        # All sequences of a batch are cut to the shortest, so there is no padding to attend to.
        T = min(config.length, *(len(sequence) for sequence in sequences))
        tokens = np.stack([sequence[:T] for sequence in sequences]).astype(np.int64)
        M = max(1, round(mask * T))
        hidden = np.sort(draw.random(tokens.shape).argsort(axis=1)[:, :M], axis=1)
        genes = np.take_along_axis(tokens, hidden, axis=1)
        np.put_along_axis(tokens, hidden, config.genes, axis=1)

        quantiles = quantile_values(np.stack([corpus.quantile(row) for row in rows]))
        decodable = ~np.isnan(quantiles) & self._decoded
        decodable[corpus.genes_measured[rows] < GENOME_WIDE] = False
        target = np.nan_to_num((quantiles - corpus.statistics.mean) / self._spread)
        return Batch(
            tokens=torch.from_numpy(tokens),
            hidden=torch.from_numpy(hidden),
            genes=torch.from_numpy(genes),
            measured=torch.from_numpy(measured),
            target=torch.from_numpy(target.astype(np.float32)),
            decodable=torch.from_numpy(decodable),
        )
