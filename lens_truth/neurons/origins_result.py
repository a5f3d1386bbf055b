"""`NeuronOrigins`: what a child's H-neurons are in its base; read back without PyTorch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lens_truth.io.numbers import SIGNIFICANT, count, interval, number, p_value, share, significant
from lens_truth.io.results import Result
from lens_truth.io.tables import Cell, Table, row, table

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Ends = tuple[float, float]


@dataclass(frozen=True)
class Applied:
    """The child's classifier, as it is, in one model.

    >>> result.applied["base"].auroc
    """

    auroc: float
    """How often a hallucinated answer gets more than a right one."""
    auroc_ci: Ends
    moved: Ends
    """The middle 95% with the weights at other neurons of the same layers."""
    p_moved: float
    """Share of those (and of the classifier itself) that do as well."""
    shuffled: Ends
    """The middle 95% under shuffled labels."""
    p_shuffled: float


@dataclass(frozen=True)
class Refitted:
    """The set's neurons with weights fitted anew, in held-out groups.

    >>> result.refitted["child to base"].random
    """

    auroc: float
    auroc_ci: Ends
    random: tuple[float, ...]
    """Of random sets of as many neurons, set by set."""
    p: float
    """Share of random sets (and of the given one) that do as well."""


@dataclass(frozen=True)
class Ranked:
    """Where H-neurons stand among all neurons: 0 the lowest, 1 the highest.

    >>> result.ranks["AUROC in the base"].inside
    """

    overall: float
    """Mean share of all neurons that are below them."""
    inside: float
    """Mean share of their own layer's."""
    null: Ends
    """The middle 95% of `inside` when neurons are shuffled inside layers."""
    p: float
    """Two-sided."""


