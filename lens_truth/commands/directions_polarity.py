"""`directions polarity`: directions of truth under negation, conjunction, disjunction, and as answers to questions."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import lens_truth
from lens_truth.commands.domains import Domains
from lens_truth.commands.run import Run
from lens_truth.errors import InputError
from lens_truth.io.tables import print_table

_NEGATED, _TESTED = ("facts:negated",), ("facts:conjunction", "facts:disjunction", "facts:closed-book")
"""Of world facts."""


@dataclass(frozen=True)
class Polarity(Domains):
    """Trains directions of truth on affirmative statements, and on those and their negations (TTPD and others), and
    tests them on other kinds."""

    data: tuple[str, ...] = ("facts:affirmative",)
    """Sets of affirmative statements to train on, each perhaps with a name in front: NAME=FILE."""
    negated: tuple[str, ...] = ()
    """The negations of each of them, in the same order; of the default facts:negated."""
    test: tuple[str, ...] = ()
    """Further sets to test on: conjunctions, disjunctions, questions with answers; of the default facts:conjunction,
    facts:disjunction and facts:closed-book."""
    folds: int = 5
    """Held-out folds over the union of all sets' groups."""
    out: Path = Path("runs/directions-polarity")
    """Folder for the results."""

    def compute(self, run: Run) -> None:
        """Trains and tests."""
        import numpy as np

        if (self.data, self.negated, self.test) == (("facts:affirmative",), (), ()):
            replace(self, negated=_NEGATED, test=_TESTED).compute(run)
            return
        if self.negated and len(self.negated) != len(self.data):
            raise InputError(
                f"--data names {len(self.data)} sets and --negated {len(self.negated)}; each needs its own"
            )
        n = len(self.data)
        captured = replace(self, data=(*self.data, *self.negated, *self.test)).captured(run)
        names, examples = list(captured.examples), captured.examples
        topics = [
            lens_truth.Topic(
                name,
                names[n + i] if self.negated else "",
                tuple(lens_truth.negation_rows(examples[name], examples[names[n + i]])) if self.negated else (),
            )
            for i, name in enumerate(names[:n])
        ]
        # Groups that the rows join are one, or a bag of words would have seen a part of what it is tested on.
        joined = iter(lens_truth.joined_groups([row.group for its in examples.values() for row in its], self.folds))
        words = {name: [replace(row, group=next(joined)) for row in its] for name, its in examples.items()}
        trained = [names[:n], names[: 2 * n]][: 1 + bool(self.negated)]
        surface = np.array(
            [
                lens_truth.bag_of_words_transfer(
                    {name: words[name] for name in its}, words, n_folds=self.folds, seed=self.seed
                )
                for its in trained
            ]
        )
        found = lens_truth.polarity_transfer(
            captured.activations, topics, n_folds=self.folds, seed=self.seed, surface=surface
        )
        run.rests_on([group for name in names for group in captured.activations[name].groups])
        run.hold(found)
        run.figure("polarity.png", found.plot())
        for table in found.tables():
            print_table(table)
            print()
        print("\n".join(found.verdicts()))

    def rows(self, where: str) -> list[lens_truth.Example]:
        """Those of a data set, each in a group that names all that it is about."""
        return lens_truth.about_both(super().rows(where))
