"""Answers ranked by their likelihood: what each question got, in total and per token, beside what length alone gets."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

import numpy as np
from jaxtyping import Bool, Float

from lens_truth.data.examples import Example, question_pairs
from lens_truth.data.surface import CONFOUNDED
from lens_truth.evaluate.multiple_choice import mc1, mc2, mc3
from lens_truth.io.numbers import number
from lens_truth.io.results import Result
from lens_truth.io.tables import Table, row, table
from lens_truth.scoring.surface import ENOUGH
from lens_truth.stats.paired import group_interval

_MEASURES = {
    "accuracy": "more likely",
    "accuracy_per_token": "more likely per token",
    "mc1": "the first supported one more likely (MC1)",
    "mass": "share of the probability (MC2)",
    "mc3": "share of the supported ones that are more likely (MC3)",
    "margin": "margin of log-probabilities",
    "margin_per_token": "margin per token",
    "shorter": "the shorter answer (baseline)",
}
_MATCHED = "more likely, of equally long answers"


@dataclass(frozen=True)
class Choice:
    """The answers to one question, ranked."""

    group: str
    question: str
    margin: float
    """Log-probability of the likeliest supported answer minus that of the likeliest hallucinated one (nats)."""
    margin_per_token: float
    """The same with each log-probability divided by the answer's tokens, since longer answers are less likely."""
    mass: float
    """Share of the supported answers in the probability of all answers (`mc2`)."""
    tokens: tuple[int, int] = (0, 0)
    """Of the shortest supported answer, and of the shortest hallucinated one."""
    chance: float = 0.5
    """Share of the supported answers among all."""
    mc1: float | None = None
    """1 if the first supported answer, TruthfulQA's best one, is likelier than every hallucinated one; None where it is
    the only supported one."""
    mc3: float | None = None
    """Share of the supported answers that are likelier than every hallucinated one; None where there is but one."""


@dataclass(frozen=True, eq=False)
class Choices(Result):
    """All questions that have answers of both labels: `Choices.load("runs/evaluate-choose")`."""

    command: ClassVar[str] = "evaluate choose"
    part: ClassVar[str] = "choices"

    choices: tuple[Choice, ...]
    seed: int = 0
    """Of the bootstrap behind intervals."""

    @cached_property
    def measures(self) -> dict[str, Float[np.ndarray, " N"]]:
        """By name, a number a question; `accuracy`, `accuracy_per_token` and `shorter` are 1 where the supported answer
        is preferred, `shorter` (by length alone) .5 where both are as long. `mc1` and `mc3` are there if any question
        has several supported answers."""
        its = self.choices
        margin, per_token, mass = np.array([(c.margin, c.margin_per_token, c.mass) for c in its], dtype=float).T
        longer = np.array([c.tokens[1] - c.tokens[0] for c in its])
        found = {"accuracy": 1.0 * (margin > 0), "accuracy_per_token": 1.0 * (per_token > 0), "mass": mass}
        if any(choice.mc1 is not None for choice in its):
            preferred = found["accuracy"].tolist()  # which both are where one answer is supported
            found["mc1"] = np.array([mark if c.mc1 is None else c.mc1 for c, mark in zip(its, preferred, strict=True)])
            found["mc3"] = np.array([mark if c.mc3 is None else c.mc3 for c, mark in zip(its, preferred, strict=True)])
        found |= {"margin": margin, "margin_per_token": per_token, "shorter": (1 + np.sign(longer)) / 2}
        return {name: found[name] for name in _MEASURES if name in found}

    @cached_property
    def matched(self) -> Bool[np.ndarray, " N"]:
        """Questions whose answers are equally long, in tokens; there a preference owes nothing to length."""
        return np.array([c.tokens[0] == c.tokens[1] for c in self.choices])

    @property
    def groups(self) -> tuple[str, ...]:
        """Of each question."""
        return tuple(choice.group for choice in self.choices)

    @property
    def chance(self) -> float:
        """How often a guess is right."""
        return float(np.mean([choice.chance for choice in self.choices]))

    def summary(self) -> dict[str, Any]:
        """Each measure's mean over questions, and its 95% interval over groups; the accuracy where answers are equally
        long (`accuracy_matched`, of `n_matched`), if there are ten such questions."""
        found: dict[str, Any] = {"n": len(self.choices), "n_matched": int(self.matched.sum())}
        measured = {name: (values, [*self.groups]) for name, values in self.measures.items()}
        if found["n_matched"] >= ENOUGH:
            groups = [group for group, kept in zip(self.groups, self.matched.tolist(), strict=True) if kept]
            measured["accuracy_matched"] = self.measures["accuracy"][self.matched], groups
        for name, (values, groups) in measured.items():
            found |= {name: float(values.mean()), f"{name}_ci": group_interval(values, groups, self.seed)}
        return found

    def tables(self) -> list[Table]:
        """One row a measure."""
        found = self.summary()
        said = {**_MEASURES, "accuracy_matched": f"{_MATCHED} (n = {found['n_matched']})"}
        rows = [
            row(about, number(found[name]), "{:.3f} to {:.3f}".format(*found[f"{name}_ci"]))
            for name, about in said.items()
            if name in found
        ]
        return [table("", ("supported against hallucinated answer", f"n = {found['n']}", "95% interval"), rows)]

    def warnings(self) -> list[str]:
        """A sentence if length alone tells the answers apart."""
        found = self.summary()
        said = length_warning(found["shorter"], self.chance, found["accuracy"], found["accuracy_per_token"])
        return [said] if said else []


def length_warning(shorter: float, chance: float, accuracy: float, per_token: float | None) -> str | None:
    """A sentence for whoever might take a preference for the supported answer at face value, or None."""
    if abs(shorter - chance) <= CONFOUNDED:
        return None
    which, reached = ("shorter", shorter) if shorter > chance else ("longer", 1 - shorter)
    verdict = "which is no worse than the model" if reached >= accuracy else "the model chooses it in"
    verdict += f" ({accuracy:.3f})" if reached >= accuracy else f" {accuracy:.3f}"
    said = (
        f"SURFACE CONFOUND: the {which} answer is the supported one in {reached:.3f} of the questions, {verdict}; "
        "longer answers are less likely in total"
    )
    return said if per_token is None else f"{said}, and per token it prefers the supported one in {per_token:.3f}"


def choices_of(
    examples: Sequence[Example], tokens: Sequence[int], log_probs: Float[np.ndarray, " N"]
) -> tuple[Choice, ...]:
    """The choice of every question that has answers of both labels, from the tokens and the log-probability of each
    answer (of the others, any number)."""
    per_token = log_probs / np.maximum(1, tokens)
    choices: list[Choice] = []
    for right, wrong in question_pairs(examples):
        first = examples[right[0]]
        margin, margin_per_token = (float(its[right].max() - its[wrong].max()) for its in (log_probs, per_token))
        shortest = min(tokens[i] for i in right), min(tokens[i] for i in wrong)
        chance = len(right) / len(right + wrong)
        labels, its = [1] * len(right) + [0] * len(wrong), log_probs[right + wrong]
        best = mc1(labels[-len(wrong) - 1 :], log_probs[[right[0], *wrong]])
        ranked = (best, mc3(labels, its)) if len(right) > 1 else ()
        told = first.group, first.question, margin, margin_per_token, mc2(labels, its), shortest, chance
        choices.append(Choice(*told, *ranked))
    return tuple(choices)
