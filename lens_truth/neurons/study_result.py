"""`NeuronStudy`: neurons that foretell hallucination and what they are worth; read back without PyTorch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from lens_truth.detection.result import Measured
from lens_truth.io.numbers import SIGNIFICANT, count, number, p_value, short
from lens_truth.io.results import Result
from lens_truth.io.tables import Cell, Table, row, table

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from lens_truth.neurons.neuron_set import NeuronSet

FOUND, POSITIVE, RANDOM, THREE = "found neurons", "H-neurons alone", "random neurons, as many", "found neurons, 3-vs-1"
DENSE, REFITTED = "all neurons (ridge)", "found neurons, refitted"
QUESTION = "words of the question"
TEXTS = (QUESTION, "words of the answer", "tokens of the answer", "characters of the answer")
"""What needs no model."""


@dataclass(frozen=True)
class Tried:
    """One C on validation groups.

    >>> [(its.C, its.n_neurons, its.auroc) for its in study.tried]
    """

    C: float
    n_neurons: int
    """With a weight, in the fit to all answers that neurons are found in."""
    auroc: float
    """Mean over folds of those answers, each while held out."""


@dataclass(frozen=True)
class Worth:
    """What one classifier of hallucination is worth on answers that it has not seen.

    >>> study.worth["found neurons"].auroc.value
    """

    n_neurons: int | None
    """That it reads (where several are fitted, the one that is fitted to all answers); None where it reads texts."""
    trials: int
    """Of which these are the means."""
    auroc: Measured
    accuracy: Measured
    ahead: Measured
    """The AUROC of the found neurons minus its own, by the same draws of groups."""


@dataclass(frozen=True)
class Stability:
    """H-neurons of fits with the same C, each without a third of the groups.

    >>> study.stability.jaccard, study.stability.chance
    """

    sizes: tuple[int, ...]
    jaccard: float
    """Of the neurons in either of two sets the share that is in both, averaged over pairs."""
    chance: float
    """Of random sets of these sizes."""
    in_all: int
    """Neurons that are in every set."""


@dataclass(frozen=True)
class Counted:
    """Answers.

    >>> study.found_on.hallucinated
    """

    answers: int
    hallucinated: int
    groups: int


@dataclass(frozen=True, eq=False)
class NeuronStudy(Result):
    """What `neuron_study` found.

    >>> found = lens_truth.NeuronStudy.load("runs/neurons")
    >>> found.tables()[0], found.verdicts()
    >>> found.neurons.positive.save("neurons.json")
    >>> found.plot().savefig("neurons.png")
    """

    command: ClassVar[str] = "neurons find"
    part: ClassVar[str] = "neuron_study"

    shape: tuple[int, int]
    """Layers, and neurons of the widest."""
    C: float
    layer: tuple[int, ...]
    neuron: tuple[int, ...]
    weight: tuple[float, ...]
    """Per unit of CETT; above 0: more active in hallucinated answers."""
    intercept: float
    tried: tuple[Tried, ...]
    worth: Mapping[str, Worth]
    """By name, the found neurons first."""
    random: tuple[float, ...]
    """AUROC of each random set."""
    null: tuple[float, ...]
    """AUROC of the whole procedure for each draw of shuffled labels."""
    stability: Stability
    three_positive: int | None
    """H-neurons of 3-vs-1 training; None without it."""
    found_on: Counted
    judged_on: Counted | None
    """Other answers; None where the same are judged in folds."""
    n_folds: int
    """Fits that are judged, each on the answers that it has not seen."""
    provenance: dict[str, Any] = field(default_factory=dict[str, Any])

    @property
    def neurons(self) -> NeuronSet:
        """The classifier; its `positive` are the H-neurons."""
        from lens_truth.neurons.neuron_set import NeuronSet

        at = [np.array(its, dtype=np.int64) for its in (self.layer, self.neuron)]
        weight = np.array(self.weight, dtype=float)
        return NeuronSet(at[0], at[1], weight, self.intercept, self.shape, {**self.provenance, "C": self.C})

    @property
    def n_positive(self) -> int:
        """H-neurons: those with a weight above 0."""
        return sum(its > 0 for its in self.weight)

    @property
    def per_mille(self) -> float:
        """The H-neurons' share of all neurons."""
        return 1000 * self.n_positive / (self.shape[0] * self.shape[1])

    @property
    def null_p(self) -> float:
        """How often shuffled labels do as well (the true ones count as one draw); NaN without any draw."""
        return self._place(self.null)

    @property
    def random_p(self) -> float:
        """How often random neurons do as well as the found ones, refitted alike; NaN without any draw."""
        own = self.worth[REFITTED].auroc.value
        return self._place(self.random, own)

    def _place(self, draws: tuple[float, ...], own: float | None = None) -> float:
        own = self.worth[FOUND].auroc.value if own is None else own
        return (1 + sum(its >= own for its in draws)) / (1 + len(draws)) if draws else float("nan")

    def tables(self) -> list[Table]:
        """What every classifier is worth; C; layers.

        >>> lens_truth.NeuronStudy.load("runs/neurons").tables()[0]
        """
        return [self._of_worth(), self._of_tried(), self._of_layers()]

    def _of_worth(self) -> Table:
        rows = [
            row(
                name,
                "" if its.n_neurons is None else str(its.n_neurons),
                Cell(its.auroc.said(), strong=name == FOUND),
                number(its.accuracy.value),
                "" if name == FOUND else its.ahead.said(plus=True),
            )
            for name, its in self.worth.items()
        ]
        judged = self.judged_on or self.found_on
        how = f"on {count(judged.answers, 'answer')} of {count(judged.groups, 'group')}"
        how += " that were not trained on" if self.judged_on else f", each by a fit without its fold of {self.n_folds}"
        share = max(judged.hallucinated, judged.answers - judged.hallucinated) / judged.answers
        note = (
            f"Judged {how}; intervals: 1,000 draws of groups; ahead: AUROC of the found neurons minus this one; the "
            f"larger class has {number(share)} of the answers."
        )
        if self.random:
            note += f" Random sets: AUROC {number(min(self.random))} to {number(max(self.random))}."
        return table("Hallucinated against right answers", ("by", "neurons", "AUROC", "accuracy", "ahead"), rows, note)

    def _of_tried(self) -> Table:
        rows = [
            row(short(its.C), Cell(str(its.n_neurons), strong=its.C == self.C), number(its.auroc)) for its in self.tried
        ]
        note = "AUROC on held-out folds of the answers that neurons are found in; in bold what was chosen."
        return table("The choice of C", ("C", "neurons", "AUROC"), rows, note)

    def _of_layers(self) -> Table:
        L, M = self.shape
        rows = [
            row(str(layer), *(str(sum(sign * w > 0 for at, w in self._placed() if at == layer)) for sign in (1, -1)))
            for layer in range(L)
            if any(at == layer for at in self.layer)
        ]
        note = f"Of {M} neurons in each of {count(L, 'layer')}; layers without any are left out."
        return table("Where they lie", ("layer", "H-neurons", "with a weight below 0"), rows, note)

    def _placed(self) -> list[tuple[int, float]]:
        return list(zip(self.layer, self.weight, strict=True))

    def verdicts(self) -> list[str]:
        """How many there are, what they are worth, and whether something simpler does as well."""
        found = self.worth[FOUND]
        L, M = self.shape
        told = [
            f"{count(self.n_positive, 'H-neuron')} ({number(self.per_mille, 2)} per mille of {L * M:,}), among "
            f"{len(self.weight)} with a weight, tell hallucinated from right answers with AUROC {found.auroc.said()}, "
            f"accuracy {number(found.accuracy.value)}."
        ]
        if self.null:
            beyond = "beyond" if self.null_p < SIGNIFICANT and found.auroc.low > 0.5 else "not beyond"
            least = 1 / (1 + len(self.null))
            few = least >= SIGNIFICANT
            if few and found.auroc.value > max(self.null):
                beyond = "above"
            told.append(
                f"That is {beyond} what the same procedure makes of shuffled labels: AUROC {number(min(self.null))} to "
                f"{number(max(self.null))} in {count(len(self.null), 'draw')} (p = {p_value(self.null_p)}"
                f"{', the least that so few can give' if few and self.null_p == least else ''})."
            )
        told += [self._beside(name) for name in self._best_text()]
        if self.random:
            own, drawn = self.worth[REFITTED], self.worth[RANDOM]
            told.append(
                f"Random neurons, as many and refitted alike, reach AUROC {number(drawn.auroc.value)} on average, the "
                f"found ones {number(own.auroc.value)} ({p_value(self.random_p)} of the sets are as good, the found "
                "one among them)."
            )
        told.append(self._beside(DENSE))
        told.append(self._stable())
        return told

    def _best_text(self) -> list[str]:
        named = [name for name in TEXTS if name in self.worth]
        best = max(named, key=lambda name: self.worth[name].auroc.value)
        return list(dict.fromkeys([QUESTION, best])) if QUESTION in named else [best]

    def _beside(self, name: str) -> str:
        its = self.worth[name]
        ahead = its.ahead
        than = "are ahead of" if ahead.low > 0 else "are behind" if ahead.high < 0 else "cannot be told from"
        return f"They {than} {name} alone, AUROC {its.auroc.said()} (difference {ahead.said(plus=True)})."

    def _stable(self) -> str:
        its = self.stability
        sizes = f"{min(its.sizes)} to {max(its.sizes)}"
        return (
            f"Without a third of the groups each, {len(its.sizes)} fits at the same C select {sizes} H-neurons, "
            f"of which {its.in_all} are in all; two sets share {number(its.jaccard, 2)} of theirs (Jaccard; by chance "
            f"{short(its.chance)})."
        )

    def plot(self) -> Figure:
        """AUROC of every classifier; the choice of C; layers."""
        from lens_truth.neurons.study_figures import study_panels  # takes as long as all the rest

        return study_panels(self)