@dataclass(frozen=True, eq=False)
class NeuronOrigins(Result):
    """What `neuron_origins` found.

    >>> found = lens_truth.NeuronOrigins.load("runs/neurons-origins")
    >>> found.tables()[0], found.verdicts()
    >>> found.plot().savefig("origins.png")
    """

    command = "neurons origins"
    part = "neuron_origins"

    names: tuple[str, str]
    """Base and child."""
    shape: tuple[int, int]
    """Layers, and neurons of the widest."""
    n_neurons: int
    """Of the classifier."""
    n_positive: int
    """With a weight above 0: H-neurons."""
    n_rows: int
    """Answers, which both models read."""
    n_groups: int
    n_folds: int
    n_random: int
    n_null: int
    seed: int
    applied: Mapping[str, Applied]
    """`base`, `child`."""
    lost: float
    """AUROC in the child less that in the base, of the classifier as it is."""
    lost_ci: Ends
    kept: float
    """(AUROC in the base - .5) / (AUROC in the child - .5)."""
    kept_ci: Ends
    refitted: Mapping[str, Refitted]
    """Where weights are fitted, and where they are applied: `child to child`, `child to base`, `base to base`."""
    ranks: Mapping[str, Ranked]
    """`AUROC in the base`, `AUROC in the child` (more active in hallucinated answers: high), `weights kept` (changed by
    the tuning: low), if they were compared."""

    def tables(self) -> tuple[Table, ...]:
        """The classifier in both models; its neurons fitted anew; where H-neurons rank."""
        header = ("classifier", "in", "AUROC", "95%", "null", "p")
        rows = [
            row(what, self._name(where), number(its.auroc), interval(its.auroc_ci, 3), interval(null, 3), _strong(p))
            for where, its in self.applied.items()
            for what, null, p in (
                ("as it is; null: moved inside layers", its.moved, its.p_moved),
                ("as it is; null: shuffled labels", its.shuffled, its.p_shuffled),
            )
        ]
        note = (
            f"{count(self.n_neurons, 'neuron')} of {self.names[1]} on {self.n_rows} answers in {self.n_groups} groups. "
            f"Nulls of {self.n_null} draws (the middle 95%): the weights at other neurons of the same layers; labels "
            "shuffled."
        )
        return table("The child's classifier in child and base", header, rows, note), self._refits(), self._ranking()

    def _refits(self) -> Table:
        header = ("fitted and applied", "AUROC", "95%", "random sets", "p")
        rows = [
            row(
                name,
                number(its.auroc),
                interval(its.auroc_ci, 3),
                f"{number(sum(its.random) / len(its.random))} ({number(min(its.random))} to {number(max(its.random))})",
                _strong(its.p),
            )
            for name, its in self.refitted.items()
        ]
        note = (
            f"Logistic regression on the set's neurons in {self.n_folds} held-out folds of groups; random: the mean "
            f"(and range) of {self.n_random} random sets of as many neurons, fitted in the same way."
        )
        return table("The same neurons with weights fitted anew", header, rows, note)

    def _ranking(self) -> Table:
        header = ("rank by", "among all", "inside layers", "null inside", "p")
        rows = [
            row(name, number(its.overall), number(its.inside), interval(its.null, 3), _strong(its.p))
            for name, its in self.ranks.items()
        ]
        note = (
            "Mean share of neurons below them, from 0 (the lowest) to 1; the null shuffles neurons inside layers. "
            "Weights kept: the less a neuron's weights changed, the higher."
        )
        return table(f"Where {count(self.n_positive, 'H-neuron')} stand among all neurons", header, rows, note)

    def verdicts(self) -> list[str]:
        """Whether the child's neurons are the base's."""
        base, child = self.applied["base"], self.applied["child"]
        if child.auroc_ci[0] <= 0.5:
            first = (
                f"In {self.names[1]} itself the classifier is not told from chance on these answers (AUROC "
                f"{number(child.auroc)} {interval(child.auroc_ci)}), so nothing can be said of where it comes from."
            )
            return [first]
        told = base.auroc_ci[0] > 0.5 and significant(base.p_shuffled)
        first = (
            f"{self.names[1]}'s classifier reaches AUROC {number(base.auroc)} {interval(base.auroc_ci)} in "
            f"{self.names[0]}, {number(child.auroc)} {interval(child.auroc_ci)} at home: "
            f"{'it is told from' if told else 'it is not told from'} chance in the base"
        )
        if told:
            first += f", where {share(max(0, self.kept))} of it is kept {interval(self.kept_ci)}"
            if not significant(base.p_moved) and significant(1 / (1 + self.n_null)):
                first += "; but its weights at other neurons of the same layers do as well"
        its = self.refitted["child to base"]
        beyond = "better than" if significant(its.p) else "no better than"
        few = not significant(least := 1 / (1 + len(its.random)))
        if few and its.auroc > max(its.random):  # which cannot be told from chance by so few, nor be called no better
            beyond = "above all"
        second = (
            f"Fitted anew in {self.names[1]} and applied to {self.names[0]}, these neurons are {beyond} random sets "
            f"of as many (AUROC {number(its.auroc)} against {number(sum(its.random) / len(its.random))} on average"
        )
        second += f"; {len(its.random)} sets give p = {p_value(least)} at least)." if few else ")."
        return [f"{first}.", second, *(self._stands(name, its) for name, its in self.ranks.items())]

    def _stands(self, name: str, its: Ranked) -> str:
        side = "higher" if its.inside > 0.5 else "lower"
        where = f"{side} than" if its.p < SIGNIFICANT else "about like"
        return f"By {name} H-neurons rank {where} other neurons of their layers (mean rank {number(its.inside, 2)})."

    def _name(self, where: str) -> str:
        return self.names[0] if where == "base" else self.names[1]

    def plot(self) -> Figure:
        """AUROCs against their nulls, and the ranks."""
        from lens_truth.neurons.origins_figures import origins_figure  # takes as long as all the rest

        return origins_figure(self)


def _strong(p: float) -> Cell:
    return Cell(p_value(p), strong=significant(p))
