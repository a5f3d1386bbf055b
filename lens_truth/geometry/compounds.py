"""Statements about two subjects: `paris & berlin` is about both, and shares a group with statements about either."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace

from lens_truth.data.examples import Example
from lens_truth.data.subjects import parts_of, subject_of

JOINED = " & "
"""Between the groups that a group is made of (`lens_truth.data.fact_sets`)."""


def about_both(examples: Sequence[Example]) -> list[Example]:
    """Statements that join two (`It is the case both that ... and that ...`), in a group that names the subjects of
    both; others as they are. (As they are read, their group is the first subject alone.)

    >>> conjunctions = lens_truth.about_both(lens_truth.load_examples("cities_conj.csv"))
    """
    found: list[Example] = []
    for example in examples:
        more = [subject_of(part) for part in parts_of(example.answer)[1:]] if example.is_statement else []
        subjects = dict.fromkeys([example.group, *more])
        found.append(replace(example, group=JOINED.join(subjects)) if len(subjects) > 1 else example)
    return found


def joined_groups(groups: Sequence[str], n_folds: int) -> list[str]:
    """For every row one group that stands for all that it is about: groups that some row joins become one, as long as
    that leaves groups enough for folds (as where a subject is always joined to the same other one). Otherwise the first
    of a row's own; `straddling` then tells which rows are about a subject of another fold too.

    >>> joined_groups(["paris", "berlin", "paris & berlin"], 5)
    """
    parts = [group.split(JOINED) for group in groups]
    name = one_name(parts)
    one = [name[first] for first, *_ in parts]
    largest = max(Counter(one).values())
    return one if largest * n_folds <= len(groups) else [first for first, *_ in parts]


def one_name(together: Iterable[Sequence[str]]) -> dict[str, str]:
    """For every name one that stands for all that it is with, at once or by way of others: that of the first.

    >>> one_name([["paris"], ["berlin", "paris"], ["rome"]])["paris"]  # berlin
    """
    over: dict[str, str] = {}

    def top(name: str) -> str:
        while over.setdefault(name, name) != name:
            name = over[name]
        return name

    for first, *more in together:
        top(first)
        for other in more:
            over[top(other)] = top(first)
    return {name: top(name) for name in over}


def straddling(groups: Sequence[str], fold: Sequence[int]) -> list[bool]:
    """For every row whether it is about something that is held out in another fold than the row is.

    >>> straddling(["paris", "berlin", "paris & berlin"], [0, 1, 0])  # the last
    """
    held_out = {group: number for group, number in zip(groups, fold, strict=True) if JOINED not in group}
    return [
        any(held_out.get(part, number) != number for part in group.split(JOINED))
        for group, number in zip(groups, fold, strict=True)
    ]
