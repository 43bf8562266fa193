r"""Factor analysis of rank profiles, in which an unmeasured gene is simply not there.

The sequence that the transformer reads ends after its leading genes; the other genes of a profile
say something too. Their part is told by the linear-Gaussian factor model (C. M. Bishop, Pattern
Recognition and Machine Learning, 2006, section 12.2.4; Tipping and Bishop, J. R. Statist. Soc. B
61:611, 1999) of the centred rank quantiles x of a profile:

.. math:: x_g = \sum_k W_{gk} z_k + ε_g, \quad z \sim N(0, I), \quad ε_g \sim N(0, ψ_g)

Given the genes o that a profile measures, the posterior mean of its factors is

.. math:: z = (I + W_o^\top Ψ_o^{-1} W_o)^{-1} W_o^\top Ψ_o^{-1} x_o

so a panel of a thousand genes gives factors on the same scale as a whole profile, drawn towards
zero by as much as the missing genes leave open. Filling unmeasured genes with their mean, which is
what is usually done before PCA, would pull the factors about instead.

A gene panel is no random sample of the genes, so a rank within it is not the rank that the gene
would have in a whole profile. A quantile u within a panel becomes F⁻¹(u), F the distribution that
the panel's genes have in whole profiles by the model, pooled: each N(mean_g, Σ_k W_gk² + ψ_g)
within 0 and 1. Of a random half of the genes that changes next to nothing.

How little the model expects a profile is kept beside its factors: the squared Mahalanobis distance
of x_o under it for each measured gene, (|x_o − W_o z|²_{1/ψ} + |z|²) / |o|. Genes that were
swapped, or a sample that is no tissue, do not fit.
"""

from __future__ import annotations

import contextlib
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from statistics import NormalDist

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from specformer_encoder.backends import usable_cores
from specformer_encoder.ordering import NOT_MEASURED, quantile_values

FloatArray = npt.NDArray[np.float32]

#: Factors of a release; fewer where there are fewer profiles to learn them from.
FACTORS = 384
#: A gene whose rank quantile hardly varies over training profiles says nothing of a sample.
_LEAST_SPREAD = 0.01
#: Smallest noise variance of a quantile; ranks are not known better than to 0.03.
_LEAST_NOISE = 1e-3
#: Rounds of filling unmeasured genes with what the factors expect. On the corpus of the bundled
#: release, where training profiles measure 80 % of the genes or more, a fourth changes nothing.
_ROUNDS = 3
#: Singular vectors computed beyond those kept, for the accuracy of the last ones.
_OVERSAMPLE = 16
#: A profile that measures a smaller share of the vocabulary is read as a panel.
_PANEL = 0.5
#: Each gene's distribution in the pool of a panel's.
_NORMAL_QUANTILES = np.array([NormalDist().inv_cdf((i + 0.5) / 15) for i in range(15)], np.float32)
#: Cholesky factors kept; of 384 factors each takes 0.7 MB with the leverages.
_KEPT = 32
#: Largest leverage of a gene.
_MOST_LEVERAGE = 0.999


@dataclass(frozen=True)
class Precision:
    """What is the same for all profiles with the same genes measured.

    Attributes
    ----------
    weighted
        (V, K) Ψ^-½ W.
    root
        (K, K) Cholesky factor of I + W_oᵀ Ψ_o⁻¹ W_o.
    """

    weighted: Tensor
    root: Tensor

    @cached_property
    def leverage(self) -> Tensor:
        """(V,) W_g (I + W_oᵀ Ψ_o⁻¹ W_o)⁻¹ W_gᵀ / ψ_g: a gene's part in its own fitted value.

        Below 1 also where rounding would take a factor for one gene's own.
        """
        product = (self.weighted @ torch.cholesky_inverse(self.root)).mul_(self.weighted)
        return product.sum(dim=1).clamp_(max=_MOST_LEVERAGE)


