r"""Augmentation: what one sample might have looked like, sequenced and quantified otherwise.

Everything works on log2 expression, -inf where a gene is silent and NaN where it was not measured,
for there the accidents of a profile are additive:

    step        a stored level stands for all levels of its step
    pipeline    + shift(g): another quantifier or annotation; see `shifts`
    noise       + N(0, σ) + α z(level of g) + β z(log length of g): what no pair of pipelines told
    depth       + log2(n / λ), n ~ Poisson(λ), λ = reads · share(g): fewer reads, 0 are silence
    panel       NaN for the genes that a panel leaves out

All are pure functions of their arguments and a random generator.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from specformer_encoder.shifts import Shifts

FloatArray = npt.NDArray[np.float32]
BoolArray = npt.NDArray[np.bool_]
Generator = np.random.Generator

#: A shift to a pipeline that is known to be reachable is scaled by a factor from here to there:
#: pipelines that were never met lie short of and beyond those that were.
KNOWN_SCALE = (0.5, 1.2)
#: Most reads of a thinned profile; beyond it counting changes no order.
MOST_READS = 3e7
#: Above so many expected reads counting noise (3 %, 0.05 octaves) is below every other.
_CERTAIN_READS = 1000.0


def dither(log2: FloatArray, width: FloatArray, draw: Generator) -> FloatArray:
    """Move each gene uniformly within its step.

    Parameters
    ----------
    log2
        (V,) log2 expression.
    width
        (V,) octaves over which each gene is spread.
    """
    return log2 + width * (draw.random(len(log2), np.float32) - np.float32(0.5))


def pipeline_shift(pipeline: str, shifts: Shifts, draw: Generator) -> FloatArray | None:
    """(V,) octaves to another pipeline, drawn at random; None where no shift is known at all.

    To one of the pipelines that `pipeline` reaches, scaled by `KNOWN_SCALE`; a profile of a
    pipeline that reaches none gets the shift of a random pair, scaled from -1 to 1.
    """
    targets = shifts.targets(pipeline)
    if targets:
        shift = shifts.between(pipeline, targets[draw.integers(len(targets))])
        return shift * np.float32(draw.uniform(*KNOWN_SCALE))
    if not shifts.pairs:
        return None
    shift = shifts.between(*shifts.pairs[draw.integers(len(shifts.pairs))])
    return shift * np.float32(draw.uniform(-1, 1))


def pipeline_noise(
    log2: FloatArray,
    draw: Generator,
    *,
    sigma: float,
    tilt: float,
    slopes: tuple[FloatArray, FloatArray],
) -> FloatArray:
    """Add noise to every gene, and a slope on what genes have in common.

    Parameters
    ----------
    log2
        (V,) log2 expression.
    sigma
        Octaves; the noise's standard deviation is drawn uniformly up to it.
    tilt
        Octaves; standard deviation of each slope.
    slopes
        (V,) each, standardised over genes: typical level, log length.
    """
    scale = np.float32(sigma * draw.random())
    result = log2 + scale * draw.standard_normal(len(log2), np.float32)
    for along in slopes:
        result += np.float32(tilt * draw.standard_normal()) * along
    return result


def thin(log2: FloatArray, lengths: FloatArray, reads: float, draw: Generator) -> FloatArray:
    """Count a profile once more at another depth.

    Parameters
    ----------
    log2
        (V,) log2 expression, length-normalised.
    lengths
        (V,) transcript lengths; reads fall on a gene in proportion to expression × length.
    reads
        Reads of the whole profile.

    Returns
    -------
    (V,) log2 expression; -inf for genes without a read.
    """
    expected = np.nan_to_num(np.exp2(log2), nan=0.0) * lengths
    expected *= reads / max(float(expected.sum(dtype=np.float64)), 1e-30)
    few = np.flatnonzero((expected > 0) & (expected < _CERTAIN_READS))
    counts = draw.poisson(expected[few])
    result = log2.copy()
    with np.errstate(divide="ignore"):
        result[few] += np.log2(counts / expected[few])
    return result


def log_uniform(lowest: float, highest: float, draw: Generator) -> float:
    """A number whose logarithm is uniform between those of the two."""
    return float(lowest * (highest / lowest) ** draw.random())


def random_panel(measured: BoolArray, share: float, draw: Generator) -> BoolArray:
    """(V,) which genes a panel of random genes measures of a profile.

    Parameters
    ----------
    measured
        (V,) what the profile measures. One that measures less than `share` already stays whole.
    share
        Genes of the panel over genes of the vocabulary.
    """
    kept = share * len(measured) / max(int(np.count_nonzero(measured)), 1)
    if kept >= 1:
        return measured
    return np.asarray(measured & (draw.random(len(measured), np.float32) < np.float32(kept)))
