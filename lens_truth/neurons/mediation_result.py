"""`Mediation`: the share of heads' effect that passes through neurons; read back without PyTorch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from lens_truth.io.numbers import count, interval, least_p_said, number, p_value, share
from lens_truth.io.results import Result
from lens_truth.io.tables import Row, Table, row, table

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Ends = tuple[float, float]
CONTROLS = ("random", "layer-matched")


@dataclass(frozen=True)
class Passing:
    """What passes through some neurons, as shares of the total effect.

    >>> result.passing["neurons"].frozen
    """

    frozen: float
    """What is lost of the effect when they have the activations that they have without the gate."""
    frozen_ci: Ends
    alone: float
    """What there is of the effect when only they have the activations that they have under the gate."""
    alone_ci: Ends


@dataclass(frozen=True, eq=False)
class Mediation(Result):
    """What `neuron_mediation` found.

    >>> found = lens_truth.Mediation.load("runs/neurons-mediate")
    >>> found.tables()[0], found.verdicts()
    >>> found.plot().savefig("mediation.png")
    """

    command = "neurons mediate"
    part = "mediation"

    model: str
    heads: str
    """What is done to heads."""
    n_neurons: int
    n_questions: int
    n_groups: int
    seed: int
    margin: float
    """Mean answer margin of the model as it is, in nats."""
    total: float
    """What the heads' gate adds to it."""
    total_ci: Ends
    passing: Mapping[str, Passing]
    """`neurons` (the given ones), `random 0` and on, `layer-matched 0` and on, `all neurons`."""

    @property
    def told(self) -> bool:
        """Whether the total effect is told from 0, so that shares of it are defined."""
        return self.total_ci[0] > 0 or self.total_ci[1] < 0

    def controls(self, kind: str) -> list[Passing]:
        """The sets of a control: `result.controls("layer-matched")`."""
        return [its for name, its in self.passing.items() if name.rsplit(" ", 1)[0] == kind]

    def tables(self) -> tuple[Table, ...]:
        """The total effect, and what passes through each set of neurons; controls by their mean and range."""
        header = ("through", "lost when frozen", "95%", "alone", "95%")
        rows = [self._line(f"the {count(self.n_neurons, 'neuron')}", self.passing["neurons"])]
        for kind in CONTROLS:
            its = self.controls(kind)
            frozen, alone = [one.frozen for one in its], [one.alone for one in its]
            rows.append(row(f"{count(len(its), f'{kind} set')}", *_spread(frozen), *_spread(alone)))
        rows.append(self._line("all neurons", self.passing["all neurons"]))
        effect = f"{self.heads}: margin {number(self.margin, 2)} {self.total:+.2f} nats {interval(self.total_ci)}"
        note = (
            f"Shares of the total effect ({effect}) over {self.n_questions} questions in {self.n_groups} groups; of "
            "controls the mean and, in place of an interval, the range."
        )
        return (table("How much of the heads' effect passes through neurons", header, rows, note),)

    def _line(self, name: str, its: Passing) -> Row:
        return row(name, number(its.frozen), interval(its.frozen_ci, 3), number(its.alone), interval(its.alone_ci, 3))

    def verdicts(self) -> list[str]:
        """Whether the neurons carry more than others."""
        if not self.told:
            return [
                f"Without effect: {self.heads} changes the margin by {self.total:+.2f} nats {interval(self.total_ci)}, "
                "which is not told from 0, so no share of it is defined."
            ]
        its = self.passing["neurons"]
        matched = [one.frozen for one in self.controls("layer-matched")]
        p = (1 + sum(one >= its.frozen for one in matched)) / (1 + len(matched))
        beyond = its.frozen_ci[0] > max(matched)
        sentence = (
            f"{share(its.frozen)} {interval(its.frozen_ci)} of the effect of the heads is lost when the "
            f"{count(self.n_neurons, 'neuron')} are frozen, {share(self.passing['all neurons'].frozen)} when all "
            f"neurons are; of layer-matched sets it is {share(float(np.mean(matched)))} on average and at most "
            f"{share(max(matched))}"
        )
        told = "more than any of them" if beyond else "not told from them"
        return [f"{sentence}: {told} (p {p_value(p)}, {least_p_said(len(matched))})."]

    def plot(self) -> Figure:
        """Shares of every set, frozen and alone."""
        from lens_truth.neurons.origins_figures import mediation_figure  # takes as long as all the rest

        return mediation_figure(self)


def _spread(its: list[float]) -> tuple[str, str]:
    return number(float(np.mean(its))), f"{number(min(its))} to {number(max(its))}"
