"""What a training run asks of its corpus before the first step."""

from __future__ import annotations

import numpy as np

from specformer_encoder.errors import CorpusError
from specformer_encoder.packed import PackedCorpus


def rank_baseline(corpus: PackedCorpus, length: int) -> float:
    """Share of validation genes named by "the most frequent training gene at this rank"."""
    counts = np.zeros((length, len(corpus.vocabulary)), np.int32)
    for row in corpus.rows("train"):
        sequence = corpus.sequence(row)[:length]
        counts[np.arange(len(sequence)), sequence] += 1
    guess = counts.argmax(axis=1)
    hits = [
        sequence == guess[: len(sequence)]
        for sequence in (corpus.sequence(row)[:length] for row in corpus.rows("valid"))
    ]
    return float(np.concatenate(hits).mean())


def check_split(corpus: PackedCorpus) -> None:
    """Refuse a corpus that cannot be trained on, or whose checkpoints could not be chosen fairly.

    Raises
    ------
    CorpusError
        If a split is empty or a patient is in both.
    """
    patients = {}
    for split in ("train", "valid"):
        rows = corpus.rows(split)
        if not len(rows):
            raise CorpusError(
                f"The corpus has no profile of the split {split}.",
                "Name training and validation patients in its labels and build it again.",
            )
        patients[split] = {corpus.labels["patient"][row] for row in rows} - {""}
    both = patients["train"] & patients["valid"]
    if both:
        raise CorpusError(
            f"{len(both)} patients of the corpus are in train and in valid, {min(both)} among "
            "them.",
            "Give each patient one split and build it again.",
        )
