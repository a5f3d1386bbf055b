"""`Indirect`: what steering along another model's directions of truth does to a model's judgement; read back without
PyTorch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from lens_truth.io.numbers import count, interval, number
from lens_truth.io.results import Result
from lens_truth.io.tables import Table, row, table

Ends = tuple[float, float]


@dataclass(frozen=True, eq=False)
class Push:
    """One push, as a share of the distance between supported and hallucinated answers in the model's own judgement: 1
    if it makes the ones be judged as the others are.

    >>> result.ways["base to tuned"].pushes["towards truth"].kept
    """

    given: float
    """Along the other model's directions, on its heads."""
    given_ci: Ends
    turned: float
    """Along the model's own directions, on the same heads."""
    turned_ci: Ends
    own: float
    """Along its own directions, on the heads that its own probes are best in."""
    own_ci: Ends
    kept: float
    """`given` / `turned`: how much of what its own directions do the other model's do; NaN where its own do no more
    than random ones."""
    kept_ci: Ends
    random: tuple[float, ...]
    """Along random directions on the same heads, draw by draw."""
    p: float
    """Share of random directions (and of `given` itself) that do as much as `given`."""


@dataclass(frozen=True, eq=False)
class Effect:
    """Directions of one model in the other.

    >>> result.ways["base to tuned"].gap
    """

    heads: tuple[tuple[int, int], ...]
    """(layer, head) that are shifted, those with the best probes in the model that the directions are of."""
    own_heads: tuple[tuple[int, int], ...]
    auroc: float
    """Of the steered model's judgement, before it is steered."""
    gap: float
    """Mean log-odds of no against yes (is the answer hallucinated?) of supported answers, less that of hallucinated
    ones; what pushes are measured by."""
    gap_ci: Ends
    pushes: Mapping[str, Push]
    """`towards truth`, of hallucinated answers; `away from truth`, of supported ones. None where the gap is not told
    from 0."""


@dataclass(frozen=True, eq=False)
class Indirect(Result):
    """What `indirect_effects` found.

    >>> found = lens_truth.Indirect.load("runs/directions-tuned")
    >>> found.tables()[0], found.verdicts()
    """

    command = "directions tuned"
    part = "indirect"
    named = True

    names: tuple[str, str]
    """Base and tuned model."""
    point: str
    estimator: str
    n_fitted: int
    """Rows that directions are from."""
    n_judged: int
    """Other rows, of other groups, whose answers are judged."""
    n_groups: int
    """Of the judged rows."""
    n_random: int
    seed: int
    ways: Mapping[str, Effect]
    """`base to tuned`, `tuned to base`."""

    def tables(self) -> tuple[Table, ...]:
        """A line for each push either way; no table where nothing was measured."""
        header = ("directions", "pushed", "heads", "effect", "own there", "kept", "random", "p", "own heads")
        rows = [
            row(
                name,
                pushed,
                self._shifted(way),
                f"{its.given:.2f} {interval(its.given_ci, 2)}",
                f"{its.turned:.2f} {interval(its.turned_ci, 2)}",
                f"{number(its.kept, 2)} {interval(its.kept_ci, 2)}".strip(),
                f"{min(its.random):.2f} to {max(its.random):.2f}",
                number(its.p),
                f"{its.own:.2f} {interval(its.own_ci, 2)}",
            )
            for name, way in self.ways.items()
            for pushed, its in way.pushes.items()
        ]
        if not rows:
            return ()
        note = (
            f"Base: {self.names[0]}; tuned: {self.names[1]}. Directions are differences of class means of "
            f"{self.n_fitted} rows, added at every position; judged are {self.n_judged} other rows in "
            f"{self.n_groups} groups, over which intervals are, with directions as they are. An effect of 1 makes "
            "hallucinated answers be judged as supported ones are, or the other way round. Random: "
            f"{self.n_random} directions as long. Own there: the model's own directions on these heads; kept: effect "
            "by own there, where that is more than random."
        )
        return (table("Steering along the other model's directions", header, rows, note),)

    def _shifted(self, way: Effect) -> str:
        if self.point != "z":
            return ", ".join(f"layer {layer}" for layer, _ in way.heads)
        first = ", ".join(f"{layer}.{head}" for layer, head in way.heads[:2])
        return first if len(way.heads) <= 2 else f"{first} and {len(way.heads) - 2} more"

    def verdicts(self) -> list[str]:
        """Whether the other model's directions act, and as the model's own do."""
        sentences: list[str] = []
        for name, way in self.ways.items():
            if not way.pushes:
                sentences.append(
                    f"From {name} nothing is measured: unsteered, the model's judgement does not tell supported from "
                    f"hallucinated answers (log-odds apart by {way.gap:+.2f} {interval(way.gap_ci, 2, plus=True)}, "
                    f"AUROC {way.auroc:.2f})."
                )
            n = count(len(way.heads), "head" if self.point == "z" else "layer")
            for pushed, its in way.pushes.items():
                acts = "more than any random direction" if its.given > max(its.random) else "no more than random ones"
                own = f"own directions there {its.turned:+.2f} {interval(its.turned_ci, 2, plus=True)}"
                kept = "no more than random ones" if np.isnan(its.kept) else f"so {its.kept:.2f} of it is kept"
                sentences.append(
                    f"From {name}, {pushed}: the other model's directions on {n} move the judgement by "
                    f"{its.given:+.2f} {interval(its.given_ci, 2, plus=True)} of the way, {acts}; {own}, {kept}."
                )
        return sentences
