"""`directions ccs`: contrast-consistent search on pairs of statements that contradict each other."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import lens_truth
from lens_truth.commands.domains import Domains, named
from lens_truth.commands.run import Run, load_model, plain_name
from lens_truth.errors import InputError
from lens_truth.io.tables import print_table


@dataclass(frozen=True)
class Ccs(Domains):
    """Finds directions of truth without labels: statement and negation are to get opposite probabilities (CCS)."""

    data: tuple[str, ...] = ("zoo:text",)
    """Data sets of pairs, each perhaps with a name in front: NAME=FILE. Without --negated a set holds both sides of its
    pairs: a claim and its negation, or a right and a wrong answer to one question."""
    negated: tuple[str, ...] = ()
    """The negations of the statements of --data, a set for each."""
    contrast: Literal["statement", "answer"] = "statement"
    """What the two sides of a pair are: a statement and its negation; or one statement with the answers yes and no, by
    which polar consistency and contradiction index (PA-CCS) are defined."""
    folds: int = 5
    """Held-out folds; a statement and its negation are never split."""
    shuffles: int = 3
    """Times that CCS is trained again on pairs whose partners were shuffled."""
    out: Path = Path("runs/directions-ccs")
    """Folder for the results."""

    def compute(self, run: Run) -> None:
        """Finds the directions of every set."""
        if self.negated and len(self.negated) != len(self.data):
            raise InputError(
                f"--data names {len(self.data)} sets and --negated {len(self.negated)}; each needs its own"
            )
        sets = {name: self.rows(where) for name, where in named(self.data).items()}
        negated = [self.rows(where) for where in self.negated]
        model = load_model(self.model, self)
        for number, (name, rows) in enumerate(sets.items()):
            other = negated[number] if negated else None
            print(f"{name}: {len(rows)} rows{f', {len(other)} negations' if other else ''}")
            surface = lens_truth.bag_of_words_auroc([*rows, *(other or [])], n_folds=self.folds, seed=self.seed)
            pairs = self._pairs(model, rows, other)
            run.rests_on(pairs.groups)
            found = lens_truth.ccs_scores(
                pairs,
                n_folds=self.folds,
                seed=self.seed,
                draws=lens_truth.CcsDraws(n_shuffles=self.shuffles),
                surface=surface,
            )
            run.hold(found, name)
            run.figure(f"{plain_name(name)}.png", found.plot())
            for table in found.tables():
                print_table(table)
                print()
            print("\n".join(found.verdicts()))

    def _pairs(
        self, model: Any, rows: list[lens_truth.Example], other: list[lens_truth.Example] | None
    ) -> lens_truth.StatementPairs:
        if self.contrast == "answer":
            statements = [*rows, *(other or [])]
            partners = _within(rows) if other is None else _across(rows, other)
            yes, no = (self.read(model, lens_truth.with_answer(statements, its)) for its in ("Yes", "No"))
            return lens_truth.answer_pairs(yes, no, partners)
        if other is not None:
            partners = lens_truth.negation_rows(rows, other)
            return lens_truth.pairs_of_sets(self.read(model, rows), self.read(model, other), partners)
        return lens_truth.pairs_in_set(self.read(model, rows), lens_truth.contradicting_rows(rows), seed=self.seed)


def _within(rows: list[lens_truth.Example]) -> list[int | None]:
    """For every row of a set the one that contradicts it."""
    partner: list[int | None] = [None] * len(rows)
    for one, other in lens_truth.contradicting_rows(rows):
        partner[one], partner[other] = other, one
    return partner


def _across(rows: list[lens_truth.Example], other: list[lens_truth.Example]) -> list[int | None]:
    """The same where the negations stand behind the statements."""
    there = [len(rows) + its for its in lens_truth.negation_rows(rows, other)]
    back = {its: row for row, its in enumerate(there)}
    return [*there, *(back.get(len(rows) + row) for row in range(len(other)))]