@dataclass(frozen=True, slots=True)
class Posterior:
    """The factors of one profile and what they leave.

    Attributes
    ----------
    known
        (V,) bool: genes that are measured and take part.
    values
        (V,) rank quantiles from 0 to 1 as whole profiles have them.
    factors
        (K,) posterior mean z.
    residual
        (V,) Ψ^-½ (x − W z) at known genes.
    precision
        Of the known genes.
    """

    known: Tensor
    values: FloatArray
    factors: Tensor
    residual: Tensor
    precision: Precision

    @property
    def misfit(self) -> float:
        """Squared Mahalanobis distance of the profile per known gene; 0 of none."""
        residual = self.residual[self.known]
        distance = float(residual.square().sum() + self.factors.square().sum())
        return distance / max(len(residual), 1)


@dataclass(frozen=True)
class FactorModel:
    """A fitted factor model; V genes, K factors.

    Attributes
    ----------
    mean
        (V,) mean rank quantile.
    loadings
        (V, K) W; zero for genes that take no part.
    noise
        (V,) ψ, variance that the factors leave.
    """

    mean: FloatArray
    loadings: FloatArray
    noise: FloatArray

    @property
    def size(self) -> int:
        """K, the number of factors."""
        return int(self.loadings.shape[1])

    def tensors(self) -> dict[str, npt.NDArray[np.floating]]:
        """The arrays by name, in C order; the loadings in half precision, for they are many."""
        return {
            "mean": np.ascontiguousarray(self.mean),
            "loadings": np.ascontiguousarray(self.loadings, np.float16),
            "noise": np.ascontiguousarray(self.noise),
        }

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, npt.NDArray[np.floating]]) -> FactorModel:
        """The model of what `tensors` gave."""
        return cls(**{name: array.astype(np.float32) for name, array in tensors.items()})

    @cached_property
    def _used(self) -> npt.NDArray[np.bool_]:
        return np.asarray(self.loadings.any(axis=1))

    @cached_property
    def _weighted(self) -> Tensor:
        """(V, K) Ψ^-½ W."""
        return torch.from_numpy(self.loadings / np.sqrt(self.noise)[:, None])

    @cached_property
    def _whole(self) -> Tensor:
        """(K, K) I + Wᵀ Ψ⁻¹ W over all genes."""
        return torch.eye(self.size) + self._weighted.T @ self._weighted

    @cached_property
    def _spread(self) -> FloatArray:
        """(V,) standard deviation of every gene's rank quantile."""
        return np.asarray(np.sqrt((self.loadings**2).sum(axis=1) + self.noise), np.float32)

    def read(self, quantiles: npt.NDArray[np.uint8]) -> tuple[FloatArray, float]:
        """The factors of one profile.

        Parameters
        ----------
        quantiles
            (V,) of `ordering.rank_quantiles`.

        Returns
        -------
        (K,) posterior mean, and the misfit per measured gene.
        """
        posterior = self.posterior(quantiles)
        return posterior.factors.numpy(), posterior.misfit

    def posterior(self, quantiles: npt.NDArray[np.uint8]) -> Posterior:
        """As `read`, with what the factors leave of every gene."""
        measured = quantiles != NOT_MEASURED
        known = measured & self._used
        values = self._in_whole_profiles(quantiles, measured)
        precision = self._precision(known)
        x = (values - self.mean) / np.sqrt(self.noise)
        # Zeros where nothing is known: products with all of W, which is never copied.
        target = torch.from_numpy(np.where(known, x, 0).astype(np.float32))
        projected = self._weighted.T @ target
        z = torch.cholesky_solve(projected[:, None], precision.root)[:, 0]
        residual = target - self._weighted @ z
        return Posterior(torch.from_numpy(known), values, z, residual, precision)

    def _in_whole_profiles(
        self, quantiles: npt.NDArray[np.uint8], measured: npt.NDArray[np.bool_]
    ) -> FloatArray:
        """(V,) quantiles from 0 to 1 as whole profiles have them; see the module."""
        if not measured.any() or np.count_nonzero(measured) >= _PANEL * len(measured):
            return quantile_values(quantiles)
        pooled = self.mean[measured, None] + self._spread[measured, None] * _NORMAL_QUANTILES
        pooled = np.sort(pooled.clip(0, 1), axis=None)
        # One place for each step that a quantile can be stored in.
        steps = np.quantile(pooled, np.linspace(0, 1, NOT_MEASURED))
        table = np.append(steps, np.nan).astype(np.float32)
        return table[quantiles]

    @cached_property
    def _precisions(self) -> OrderedDict[bytes, Precision]:
        return OrderedDict()

    def _precision(self, known: npt.NDArray[np.bool_]) -> Precision:
        """Kept: the files of a pipeline measure alike."""
        key = np.packbits(known).tobytes()
        kept = self._precisions.get(key)
        if kept is None:
            # The larger of the two sets of genes is the one whose product is not formed.
            observed, unmeasured = np.flatnonzero(known), np.flatnonzero(~known & self._used)
            if len(unmeasured) < len(observed):
                missing = self._weighted[unmeasured]
                precision = self._whole - missing.T @ missing
            else:
                present = self._weighted[observed]
                precision = torch.eye(self.size) + present.T @ present
            # The difference of two float32 sums may miss symmetry and the ones of the prior.
            root = torch.linalg.cholesky(precision.double()).float()
            self._precisions[key] = kept = Precision(self._weighted, root)
            while len(self._precisions) > _KEPT:
                with contextlib.suppress(KeyError):  # another thread may have been as quick
                    self._precisions.popitem(last=False)
        return kept


