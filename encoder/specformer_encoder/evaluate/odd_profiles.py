"""Profiles that are no known tumours, or poorly measured ones, made from real tumours.

An odd profile that is not in any corpus has to be made. What is made here is stated exactly, since
a detector is easily built that finds just that. All functions take and give (S, V) linear
expression, NaN where not measured, and a seed.

* `scrambled`: the values of a share of the measured genes change places among these genes.
* `shifted`: each gene has the value of the gene before it in the vocabulary, as when a column of
  names slips by one.
* `other_species`: mouse-like. A fixed fifth of the genes is lost, as having no one-to-one
  orthologue; each of the others is multiplied by 2^d, d ~ N(0, 2²), one draw for all profiles, as
  two species differ in a gene's level in every sample. A silent gene counts as half the least
  expressed one. It stands in for a mouse; no mouse was measured.
* `noise`: uniform numbers for the measured genes. `flat`: three values only, 1, 2 and 3.
* `pure`: tumour cells without the tissue around them: the markers of five lineages lose five
  doublings. A cell line is such a thing, but has changed in culture as well. Since a question of
  `novelty` asks for these very genes, that it finds these profiles says little.
* `thinned`: only a share of the genes is measured. `shallow`: so many reads, Poisson.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from specformer_encoder.lineages import MARKERS

FloatArray = npt.NDArray[np.float32]

_LOST_IN_MOUSE = 0.2
_SPECIES_DOUBLINGS = 2.0
_PURE_DOUBLINGS = 5.0


def scrambled(values: FloatArray, share: float, *, seed: int = 0) -> FloatArray:
    """Permute the values of a share of each profile's measured genes."""
    draw = np.random.default_rng(seed)
    result = values.copy()
    for row in result:
        measured = np.flatnonzero(~np.isnan(row))
        chosen = draw.permutation(measured)[: round(share * len(measured))]
        row[chosen] = row[draw.permutation(chosen)]
    return result


def shifted(values: FloatArray) -> FloatArray:
    """Give each gene the value of the gene before it."""
    return np.roll(values, 1, axis=1)


def other_species(values: FloatArray, *, seed: int = 0) -> FloatArray:
    """Lose a fifth of the genes and change the level of the others, the same in every profile."""
    draw = np.random.default_rng(seed)
    genes = values.shape[1]
    change = draw.normal(0, _SPECIES_DOUBLINGS, genes)
    lost = draw.random(genes) < _LOST_IN_MOUSE
    least = np.nanmin(np.where(values > 0, values, np.nan), axis=1, keepdims=True)
    result = np.maximum(values, least / 2) * 2.0**change
    return np.where(lost, np.nan, result).astype(np.float32)


def noise(values: FloatArray, *, seed: int = 0) -> FloatArray:
    """Uniform numbers where genes are measured."""
    random = np.random.default_rng(seed).random(values.shape, np.float32)
    return np.where(np.isnan(values), np.nan, random).astype(np.float32)


def flat(values: FloatArray, *, seed: int = 0) -> FloatArray:
    """One of three values where genes are measured."""
    random = np.random.default_rng(seed).integers(1, 4, values.shape)
    return np.where(np.isnan(values), np.nan, random).astype(np.float32)


def pure(values: FloatArray, symbols: Sequence[str]) -> FloatArray:
    """Divide the markers of all lineages by 32."""
    markers = np.isin(np.array(symbols), " ".join(MARKERS.values()).split())
    return np.where(markers, values / 2**_PURE_DOUBLINGS, values).astype(np.float32)


def thinned(values: FloatArray, share: float, *, seed: int = 0) -> FloatArray:
    """Measure each gene with this probability only."""
    keep = np.random.default_rng(seed).random(values.shape) < share
    return np.where(keep, values, np.nan).astype(np.float32)


def shallow(values: FloatArray, reads: float, *, seed: int = 0) -> FloatArray:
    """Poisson counts of so many reads in all, shared out by the expression."""
    expected = np.nan_to_num(values.astype(np.float64), nan=0.0)
    expected *= reads / expected.sum(axis=1, keepdims=True)
    counts = np.random.default_rng(seed).poisson(expected)
    return np.where(np.isnan(values), np.nan, counts).astype(np.float32)
