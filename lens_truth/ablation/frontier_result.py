"""`Frontier`: what gates of few heads do; read back without PyTorch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from lens_truth.ablation.held_out import HEADER, Ends, HeldOut
from lens_truth.errors import InputError
from lens_truth.io.numbers import count, interval, number
from lens_truth.io.results import Result
from lens_truth.io.tables import Row, Table, row, table

if TYPE_CHECKING:
    from matplotlib.figure import Figure

LEARNED, RANDOM = "learned", "random"
SHARE = 0.9
"""Of what the whole learned gate gives: what few heads have to reach."""


@dataclass(frozen=True)
class Point:
    """A gate that touches so many heads.

    >>> [point.held for point in result.orders.get("learned")]
    """

    n: int
    """Heads that it touches."""
    gain: float | None
    """By how much each is amplified, chosen on validation; None of the learned gate, whose values are its own."""
    held: HeldOut
    over_random: float
    """Margin beyond the mean of as many heads in random orders."""
    over_random_ci: Ends


@dataclass(frozen=True, eq=False)
class Frontier(Result):
    """What `few_heads` found.

    >>> found = lens_truth.Frontier.load("runs/learn")
    >>> found.tables()[0], found.verdicts()
    >>> found.plot().savefig("frontier.png")
    """

    command = "learn"
    part = "frontier"

    model: str
    n_heads: int
    """Of the model."""
    n_questions: int
    n_groups: int
    seed: int
    margin: float
    """Without a gate."""
    accuracy: float
    orders: Mapping[str, tuple[Point, ...]]
    """`learned`, the names of scores, `random 0` and on; each from 1 head to all."""

    @property
    def random(self) -> list[tuple[Point, ...]]:
        """The random orders."""
        return [its for name, its in self.orders.items() if name.startswith(f"{RANDOM} ")]

    @property
    def by_scores(self) -> dict[str, tuple[Point, ...]]:
        """All others."""
        return {name: its for name, its in self.orders.items() if not name.startswith(f"{RANDOM} ")}

    def enough(self, order: str) -> int | None:
        """The fewest heads that give nine tenths of what the whole learned gate gives; None where none do, or it gives
        nothing that is told from 0.

        >>> result.enough("causal")
        """
        if order not in self.orders:
            raise InputError(f"there is no order of heads '{order}', only {', '.join(self.orders)}")
        whole = self.orders[LEARNED][-1].held
        if not whole.gain_ci[0] > 0:
            return None
        return next((its.n for its in self.orders[order] if its.held.gain >= SHARE * whole.gain), None)

    def tables(self) -> tuple[Table, ...]:
        """A line an order and number of heads; of random orders the mean and range of the margins."""
        header = ("order", "heads", "gain", *HEADER, "over random [95%]")
        rows = [self._line(name, its) for name, points in self.by_scores.items() for its in points]
        for points in zip(*self.random, strict=True):
            gains, marks = ([getattr(its.held, name) for its in points] for name in ("gain", "accuracy"))
            spread = f"{np.mean(gains):+.2f}, {min(gains):+.2f} to {max(gains):+.2f}"
            said = number(float(np.mean(marks)))
            rows.append(row(count(len(points), "random order"), str(points[0].n), "", spread, said, "", "", ""))
        note = (
            f"Over {self.n_questions} held-out questions in {self.n_groups} groups; without a gate the margin is "
            f"{number(self.margin, 2)} nats, the accuracy {number(self.accuracy)}. Margins are what the gate adds. Of "
            "random orders the mean and the range, each with a gain of its own chosen on validation. By scores, heads "
            "with negative ones are damped and the others amplified, by as much; random orders amplify, so that over "
            "random is about which heads and which way."
        )
        return (table(f"Effect against heads touched, {self.model}", header, rows, note),)

    @staticmethod
    def _line(name: str, its: Point) -> Row:
        over = f"{its.over_random:+.2f} {interval(its.over_random_ci)}"
        gain = "own" if its.gain is None else f"±{its.gain:g}"
        return row(name, str(its.n), gain, *its.held.cells(), over)

    def verdicts(self) -> list[str]:
        """How many heads are enough, and whether the order is better than chance."""
        whole = self.orders[LEARNED][-1].held
        if not whole.gain_ci[0] > 0:
            return [
                f"The learned gate adds {whole.gain:+.2f} nats {interval(whole.gain_ci)} to the margin of held-out "
                "questions, which is not told from 0, so no number of heads is enough for it."
            ]
        said: list[str] = []
        for name, points in self.by_scores.items():
            enough = self.enough(name)
            best = max(points, key=lambda its: its.held.gain)
            reached = (
                f"{enough} of {self.n_heads} heads give {SHARE:.0%} of the whole learned gate's {whole.gain:+.2f} nats"
                if enough
                else f"no number of heads gives {SHARE:.0%} of the whole learned gate's {whole.gain:+.2f} nats (most "
                f"{best.held.gain:+.2f}, by {count(best.n, 'head')})"
            )
            part = [its for its in points if its.n < self.n_heads]
            beyond = [its.n for its in part if its.over_random_ci[0] > 0]
            than = (
                f"more than random heads at {', '.join(map(str, beyond))}"
                if beyond
                else "nowhere told from as many random heads"
            )
            said.append(f"{name}: {reached}; {than}.")
        return said

    def plot(self) -> Figure:
        """Margin and accuracy against the number of heads."""
        from lens_truth.ablation.learned_figures import frontier_figure  # takes as long as all the rest

        return frontier_figure(self)
