"""`Verification`: do hidden states tell right answers from wrong ones, also where both are as long?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, ClassVar, Literal

import numpy as np
from jaxtyping import Float

from lens_truth.detection.lengths import lengths_alike
from lens_truth.io.numbers import count, interval, number, p_value
from lens_truth.io.results import Result
from lens_truth.io.streams import Stream, stream
from lens_truth.io.tables import Row, Table, row, table
from lens_truth.stats.paired import group_interval
from lens_truth.stats.ranking import Auroc, auroc, auroc_inside

if TYPE_CHECKING:
    from matplotlib.figure import Figure

CLUE = "CLUE"
MATCHED = "CLUE, experiences matched in length"
UNIT = "CLUE, deltas of length 1"
NEAR = "CLUE, distance to right alone"
END, START = "the answer's end alone", "its start alone (the question)"
LENGTH = "length alone"
PER_TOKEN, TOTAL = "log-probability per token", "log-probability in total"
LSD = "LSD, its true statement given"
LSD_OTHER = "LSD, another question's truth"
LSD_MEAN = "LSD, truth not known (their mean)"
LSD_MOTION = "LSD, motion alone (no truth)"
WORDS = "words shared with the truth (no model)"
ABOUT: dict[str, str] = {
    CLUE: "nearest centroid of the deltas, distances averaged over layers",
    MATCHED: "the same, its centroids of right and wrong experiences that are as long",
    UNIT: "the same, every layer's delta divided by its norm",
    NEAR: "what the paper ranks samples by",
    END: "control: the last token's states, nothing subtracted",
    START: "control: the same answer to one question for all",
    LENGTH: "control: a centroid of the number of tokens",
    PER_TOKEN: "baseline: the model's own confidence",
    TOTAL: "baseline: the same, a sum over tokens",
    LSD: "not available at test time: it is told the right answer",
    LSD_OTHER: "control: a true statement, of another question",
    LSD_MEAN: "all that is known at test time",
    LSD_MOTION: "velocity and turns over the layers",
    WORDS: "control: F1 with the right answer, which LSD is told",
}
"""What each score is, in the order of the table."""
DECIDING = (CLUE, MATCHED, UNIT, END, START, LENGTH)
"""Scores whose sign decides."""
Pairs = Literal["all", "length", "question"]
_CHANCE = 0.5
_ALIKE = 1e-4
"""Scores that differ by less of their standard deviation are ties: the same states, read in other batches."""


@dataclass(frozen=True, eq=False)
class Verification(Result):
    """N answers, right or wrong, and how right each looks to every method while its question was held out.

    >>> found = lens_truth.Verification.load("runs/verify")
    >>> found.measured["CLUE", "length"].value  # AUROC over pairs of a right and a wrong answer of one length
    >>> found.tables()[0], found.verdicts()
    >>> found.plot().savefig("verification.png")
    """

    command: ClassVar[str] = "verify"
    part: ClassVar[str] = "verification"
    named: ClassVar[bool] = True

    answers: Literal["given", "sampled"]
    """Those of the data, or the model's own."""
    groups: tuple[str, ...]
    """Of each answer; intervals are drawn over them, and folds keep them whole."""
    question: Float[np.ndarray, " N"]
    """Number of the question that each answer is to."""
    right: Float[np.ndarray, " N"]
    """1 for right, 0 for wrong."""
    tokens: Float[np.ndarray, " N"]
    """From the one end of the delta to the other."""
    scores: Mapping[str, Float[np.ndarray, " N"]]
    """By method (`ABOUT`); the higher, the more right the answer looks."""
    null: Float[np.ndarray, " P"]
    """CLUE's AUROC where labels are shuffled inside groups, or between groups of one label."""
    n_folds: int
    n_layers: int
    seed: int = 0

    @cached_property
    def measured(self) -> dict[tuple[str, Pairs], Auroc]:
        """AUROC of each method, over all pairs of a right and a wrong answer, over those of one length, and over those
        to one question."""
        question, lengths = self.question.astype(int), lengths_alike(self.tokens.astype(int))
        found: dict[tuple[str, Pairs], Auroc] = {}
        for name, its in self.scores.items():
            spread = float(its[np.isfinite(its)].std()) if np.isfinite(its).any() else 0.0
            scores = np.round(its / max(_ALIKE * spread, 1e-30))
            draws = [stream(self.seed, Stream.ANSWER_INTERVALS, part) for part in range(3)]
            found[name, "all"] = auroc(scores, self.right, self.groups, draws[0])
            found[name, "length"] = auroc(scores, self.right, self.groups, draws[1], strata=lengths)
            found[name, "question"] = auroc_inside(scores, self.right, self.groups, question, draws[2])
        return found

    def accuracy(self, name: str) -> tuple[float, tuple[float, float]]:
        """How often the sign of a score is right, with its 95% interval over groups.

        >>> found.accuracy("CLUE")
        """
        hits = 1.0 * ((self.scores[name] > 0) == (self.right > 0))
        return float(hits.mean()), group_interval(hits, self.groups, self.seed)

    @property
    def p_null(self) -> float:
        """How often CLUE's AUROC is as high under shuffled labels."""
        reached = self.null >= self.measured[CLUE, "all"].value - 1e-12
        return float((1 + reached.sum()) / (1 + len(self.null))) if len(self.null) else float("nan")

    def tables(self) -> Sequence[Table]:
        """A row a method."""
        header = ("method", "AUROC, all pairs", "of one length", "of one question", "accuracy", "what it is")
        rows = [row(name, *self._cells(name), ABOUT.get(name, "")) for name in self.scores]
        n = {pairs: self.measured[next(iter(self.scores)), pairs].n_pairs for pairs in ("all", "length", "question")}
        note = (
            f"{count(len(self.right), 'answer')}, {number(float(self.right.mean()))} right, to "
            f"{count(len(set(self.question.tolist())), 'question')} in {count(len(set(self.groups)), 'group')}; "
            f"{n['all']:,} pairs of a right and a wrong answer, {n['length']:,} of them of one length (exact up to 16 "
            f"tokens, then within a factor of 1.25), {n['question']:,} to one question. 95% intervals over groups; "
            f"experiences are of other groups than the answers tested ({self.n_folds} folds)."
        )
        return [table(f"Verification of {self.answers} answers", header, rows, note), self._length_table()]

    def _cells(self, name: str) -> list[str]:
        every: tuple[Pairs, ...] = ("all", "length", "question")
        found = [self.measured[name, pairs] for pairs in every]
        cells = [f"{number(its.value)} {interval((its.low, its.high))}".strip() for its in found]
        if name not in DECIDING:
            return [*cells, ""]
        value, ends = self.accuracy(name)
        return [*cells, f"{number(value)} {interval(ends)}"]

    def _length_table(self) -> Table:
        rows: list[Row] = []
        for side, label in (("right", 1), ("wrong", 0)):
            its = self.tokens[self.right == label]
            cells = (number(float(value), 1) for value in (its.mean(), np.quantile(its, 0.1), np.quantile(its, 0.9)))
            rows.append(row(f"{side} answers", str(len(its)), *cells))
        return table("Their length", ("tokens", "n", "mean", "10%", "90%"), rows)

    def verdicts(self) -> list[str]:
        """What is left of CLUE at equal length, what of LSD without the truth, and what the baselines do."""
        every, alike = self.measured[CLUE, "all"], self.measured[CLUE, "length"]
        null = (
            f"; labels shuffled give {number(float(self.null.mean()))} (p = {p_value(self.p_null)})"
            if len(self.null)
            else ""
        )
        said = [f"CLUE tells right from wrong {self.answers} answers with an AUROC of {_said(every)}{null}."]
        if not alike.n_pairs:
            said.append("No right answer is as long as a wrong one, so length and truth cannot be told apart here.")
        else:
            left = "which chance could give" if alike.low <= _CHANCE <= alike.high else "which chance does not give"
            if alike.high < _CHANCE:
                left = "which is below chance: what it has learnt is wrong there"
            said.append(
                f"Where both are as long it is {_said(alike)}, {left}; length alone has "
                f"{_said(self.measured[LENGTH, 'all'])} over all pairs."
            )
        said.append(
            f"The last token's states alone, nothing subtracted, have {_said(self.measured[END, 'all'])}, the question "
            f"alone {_said(self.measured[START, 'all'])}, the model's own log-probability per token "
            f"{_said(self.measured[PER_TOKEN, 'all'])}."
        )
        if LSD in self.scores:
            told, known, words = (self.measured[name, "all"] for name in (LSD, LSD_MEAN, WORDS))
            said.append(
                f"LSD has {_said(told)} when it is given the right answer, which nobody has at test time (the words of "
                f"the two alone give {_said(words)}); without it {_said(known)}."
            )
        return said

    def plot(self) -> Figure:
        """AUROC of every method over all pairs and over those of one length."""
        from lens_truth.detection.verification_figures import verification_dots

        return verification_dots(self)


def _said(its: Auroc) -> str:
    return f"{number(its.value)} {interval((its.low, its.high))}" if its.n_pairs else "none (no pairs)"
