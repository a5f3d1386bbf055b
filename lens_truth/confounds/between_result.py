"""`Between`: what two data sets have both, and what the words of one tell of the other's labels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from lens_truth.confounds.findings import Finding
from lens_truth.io.numbers import interval, number
from lens_truth.io.results import Result
from lens_truth.io.tables import Table, row, table


@dataclass(frozen=True)
class Transfer:
    """What the words of one set, whose labels are known, tell of another's."""

    trained: str
    tested: str
    what: str
    auroc: float
    """On rows whose groups were held out of training."""
    low: float
    high: float
    shared: float
    """With all rows of the first set in training, groups of the second among them."""


@dataclass(frozen=True, eq=False)
class Between(Result):
    """Of two sets of examples, in both directions.

    >>> between = lens_truth.between_sets("train", train, "test", test)
    >>> print(*between.warnings(), *between.tables())
    >>> between = lens_truth.Between.load("runs/audit", "train.jsonl and test.jsonl")
    """

    command = "audit"
    part = "between"
    named = True

    transfers: tuple[Transfer, ...]
    findings: tuple[Finding, ...]

    def warnings(self) -> list[str]:
        """A sentence for each finding."""
        return [its.sentence for its in self.findings if its.level != "note"]

    def tables(self) -> tuple[Table, ...]:
        """The transfers, if there are any."""
        return (transfer_table(self.transfers),) if self.transfers else ()


def transfer_table(transfers: Sequence[Transfer]) -> Table:
    """A row for each direction and text."""
    rows = [
        row(
            f"{its.trained} to {its.tested}",
            its.what,
            number(its.auroc),
            interval((its.low, its.high), 3),
            number(its.shared),
        )
        for its in transfers
    ]
    note = (
        "AUROC of a bag of words trained on the one and tested on the other, with the tested groups held out of "
        "training (95% over groups), and with them left in"
    )
    return table(
        "What words of one data set tell of another", ("data", "words", "AUROC", "95%", "groups left in"), rows, note
    )
