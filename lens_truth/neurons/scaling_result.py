"""`NeuronScaling`: dose-response curves of neurons that are scaled; read back without PyTorch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from lens_truth.io.numbers import count, number, p_value, short, significant
from lens_truth.io.results import Result
from lens_truth.io.tables import Cell, Row, Table, row, table
from lens_truth.neurons.scaling_words import as_level, ends_of, plus_minus, points, span, spread, verdicts_of
from lens_truth.stats.dose import POINTS, AgainstControls, DoseResponse

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class Reading:
    """A way to read what a model does."""

    said: str
    """What tables call it."""
    scale: float
    """100 for a share, in points; 1 for nats."""

    @property
    def unit(self) -> str:
        """Of levels and slopes."""
        return "points" if self.scale == POINTS else "nats"


READINGS = {
    "goes along": Reading("goes along (likelier answer)", POINTS),
    "margin": Reading("by how much it is likelier", 1.0),
    "agrees": Reading("agrees where the truth is said", POINTS),
    "said": Reading("pull of what is said", 1.0),
    "truth": Reading("pull of the truth", 1.0),
    "writes along": Reading("writes what goes along", POINTS),
    "writes the truth": Reading("writes the truth where it is said", POINTS),
}
"""Let m be the margin of the answer that goes along with what is falsely said, and n that of the true answer where the
truth is said. What is said pulls by (m + n) / 2, the truth by (n - m) / 2."""

_HELD = ("goes along", "said", "truth", "writes along")
"""Readings that a table holds against controls; the result has all."""


@dataclass(frozen=True)
class Curve:
    """One reading of one measure, of the neurons and of the controls."""

    response: DoseResponse
    controls: Mapping[str, tuple[float, ...]]
    """Of each control its level at each of the controls' alphas."""
    against: Mapping[str, AgainstControls]
    """The slope over these alphas beside those of each kind of controls."""


@dataclass(frozen=True)
class MeasureFound:
    """One measure of over-compliance."""

    n: int
    """Questions."""
    n_groups: int
    n_written: int
    """Of them answered in writing too."""
    control: bool
    """Whether the same questions were asked with the truth said in them."""
    curves: Mapping[str, Curve]
    """By the names in `READINGS`."""


@dataclass(frozen=True)
class Side:
    """What one alpha does to a neutral text, in nats a token."""

    alpha: float
    kl: float
    """KL(model || scaled)."""
    cross_entropy: float
    controls: Mapping[str, tuple[float, ...]]
    """KL of each control, by kind; none where controls are not scaled by this alpha."""


