r"""What the factor model expects of each gene of a profile, given all the other genes.

Of the measured genes o of a profile the linear-Gaussian factor model (`factors`) says
:math:`x_o \sim N(0, W_o W_o^\top + Ψ_o)`. Given all the others, a gene is normal too, and nothing
need be solved again for each gene (C. E. Rasmussen and C. K. I. Williams, Gaussian Processes for
Machine Learning, 2006, section 5.4.2; here with the precision in the form of Woodbury):

.. math:: x_g \mid x_{o \setminus g} \sim
          N\left(x_g - \frac{r_g}{1 - h_g}, \frac{ψ_g}{1 - h_g}\right), \quad
          r = x - W z, \quad
          h_g = \frac{1}{ψ_g} W_g (I + W_o^\top Ψ_o^{-1} W_o)^{-1} W_g^\top
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from specformer_encoder.factors import FactorModel

FloatArray = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Expectation:
    """What the other genes say of each gene of a profile; V genes, NaN where it takes no part.

    Attributes
    ----------
    values
        (V,) rank quantile, 0 to 1; of a panel, the one that its genes have in whole profiles.
    expected
        (V,) mean given all other measured genes. Linear, so it may lie outside 0 to 1.
    deviation
        (V,) standard deviation about that mean.
    misfit
        Of the profile as a whole; see `factors.Posterior`.
    """

    values: FloatArray
    expected: FloatArray
    deviation: FloatArray
    misfit: float


def leave_one_out(model: FactorModel, quantiles: npt.NDArray[np.uint8]) -> Expectation:
    """Predict every measured gene of one profile from all its other measured genes.

    Parameters
    ----------
    model
        The factor model.
    quantiles
        (V,) of `ordering.rank_quantiles`.
    """
    posterior = model.posterior(quantiles)
    known, spread = posterior.known.numpy(), np.sqrt(model.noise)
    left = 1 - posterior.precision.leverage.numpy()
    residual = spread * posterior.residual.numpy() / left
    values = np.where(known, posterior.values, np.float32(np.nan))
    deviation = np.where(known, spread / np.sqrt(left), np.float32(np.nan))
    return Expectation(values, values - residual, deviation, posterior.misfit)
