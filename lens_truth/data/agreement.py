"""How data sets label the same answers: rows that repeat others, answers with both labels, and two sets that contradict
each other."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

from lens_truth.data.examples import HALLUCINATED, SUPPORTED, Example
from lens_truth.data.images import is_made
from lens_truth.io.results import Result
from lens_truth.io.tables import Table, row, table


@dataclass(frozen=True, eq=False)
class Agreement(Result):
    """How two sets of rows label the answers that both have; each answer counts once."""

    command = "audit"
    part = "agreement"
    named = True

    shared: int
    same: int
    supported_first: int
    """Supported in the first set, hallucinated in the second."""
    hallucinated_first: int
    """Hallucinated in the first set, supported in the second."""

    @property
    def opposite(self) -> int:
        """Answers that are supported in one set and hallucinated in the other."""
        return self.supported_first + self.hallucinated_first

    @property
    def undecided(self) -> int:
        """Answers that have both labels inside one of the sets."""
        return self.shared - self.same - self.opposite

    def warnings(self, one: str, other: str) -> list[str]:
        """A sentence if the sets contradict each other."""
        said = (
            f"LABEL CONFLICT: {one} and {other} label {self.opposite} of the {self.shared} answers that both have "
            f"oppositely ({self.supported_first} are supported in {one} and hallucinated in {other}, "
            f"{self.hallucinated_first} the other way round). One of them has the direction wrong"
        )
        return [said] if self.opposite else []

    def tables(self) -> tuple[Table]:
        """One row, as `agreement_table` makes them."""
        return (agreement_table({"": self}),)


def agreement_table(pairs: Mapping[str, Agreement]) -> Table:
    """A row for every two data sets, by the names of both."""
    header = ("data", "shared", "same label", "opposite", "both labels in one")
    rows = (row(name, *map(str, (its.shared, its.same, its.opposite, its.undecided))) for name, its in pairs.items())
    return table("Answers that two data sets have both, and their labels there", header, rows)


def repeats(examples: Sequence[Example]) -> tuple[int, int]:
    """How many rows repeat another one, and how many answers have both labels; see `Audit`."""
    labels = _labels_of_answers(examples)
    return len(examples) - len(labels), sum(len(found) == 2 for found in labels.values())


def label_agreement(one: Sequence[Example], other: Sequence[Example]) -> Agreement:
    """Agreement on the answers with the same context, question, answer and image; image files count as the same if
    they have the same name, in whatever folder.

    >>> lens_truth.data.label_agreement(examples, others).opposite
    """
    first, second = _labels_of_answers(one), _labels_of_answers(other)
    shared = first.keys() & second.keys()
    found = Counter((*first[answer], *second[answer]) for answer in shared)  # of three or four if there are both in one
    same = found[SUPPORTED, SUPPORTED] + found[HALLUCINATED, HALLUCINATED]
    return Agreement(len(shared), same, found[SUPPORTED, HALLUCINATED], found[HALLUCINATED, SUPPORTED])


def label_warnings(sets: Mapping[str, Sequence[Example]]) -> list[str]:
    """A sentence for every set that labels an answer both ways, and for every two sets that contradict each other."""
    said = [sentence for name, examples in sets.items() for sentence in _both_labels(name, repeats(examples)[1])]
    for (one, its), (other, others) in combinations(sets.items(), 2):
        said += label_agreement(its, others).warnings(one, other)
    return said


def _both_labels(name: str, n: int) -> list[str]:
    return [f"LABEL CONFLICT: {name} labels {n} answers both supported and hallucinated"] if n else []


def answer_key(example: Example) -> tuple[str, ...]:
    """What two rows with the same answer share: image (a file's by its name alone), context, question, answer."""
    image = example.image if is_made(example.image) else Path(example.image).name
    return image, example.context.strip(), example.question.strip(), example.answer.strip()


def _labels_of_answers(examples: Sequence[Example]) -> dict[tuple[str, ...], set[int]]:
    labels: dict[tuple[str, ...], set[int]] = defaultdict(set)
    for example in examples:
        labels[answer_key(example)].add(example.label)
    return labels
