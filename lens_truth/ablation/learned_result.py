"""`LearnedGates`: what learned gates are worth, how many questions they need, and whether a child can take its base's;
read back without PyTorch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from lens_truth.ablation.held_out import HEADER, Ends, HeldOut, agreement_text
from lens_truth.io.numbers import SIGNIFICANT, count, interval, least_p_said, number, p_value
from lens_truth.io.results import Result
from lens_truth.io.tables import Row, Table, row, table
from lens_truth.stats.correlation import Relation

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class Way:
    """A gate that was learned in one way.

    >>> result.ways["signed l1"].n_touched
    """

    penalty: float
    """The one that validation chose."""
    tried: Mapping[str, float]
    """By penalty, the loss of a validation question, log(1 + exp(-margin))."""
    n_touched: int
    """Heads whose gate is further than .05 from 1."""
    strength: float
    """Root mean square of gate - 1."""
    held: HeldOut
    permuted: tuple[float, ...]
    """What the same values shuffled inside layers add to the margin, draw by draw."""
    uniform: float
    """What each layer's mean gate adds."""
    p: float
    """Share of permuted draws (and of the gate itself) that add as much."""


@dataclass(frozen=True)
class CurvePoint:
    """Two fits on disjoint questions, so many each.

    >>> result.curve[0].agreement
    """

    n: int
    agreement: Relation | None
    """Of the two gates over heads; None where one is constant."""
    held: HeldOut
    """Mean of both."""


@dataclass(frozen=True)
class Passed:
    """A base's learned gate on a child, beside the child's own.

    >>> result.children["zoo:llama-memory-chat"].kept
    """

    n_questions: int
    margin: float
    """Of the child without a gate."""
    accuracy: float
    given: HeldOut
    """Under the base's gate."""
    own: HeldOut
    kept: float
    """What the base's gate adds as a share of what the own gate adds; NaN where that is not told from 0."""
    kept_ci: Ends
    permuted: tuple[float, ...]
    """What the base's gate shuffled inside layers adds, draw by draw."""
    p: float
    """Share of these (and of the base's gate itself) that add as much."""
    agreement: Relation | None
    """Of both gates over heads."""


