"""The bootstrap behind every interval: groups drawn with replacement, since the rows of a group hang together."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float


def group_sums(values: Float[np.ndarray, "N ..."], groups: Sequence[str]) -> Float[np.ndarray, "G ..."]:
    """The sum of each group's rows, groups in the order of their names."""
    names, numbers = np.unique(np.asarray(groups), return_inverse=True)
    sums = np.zeros((len(names), *values.shape[1:]))
    np.add.at(sums, numbers, values)
    return sums


def bootstrap_interval(
    totals: Float[np.ndarray, "G ..."], mass: Float[np.ndarray, " G"], n_draws: int, rng: np.random.Generator
) -> tuple[Float[np.ndarray, "..."], Float[np.ndarray, "..."]]:
    """95% percentile interval of sum(totals) / sum(mass), the groups drawn `n_draws` times with replacement.

    Draws without any mass have no ratio and are left out.
    """
    n_groups = len(mass)
    draws = rng.multinomial(n_groups, np.full(n_groups, 1 / n_groups), size=n_draws).astype(float)
    draws = draws[draws @ mass > 0]
    means = (draws @ totals.reshape(n_groups, -1)) / (draws @ mass)[:, None]
    low, high = np.quantile(means, [0.025, 0.975], axis=0)
    return low.reshape(totals.shape[1:]), high.reshape(totals.shape[1:])
