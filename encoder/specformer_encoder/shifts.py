"""Shifts between pipelines: how the same samples look through another quantifier.

Two pipelines measure one tumour differently, and the difference is much the same in every tumour:
which annotation, which reads count for a gene, which genes share sequence. A pipeline is a source
in a unit. Where the same sample (patient, tissue, sample type) is in pipelines a and b,

    d(g, s) = log2 x_b(g, s) − log2 x_a(g, s) − median over g        genes expressed in both
    shift(g) = Σ_s d(g, s) / (n(g) + k)                              n(g) samples express g in both

The median takes the library's scale out, and k shrinks what few samples say. Adding shift(a → b)
to a profile of a gives what b would have called it; shift(b → a) is its negative. Pipelines that
share no samples are joined through one other pipeline that shares samples with both.

Learnt from genome-wide profiles of training patients only.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from itertools import combinations

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float32]

#: Fewer samples in both pipelines say too little.
LEAST_SAMPLES = 8
#: More samples of one pair of pipelines add work and no precision: the standard error of a gene's
#: mean is by then below a twentieth of an octave.
MOST_SAMPLES = 128
#: k: a gene's shift counts half where that many samples express it.
SHRINKAGE = 4.0


def pipeline_of(source: str, unit: str) -> str:
    """The name of a pipeline.

    Examples
    --------
    >>> pipeline_of("firehose", "rsem_normalized")
    'firehose.rsem_normalized'
    """
    return f"{source}.{unit}"


@dataclass(frozen=True)
class Shifts:
    """Learnt shifts between pipelines.

    Attributes
    ----------
    genes
        V, the size of the vocabulary.
    pairs
        P pairs of names of pipelines, (a, b).
    samples
        P numbers of samples that each was learnt from.
    shift
        (P, V) float16, octaves to add to log2 expression of a to have that of b.
    """

    genes: int
    pairs: tuple[tuple[str, str], ...]
    samples: tuple[int, ...]
    shift: npt.NDArray[np.float16]
    _reached: dict[str, dict[str, tuple[int, int]]] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        reached: dict[str, dict[str, tuple[int, int]]] = defaultdict(dict)
        for place, (a, b) in enumerate(self.pairs):
            reached[a][b] = place, 1
            reached[b][a] = place, -1
        object.__setattr__(self, "_reached", dict(reached))

    def targets(self, pipeline: str) -> list[str]:
        """Pipelines that a profile of `pipeline` can be shifted to, sorted; none if unknown."""
        direct = self._reached.get(pipeline, {})
        joined = {c for b in direct for c in self._reached[b]}
        return sorted((joined | set(direct)) - {pipeline})

    def between(self, a: str, b: str) -> FloatArray:
        """(V,) float32 octaves from `a` to `b`; 0 for genes that no sample expresses in both.

        Without samples of their own, a and b are joined through each pipeline that shares samples
        with both; the joined shifts are averaged by the precision that their samples give.

        Raises
        ------
        KeyError
            If `b` is not among `targets(a)`.
        """
        if b in self._reached.get(a, {}):
            return self._direct(a, b)
        bridges = [m for m in self._reached.get(a, {}) if b in self._reached[m]]
        if not bridges or a == b:
            raise KeyError(f"no shift is known from {a} to {b}")
        total, weights = np.zeros(self.genes, np.float32), 0.0
        for m in bridges:
            there, on = self._reached[a][m][0], self._reached[m][b][0]
            # The variance of a sum of two means is in proportion to 1/n + 1/n'.
            weight = 1 / (1 / self.samples[there] + 1 / self.samples[on])
            total += np.float32(weight) * (self._direct(a, m) + self._direct(m, b))
            weights += weight
        return np.asarray(total / np.float32(weights))

    def _direct(self, a: str, b: str) -> FloatArray:
        place, sign = self._reached[a][b]
        return np.asarray(self.shift[place].astype(np.float32) * np.float32(sign))


@dataclass(frozen=True, slots=True)
class PairedRows:
    """Rows of one sample in two pipelines, for every pair of pipelines with enough samples.

    Attributes
    ----------
    rows
        (a, b) → at most `MOST_SAMPLES` pairs of rows, of different samples.
    """

    rows: dict[tuple[str, str], list[tuple[int, int]]]

    @property
    def needed(self) -> set[int]:
        """Rows whose profiles `learn_shifts` asks for."""
        return {row for pairs in self.rows.values() for pair in pairs for row in pair}


def find_pairs(
    rows: Iterable[int], pipelines: Sequence[str], samples: Sequence[object]
) -> PairedRows:
    """Find samples that several pipelines measured.

    Parameters
    ----------
    rows
        Rows that may be used: genome-wide profiles of training patients.
    pipelines
        N names, by row; see `pipeline_of`.
    samples
        N keys, by row: equal for profiles of one sample. The first row of a sample in a pipeline
        stands for it.
    """
    of_sample: dict[object, dict[str, int]] = defaultdict(dict)
    for row in rows:
        of_sample[samples[row]].setdefault(pipelines[row], row)
    found: dict[tuple[str, str], list[tuple[int, int]]] = defaultdict(list)
    for row_of in of_sample.values():
        for a, b in combinations(sorted(row_of), 2):
            found[a, b].append((row_of[a], row_of[b]))
    return PairedRows(
        {
            pair: some[:MOST_SAMPLES]
            for pair, some in sorted(found.items())
            if len(some) >= LEAST_SAMPLES
        }
    )


def learn_shifts(values: Callable[[int], FloatArray], paired: PairedRows, *, genes: int) -> Shifts:
    """Learn the shift of every pair of pipelines.

    Parameters
    ----------
    values
        Row → (V,) linear, length-normalised expression, NaN where not measured.
    paired
        From `find_pairs`.
    genes
        V.
    """
    pairs = tuple(paired.rows)
    shift = np.zeros((len(pairs), genes), np.float16)
    for place, pair in enumerate(pairs):
        total, expressing = np.zeros(genes), np.zeros(genes)
        for one, other in paired.rows[pair]:
            difference, both = _difference(values(one), values(other))
            total[both] += difference
            expressing += both
        shift[place] = total / (expressing + SHRINKAGE)
    return Shifts(genes, pairs, tuple(len(paired.rows[pair]) for pair in pairs), shift)


def _difference(
    a: FloatArray, b: FloatArray
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.bool_]]:
    """Centred octaves from a to b over the genes expressed in both, and which those are."""
    both = (a > 0) & (b > 0)  # false where either is NaN
    if not both.any():
        return np.zeros(0), both
    difference = np.log2(b[both].astype(np.float64)) - np.log2(a[both].astype(np.float64))
    return difference - np.median(difference), both
