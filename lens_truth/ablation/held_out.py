"""What a gate does to answer margins of questions that it was not fitted on; read back without PyTorch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float

from lens_truth.io.numbers import interval, number, p_value, signed
from lens_truth.io.tables import Cell
from lens_truth.stats.correlation import Relation
from lens_truth.stats.paired import Comparison, compare, group_interval, sign_flip_p

if TYPE_CHECKING:
    from lens_truth.data.examples import Example
    from lens_truth.evaluate.asker import Asker
    from lens_truth.gates.gate import HeadGate

Ends = tuple[float, float]
Margins = Float[np.ndarray, " Q"]


@dataclass(frozen=True)
class HeldOut:
    """Answer margins and accuracy of held-out questions under a gate, or the mean over several.

    >>> result.ways["signed l2"].held.gain
    """

    margin: float
    """Mean log-probability of the likeliest supported answer minus that of the likeliest hallucinated one (nats)."""
    gain: float
    """What the gate adds to it."""
    gain_ci: Ends
    """95%, groups of questions drawn with replacement."""
    gain_p: float
    """Of a sign-flip test over groups."""
    accuracy: float
    """Share of questions whose supported answer is the likelier one."""
    change: Comparison
    """Of the accuracy, against no gate."""

    def cells(self) -> tuple[str | Cell, ...]:
        """For a table with the columns of `HEADER`."""
        gain = Cell(f"{self.gain:+.2f} {interval(self.gain_ci)}", strong=self.gain_p < 0.05)
        ends = interval((self.change.ci_low, self.change.ci_high), 3, plus=True)
        change = Cell(f"{signed(self.change.difference)} {ends}", strong=self.change.significant)
        return gain, number(self.accuracy), change, p_value(self.change.p_value)


HEADER = ("margin [95%]", "accuracy", "change [95%]", "p")


@dataclass(frozen=True)
class Judge:
    """Held-out questions, and a model that is asked which of their answers is likelier."""

    asker: Asker
    examples: Sequence[Example]
    seed: int = 0
    groups: list[str] = field(default_factory=list[str])
    """Of each question; filled when it is first asked."""

    def margins(self, gates: Mapping[str, HeadGate], name: str = "choose") -> dict[str, Margins]:
        """Of every question under each gate, and (as "") under none."""
        ranked = self.asker.rank(self.examples, {"": None, **gates}, name)
        self.groups[:] = [choice.group for choice in ranked[""]]
        return {gate: np.array([choice.margin for choice in its]) for gate, its in ranked.items()}

    def of(self, margins: Sequence[Margins], vanilla: Margins) -> HeldOut:
        """Of one gate or the mean over several, against none."""
        its = np.stack(list(margins))
        gain = (its - vanilla).mean(0)
        return HeldOut(
            margin=float(its.mean()),
            gain=float(gain.mean()),
            gain_ci=group_interval(gain, self.groups, self.seed),
            gain_p=sign_flip_p(gain, self.groups, self.seed),
            accuracy=float((its > 0).mean()),
            change=compare(1.0 * (its > 0), 1.0 * (vanilla > 0)[None], self.groups, self.seed),
        )

    @property
    def n_questions(self) -> int:
        """That are asked."""
        return len(self.groups)


def agreement_text(relation: Relation | None) -> str:
    """How two gates agree inside layers, with the interval."""
    if relation is None:
        return ""
    return f"{number(relation.pearson_within_layer, 2)} {interval(relation.interval_within_layer)}"
