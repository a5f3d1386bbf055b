"""How statements belong together: each with its negation, and joined ones with those that they join."""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Sequence

from lens_truth.data.examples import Example
from lens_truth.data.sentences import canonical, first_verb, text_before, words_of
from lens_truth.data.subjects import joined_by, parts_of, subject_of
from lens_truth.errors import InputError, notice, shortened

_ASIDE = 0.9
"""Two files stand side by side if so large a share of the pairs that words tell have the same row number in both."""


def negation_pairs(affirmative: Sequence[Example], negated: Sequence[Example]) -> list[tuple[int, int]]:
    """Row numbers of every statement and of its negation, in the order of the first.

    Pairs are told by their words: without negation they say the same. Where two files stand side by side, a statement
    whose negation is worded otherwise (`excludes` for `includes`) belongs to the row of its number. A `DataWarning`
    counts pairs that have the same label.

    >>> cities, negations = map(lens_truth.load_examples, ("cities.csv", "neg_cities.csv"))
    >>> pairs = lens_truth.data.negation_pairs(cities, negations)
    >>> differences = z.z[[row for row, _ in pairs]] - z_of_negations.z[[row for _, row in pairs]]

    Raises:
        InputError: counts statements without a negation, and negations without a statement.
    """
    waiting: defaultdict[str, deque[int]] = defaultdict(deque)
    for row, example in enumerate(negated):
        waiting[canonical(example.answer)].append(row)
    found: dict[int, int] = {}
    for row, example in enumerate(affirmative):
        rows = waiting[canonical(example.answer)]
        other = next((its for its in rows if negated[its].answer.strip() != example.answer.strip()), None)
        if other is not None:
            found[row] = other
            rows.remove(other)
    taken = set(found.values())
    if len(affirmative) == len(negated) and sum(row == its for row, its in found.items()) >= _ASIDE * len(affirmative):
        found |= {row: row for row in range(len(affirmative)) if row not in found and row not in taken}
    lonely = [example.answer for row, example in enumerate(affirmative) if row not in found]
    if lonely:
        n, first = len(affirmative), shortened(lonely[0])
        raise InputError(f"{len(lonely)} of {n} statements have no negation in the other set (first: '{first}')")
    taken = set(found.values())
    lonely = [example.answer for row, example in enumerate(negated) if row not in taken]
    if lonely:
        n, first = len(negated), shortened(lonely[0])
        raise InputError(f"{len(lonely)} of {n} negations belong to no statement in the other set (first: '{first}')")
    same = [row for row, other in found.items() if affirmative[row].label == negated[other].label]
    if same:
        first = shortened(affirmative[min(same)].answer)
        notice(f"{len(same)} of {len(found)} statements have the same label as their negation (first: '{first}')")
    return sorted(found.items())


def joined_labels(joined: Sequence[Example], statements: Sequence[Example]) -> list[int | None]:
    """The label that each joined statement (`It is the case both that ... and that ...`, `either`, `or`) has by the
    labels of its two parts: both true, at least one true. None where a part is not among the statements.

    >>> labels = lens_truth.data.joined_labels(conjunctions, cities)
    >>> [row for row, label in zip(conjunctions, labels) if label not in (None, row.label)]  # wrong by logic

    Raises:
        InputError: names the first row that joins nothing.
    """
    known: defaultdict[tuple[str, str], set[int]] = defaultdict(set)
    for example in statements:
        for key in _keys(example.answer):
            known[key].add(example.label)
    labels: list[int | None] = []
    for example in joined:
        word = joined_by(example.answer)
        if not word:
            raise InputError(
                f"example '{example.id}' joins no two statements (\"It is the case both that ... and that ...\", or "
                '"either that ... or that ...")'
            )
        parts = [_only(known, part) for part in parts_of(example.answer)]
        labels.append(
            None if None in parts else (min if word == "and" else max)(part for part in parts if part in (0, 1))
        )
    return labels


def _only(known: dict[tuple[str, str], set[int]], statement: str) -> int | None:
    """The one label of a statement; None if there is none or both."""
    labels = next((known[key] for key in _keys(statement) if key in known), set[int]())
    return min(labels) if len(labels) == 1 else None


def _keys(statement: str) -> tuple[tuple[str, str], ...]:
    """By which a statement is found: its words; else what it is about and what it says, for `Emile Berliner lived in
    Russia` is `The inventor Emile Berliner lived in Russia`. Not `canonical`, for which a negation is the same."""
    verb = first_verb(words_of(statement)) or 0
    said = statement[len(text_before(statement, verb)) :].strip().rstrip(".").casefold()
    return ("", statement.strip().rstrip(".").casefold()), (subject_of(statement), said)
