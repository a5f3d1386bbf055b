"""The bootstraps behind every interval: of groups, since the rows of a group hang together, and of heads."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from lens_truth.io.stages import stage

_ROUNDING = 1e-18


def group_sums(values: Float[np.ndarray, "N ..."], groups: Sequence[str]) -> Float[np.ndarray, "G ..."]:
    """The sum of each group's rows, groups in the order of their names."""
    names, numbers = np.unique(np.asarray(groups), return_inverse=True)
    sums = np.zeros((len(names), *values.shape[1:]))
    np.add.at(sums, numbers, values)
    return sums


@stage("bootstrap")
def bootstrap_interval(
    totals: Float[np.ndarray, "G ..."], mass: Float[np.ndarray, " G"], n_draws: int, rng: np.random.Generator
) -> tuple[Float[np.ndarray, "..."], Float[np.ndarray, "..."]]:
    """95% percentile interval of sum(totals) / sum(mass), the groups drawn `n_draws` times with replacement. Draws
    without any mass have no ratio and are left out."""
    n_groups = len(mass)
    draws = rng.multinomial(n_groups, np.full(n_groups, 1 / n_groups), size=n_draws).astype(float)
    draws = draws[draws @ mass > 0]
    means = (draws @ totals.reshape(n_groups, -1)) / (draws @ mass)[:, None]
    low, high = np.quantile(means, [0.025, 0.975], axis=0)
    return low.reshape(totals.shape[1:]), high.reshape(totals.shape[1:])


def head_weights(
    n: int, n_layers: int, n_heads: int, n_groups: int, rng: np.random.Generator
) -> Float[np.ndarray, "n L H"]:
    """How much each head counts in each of n draws.

    Inside each layer, one group fewer than there are is drawn with replacement and scaled up (Rao and Wu 1988): drawing
    as many as there are would understate the variance inside a layer by a share of 1 / n_groups. With one or two groups
    a layer nothing is left to draw inside it, and whole layers are drawn.
    """
    if n_groups < 3:
        drawn = rng.multinomial(n_layers, np.full(n_layers, 1 / n_layers), size=n)
        return np.repeat(drawn[..., None], n_heads, axis=2).astype(np.float64)
    drawn = rng.multinomial(n_groups - 1, np.full(n_groups, 1 / n_groups), size=(n, n_layers))
    return np.repeat(drawn * (n_groups / (n_groups - 1)), n_heads // n_groups, axis=2)


def correlation_draws(
    x: Float[np.ndarray, "L H"], y: Float[np.ndarray, "L H"], weights: Float[np.ndarray, "n L H"]
) -> tuple[Float[np.ndarray, " drawn"], Float[np.ndarray, " drawn_within"]]:
    """Pearson's r over all heads, and with each layer's mean removed, of every draw that defines it."""
    x, y = x - x.mean(), y - y.mean()
    moments = np.stack([np.ones_like(x), x, y, x**2, y**2, x * y])
    sums = np.einsum("nlh,klh->knl", weights, moments, optimize=True)
    return _correlations(sums.sum(2, keepdims=True)), _correlations(sums)


def percentiles(draws: Float[np.ndarray, " n"]) -> Float[np.ndarray, "2"]:
    """The middle 95%; NaN where there is no draw."""
    return np.quantile(draws, [0.025, 0.975]) if len(draws) else np.full(2, np.nan)


def _correlations(sums: Float[np.ndarray, "6 n strata"]) -> Float[np.ndarray, " drawn"]:
    """Moments are taken about the mean of each stratum, be it a layer or all heads."""
    mass, a, b, aa, bb, ab = sums
    per = np.divide(1, mass, out=np.zeros_like(mass), where=mass > 0)
    variance = (aa - a**2 * per).sum(1) * (bb - b**2 * per).sum(1)
    defined = variance > _ROUNDING * (aa.sum(1) * bb.sum(1))
    r = (ab - a * b * per).sum(1)[defined] / np.sqrt(variance[defined])
    return np.clip(r, -1, 1)
