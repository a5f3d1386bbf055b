"""`Choices`: what multiple choice without generation found."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from lens_truth.io.numbers import number
from lens_truth.io.results import Result
from lens_truth.io.tables import Table, row, table
from lens_truth.stats.paired import group_interval


@dataclass(frozen=True)
class Choice:
    """The answers to one question, ranked."""

    group: str
    question: str
    margin: float
    """Log-probability of the likeliest supported answer minus that of the likeliest hallucinated one (nats)."""
    margin_per_token: float
    """The same with every answer's log-probability divided by its number of tokens: longer answers are less likely
    for no other reason than their length."""
    mass: float
    """Share of the supported answers in the probability of all answers (MC2 of TruthfulQA, Lin et al. 2022)."""


_MEASURES = {
    "accuracy": "more likely",
    "accuracy_per_token": "more likely per token",
    "mass": "share of the probability",
    "margin": "margin of log-probabilities",
}


@dataclass(frozen=True, eq=False)
class Choices(Result):
    """All questions that have answers of both labels.

    >>> Choices.load("runs/evaluate-choose").summary()["accuracy"]
    """

    command: ClassVar[str] = "evaluate choose"
    part: ClassVar[str] = "choices"

    choices: tuple[Choice, ...]
    seed: int = 0
    """Of the bootstrap behind intervals."""

    def summary(self) -> dict[str, Any]:
        """Each measure's mean over questions, and its 95% interval over groups."""
        groups = [choice.group for choice in self.choices]
        values = {
            "accuracy": [float(choice.margin > 0) for choice in self.choices],
            "accuracy_per_token": [float(choice.margin_per_token > 0) for choice in self.choices],
            "mass": [choice.mass for choice in self.choices],
            "margin": [choice.margin for choice in self.choices],
        }
        found: dict[str, Any] = {"n": len(self.choices)}
        for name, its in values.items():
            interval = group_interval(np.array(its), groups, self.seed)
            found |= {name: float(np.mean(its)), f"{name}_ci": interval}
        return found

    def tables(self) -> list[Table]:
        """One row a measure."""
        found = self.summary()
        rows = [
            row(said, number(found[name]), "{:.3f} to {:.3f}".format(*found[f"{name}_ci"]))
            for name, said in _MEASURES.items()
        ]
        return [table("", ("supported against hallucinated answer", f"n = {found['n']}", "95% interval"), rows)]
