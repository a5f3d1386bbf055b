"""`neuron_scores`: of every neuron how well it tells hallucinated from right answers by itself, all neurons at once."""

from __future__ import annotations

from typing import cast

import numpy as np
from jaxtyping import Bool, Float, Int

from lens_truth.errors import InputError
from lens_truth.io.stages import bar, stage
from lens_truth.lineage.agreement import NEURON
from lens_truth.neurons.activity import NeuronActivity
from lens_truth.scoring.scores import HeadScores
from lens_truth.stats.folds import grouped_folds

_CELLS = 1 << 23
"""Numbers of the activity that are sorted at once."""


@stage("neuron scores")
def neuron_scores(activity: NeuronActivity, *, n_parts: int = 2, seed: int = 0) -> HeadScores:
    """AUROC of every neuron's CETT for hallucinated against right answers: above .5 a neuron is more active in
    hallucinated ones. A neuron that is the same in all answers has .5.

    The map has a row a layer and a column a neuron, and goes wherever scores of heads go: `heritability` compares the
    maps of several models inside layers, against shuffled neurons. `folds` are the same scores in disjoint parts of the
    groups, whose agreement says how much of a map is noise.

    >>> scores = lens_truth.neuron_scores(activity)
    >>> scores.values[5, 300]  # of neuron 300 of layer 5

    Args:
        n_parts: disjoint parts of the groups, at least two (two: split halves).

    Raises:
        InputError: if all answers have one label, or a part would have.
    """
    labels = activity.labels.numpy()
    part = grouped_folds(labels, activity.groups, n_parts, seed)
    for number in range(n_parts):
        if len(np.unique(labels[part == number])) < 2:
            raise InputError(
                f"part {number + 1} of {n_parts} of the groups holds answers of one label only; give fewer parts or "
                "more data"
            )
    N, L, M = activity.values.shape
    values, folds = np.empty((L, M)), np.empty((n_parts, L, M))
    step = max(1, _CELLS // N)
    for layer in bar(range(L), "neuron scores"):
        for first in range(0, M, step):
            seen = activity.values[:, layer, first : first + step].numpy()
            values[layer, first : first + step] = aurocs(seen, labels)
            for number in range(n_parts):
                rows = part == number
                folds[number, layer, first : first + step] = aurocs(seen[rows], labels[rows])
    about = {name: its for name, its in activity.provenance.items() if name != "n_kv_heads"}
    return HeadScores(values, NEURON, folds=folds, provenance={**about, "n_parts": n_parts, "seed": seed})


def aurocs(values: Float[np.ndarray, "N F"], labels: Int[np.ndarray, " N"]) -> Float[np.ndarray, " F"]:
    """How often a hallucinated answer (0) has more than a right one (1), ties counting half, of each column."""
    columns = np.ascontiguousarray(values.T)
    order = columns.argsort(axis=1)
    ordered = np.take_along_axis(columns, order, axis=1)
    hallucinated = labels[order] == 0
    n0 = int((labels == 0).sum())
    n1 = len(labels) - n0
    # The rank of a row among all, those of equal rows averaged, less its rank among its own kind.
    ranks = np.broadcast_to(np.arange(1.0, len(labels) + 1), ordered.shape)
    same = ordered[:, 1:] == ordered[:, :-1]
    if (tied := np.flatnonzero(same.any(1))).size:
        ranks = ranks.copy()
        ranks[tied] = _middle(same[tied])
    found = ((ranks * hallucinated).sum(1) - n0 * (n0 + 1) / 2) / (n0 * n1)
    return cast("np.ndarray", found)


def _middle(same: Bool[np.ndarray, "F N1"]) -> Float[np.ndarray, "F N"]:
    """Ranks in rising order, where `same` says whether a value equals the one before it; equal ones share theirs."""
    F, N = len(same), same.shape[1] + 1
    edge = np.ones((F, 1), dtype=bool)
    starts, ends = np.concatenate([edge, ~same], axis=1), np.concatenate([~same, edge], axis=1)
    place = cast("np.ndarray", np.arange(F * N).reshape(F, N) % N)
    first, last = (np.full((F, N), its) for its in (0, N))
    first[starts], last[ends] = place[starts], place[ends]
    last = np.minimum.accumulate(last[:, ::-1], axis=1)[:, ::-1]
    return 1 + (np.maximum.accumulate(first, axis=1) + last) / 2
