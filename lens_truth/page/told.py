"""Results of one kind in a run, as blocks of a page: a heading, what they say, and their tables."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Protocol

from lens_truth.io.runs import Record
from lens_truth.io.tables import Table
from lens_truth.page.blocks import Block, Heading, Sentences
from lens_truth.page.reading import RunRecord


class Told(Protocol):
    """What a result says of itself."""

    def tables(self) -> Sequence[Table]:
        """In numbers."""
        ...

    def verdicts(self) -> Iterable[str]:
        """In words."""
        ...


def told_blocks(run: RunRecord, kind: Any, heading: Callable[[Any, str], Heading]) -> list[Block]:
    """Of every result of a kind (a class of `Result`) that the run holds; `heading` is given the result and its name,
    which is empty where a run can have only one."""
    record: Record = run.record
    names = list(run.named(kind.part)) if kind.named else [""] if kind.part in record.results else []
    blocks: list[Block] = []
    for name in names:
        found: Told = kind.of_record(record, name or None)
        blocks += [heading(found, name), Sentences(tuple(found.verdicts())), *found.tables()]
    return blocks
