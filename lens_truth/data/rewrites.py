"""Rewrites of labelled answers after which no answer tells its label, for data of which matching leaves nothing.

`swapped_answers` (data `swap:FILE`): two questions trade right answers, and each answer stands once as supported and
once as hallucinated, in one group. Hallucinated answers of the data are not needed. `cloze_examples` (data
`cloze:FILE`): a sentence of a context with a name or number left out, and what stands there as its answer, swapped like
the others; for data whose answers are sentences."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from lens_truth.data.answer_kinds import answer_kind
from lens_truth.data.examples import SUPPORTED, Example
from lens_truth.data.places import places_of, standing
from lens_truth.data.surface_features import plain
from lens_truth.errors import InputError
from lens_truth.io.streams import Stream, stream

BLANK = "____"
"""What stands for the words that a cloze leaves out."""
_LOOKED_AT = 200
"""Partners that are looked at for a question."""
_SENTENCE = re.compile(r"[^.!?\n]*[^.!?\s](?:\.(?=\d)[^.!?\n]*)*[.!?]?")
_NAME_OR_NUMBER = re.compile(r"\b(?:[A-Z][\w'-]+(?: [A-Z][\w'-]+){0,2}|\d+(?:[.,]\d+)*)\b")
_FEWEST = 4
"""Words of a sentence that says enough to be asked about."""


@dataclass(frozen=True)
class _Asked:
    example: Example
    kind: str
    length: int
    told: str
    """Question and context, in small letters, where the partner's answer must not stand."""
    right: frozenset[str]
    """All right answers that are known."""


def swapped_answers(examples: Sequence[Example], *, seed: int = 0) -> list[Example]:
    """Four rows for every two questions that trade right answers: both answers to both questions. An answer goes to a
    question of its kind (`year`, `person`, ...), as near in length as there is, to which it is not known to be right
    and whose question and context do not name it. Groups trade two by two, and become one.

    What an answer looks like tells nothing then. Where there are contexts, whether it stands there tells all: against
    the overlap with the context this is no cure.

    >>> swapped = lens_truth.data.swapped_answers(examples)  # lens_truth.load_examples("swap:my-rows.csv")

    Raises:
        InputError: if there are statements instead of questions, or no two questions can trade answers.
    """
    right: dict[tuple[str, str, str], list[Example]] = {}
    for example in examples:
        if example.label == SUPPORTED and not example.is_statement:
            right.setdefault((example.image, example.context, example.question), []).append(example)
    asked = [_asked(its) for its in right.values()]
    pairs = _pairs(asked, seed)
    if not pairs:
        raise InputError(
            f"no two of the {len(asked)} questions with a supported answer can trade them: answers go to a question of "
            "their kind that does not name them; statements have no question, and need clozes"
        )
    group = _groups(asked, pairs)
    return [
        row
        for n, m in pairs
        for to, answer in ((n, n), (n, m), (m, m), (m, n))
        for row in [_row(asked[to].example, asked[answer].example, to == answer, group[to])]
    ]


def cloze_examples(examples: Sequence[Example], *, seed: int = 0) -> list[Example]:
    """`swapped_answers` of questions that are made of contexts: of each context a sentence of four words or more, in
    which a name or number that stands in the context once is left out.

    >>> clozes = lens_truth.data.cloze_examples(examples)  # lens_truth.load_examples("cloze:my-rows.csv")

    Raises:
        InputError: if no context holds such a sentence, or no two can trade what is left out.
    """
    made: list[Example] = []
    for context, group in {example.context: example.group for example in examples}.items():
        found = _cloze(context)
        if found:
            sentence, answer = found
            question = f"Which words are left out? {sentence}"
            evidence = places_of(answer, context)
            made.append(Example(f"cloze-{len(made)}", group, question, answer, SUPPORTED, context, evidence))
    if not any(example.context.strip() for example in examples):
        raise InputError("these rows have no contexts of which clozes could be made")
    if not made:
        raise InputError(
            "no context holds a sentence with a name or number that stands there once: no cloze can be made"
        )
    return swapped_answers(made, seed=seed)


