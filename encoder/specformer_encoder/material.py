"""Read everything that a readout is fitted on: real profiles, thinned views, simulated tumours."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from specformer_encoder.augment import thin
from specformer_encoder.corpus import Corpus
from specformer_encoder.corpus.labels import SampleLabel
from specformer_encoder.embedder import Embedder, FloatArray
from specformer_encoder.genes import vocabulary
from specformer_encoder.heads import known_types, tumor_patients
from specformer_encoder.ordering import rank_quantiles
from specformer_encoder.reading import Labelled, Reading
from specformer_encoder.readout import Material
from specformer_encoder.shifts import pipeline_of
from specformer_encoder.simulate import simulate_types

Progress = Callable[[str], None]

#: A thinned view keeps a log-uniform share of the genes, from this up to a half.
LEAST_SHARE = 0.05
#: Reads of a shallow view; a tenth of what bulk libraries usually have.
SHALLOW_READS = 1e6
#: Types of which the bundled release's corpus has fewer than ten genome-wide training tumours and
#: whose simulated tumours teach them: leaving out types that do have tumours, simulation reached
#: 0.80 top-1 for most (docs/evaluation.md), and the few real tumours there are of these agree.
#: THYM failed, and what the corpus has of SARC is synovial only.
SIMULATED = ("TCGA-CESC", "TCGA-MESO", "TCGA-PCPG", "TCGA-TGCT", "TCGA-THCA", "TCGA-UCEC")
#: Simulated tumours a type and pipeline.
SIMULATED_PROFILES = 60
#: Of a type that panels help to learn, so many training patients need a genome-wide tumour.
_LEAST_WIDE = 5
#: Profiles whose expression is held at once.
_BLOCK = 256


def read_material(
    embedder: Embedder,
    corpus: Corpus,
    *,
    train: npt.NDArray[np.int64],
    valid: npt.NDArray[np.int64],
    panels: npt.NDArray[np.int64],
    valid_panels: npt.NDArray[np.int64],
    progress: Progress,
    medians: Path | None,
) -> Material:
    """Read everything that a readout is fitted on.

    Parameters
    ----------
    embedder
        Network and factor model.
    corpus
        Labelled profiles.
    train, valid, panels, valid_panels
        Rows: genome-wide training and validation profiles, gene panels of the same patients.
    progress
        Told in a line what is being done.
    medians
        Table of published cohort medians, or None.
    """
    progress(
        f"reading {3 * len(train) + len(panels) + 3 * len(valid) + len(valid_panels)} profiles"
    )
    thinned, thinned_valid, shallow = thinner(), thinner(), shallower()
    return Material(
        train=read_rows(embedder.read, corpus, train),
        valid=read_rows(embedder.read, corpus, valid),
        panels=read_rows(embedder.read, corpus, panels),
        valid_panels=read_rows(embedder.read, corpus, valid_panels),
        shifted=_shifted(embedder, corpus, train),
        thinned=read_rows(lambda x: embedder.read(thinned(x)), corpus, train),
        thinned_valid=read_rows(lambda x: embedder.read(thinned_valid(x)), corpus, valid),
        shallow_valid=read_rows(lambda x: embedder.read(shallow(x)), corpus, valid),
        simulated=_simulated(embedder, corpus, medians, progress),
    )


def read_rows(
    read: Callable[[FloatArray], Reading], corpus: Corpus, rows: npt.ArrayLike
) -> Labelled:
    """Read some rows of a corpus, block by block."""
    chosen = np.asarray(rows, np.int64)
    reading = _by_blocks(len(chosen), lambda block: read(corpus.values(chosen[block])))
    return Labelled(reading, [corpus.labels[row] for row in chosen])


def _by_blocks(number: int, read: Callable[[slice], Reading]) -> Reading:
    """Read profiles block by block; of none, an empty block gives what is read its width."""
    starts = range(0, max(number, 1), _BLOCK)
    return Reading.join([read(slice(start, start + _BLOCK)) for start in starts])


def quantiles_of(corpus: Corpus, rows: npt.ArrayLike) -> npt.NDArray[np.uint8]:
    """(n, V) rank quantiles of some rows of a corpus."""
    chosen = np.asarray(rows, np.int64)
    result = np.empty((len(chosen), len(vocabulary())), np.uint8)
    for place, row in enumerate(chosen):
        result[place] = rank_quantiles(corpus.values([row])[0])
    return result


def take_out(values: FloatArray, share: float, draw: np.random.Generator) -> FloatArray:
    """(N, V) profiles in which all but a random share of the genes, new in each, is unmeasured."""
    kept = draw.random(values.shape, dtype=np.float32) < share
    return np.where(kept, values, np.float32(np.nan))


def thinner() -> Callable[[FloatArray], FloatArray]:
    """Makes (N, V) profiles those of which only a random share of the genes was measured."""
    draw = np.random.default_rng(1)

    def thinned(values: FloatArray) -> FloatArray:
        shares = 0.5 * (2 * LEAST_SHARE) ** draw.random(len(values))
        rows = [take_out(row[None], share, draw) for row, share in zip(values, shares, strict=True)]
        return np.concatenate(rows) if rows else values

    return thinned


def shallower() -> Callable[[FloatArray], FloatArray]:
    """Makes (N, V) profiles those of which `SHALLOW_READS` were sequenced."""
    draw = np.random.default_rng(2)
    lengths = np.asarray(vocabulary().lengths, np.float32)

    def shallow(values: FloatArray) -> FloatArray:
        with np.errstate(divide="ignore"):
            logs = np.log2(values)
        rows = [np.exp2(thin(row, lengths, SHALLOW_READS, draw)) for row in logs]
        return np.array(rows, np.float32).reshape(values.shape)

    return shallow


def moves_of(corpus: Corpus, rows: npt.ArrayLike) -> list[tuple[int, str]]:
    """Rows that can be moved to another pipeline, each with one of those pipelines at random."""
    draw, shifts = np.random.default_rng(3), corpus.packed().shifts
    moves = []
    for row in np.asarray(rows, np.int64).tolist():
        label = corpus.labels[row]
        if targets := shifts.targets(pipeline_of(label.source, label.unit)):
            moves.append((row, targets[draw.integers(len(targets))]))
    return moves


def moved(corpus: Corpus, moves: Sequence[tuple[int, str]]) -> FloatArray:
    """(n, V) expression of profiles as the pipelines that they are moved to have them."""
    shifts = corpus.packed().shifts
    values = corpus.values([row for row, _ in moves])
    for profile, (row, target) in zip(values, moves, strict=True):
        label = corpus.labels[row]
        profile *= np.exp2(shifts.between(pipeline_of(label.source, label.unit), target))
    return values


def _shifted(embedder: Embedder, corpus: Corpus, train: npt.NDArray[np.int64]) -> Labelled:
    """Each training profile once more, as another pipeline that it can be moved to has it."""
    moves = moves_of(corpus, train)
    reading = _by_blocks(len(moves), lambda block: embedder.read(moved(corpus, moves[block])))
    return Labelled(reading, [corpus.labels[row] for row, _ in moves])


def _simulated(
    embedder: Embedder, corpus: Corpus, medians: Path | None, progress: Progress
) -> Labelled:
    if medians is None:
        return Labelled(embedder.read(np.empty((0, embedder.genes), np.float32)), [])
    made = simulate_types(dict.fromkeys(SIMULATED, SIMULATED_PROFILES), corpus, medians=medians)
    progress(f"reading {len(made)} simulated tumours of {len(SIMULATED)} types")
    labels = [
        SampleLabel(name, "simulated", pipeline, name, "", study, "", "tumor", "train", "")
        for name, pipeline, study in zip(made.names, made.pipelines, made.studies, strict=True)
    ]
    reading = _by_blocks(len(made), lambda block: embedder.read(made.values[block]))
    return Labelled(reading, labels)


def types_to_know(material: Material) -> list[str]:
    """Types with enough training patients' tumours, genome-wide or panels, or simulated ones.

    A type of which panels alone say where it lies is known by its simulated tumours or not at all:
    a panel's unmeasured genes are those that the others are told by.
    """
    wide = tumor_patients(material.train.labels)
    both = tumor_patients([*material.train.labels, *material.panels.labels])
    enough = {study: n for study, n in both.items() if wide[study] >= _LEAST_WIDE}
    return sorted({*known_types(enough), *material.simulated.studies})
