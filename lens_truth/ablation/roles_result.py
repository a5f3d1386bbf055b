"""`RoleCheck`: roles of heads by causal head gating, and what removing them does; read back without PyTorch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float

from lens_truth.ablation.held_out import HEADER, HeldOut
from lens_truth.io.numbers import count, least_p_said, number, p_value, significant
from lens_truth.io.results import Result
from lens_truth.io.tables import Row, Table, row, table

if TYPE_CHECKING:
    from matplotlib.figure import Figure

ONLY, WITHOUT, LET_GO = "only facilitating", "without facilitating", "without interfering"
"""What is run: these heads alone, all but these."""
_BETTER = {ONLY: 1, WITHOUT: -1, LET_GO: 1}
"""Whether the given heads should do better than random ones (sufficient, interfering) or worse (necessary)."""
_SAID = {ONLY: "sufficient", WITHOUT: "necessary", LET_GO: "in the way"}


@dataclass(frozen=True)
class Removal:
    """Held-out questions with some heads removed.

    >>> result.removals["without facilitating"].held.margin
    """

    n: int
    """Heads that stay (`only`) or go (`without`)."""
    n_movable: int
    """Of these, how many stand in layers where a random choice can differ; where all or none of a layer's heads are
    chosen it cannot."""
    held: HeldOut
    log_prob: float
    """Of the supported answer, nats a token."""
    random: tuple[tuple[float, float, float], ...]
    """Of as many random heads of the same layers: log-probability, margin, accuracy."""
    p: float
    """Share of random draws (and of these heads themselves) whose log-probability is as good; for `without
    facilitating` as bad."""


@dataclass(frozen=True, eq=False)
class RoleCheck(Result):
    """What `role_check` found.

    >>> found = lens_truth.RoleCheck.load("runs/learn")
    >>> found.tables()[0], found.verdicts()
    >>> found.plot().savefig("roles.png")
    """

    command = "learn"
    part = "roles"

    model: str
    n_questions: int
    n_groups: int
    seed: int
    starts: int
    """Fits from other beginnings."""
    counts: Mapping[str, int]
    """Heads of each role."""
    agreement: Mapping[str, float]
    """Of each role between starts: heads that have it from both, of those that have it from either (`HeadRoles`)."""
    by_chance: Mapping[str, float]
    """The same with each start's heads shuffled inside layers (mean)."""
    kept: Float[np.ndarray, "L H"]
    """G+, mean over starts."""
    held: Float[np.ndarray, "L H"]
    """G-."""
    log_prob: float
    """Of the supported answer with all heads, nats a token."""
    margin: float
    accuracy: float
    removals: Mapping[str, Removal]
    """`only facilitating`, `without facilitating`, `without interfering`; none where no head or every head has the
    role."""

    def tables(self) -> tuple[Table, ...]:
        """How many heads have which role; what removing them does, beside random ones."""
        return self._counts(), self._removals()

    def _counts(self) -> Table:
        rows = [
            row(role, str(n), number(self.agreement[role], 2), number(self.by_chance[role], 2))
            for role, n in self.counts.items()
        ]
        note = (
            f"Mean gates of {count(self.starts, 'start')}; agreement is the share of heads with the role from both of "
            "two starts among those from either."
        )
        return table(
            f"Roles of {self.kept.size} heads, {self.model}", ("role", "heads", "agreement", "shuffled"), rows, note
        )

    def _removals(self) -> Table:
        header = ("heads", "n", "log p a token", "random", "p", *HEADER)
        whole = row("all", str(self.kept.size), number(self.log_prob), "", "", "", number(self.accuracy), "", "")
        rows = [whole, *(self._line(name, its) for name, its in self.removals.items())]
        note = (
            f"Over {self.n_questions} held-out questions in {self.n_groups} groups; with all heads the margin is "
            f"{number(self.margin, 2)} nats, and margins are what removing adds. Random: mean and range of as many "
            "heads of the same layers; p, the share of them (and of these heads) that are as good, of necessary ones "
            "as bad, for each removal and not adjusted."
        )
        return table("What heads are sufficient, necessary, in the way", header, rows, note)

    @staticmethod
    def _line(name: str, its: Removal) -> Row:
        drawn = [one[0] for one in its.random]
        spread = f"{np.mean(drawn):.3f}, {min(drawn):.3f} to {max(drawn):.3f}"
        return row(name, str(its.n), number(its.log_prob), spread, p_value(its.p), *its.held.cells())

    def verdicts(self) -> list[str]:
        """Whether the heads are what the roles say."""
        said: list[str] = []
        for name, its in self.removals.items():
            drawn = float(np.mean([one[0] for one in its.random]))
            beyond = f"{'' if significant(its.p) else 'not '}told from random heads of the same layers"
            said.append(
                f"{name} ({count(its.n, 'head')}): the supported answer has {its.log_prob:.2f} nats a token, "
                f"{self.log_prob:.2f} with all heads, {drawn:.2f} on average with random ones; {beyond} as "
                f"{_SAID[name]} (p {p_value(its.p)}, {least_p_said(len(its.random))})."
            )
        if lacking := [name for name in _SAID if name not in self.removals]:
            said.append(f"Not run, since no head or every head has the role: {', '.join(lacking)}.")
        return said

    def plot(self) -> Figure:
        """G+ and G- of every head, and what removing heads does."""
        from lens_truth.ablation.learned_figures import roles_figure  # takes as long as all the rest

        return roles_figure(self)


def as_good(name: str, its: float, drawn: list[float]) -> float:
    """The p-value of a removal among random ones."""
    return (1 + sum(_BETTER[name] * (one - its) >= 0 for one in drawn)) / (1 + len(drawn))