def fit_factors(quantiles: npt.NDArray[np.uint8], *, factors: int = FACTORS) -> FactorModel:
    """Fit a factor model by principal components of the profiles, unmeasured genes filled in turn.

    Parameters
    ----------
    quantiles
        (N, V) rank quantiles of genome-wide training profiles.
    factors
        K at most.

    Returns
    -------
    The model. Memory while fitting is about 12 bytes for each of the N · V values. The bits depend
    on the number of cores, not on how many threads PyTorch was told to take.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(usable_cores())
    try:
        return _fit(quantiles, factors)
    finally:
        torch.set_num_threads(threads)


def _fit(quantiles: npt.NDArray[np.uint8], factors: int) -> FactorModel:
    N, V = quantiles.shape
    K = min(factors, N - 1, V)
    missing = torch.from_numpy(quantiles == NOT_MEASURED)
    x = torch.from_numpy(quantile_values(quantiles))
    measured = (~missing).sum(dim=0).clamp(min=1)
    x[missing] = 0
    mean = x.sum(dim=0) / measured
    x -= mean
    x[missing] = 0
    x[:, (x.square().sum(dim=0) / measured).sqrt() < _LEAST_SPREAD] = 0
    U, S, V_ = _leading(x, K)
    for _ in range(_ROUNDS - 1):
        x[missing] = ((U * S) @ V_.T)[missing]
        U, S, V_ = _leading(x, K)
    residual = x.sub_((U * S) @ V_.T)
    residual[missing] = 0
    noise = (residual.square().sum(dim=0) / measured).clamp(min=_LEAST_NOISE)
    loadings = V_ * (S / N**0.5)
    # Rounded as a release stores them, so that what is fitted on top sees what is served.
    return FactorModel(mean.numpy(), loadings.half().float().numpy(), noise.numpy())


def _leading(x: Tensor, K: int) -> tuple[Tensor, Tensor, Tensor]:
    """The K leading singular triplets, by the randomised method; the same on every call."""
    state = torch.random.get_rng_state()
    torch.manual_seed(0)
    U, S, V = torch.svd_lowrank(x, q=min(K + _OVERSAMPLE, *x.shape), niter=2)
    torch.random.set_rng_state(state)
    return U[:, :K], S[:K], V[:, :K]