@dataclass(frozen=True, eq=False)
class LearnedGates(Result):
    """What `learned_gates` found.

    >>> found = lens_truth.LearnedGates.load("runs/learn")
    >>> found.tables()[0], found.verdicts()
    >>> found.plot().savefig("learned.png")
    """

    command = "learn"
    part = "learned"

    model: str
    n_heads: int
    n_fitted: int
    """Questions that gates were fitted to."""
    n_validation: int
    n_questions: int
    """That judge."""
    n_groups: int
    """Of these."""
    seed: int
    margin: float
    """Without a gate."""
    accuracy: float
    ways: Mapping[str, Way]
    """By form and norm (`signed l2`); the first is the one of the curve and the children."""
    curve: tuple[CurvePoint, ...]
    children: Mapping[str, Passed]

    @property
    def first(self) -> str:
        """The way whose gates the curve and the children are about."""
        return next(iter(self.ways))

    def tables(self) -> tuple[Table, ...]:
        """Ways to learn; then how many questions are needed, and children, if there are such."""
        found = [self._ways()]
        found += [self._curve()] if self.curve else []
        found += [self._children()] if self.children else []
        return tuple(found)

    def _ways(self) -> Table:
        header = ("learned", "penalty", "heads", *HEADER, "permuted", "p", "uniform")
        rows = [
            row(
                name,
                f"{its.penalty:g}",
                str(its.n_touched),
                *its.held.cells(),
                _spread(its.permuted),
                p_value(its.p),
                f"{its.uniform:+.2f}",
            )
            for name, its in self.ways.items()
        ]
        note = (
            f"Fitted to {self.n_fitted} questions, penalties chosen on {self.n_validation}, judged on "
            f"{self.n_questions} others in {self.n_groups} groups; without a gate the margin is "
            f"{number(self.margin, 2)} nats, the accuracy {number(self.accuracy)}. Margins are what gates add; heads, "
            f"those of {self.n_heads} whose gate is further than .05 from 1; permuted, the same values shuffled inside "
            "layers, mean and range, with a p-value for each way, not adjusted"
            f"{_least([its.permuted for its in self.ways.values()])}; uniform, each layer's mean."
        )
        return table(f"Learned gates, {self.model}", header, rows, note)

    def _curve(self) -> Table:
        header = ("questions", "agreement [95%]", "null", *HEADER)
        rows = [
            row(
                str(its.n),
                agreement_text(its.agreement),
                "" if its.agreement is None else interval(its.agreement.null_within_layer),
                *its.held.cells(),
            )
            for its in self.curve
        ]
        note = (
            f"{self.first}: two fits on disjoint questions; agreement is their correlation over heads inside layers, "
            "margin and accuracy are the mean of both."
        )
        return table("How many questions a learned gate needs", header, rows, note)

    def _children(self) -> Table:
        header = ("child", "gate", *HEADER, "kept [95%]", "permuted", "p")
        rows: list[Row] = []
        for name, its in self.children.items():
            kept = f"{number(its.kept, 2)} {interval(its.kept_ci)}".strip()
            rows.append(row(name, "base's", *its.given.cells(), kept, _spread(its.permuted), p_value(its.p)))
            rows.append(row("", "own", *its.own.cells(), "", "", "", below=True))
        note = (
            f"{self.first}; kept, what the base's gate adds to the margin as a share of what the own gate adds; p, of "
            f"the base's gate shuffled inside layers{_least([its.permuted for its in self.children.values()])}."
        )
        return table(f"The gate of {self.model} in its children", header, rows, note)

    def verdicts(self) -> list[str]:
        """What each gate is worth, how many questions are enough, what is passed down."""
        said = [self._way_said(name, its) for name, its in self.ways.items()]
        if self.curve:
            last, several = self.curve[-1], self.curve[0] is not self.curve[-1]
            most = last.held.gain
            enough = next((its for its in self.curve if its.held.gain >= 0.9 * most), None)
            if enough is not None and last.held.gain_ci[0] > 0:
                told = f"{enough.n} questions give 90% of the margin that {last.n} give ({most:+.2f} nats)"
                if enough is last:
                    fewer = "fewer less than 90% of that" if several else "fewer were not tried"
                    told = f"{last.n} questions give {most:+.2f} nats, {fewer}"
                agree = agreement_text(enough.agreement) or "no defined correlation"
                said.append(f"{told}; fits on as many others agree by {agree}.")
            else:
                said.append(
                    f"{last.n} questions give {most:+.2f} nats {interval(last.held.gain_ci)}, not told from 0, so no "
                    "number of questions is enough."
                )
        return [*said, *(self._child_said(name, its) for name, its in self.children.items())]

    @staticmethod
    def _way_said(name: str, its: Way) -> str:
        held, beaten = its.held, sum(one < its.held.gain for one in its.permuted)
        if not held.gain_ci[0] > 0:
            return f"{name}: {held.gain:+.2f} nats {interval(held.gain_ci)} on held-out questions; no gain is told."
        change = f"accuracy {held.change.difference:+.3f} (p {p_value(held.change.p_value)})"
        than = f"{beaten} of {count(len(its.permuted), 'permuted gate')} add less, p {p_value(its.p)}"
        than += _least([its.permuted])
        doubt = "" if held.change.significant else ", not told from 0"
        return f"{name}: {held.gain:+.2f} nats {interval(held.gain_ci)}, {change}{doubt}; {than}."

    def _child_said(self, name: str, its: Passed) -> str:
        given, own = its.given, its.own
        if np.isnan(its.kept):
            return (
                f"{name}: its own gate adds {own.gain:+.2f} nats {interval(own.gain_ci)}, which is not told from 0, so "
                "no share of it is defined."
            )
        told = "more" if all(one < given.gain for one in its.permuted) else "not more"
        return (
            f"{name}: the gate of {self.model} adds {given.gain:+.2f} nats {interval(given.gain_ci)}, {its.kept:.2f} "
            f"{interval(its.kept_ci)} of what its own adds ({own.gain:+.2f}), {told} than every permuted one; both "
            f"agree over heads by {agreement_text(its.agreement) or 'no defined correlation'}."
        )

    def plot(self) -> Figure:
        """Margins and accuracies of all ways; agreement and margin against questions."""
        from lens_truth.ablation.learned_figures import learned_figure  # takes as long as all the rest

        return learned_figure(self)


def _least(draws: Sequence[tuple[float, ...]]) -> str:
    """What p-values of so few draws cannot fall below, where that is more than is called significant."""
    n = min(map(len, draws))
    return f" ({least_p_said(n)})" if 1 / (n + 1) > SIGNIFICANT else ""


def _spread(its: tuple[float, ...]) -> str:
    return f"{np.mean(its):+.2f}, {min(its):+.2f} to {max(its):+.2f}"
