"""What a network's own vector is worth, without factor model and projection, asked cheaply.

The vector is the attention-pooled sequence, less its mean over the training tumours asked of, at
unit length. Everything is asked of genome-wide tumours of validation patients, so that networks
can be compared without a look at the test patients:

kNN                  the five nearest training tumours by cosine name the cancer type
logistic regression  of one strength, the same for every network, names it
same sample          cosine between the vectors of one tumour quantified by two pipelines
sample found         whether, of a tumour's other profile and all tumours of other patients, the
                     other profile is the nearest: a network that takes all tumours for alike has
                     a high cosine and finds none

The first two are asked of whole profiles and of random tenths of their genes. Answers are kept
profile by profile, so the difference of two networks is that of the same profiles.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import permutations

import numpy as np
import numpy.typing as npt
import torch
from sklearn.linear_model import LogisticRegression

from specformer_encoder.augment import random_panel
from specformer_encoder.corpus.labels import SampleLabel
from specformer_encoder.errors import CorpusError
from specformer_encoder.evaluate.methods import neighbours
from specformer_encoder.evaluate.neighbours import nearest, similarities
from specformer_encoder.evaluate.paired_shift import by_sample, quantifier_of
from specformer_encoder.heads import known_types, tumor_patients
from specformer_encoder.model import SpecFormer
from specformer_encoder.packed import GENOME_WIDE, LABELS, PackedCorpus, leading_genes
from specformer_encoder.projection import unit_length

FloatArray = npt.NDArray[np.float32]
GeneSequence = npt.NDArray[np.uint16]
Rows = list[int]

#: Share of the vocabulary that is left of a profile.
SHARE = 0.1
#: Training tumours that networks are asked of.
TRAINING_TUMORS = 1000
KNN, LINEAR = "kNN", "logistic regression"
FEW = f", {SHARE:.0%} of the genes"
COSINE, FOUND = "same sample, cosine", "same sample found"
MEASURES = (KNN, KNN + FEW, LINEAR, LINEAR + FEW, COSINE, FOUND)

#: Inverse strength of the regression. Fixed: the patients that would choose it are those asked.
_STRENGTH = 0.1
_SEED = 20261126
_BATCH = 16


@dataclass(frozen=True, slots=True)
class Tumors:
    """Profiles that networks are asked of: n rows of the corpus and what is known of them."""

    rows: Rows
    studies: list[str]
    people: list[str]
    sequences: list[GeneSequence]


class Questions:
    """The fixed profiles that every network is asked of.

    Parameters
    ----------
    corpus
        Packed corpus, which holds no test patient.
    length
        Genes of a sequence, T.
    training_tumors
        At most so many training tumours take part, drawn once for all networks.

    Attributes
    ----------
    types
        Types with genome-wide tumours of enough training patients.
    train
        Training tumours of these types.
    bank
        All genome-wide validation tumours, whatever their type.
    few
        Those of them that are of these types, with a tenth of their genes.
    pairs
        (i, j) places in `bank` of one tumour's profiles from two pipelines, both ways round.

    Raises
    ------
    CorpusError
        If no type has enough training patients, or no validation patient has one of the types.
    """

    def __init__(
        self, corpus: PackedCorpus, length: int, *, training_tumors: int = TRAINING_TUMORS
    ) -> None:
        columns = [corpus.labels[name] for name in LABELS]
        self._labels = [SampleLabel(*row) for row in zip(*columns, strict=True)]
        self._corpus, self._length = corpus, length
        train, valid = (self._tumors(split) for split in ("train", "valid"))
        self.types = known_types(tumor_patients([self._labels[row] for row in train]))
        train, known = (
            [r for r in rows if self._study(r) in self.types] for rows in (train, valid)
        )
        if not train or not known:
            raise CorpusError(
                f"Networks are judged on types with genome-wide tumours of ten training patients; "
                f"{len(train)} training and {len(known)} validation tumours are of such types.",
                "Use a larger corpus.",
            )
        draw = np.random.default_rng(_SEED)
        chosen = draw.choice(train, min(training_tumors, len(train)), replace=False)
        self.train = self._take(np.sort(chosen).tolist(), self._whole)
        self.bank = self._take(valid, self._whole)
        self.few = self._take(known, self._few)
        self._place = {row: place for place, row in enumerate(self.bank.rows)}
        self.pairs = self._pairs()

    def _tumors(self, split: str) -> Rows:
        wide = self._corpus.genes_measured >= GENOME_WIDE
        return [
            int(row)
            for row in self._corpus.rows(split)
            if wide[row] and self._labels[row].sample_type == "tumor"
        ]

    def _study(self, row: int) -> str:
        return self._labels[row].study

    def _take(self, rows: Rows, sequence: Callable[[int], GeneSequence]) -> Tumors:
        people = [self._labels[row].person for row in rows]
        return Tumors(rows, list(map(self._study, rows)), people, list(map(sequence, rows)))

    def _whole(self, row: int) -> GeneSequence:
        return self._corpus.sequence(row, self._length)

    def _few(self, row: int) -> GeneSequence:
        corpus = self._corpus
        score = corpus.log_expression(row) + corpus.log_idf
        draw = np.random.default_rng([_SEED, row])
        score[~random_panel(corpus.measured(row), SHARE, draw)] = np.nan
        return leading_genes(score, self._length)

    def _pairs(self) -> list[tuple[int, int]]:
        return [
            (self._place[one], self._place[other])
            for group in by_sample(self._labels, self.bank.rows)
            for one, other in permutations(group, 2)
            if quantifier_of(self._labels[one].unit) != quantifier_of(self._labels[other].unit)
        ]

    def people(self, measure: str) -> list[str]:
        """Patient of each answer of a measure."""
        if measure in (COSINE, FOUND):
            return [self.bank.people[i] for i, _ in self.pairs]
        return self.few.people

    def fingerprint(self) -> str:
        """Hash of everything that is asked; answers to other questions are not comparable."""
        digest = hashlib.sha256(repr((self.types, self.pairs)).encode())
        for tumors in (self.train, self.bank, self.few):
            digest.update(repr((tumors.rows, tumors.studies)).encode())
            for sequence in tumors.sequences:
                digest.update(sequence.tobytes())
        return digest.hexdigest()

    def judge(self, network: SpecFormer) -> dict[str, list[float]]:
        """Ask a network.

        Returns
        -------
        Measure → a number for each validation tumour of `few`, or for each of `pairs`: 1 where
        right and 0 where not, or the cosine.
        """
        pooled = pool(network, self.train.sequences)
        centre = pooled.mean(axis=0)
        x = unit_length(pooled - centre)
        bank = unit_length(pool(network, self.bank.sequences) - centre)
        few = unit_length(pool(network, self.few.sequences) - centre)
        whole = bank[[self._place[row] for row in self.few.rows]]
        # One scale for all columns; standardising would change which of them count.
        scale = max(float(x.std(axis=0).mean()), 1e-6)
        linear = LogisticRegression(C=_STRENGTH, max_iter=2000, tol=1e-3)
        models = {
            KNN: neighbours(x / scale, self.train.studies),
            LINEAR: linear.fit(x / scale, self.train.studies),
        }
        answers = {}
        for name, model in models.items():
            for suffix, asked in (("", whole), (FEW, few)):
                right = model.predict(asked / scale) == np.array(self.few.studies)
                answers[name + suffix] = right.astype(float).tolist()
        return answers | self._same_sample(bank)

    def _same_sample(self, bank: FloatArray) -> dict[str, list[float]]:
        if not self.pairs:
            return {}
        one, other = np.array(self.pairs).T
        people = np.array(self.bank.people)
        allowed = people[one][:, None] != people  # (pairs, bank)
        allowed[np.arange(len(one)), other] = True
        first = nearest(bank[one], bank, k=1, allowed=allowed)[:, 0]
        cosine = similarities(bank, bank)[one, other]
        return {
            COSINE: cosine.astype(float).tolist(),
            FOUND: (first == other).astype(float).tolist(),
        }


def pool(network: SpecFormer, sequences: Sequence[GeneSequence]) -> FloatArray:
    """(n, D) vectors of n gene sequences before centring, in bfloat16 and in batches.

    Good for comparing networks; what a release embeds with is `backends`, profile by profile.
    """
    lengths = np.array([len(sequence) for sequence in sequences])
    result = np.empty((len(sequences), network.config.width), np.float32)
    for length in np.unique(lengths):
        rows = np.flatnonzero(lengths == length)
        for start in range(0, len(rows), _BATCH):
            some = rows[start : start + _BATCH]
            tokens = np.stack([sequences[row] for row in some]).astype(np.int64)  # (B, T)
            with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
                states = network.states(torch.from_numpy(tokens))
                result[some] = network.pool(states).float().numpy()
    return result
