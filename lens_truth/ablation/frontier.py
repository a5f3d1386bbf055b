"""The "few heads" frontier: what a gate does to held-out questions against the number of heads that it touches."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from jaxtyping import Float, Int

from lens_truth.ablation.frontier_result import LEARNED, RANDOM, Frontier, Point
from lens_truth.ablation.held_out import Judge, Margins
from lens_truth.data.examples import Example
from lens_truth.errors import InputError
from lens_truth.evaluate.asker import Asker
from lens_truth.gates.gate import HeadGate
from lens_truth.io.stages import stage
from lens_truth.io.streams import Stream, stream
from lens_truth.models.hooks import check_gate_shape, grid_of
from lens_truth.scoring.scores import HeadScores
from lens_truth.stats.paired import group_interval

GAINS = (0.25, 0.5, 1.0)
"""By how much heads in the order of scores are amplified (or damped, where their score is negative)."""


@stage("frontier")
def few_heads(
    asker: Asker,
    scores: Mapping[str, HeadScores],
    learned: HeadScores,
    validation: Sequence[Example],
    test: Sequence[Example],
    *,
    n_random: int = 3,
    seed: int = 0,
) -> Frontier:
    """How much of its effect a gate has on the answer margin when it touches only 1, 2, 4, ... heads.

    Heads are touched in the order of the size of their scores. Those of `scores` get one gain, 1 + x where the score is
    positive and 1 - x where it is negative, x chosen on `validation` for every number of heads; so do heads in random
    orders (all amplified), each by itself. Those of the `learned` gate get its own values.

    >>> learned = lens_truth.learned_gate(model, fitted, template="chat")
    >>> found = lens_truth.few_heads(asker, {"causal": causal}, learned, validation, test)
    >>> found.enough("learned"), found.enough("causal")

    Args:
        asker: the model, and how it is asked.
        scores: by name; of shape (layers, heads).
        learned: g - 1 of a learned gate.
        validation: questions on which gains are chosen.
        test: questions that judge.
        n_random: random orders; at least one.

    Raises:
        InputError: if scores do not have the model's shape, no random order is asked for, or no question has answers
            of both labels.
    """
    if n_random < 1:
        raise InputError(f"{n_random} random orders of heads were asked for; at least 1 is needed")
    grid = grid_of(asker.model)
    for its in (*scores.values(), learned):
        check_gate_shape(grid, torch.from_numpy(its.values))
    steps = {name: _steps(its.values) for name, its in scores.items()}
    rng = stream(seed, Stream.FRONTIER_HEADS)
    steps |= {f"{RANDOM} {draw}": _Steps(rng.permutation(grid[0] * grid[1]), None) for draw in range(n_random)}
    sizes = _sizes(grid[0] * grid[1])
    tried = {(name, n, gain): its.gate(grid, n, gain) for name, its in steps.items() for n in sizes for gain in GAINS}
    chosen_on = Judge(asker, validation, seed).margins({_name(*key): gate for key, gate in tried.items()}, "validation")
    best = {
        (name, n): max(GAINS, key=lambda gain, name=name, n=n: (chosen_on[_name(name, n, gain)].mean(), -gain))
        for name in steps
        for n in sizes
    }
    gates = {(name, n): tried[name, n, gain] for (name, n), gain in best.items()}
    own = _steps(learned.values)
    gates |= {(LEARNED, n): own.own(grid, n, learned.values) for n in sizes}
    judge = Judge(asker, test, seed)
    margins = judge.margins({_name(*key): gate for key, gate in gates.items()}, "frontier")
    by_chance = {n: np.mean([margins[_name(f"{RANDOM} {i}", n)] for i in range(n_random)], axis=0) for n in sizes}

    def point(name: str, n: int) -> Point:
        its: Margins = margins[_name(name, n)]
        over = its - by_chance[n]
        ends = group_interval(over, judge.groups, seed)
        held = judge.of([its], margins[""])
        return Point(n, best.get((name, n)), held, float(over.mean()), ends)

    vanilla = margins[""]
    return Frontier(
        model=asker.name,
        n_heads=grid[0] * grid[1],
        n_questions=judge.n_questions,
        n_groups=len(set(judge.groups)),
        seed=seed,
        margin=float(vanilla.mean()),
        accuracy=float((vanilla > 0).mean()),
        orders={name: tuple(point(name, n) for n in sizes) for name in (LEARNED, *steps)},
    )


class _Steps:
    """Heads in an order, and which way each is turned."""

    def __init__(self, order: Int[np.ndarray, " LH"], sign: Float[np.ndarray, " LH"] | None) -> None:
        self._order, self._sign = order, np.ones(len(order)) if sign is None else sign

    def gate(self, grid: tuple[int, int], n: int, gain: float) -> HeadGate:
        """The first n with one gain."""
        return self.own(grid, n, gain * self._sign)

    def own(self, grid: tuple[int, int], n: int, away: Float[np.ndarray, "..."]) -> HeadGate:
        """The first n, each so far from 1."""
        values, first = np.ones(len(self._order)), self._order[:n]
        values[first] += away.reshape(-1)[first]
        return HeadGate(torch.from_numpy(values).float().view(*grid))


def _steps(values: Float[np.ndarray, "L H"]) -> _Steps:
    """By the size of their scores, of equals the first."""
    return _Steps(np.argsort(-np.abs(values), axis=None, kind="stable"), np.sign(values).ravel())


def _sizes(n_heads: int) -> list[int]:
    """1, 2, 4, ... and all."""
    return [*(1 << i for i in range(n_heads.bit_length()) if 1 << i < n_heads), n_heads]


def _name(order: str, n: int, gain: float | None = None) -> str:
    return f"{order}, {n}" if gain is None else f"{order}, {n}, {gain:g}"