def _cloze(context: str) -> tuple[str, str] | None:
    for found in _SENTENCE.finditer(context):
        sentence = found[0].strip()
        if len(sentence.split()) < _FEWEST:
            continue
        for name in reversed(list(_NAME_OR_NUMBER.finditer(sentence))):
            answer = name[0]
            if name.start() > 0 and len(standing(answer).findall(context)) == 1:
                return sentence[: name.start()] + BLANK + sentence[name.end() :], answer
    return None


def _asked(rows: Sequence[Example]) -> _Asked:
    first = rows[0]
    answer = first.answer.strip()
    # of answers that are neither names nor numbers, those with as many words are of a kind
    kind = answer_kind(answer, first.question, first.context) or f"{min(len(answer.split()), 8)} words"
    every = {row.answer for row in rows} | {alias for row in rows for alias in row.aliases}
    told = f" {plain(first.question)} {plain(first.context)} "
    return _Asked(first, kind, len(answer), told, frozenset(plain(each) for each in every))


def _groups_fit(one: str, other: str, mates: dict[str, str]) -> bool:
    """Whether pairs of these groups chain no third one to them."""
    return one == other or (mates.get(one, other) == other and mates.get(other, one) == one)


def _pairs(asked: Sequence[_Asked], seed: int) -> list[tuple[int, int]]:
    """Which questions trade answers, in the order of the first of them."""
    order: list[int] = stream(seed, Stream.SWAPS).permutation(len(asked)).tolist()
    left: list[int] = []
    pairs: list[tuple[int, int]] = []
    pools: dict[str, list[int]] = {}
    mates: dict[str, str] = {}
    for n in order:
        pools.setdefault(asked[n].kind, []).append(n)
    for pool in pools.values():
        pairs += _of_pool(pool, asked, left, mates)
    rest: list[int] = []
    pairs += _of_pool([n for n in left if asked[n].kind.endswith("words")], asked, rest, mates)
    return sorted((min(pair), max(pair)) for pair in pairs)


def _of_pool(pool: list[int], asked: Sequence[_Asked], left: list[int], mates: dict[str, str]) -> list[tuple[int, int]]:
    """Pairs of neighbours in length; whoever finds none is left."""
    pairs: list[tuple[int, int]] = []
    pool = sorted(pool, key=lambda n: asked[n].length)
    while pool:
        n = pool.pop(0)
        mine = asked[n].example.group
        near = (m for m in pool[:_LOOKED_AT] if _groups_fit(mine, asked[m].example.group, mates))
        partner = next((m for m in near if _fit(asked[n], asked[m])), None)
        if partner is None:
            left.append(n)
        else:
            pool.remove(partner)
            if (other := asked[partner].example.group) != mine:
                mates[mine], mates[other] = other, mine
            pairs.append((n, partner))
    return pairs


def _fit(one: _Asked, other: _Asked) -> bool:
    """Whether neither's answer is known to be right for the other, or named there."""
    return not any(
        answer in old.right or f" {answer} " in old.told
        for old, new in ((one, other), (other, one))
        for answer in new.right
    )


def _groups(asked: Sequence[_Asked], pairs: Sequence[tuple[int, int]]) -> list[str]:
    from scipy.cluster.hierarchy import DisjointSet

    sets: Any = DisjointSet(range(len(asked)))
    first: dict[str, int] = {}
    for n, its in enumerate(asked):
        sets.merge(first.setdefault(its.example.group, n), n)
    for n, m in pairs:
        sets.merge(n, m)
    names: dict[int, str] = {sets[n]: f"swap-{asked[n].example.group}" for n in reversed(range(len(asked)))}
    return [names[sets[n]] for n in range(len(asked))]


def _row(to: Example, of: Example, supported: bool, group: str) -> Example:
    """The question of one example with the answer of another, or with its own."""
    id = f"swap-{to.id}-{'own' if supported else 'other'}"
    return replace(
        to,
        id=id,
        group=group,
        answer=of.answer,
        label=int(supported),
        evidence=to.evidence if supported else (),
        aliases=to.aliases if supported else (),
    )
