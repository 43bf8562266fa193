"""Training batches as a pure function of (corpus, recipe, step).

Nothing here keeps a state: step 1,000 is the same batch whether training ran through to it or was
resumed ten times on the way. Profiles are drawn with a weight that falls with the square root of
their cohort's size, so that the largest cohorts do not fill every batch.

A training step sees each drawn sample in two views: the profile drawn, and one of all profiles of
that sample, itself among them, so another unit or pipeline where the corpus has one. Each is
altered as another laboratory might have (see `augment`): quantified by another pipeline, sequenced
less deeply, and in some views measured by a panel only. The profile as it was is still to be
decoded, all of it.
"""

from __future__ import annotations

import contextlib
import queue
import threading
from collections import Counter
from collections.abc import Generator
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from specformer_encoder.augment import (
    MOST_READS,
    dither,
    log_uniform,
    pipeline_noise,
    pipeline_shift,
    random_panel,
    thin,
)
from specformer_encoder.ordering import quantile_values
from specformer_encoder.packed import GENOME_WIDE, PackedCorpus, leading_genes
from specformer_encoder.recipe import Recipe

#: Share of genes hidden in validation, whatever the recipe hides in training.
VALIDATION_MASK = 0.15
#: Spreads below this are those of genes that hardly any profile expresses.
_SMALLEST_SPREAD = 0.01
#: Steps that `Batches.prefetch` keeps ready.
_AHEAD = 3
#: Seconds after which the preparing thread looks whether it is still wanted.
_LOOK_AFTER = 0.1

