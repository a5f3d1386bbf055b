"""`Consistency`: what `ccs_scores` found; read back without PyTorch."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float

from lens_truth.io.numbers import SIGNIFICANT, count, interval, number, p_value
from lens_truth.io.results import Result
from lens_truth.io.tables import Cell, Row, Table, row, table

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class Picked:
    """CCS at the head (or layer) that a rule picks for every fold from its training rows."""

    how: str
    heads: tuple[tuple[int, int], ...]
    """Layer and head, a fold each."""
    accuracy: float
    """Turned by the labels of the training rows; mean over folds."""
    interval: tuple[float, float]
    """95%, groups drawn with replacement."""
    either: float
    """The larger of accuracy and 1 - accuracy; mean over folds."""
    null: tuple[float, float]
    """Mean and 95th percentile of `either` when the labels of pairs are permuted."""
    p_value: float
    """Of `either`, against that."""
    shuffled: tuple[float, ...]
    """`either` of the head picked by the same rule after CCS on shuffled pairs, a shuffle each."""

    @property
    def said(self) -> str:
        """The head that most folds picked, and how many did."""
        ((layer, head), times), *_ = Counter(self.heads).most_common(1)
        return f"{layer}.{head} ({times} of {len(self.heads)})"


@dataclass(frozen=True, eq=False)
class Consistency(Result):
    """Contrast-consistent search on every head, out of fold. Maps are [layers, heads].

    >>> lens_truth.Consistency.load("runs/directions-ccs").verdicts()
    """

    command = "directions ccs"
    part = "consistency"
    named = True

    sides: str
    """What stands on which side of a pair; `drawn` where nothing but chance says."""
    n_pairs: int
    n_groups: int
    model: str
    point: str
    """Where activations were read: each head's output or the residual stream."""
    n_folds: int
    n_tries: int
    n_epochs: int
    seed: int
    picks: tuple[Picked, ...]
    """By the lowest training loss, which asks no label; and by the accuracy on training rows, which does."""
    surface: float
    """AUROC of a bag of words on the statements, with labels; NaN where none was given."""
    accuracy: Float[np.ndarray, "L H"]
    """Turned by the labels of the training rows."""
    auroc: Float[np.ndarray, "L H"]
    ci_low: Float[np.ndarray, "L H"]
    """Of `accuracy`, 95%, groups drawn with replacement."""
    ci_high: Float[np.ndarray, "L H"]
    either: Float[np.ndarray, "L H"]
    """The larger of accuracy and 1 - accuracy in each fold."""
    null_mean: Float[np.ndarray, "L H"]
    """Of `either` when the labels of pairs are permuted."""
    null_q95: Float[np.ndarray, "L H"]
    p_value: Float[np.ndarray, "L H"]
    p_familywise: Float[np.ndarray, "L H"]
    """Against the best head of each permutation."""
    shuffled: Float[np.ndarray, "S L H"]
    """`either` after CCS on training pairs whose partners were shuffled."""
    random_mean: Float[np.ndarray, "L H"]
    """`either` of random directions."""
    random_q95: Float[np.ndarray, "L H"]
    loss: Float[np.ndarray, "L H"]
    """On the training rows, mean over folds."""
    ridge: Float[np.ndarray, "L H"]
    """Accuracy of a ridge probe, with labels, on the differences of the two sides: what is there to be found."""
    polar_consistency: Float[np.ndarray, "L H"]
    """PC, see `polar_consistency`; NaN where pairs are no answers."""
    polar_null: Float[np.ndarray, "2 L H"]
    """The middle 95% with partners drawn at random."""
    contradiction: Float[np.ndarray, "L H"]
    """CI, see `contradiction_index`."""
    contradiction_null: Float[np.ndarray, "2 L H"]

    @property
    def has_answers(self) -> bool:
        """Whether there are polar consistency and contradiction index."""
        return not np.isnan(self.contradiction).all()

    @property
    def unit(self) -> str:
        """What a place in the maps is."""
        return "head" if self.point == "z" else "layer"

    def tables(self) -> tuple[Table, ...]:
        """CCS where it is picked, over all heads, and PA-CCS where there are answers.

        >>> found.tables()[0]  # a notebook shows it
        """
        return (self.pick_table(), self.map_table(), *([self.polar_table()] if self.has_answers else []))

    def pick_table(self) -> Table:
        """CCS where each rule picks it: `found.pick_table()`."""
        rows = [
            row(
                its.how,
                its.said,
                number(its.accuracy),
                interval(its.interval),
                number(its.either),
                interval(its.null),
                Cell(p_value(its.p_value), strong=its.p_value < SIGNIFICANT),
                interval((min(its.shuffled), max(its.shuffled))),
            )
            for its in self.picks
        ]
        header = (f"{self.unit} by", f"{self.unit} (folds)", "accuracy", "95%", "either way", "null", "p", "shuffled")
        note = (
            "Accuracy: on held-out pairs, turned by the labels of the training rows. Either way: the larger of "
            "accuracy and 1 - accuracy in each fold; null: its mean and 95th percentile when labels of pairs are "
            "permuted. Shuffled: the same rule after CCS on pairs whose partners were shuffled."
        )
        caption = f"CCS on {count(self.n_pairs, 'pair')} in {count(self.n_groups, 'group')}; sides: {self.sides}"
        return table(caption, header, rows, note)

    def map_table(self) -> Table:
        """Mean over heads, and the best, beside the nulls and the supervised ceiling: `found.map_table()`."""
        maps = {
            "CCS, turned by training labels": self.accuracy,
            "CCS, either way": self.either,
            "null: labels permuted (mean)": self.null_mean,
            "null: random directions (mean)": self.random_mean,
            "null: random directions (95th percentile)": self.random_q95,
            "CCS on shuffled pairs, either way": self.shuffled.mean(0),
            "ridge on the differences, with labels": self.ridge,
        }
        rows = [self._mapped(name, its) for name, its in maps.items()]
        if not np.isnan(self.surface):
            rows.append(row("bag of words, with labels (AUROC)", number(self.surface), "", ""))
        several = f"{self.unit}s"
        return table(f"Over all {several}: accuracy", ("", f"mean of {several}", "best", "where"), rows)

    def _mapped(self, name: str, its: Float[np.ndarray, "L H"]) -> Row:
        layer, head = np.unravel_index(int(its.argmax()), its.shape)
        return row(name, number(float(its.mean())), number(float(its.max())), f"{layer}.{head}")

    def polar_table(self) -> Table:
        """PA-CCS at the heads that were picked and over all: `found.polar_table()`."""
        rows = [self._polar(its.how, *Counter(its.heads).most_common(1)[0][0]) for its in self.picks]
        rows.append(
            row(
                f"mean of {self.unit}s",
                number(float(self.polar_consistency.mean())),
                interval(self.polar_null.mean((1, 2)).tolist(), 3),
                number(float(self.contradiction.mean())),
                interval(self.contradiction_null.mean((1, 2)).tolist(), 3),
            )
        )
        header = (self.unit, "polar consistency", "null", "contradiction index", "null")
        note = (
            "Polar consistency: 0 where asserting a statement is as probable as denying the one that contradicts it; "
            "contradiction index: 0 of a probe that never affirms both, .5 of one that says .5 to everything. Null: "
            "the middle 95% with the negations of others, where a probe that reads *not* has 0 as well."
        )
        return table("PA-CCS: statements and those that contradict them", header, rows, note)

    def _polar(self, how: str, layer: int, head: int) -> Row:
        at = (..., layer, head)
        return row(
            f"{how}: {layer}.{head}",
            number(float(self.polar_consistency[at])),
            interval(self.polar_null[at].tolist(), 3),
            number(float(self.contradiction[at])),
            interval(self.contradiction_null[at].tolist(), 3),
        )

    def verdicts(self) -> list[str]:
        """Whether CCS finds truth, and whether it takes true pairs for it."""
        n, known = self.p_familywise.size, int((self.p_familywise < SIGNIFICANT).sum())
        without = self.picks[0]
        finds = "tells" if without.p_value < SIGNIFICANT else "does not tell"
        sentences = [
            f"Picked without a label ({without.said}), CCS {finds} true from false statements: "
            f"{number(without.either)} either way, null {number(without.null[0])}, 95th percentile "
            f"{number(without.null[1])} (p = {p_value(without.p_value)}).",
            f"{known} of {count(n, self.unit)} beat the best of each permutation (p < .05); a ridge probe with labels "
            f"has mean {number(float(self.ridge.mean()))}, CCS {number(float(self.either.mean()))} either way, random "
            f"directions {number(float(self.random_mean.mean()))}.",
        ]
        gain = self.either.mean() - self.shuffled.mean((1, 2))
        more = "in every shuffle" if (gain > 0).all() else f"in {int((gain > 0).sum())} of {len(gain)} shuffles"
        sentences.append(
            f"On true pairs CCS is better than on shuffled ones {more}, by {number(float(gain.mean()))} in the mean of "
            f"{self.unit}s."
        )
        if self.has_answers:
            below = int((self.contradiction < self.contradiction_null[0]).sum())
            sentences.append(
                f"{below} of {count(n, self.unit)} contradict themselves less about a statement and its negation than "
                "about a statement and the negation of another (below the middle 95% of drawn partners)."
            )
        return sentences

    def plot(self) -> Figure:
        """Accuracy by layer, beside its nulls and the supervised ceiling.

        >>> lens_truth.Consistency.load("runs/directions-ccs").plot().savefig("ccs.png")
        """
        from lens_truth.geometry.ccs_figures import by_layer

        return by_layer(self)
