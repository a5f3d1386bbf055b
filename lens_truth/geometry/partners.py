"""Statements and what contradicts them, found by their words; and statements with an answer."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace

from lens_truth.data.examples import Example, rows_by_question
from lens_truth.data.negations import negation_pairs
from lens_truth.errors import InputError

_WORD = re.compile(r"\w+")


def negation_rows(statements: Sequence[Example], negations: Sequence[Example]) -> list[int]:
    """For every statement the row of its negation. Of statements without a question `negation_pairs` says which; of
    answers (`facts:affirmative`, whose denials are worded otherwise), of the same group and the other label the one
    that has most words in common.

    >>> partners = lens_truth.negation_rows(cities, neg_cities)

    Raises:
        InputError: counts the statements without a negation.
    """
    if statements and all(example.is_statement for example in statements):
        return [row for _, row in negation_pairs(statements, negations)]
    of_group: dict[str, list[int]] = {}
    for row, example in enumerate(negations):
        of_group.setdefault(example.group, []).append(row)
    words = [_words(example) for example in negations]
    found: list[int] = []
    lonely: list[Example] = []
    for example in statements:
        left = of_group.get(example.group, [])
        its = _words(example)
        overlaps = {row: _overlap(its, words[row]) for row in left if negations[row].label != example.label}
        if overlaps:
            found.append(max(overlaps, key=lambda row: overlaps[row]))
            left.remove(found[-1])
        else:
            lonely.append(example)
    if lonely:
        raise InputError(
            f"pairs without partner: {len(lonely)} of {len(statements)} statements have no negation (the first: "
            f"'{lonely[0].id}')"
        )
    return found


def contradicting_rows(examples: Sequence[Example]) -> list[tuple[int, int]]:
    """The true and the false side of every pair of a set: a claim and its negation, or a right and a wrong answer to
    one question. Where a group of statements holds several of either, those that have most words in common are a pair
    (of equals those that stand nearer).

    >>> lens_truth.pairs_in_set(activations, lens_truth.contradicting_rows(examples))

    Raises:
        InputError: counts the questions, or groups of statements, that do not have as many true as false ones.
    """
    questions = rows_by_question(examples)
    uneven = [rows for rows in questions if 2 * sum(examples[row].label for row in rows) != len(rows)]
    if uneven:
        raise InputError(
            f"pairs without partner: {len(uneven)} of {len(questions)} questions or subjects have not as many true as "
            f"false answers (the first: '{examples[uneven[0][0]].id}')"
        )
    words = [_words(example) for example in examples]
    found: list[tuple[int, int]] = []
    for rows in questions:
        false = [row for row in rows if not examples[row].label]
        for true in (row for row in rows if examples[row].label):
            of_true = {row: (_overlap(words[true], words[row]), -abs(row - true)) for row in false}
            other = max(of_true, key=lambda row: of_true[row])
            false.remove(other)
            found.append((true, other))
    return found


def with_answer(statements: Sequence[Example], answer: str) -> list[Example]:
    """The question whether each statement is true, with an answer; the label is still whether the statement is.

    >>> yes, no = (lens_truth.with_answer(statements, its) for its in ("Yes", "No"))
    """
    return [
        replace(
            example,
            id=f"{example.id}-{answer.lower()}",
            question=" ".join(part for part in (example.question, example.answer, "Is that true?") if part),
            answer=answer,
            evidence=(),
        )
        for example in statements
    ]


def _overlap(one: set[str], other: set[str]) -> float:
    return len(one & other) / len(one | other)


def _words(example: Example) -> set[str]:
    return set(_WORD.findall(f"{example.question} {example.answer}".lower()))