FloatArray = npt.NDArray[np.float32]
BoolArray = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Batch:
    """What one step needs.

    Attributes
    ----------
    tokens
        (B, T) int64 gene tokens, hidden genes replaced by the mask token; in training, where the
        recipe says so, some of them by a random gene or left.
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
        self._slopes = (
            _standardised(statistics.mean, self._decoded),
            _standardised(np.log2(np.maximum(corpus.lengths, 1)), self._decoded),
        )
        self._panels = self._real_panels()

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

    def _real_panels(self) -> list[BoolArray]:
        """(V,) what each panel of the training split measures: by its first profile."""
        first: dict[str, int] = {}
        for row in self.train_rows:
            if self.corpus.genes_measured[row] < GENOME_WIDE:
                first.setdefault(self.corpus.pipeline(row), int(row))
        return [self.corpus.measured(row) for row in first.values()]

    def training(self, step: int) -> tuple[Batch, Batch]:
        """The two views of one step; row i of both is the same sample.

        The views are equally long where neither has dropped genes.
        """
        train = self.recipe.train
        draw = np.random.default_rng([train.seed, step])
        first = draw.choice(self.train_rows, train.batch, p=self._weights)
        second = np.array([draw.choice(self._views[int(row)]) for row in first])
        views = [_View(rows, *self._altered(rows, draw)) for rows in (first, second)]
        if not any(view.dropped for view in views):
            length = min(view.length for view in views)
            views = [view.cut(length) for view in views]
        one, other = (
            self._disguised(self._assemble(view, draw, train.mask), draw) for view in views
        )
        return one, other

    def prefetch(
        self, first_step: int, last_step: int
    ) -> Generator[tuple[Batch, Batch], None, None]:
        """`training(step)` for the steps from `first_step` up to and without `last_step`.

        A thread prepares them while the step before is trained; close the generator to stop it
        early. What it raises is raised here.
        """
        ready: queue.Queue[tuple[Batch, Batch] | BaseException] = queue.Queue(_AHEAD)
        unwanted = threading.Event()

        def hand_over(item: tuple[Batch, Batch] | BaseException) -> None:
            while not unwanted.is_set():
                with contextlib.suppress(queue.Full):
                    ready.put(item, timeout=_LOOK_AFTER)
                    return

        def prepare() -> None:
            try:
                for step in range(first_step, last_step):
                    hand_over(self.training(step))
                    if unwanted.is_set():
                        return
            except BaseException as error:
                hand_over(error)

        thread = threading.Thread(target=prepare, name="batches", daemon=True)
        thread.start()
        try:
            for _ in range(first_step, last_step):
                item = ready.get()
                if isinstance(item, BaseException):
                    raise item
                yield item
        finally:
            unwanted.set()
            thread.join()

    def validation(self) -> list[Batch]:
        """Fixed batches over the validation patients: nothing altered, all genes kept."""
        rows, corpus = self.valid_rows, self.corpus
        size, length = self.recipe.train.batch, self.recipe.model.length
        batches = []
        for start in range(0, len(rows), size):
            some = rows[start : start + size]
            sequences = [corpus.sequence(row, length) for row in some]
            measured = np.stack([corpus.measured(row) for row in some])
            draw = np.random.default_rng([1, start])
            view = _View(some, sequences, measured, False)
            batches.append(self._assemble(view, draw, VALIDATION_MASK))
        return batches

    def _altered(
        self, rows: npt.NDArray[np.int64], draw: np.random.Generator
    ) -> tuple[list[npt.NDArray[np.uint16]], BoolArray, bool]:
        """Sequences of the altered profiles, (B, V) what they measure, whether genes fell out."""
        train = self.recipe.train
        dropped = bool(draw.random() < train.dropout_probability)
        real = bool(dropped and self._panels and draw.random() < train.panel_share)
        share = log_uniform(train.dropout_keep, 1.0, draw)
        sequences = []
        measured = np.empty((len(rows), len(self.corpus.log_idf)), np.bool_)
        for i, row in enumerate(rows):
            log2 = self._altered_profile(int(row), draw)
            measured[i] = ~np.isnan(log2)
            wide = self.corpus.genes_measured[row] >= GENOME_WIDE
            # Two panels have few genes in common: a panel profile stays what it is.
            if real and wide:
                measured[i] &= self._panels[draw.integers(len(self._panels))]
            elif dropped:
                measured[i] = random_panel(measured[i], share, draw)
            score = log2 + self.corpus.log_idf
            score[~measured[i]] = np.nan
            sequences.append(self._window(score, draw))
        return sequences, measured, dropped

    def _window(self, score: FloatArray, draw: np.random.Generator) -> npt.NDArray[np.uint16]:
        """The genes of a profile that training reads: the first, or a window of all expressed."""
        length, stride = self.recipe.model.length, self.recipe.train.window_stride
        if not stride:
            return leading_genes(score, length)
        sequence = leading_genes(score)
        # Whole windows only: a batch is cut to its shortest sequence.
        windows = max(0, len(sequence) - length) // stride + 1
        start = stride * int(draw.integers(windows))
        return sequence[start : start + length]

    def _altered_profile(self, row: int, draw: np.random.Generator) -> FloatArray:
        """(V,) log2 expression of a profile as another laboratory might have seen it."""
        corpus, train = self.corpus, self.recipe.train
        log2 = corpus.log_expression(row)
        if train.dither > 0:
            log2 = dither(log2, np.float32(train.dither) * corpus.step_width(row), draw)
        wide = corpus.genes_measured[row] >= GENOME_WIDE
        if wide and draw.random() < train.shift_probability:
            shift = pipeline_shift(corpus.pipeline(row), corpus.shifts, draw)
            if shift is not None:
                log2 = log2 + shift
        if draw.random() < train.noise_probability:
            log2 = pipeline_noise(
                log2, draw, sigma=train.noise, tilt=train.tilt, slopes=self._slopes
            )
        if draw.random() < train.thin_probability:
            log2 = thin(log2, corpus.lengths, log_uniform(train.thin_reads, MOST_READS, draw), draw)
        return log2

    def _disguised(self, batch: Batch, draw: np.random.Generator) -> Batch:
        """Show a random gene or the hidden gene itself in place of some masks.

        As in BERT (Devlin et al., arXiv:1810.04805, 3.1), so that what is not masked is looked at
        too. A random gene is any of the vocabulary.
        """
        train = self.recipe.train
        if train.random_share + train.kept_share == 0:
            return batch
        chance = draw.random(batch.hidden.shape)
        any_gene = torch.from_numpy(draw.integers(self.recipe.model.genes, size=chance.shape))
        shown = batch.tokens.gather(1, batch.hidden)  # (B, M), all masks
        random = torch.from_numpy(chance < train.random_share)
        kept = torch.from_numpy(chance >= 1 - train.kept_share)
        shown = torch.where(random, any_gene, torch.where(kept, batch.genes, shown))
        return replace(batch, tokens=batch.tokens.scatter(1, batch.hidden, shown))

    def _assemble(self, view: _View, draw: np.random.Generator, mask: float) -> Batch:
        corpus, config, rows = self.corpus, self.recipe.model, view.rows
        # All sequences of a batch are cut to the shortest, so there is no padding to attend to.
        T = view.length
        tokens = np.stack([sequence[:T] for sequence in view.sequences]).astype(np.int64)
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
            measured=torch.from_numpy(view.measured),
            target=torch.from_numpy(target.astype(np.float32)),
            decodable=torch.from_numpy(decodable),
        )


@dataclass(frozen=True, slots=True)
class _View:
    """Profiles as one view shows them: rows, sequences, (B, V) what is measured, whether less."""

    rows: npt.NDArray[np.int64]
    sequences: list[npt.NDArray[np.uint16]]
    measured: BoolArray
    dropped: bool

    @property
    def length(self) -> int:
        return min(map(len, self.sequences))

    def cut(self, length: int) -> _View:
        cut = [sequence[:length] for sequence in self.sequences]
        return _View(self.rows, cut, self.measured, self.dropped)


def _standardised(values: FloatArray, among: BoolArray) -> FloatArray:
    """(V,) values with mean 0 and deviation 1 over the genes in `among`, 0 elsewhere."""
    chosen = values[among]
    spread = max(float(chosen.std()), 1e-6) if len(chosen) else 1.0
    centred = np.where(among, values - (chosen.mean() if len(chosen) else 0), 0)
    return (centred / spread).astype(np.float32)
