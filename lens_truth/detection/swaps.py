"""`TruthSwaps`: does a truth direction act? Its component is swapped between a supported and a hallucinated answer to
one question, and the model is asked whether the answer is hallucinated (TransformerLens's interchange).

What is swapped is the residual stream at the answer's last token, where probes read; what may move is the log-odds of
yes against no at the end of the judgement. Directions are differences of class means, of other groups."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

import numpy as np
from jaxtyping import Float

from lens_truth.io.numbers import count, interval, number, p_value, signed
from lens_truth.io.results import Result
from lens_truth.io.streams import Stream, stream
from lens_truth.io.tables import Table, row, table
from lens_truth.stats.paired import Comparison, compare, group_interval
from lens_truth.stats.ranking import Auroc, auroc


@dataclass(frozen=True, eq=False)
class TruthSwaps(Result):
    """N judged answers, and how far each swap moves their log-odds towards those of the other answer.

    >>> found = lens_truth.TruthSwaps.load("runs/directions", "facts:closed-book")
    >>> found.against_placebo(0).difference  # nats, in the first of `found.layers`
    >>> found.tables()[0], found.verdicts()
    """

    command: ClassVar[str] = "directions swap"
    part: ClassVar[str] = "swaps"
    named: ClassVar[bool] = True

    layers: tuple[int, ...]
    groups: tuple[str, ...]
    """Of each answer."""
    hallucinated: Float[np.ndarray, " N"]
    """1 where the answer is (its partner is supported then), 0 where it is supported."""
    margins: Float[np.ndarray, " N"]
    """log p(yes) - log p(no) that it is hallucinated, as the model is, in nats."""
    truth: Float[np.ndarray, "L N"]
    """How far the swap of the truth direction's component moves it towards the label of the other answer, in nats."""
    placebo: Float[np.ndarray, "P L N"]
    """The same of moves as long along random directions."""
    whole: Float[np.ndarray, "L N"]
    """The same where the whole state is swapped: no direction can do more by a swap in this layer."""
    seed: int = 0

    def against_placebo(self, layer: int) -> Comparison:
        """The truth direction against the mean of its placebos, in the layer at this place.

        >>> found.against_placebo(1).p_value
        """
        return compare(self.truth[layer][None], self.placebo[:, layer], self.groups, self.seed)

    @cached_property
    def judgement(self) -> Auroc:
        """Whether the model's own log-odds tell the answers apart: what does not show there cannot be moved there."""
        return auroc(self.margins, self.hallucinated, self.groups, stream(self.seed, Stream.ANSWER_INTERVALS))

    @property
    def gap(self) -> float:
        """How much higher the log-odds of hallucinated answers are than those of supported ones, in nats."""
        return float(self.margins[self.hallucinated > 0].mean() - self.margins[self.hallucinated == 0].mean())

    def tables(self) -> Sequence[Table]:
        """A row a layer."""
        rows = [row(f"layer {layer}", *self._cells(place)) for place, layer in enumerate(self.layers)]
        header = (
            "swapped in",
            "truth direction",
            f"placebo (mean of {len(self.placebo)})",
            "difference",
            "whole state",
        )
        judged = self.judgement
        note = (
            "Nats of log-odds towards the other answer's label; 95% intervals over groups, p of a sign-flip test. "
            f"{count(len(self.margins), 'answer')} in {count(len(set(self.groups)), 'group')}. The model's own "
            f"judgement has AUROC {number(judged.value)} {interval((judged.low, judged.high))}; its log-odds of "
            f"hallucinated answers are {signed(self.gap)} nats above those of supported ones. Directions are of other "
            "groups."
        )
        return [table("A truth direction swapped between two answers", header, rows, note)]

    def _cells(self, place: int) -> list[str]:
        its = self.against_placebo(place)
        difference = (
            f"{signed(its.difference)} {interval((its.ci_low, its.ci_high), plus=True)} p {p_value(its.p_value)}"
        )
        truth, placebo, whole = (
            f"{signed(float(values.mean()))} {interval(group_interval(values, self.groups, self.seed), plus=True)}"
            for values in (self.truth[place], self.placebo[:, place].mean(0), self.whole[place])
        )
        return [truth, placebo, difference, whole]

    def verdicts(self) -> list[str]:
        """In how many layers the direction does more than its placebo."""
        found = [self.against_placebo(place) for place in range(len(self.layers))]
        acting = [layer for layer, its in zip(self.layers, found, strict=True) if its.gained]
        judged = self.judgement
        said = [
            f"Swapping the truth direction moves the model's judgement more than its placebo in {len(acting)} of "
            f"{count(len(self.layers), 'layer')}{': ' + ', '.join(map(str, acting)) if acting else ''}."
        ]
        if judged.low <= 0.5:
            said.append(
                f"The model's own judgement is not shown to know anything (AUROC {number(judged.value)} "
                f"{interval((judged.low, judged.high))}), so that nothing moves it says little about the direction."
            )
        return said
