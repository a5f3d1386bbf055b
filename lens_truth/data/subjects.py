"""What a statement is about, which groups statements.

A subject is found in the statement alone, so that a row has the same group in whatever file it stands, whatever else
was read. It is what stands before the first verb, and of that the possessor, where something is possessed, the name
behind a word for its kind (`the inventor Grace Hopper`), or what stands in quotation marks (`the Spanish word 'con'`).
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from lens_truth.data.sentences import (
    DETERMINERS,
    PREPOSITIONS,
    affirmed,
    canonical,
    first_noun,
    first_verb,
    text_before,
    word_set,
    words_of,
)

_COLUMNS = ("object_1", "city", "subject")
"""In which published statements name what they are about."""
_CLAUSES = word_set("that which who whom whose where")
_WHOLE = word_set("if when while unless because although there")
"""A sentence that begins so is about all that it says."""
_ADVERB = re.compile(r"only|also|often|always|sometimes|still|now|[a-z]{3,}ly")
_QUOTED = re.compile(r"""(?<!\w)(['"])(?=\S)([^'"]+)\1(?!\w)""")
_JOINED = re.compile(r"\s*it is the case (both|either) that (.+?),? (?:and|or) that (.+?)\.?\s*", re.I | re.S)
_PRONOUN = re.compile(r"(?:it|he/she|he|she|they)\b\s*", re.I)


def subject_of(statement: str, name: str = "") -> str:
    """What a statement is about, in lower case, whether it is negated or not; of two that are joined (`It is the case
    both that ... and that ...`), what the first is about: if both counted, joined rows would chain all subjects of a
    topic into one.

    >>> lens_truth.data.subject_of("The city of Krasnodar is not in Russia.")  # as that of "... is in Peru."
    'krasnodar'

    Where no verb is known, it is all before the first preposition, and of a condition (`If ..., then ...`) the whole
    sentence.

    Args:
        name: of the subject, where it is known.
    """
    first = parts_of(statement)[0]
    words = words_of(name) or words_of(first)
    if name.strip():
        return _named(words)
    if not words or words[0].lower() in _WHOLE:
        return canonical(first)
    if (verb := first_verb(words)) is None:
        stops = (at for at in range(first_noun(words) + 1, len(words)) if words[at].lower() in PREPOSITIONS)
        return canonical(text_before(first, next(stops, len(words))))
    if quoted := _QUOTED.search(text_before(first, verb)):
        return quoted[2].casefold()
    clause = next((place for place in range(1, verb) if words[place] in _CLAUSES), verb)
    return _named(words[:clause]) or canonical(first)


def subject_in(row: Mapping[str, Any]) -> str:
    """The name of its subject that a published row of a statement holds; empty where it holds none."""
    return next((value for column in _COLUMNS if isinstance(value := row.get(column), str)), "")


def parts_of(statement: str) -> tuple[str, ...]:
    """The two statements that `It is the case both that ... and that ...` (`either`, `or`) joins, the second with the
    subject of the first for its pronoun; of any other, itself."""
    joined = _JOINED.fullmatch(statement)
    if joined is None:
        return (statement,)
    _, first, second = joined.groups()
    if pronoun := _PRONOUN.match(second):
        second = text_before(first, first_verb(words_of(first)) or 0) + second[pronoun.end() :]
    return first, second


def joined_by(statement: str) -> str:
    """`and` or `or` where two statements are joined, nothing otherwise."""
    joined = _JOINED.fullmatch(statement)
    return "" if joined is None else {"both": "and", "either": "or"}[joined[1].lower()]


def _named(words: Sequence[str]) -> str:
    """A subject without what stands before its name, and without what it possesses."""
    every = affirmed(words)
    name = _without_determiner(every)
    if len(name) < len(every) and name and name[0][0].islower():
        name = _without_determiner(name[next((at for at, word in enumerate(name) if word[0].isupper()), 0) :])
    if (owner := next((at for at, word in enumerate(name) if word.endswith("'s")), None)) is not None:
        name = [*name[:owner], name[owner][:-2]]
    while name and (not name[-1][-1].isalnum() or _ADVERB.fullmatch(name[-1])):
        name = name[:-1]
    return " ".join(name).casefold()


def _without_determiner(words: Sequence[str]) -> Sequence[str]:
    return words[next((at for at, word in enumerate(words) if word.lower() not in DETERMINERS), len(words)) :]