@dataclass(frozen=True, eq=False)
class NeuronScaling(Result):
    """What `neuron_scaling` found.

    >>> found = lens_truth.NeuronScaling.load("runs/neurons-scale")
    >>> found.measures["facts:premise/test"].curves["goes along"].response.slope
    >>> found.tables()[0], found.verdicts()
    >>> found.plot().savefig("scaling.png")
    """

    command = "neurons scale"
    part = "neuron_scaling"

    model: str
    template: str
    n_neurons: int
    grid: tuple[int, int]
    """Layers and neurons of the model."""
    alphas: tuple[float, ...]
    control_alphas: tuple[float, ...]
    measures: Mapping[str, MeasureFound]
    side_effects: Mapping[str, tuple[Side, ...]]
    """By neutral text."""

    @property
    def per_mille(self) -> float:
        """Share of all neurons that are scaled."""
        return 1000 * self.n_neurons / (self.grid[0] * self.grid[1])

    def tables(self) -> tuple[Table, ...]:
        """Slopes and changes; levels at each alpha; beside controls; side effects."""
        made = (self.slopes(), self.levels(), self.beside(), self.aside())
        return tuple(its for its in made if its.rows)

    def slopes(self) -> Table:
        """A row a measure and reading: `result.slopes()`."""
        rows: list[Row] = []
        for measure, reading, curve in self._curves():
            its, last = curve.response, curve.response.changes[-1]
            rows.append(
                row(
                    measure,
                    READINGS[reading].said,
                    str(its.n),
                    as_level(next(level for a, level in zip(its.alphas, its.levels, strict=True) if a == 1), its.scale),
                    Cell(f"{plus_minus(its.slope.value, 2)} {ends_of(its.slope, 2)}", strong=its.slope.clear),
                    f"{points(last.change.value, its.scale)} {ends_of(last.change, 1 if its.scale == POINTS else 2)}",
                    f"{last.gained} / {last.lost}",
                    Cell(p_value(last.p_value), strong=significant(last.p_value)),
                    its.order,
                )
            )
        end = next(alpha for alpha in reversed(self.alphas) if alpha != 1)
        header = ("measure", "read", "n", "at alpha 1", "slope", f"1 to {end:g}", "up / down", "p", "order")
        note = (
            "Slopes: least squares over alpha, in points (shares) or nats; intervals: 10,000 draws of groups of "
            "questions. What is said pulls by (m + n) / 2 and the truth by (n - m) / 2, where m is the margin of the "
            "answer that goes along and n that of the true one where the truth is said in its place."
        )
        caption = f"{count(self.n_neurons, 'neuron')} ({self.per_mille:.3g} per mille) of {self.model}, scaled"
        return table(caption, header, rows, note)

    def levels(self) -> Table:
        """The level at each alpha: `result.levels()`."""
        rows = [
            row(
                measure,
                READINGS[reading].said,
                *(as_level(level, curve.response.scale) for level in curve.response.levels),
            )
            for measure, reading, curve in self._curves()
        ]
        return table("Levels", ("measure", "read", *(f"{alpha:g}" for alpha in self.alphas)), rows)

    def beside(self) -> Table:
        """Slopes beside those of controls: `result.beside()`."""
        rows = [
            row(
                measure,
                READINGS[reading].said,
                f"{len(its.slopes)} {kind}",
                plus_minus(its.difference.value + float(np.mean(its.slopes)), 2),
                f"{plus_minus(min(its.slopes), 2)} to {plus_minus(max(its.slopes), 2)}",
                Cell(span(its.expected, 2), strong=its.beyond),
                f"{plus_minus(its.difference.value, 2)} {ends_of(its.difference, 2)}",
                p_value(its.p_value),
                p_value(its.least_p),
            )
            for measure, reading, curve in self._curves()
            if reading in _HELD
            for kind, its in curve.against.items()
        ]
        header = ("measure", "read", "controls", "slope", "theirs", "one more", "difference", "p", "least p")
        note = (
            f"Slopes over alpha = {', '.join(f'{alpha:g}' for alpha in self.control_alphas)}, at which controls were "
            "scaled. One more: where the slope of a further control would lie 19 times in 20. p: place among the "
            "controls. The difference's interval draws questions only."
        )
        return table("Beside sets of as many other neurons", header, rows, note)

    def aside(self) -> Table:
        """Side effects: `result.aside()`."""
        kinds = list(
            dict.fromkeys(kind for its in self.side_effects.values() for side in its for kind in side.controls)
        )
        rows = [
            row(
                text,
                f"{side.alpha:g}",
                short(side.kl),
                number(side.cross_entropy),
                *(spread(side.controls.get(kind, ())) for kind in kinds),
            )
            for text, its in self.side_effects.items()
            for side in its
        ]
        header = ("text", "alpha", "KL", "cross-entropy", *(f"KL of {kind}" for kind in kinds))
        return table("Side effects, nats a token", header, rows)

    def _curves(self) -> list[tuple[str, str, Curve]]:
        return [(name, read, curve) for name, its in self.measures.items() for read, curve in its.curves.items()]

    def verdicts(self) -> list[str]:
        """What scaling does to each measure, beside controls; and what it does else."""
        said = [sentence for name, its in self.measures.items() for sentence in verdicts_of(name, its)]
        return [*said, *self._costs()]

    def _costs(self) -> list[str]:
        sentences: list[str] = []
        for text, its in self.side_effects.items():
            worst = max((side for side in its if side.controls), key=lambda side: side.kl, default=None)
            if worst is not None and worst.alpha != 1:
                others = "; ".join(f"{kind} sets {spread(kl)}" for kind, kl in worst.controls.items())
                sentences.append(
                    f"On {text}, where nothing is asked, alpha {worst.alpha:g} moves the model by {short(worst.kl)} "
                    f"nats a token ({others})."
                )
        return sentences

    def plot(self) -> Figure:
        """Each measure's curve with its interval over those of the controls."""
        from lens_truth.neurons.scaling_figures import scaling_panels  # takes as long as all the rest

        return scaling_panels(self)
