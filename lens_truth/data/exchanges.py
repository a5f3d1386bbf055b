"""`conflict:FILE`: memory against context on real text. Questions of a file whose short answers stand in their contexts
trade answers two by two: wherever the answer of the one stands in its context, that of the other is put, and the other
way round. The exchanged answer is then what the context supports, the true one what a model may remember.

Both answers of such a pair have both labels, so no part of the file that holds whole pairs, such as a fold or a split,
can be won by what an answer looks like. Pairs therefore share a group, and so do questions with one context.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from lens_truth.data.answer_kinds import SMALL, answer_kind, asked_noun
from lens_truth.data.examples import HALLUCINATED, SUPPORTED, Example
from lens_truth.data.places import places_of, standing
from lens_truth.errors import InputError, notice
from lens_truth.io.streams import Stream, stream

_LENGTHS = 4
"""Characters by which two answers that trade places may differ."""
_YEARS, _TIMES = 50, 10
"""By how many years they may differ, and by what factor numbers."""
_LOOKED_AT = 100
"""Partners that are looked at for a question."""
_PART = 50
"""Pairs join groups of one context up to one in so many of the questions, or twice the largest such group."""
_AN = re.compile(r"(?!eu|ewe|one\b|once|uni(?!n|m)|us|ut|uk|ur)[aeiou]|8|11\b|18\b", re.IGNORECASE)


@dataclass(frozen=True)
class _Asked:
    """A question whose answer may be exchanged."""

    example: Example
    answer: str
    kind: str
    noun: str
    """What the question asks for in its own word, if it has one."""
    told: str
    """Question and context, as `_mention` looks through them."""


def conflicts(examples: Sequence[Example], path: Path, seed: int) -> list[Example]:
    """Two examples (exchanged, true) for each question that found a partner, pair by pair; how many questions were left
    out, and why, is said (`DataWarning`).

    Raises:
        InputError: if the file has no supported answers, none that stands in its context, or no two that can trade
            places.
    """
    right: dict[tuple[str, str], dict[str, Example]] = {}
    for example in examples:
        if example.label == SUPPORTED:
            right.setdefault((example.context, example.question), {}).setdefault(example.answer, example)
    if not right:
        raise InputError(f"{path}: has no supported answers (label 1), so there are none to exchange in their contexts")
    asked: list[_Asked] = []
    left_out: Counter[str] = Counter()
    for answers in right.values():
        example, *others = answers.values()
        found = "have others beside them" if others else _asked(example)
        if isinstance(found, _Asked):
            asked.append(found)
        else:
            left_out[found] += 1
    if left_out[_ABSENT] == len(right):
        raise InputError(
            f"{path}: none of its {len(right)} supported answers stands in its context, so none can be exchanged; "
            "conflict:FILE is for short answers that are taken from a passage"
        )
    pairs, group_of = _pairs(asked, stream(seed, Stream.EXCHANGES))
    left_out["find no partner"] = len(asked) - 2 * len(pairs)
    reasons = ", ".join(f"{n} {why}" for why, n in left_out.items() if n)
    if not pairs:
        raise InputError(
            f"{path}: no two of its {len(right)} supported answers can trade places ({reasons}): partners are of one "
            "kind, about as long, and new to each other's question and context, of which a larger file has more"
        )
    if reasons:
        notice(f"{2 * len(pairs)} of {len(right)} supported answers of {path} trade places; of the others {reasons}")
    told = [(asked[n], asked[m].answer, group_of[n]) for pair in pairs for n, m in (pair, pair[::-1])]
    return [example for one, new, group in told for example in _exchanged(one, new, group)]


_ABSENT = "do not stand in their context"


def _asked(example: Example) -> _Asked | str:
    """The question, or why its answer cannot be exchanged."""
    context = example.context
    answer = _bare(example.answer, context)
    if not answer or not standing(answer).search(context):
        return _ABSENT
    kind = answer_kind(answer, example.question, context)
    if example.image:
        return "are about an image"
    if kind is None:
        return "are no names, numbers or dates"
    mention = _mention(answer, kind)
    if mention.search(_plain(example.question)):
        return "are mentioned in the question"
    if mention.search(_plain(_put(answer, "\0 \0", kind, context))):
        return "stand in their context in another form too"
    return _Asked(example, answer, kind, asked_noun(example.question), _plain(f"{example.question}\n{context}"))


def _bare(answer: str, context: str) -> str:
    """The answer without what does not belong to it: quotes around it, a comma behind it, an article that is in small
    letters where it stands in the context."""
    answer = answer.strip().rstrip(",;")
    if answer[:1] in ('"', "“") and not any(mark in answer[1:].rstrip('"”.,') for mark in '"“”'):
        answer = answer[1:].rstrip('"”.,')
    article, _, rest = answer.partition(" ")
    return (
        rest if article in ("The", "the") and rest and re.search(rf"\bthe {re.escape(rest)}(?!\w)", context) else answer
    )


@cache
def _mention(answer: str, kind: str) -> re.Pattern[str]:
    """What the answer may be called: itself in other case, with an ending, by its initials; a person, and a name of
    which it is not known what it is of, by any of its words; a place by the adjective of it."""
    plain = _plain(answer)
    words = [word for word in re.findall(r"[\w'-]+", plain) if word not in SMALL]
    whole = r"(?<!\d[.,])" * plain[0].isdigit(), r"(?![.,]?\d)" * plain[-1].isdigit()  # as a number
    ways = [rf"{whole[0]}(?i:{re.escape(plain)}){whole[1]}"]
    if len(words) > 1 and not any(letter.isdigit() for letter in plain):
        ways.append("".join(word[0] for word in words) + r"\b")
        if kind.startswith(("person", "name")):
            ways += [re.escape(word) + r"\b" for word in words if len(word) > 2]
    elif len(plain) > 4 and kind.startswith(("country", "nationality", "state", "place", "adjective")):
        ways.append(re.escape(plain[:4]))
    return re.compile(rf"(?<!\w)(?:{'|'.join(ways)})")


def _plain(text: str) -> str:
    """Without accents, with one kind of apostrophe, and without dots after initials."""
    letters = (
        letter for letter in unicodedata.normalize("NFKD", text.replace("’", "'")) if not unicodedata.combining(letter)
    )
    return re.sub(r"(?<=\b[A-Z])\.", "", "".join(letters))


def _parts(name: str) -> tuple[str, ...]:
    """Last and first name of a person."""
    words = [word for word in name.split() if len(word) > 2 and word not in SMALL | {"Jr.", "Sr.", "III"}]
    return (words[-1], words[0]) if len(words) > 1 else ()


def _fit(one: _Asked, other: _Asked) -> bool:
    """Whether two questions can trade answers."""
    if one.kind == "year" and abs(int(one.answer) - int(other.answer)) > _YEARS:
        return False
    if one.kind.startswith("number"):
        small, large = sorted(int(re.sub(r"\D", "", number)) for number in (one.answer, other.answer))
        if large > _TIMES * small:
            return False
    if one.kind.startswith("person") and len(_parts(one.answer)) != len(_parts(other.answer)):
        return False
    return not any(_mention(new.answer, new.kind).search(old.told) for old, new in ((one, other), (other, one)))


def _pairs(asked: Sequence[_Asked], rng: np.random.Generator) -> tuple[list[tuple[int, int]], list[str]]:
    """Which questions trade answers, in the file's order, and the group of each question."""
    from scipy.cluster.hierarchy import DisjointSet

    groups: Any = DisjointSet(range(len(asked)))
    first: dict[str, int] = {}
    for n, one in enumerate(asked):
        for shared in (f"group {one.example.group}", f"context {one.example.context}"):
            groups.merge(first.setdefault(shared, n), n)
    sizes: list[int] = [groups.subset_size(n) for n in range(len(asked))]
    most = max(len(asked) // _PART, 2 * max(sizes, default=0))
    order: list[int] = rng.permutation(len(asked)).tolist()
    pairs: list[tuple[int, int]] = []
    for words_count in (True, False):  # those of a kind with as many words first
        paired = {n for pair in pairs for n in pair}
        pools: dict[str, list[int]] = {}
        for n in order:
            if n not in paired:
                kind = asked[n].kind
                pools.setdefault(kind if words_count else re.sub(r" of \d", "", kind), []).append(n)
        for pool in pools.values():
            pairs += _pairs_of_pool(pool, asked, groups, most)
    names: dict[int, str] = {groups[n]: f"conflict-{asked[n].example.group}" for n in reversed(range(len(asked)))}
    return sorted(pairs), [names[groups[n]] for n in range(len(asked))]


def _pairs_of_pool(pool: list[int], asked: Sequence[_Asked], groups: Any, most: int) -> Iterator[tuple[int, int]]:
    """Pairs of one kind, whose groups are merged if they have no more than `most` questions."""
    length = {n: len(asked[n].answer) for n in pool}
    middle = float(np.median(list(length.values())))
    pool.sort(key=lambda n: -abs(length[n] - middle))  # those with few partners first
    while pool:
        n = pool.pop(0)
        near = islice((m for m in pool if abs(length[n] - length[m]) <= _LENGTHS), _LOOKED_AT)
        partners = [
            (not groups.connected(n, m), asked[n].noun != asked[m].noun, abs(length[n] - length[m]), rank, m)
            for rank, m in enumerate(near)
            if (groups.connected(n, m) or groups.subset_size(n) + groups.subset_size(m) <= most)
            and _fit(asked[n], asked[m])
        ]
        if partners:
            m = min(partners)[-1]
            pool.remove(m)
            groups.merge(n, m)
            yield min(n, m), max(n, m)


def _exchanged(one: _Asked, new: str, group: str) -> tuple[Example, Example]:
    """The new answer, which the context now supports, and the old one."""
    context = _put(one.answer, new, one.kind, one.example.context)
    evidence = places_of(new, context)
    id, question = f"conflict-{one.example.id}", one.example.question
    return (
        Example(f"{id}-context", group, question, new, SUPPORTED, context, evidence),
        Example(f"{id}-memory", group, question, one.answer, HALLUCINATED, context, evidence),
    )


def _put(old: str, new: str, kind: str, context: str) -> str:
    """The context with the new answer wherever the old one stands; of a person also with other middle names ("Ada King
    Lovelace"), the last name, and the first where it stands alone."""
    context = _instead(standing(old).pattern, new, context)
    if kind.startswith("person") and (names := _parts(old)):
        last, first = _parts(new) or (new, new)
        before = "|".join(re.escape(word) for word in old.split() if word != names[0])
        more = r"""(?: ["“(]?[A-Z][\w.'’-]*["”)]?)"""
        context = _instead(rf"(?<!\w)(?:{before}){more}{{0,3}} {re.escape(names[0])}(?!\w)", new, context)
        context = _instead(standing(names[0]).pattern, last, context)
        context = _instead(standing(names[1]).pattern + r"(?! [A-Z])", first, context)
    return context


def _instead(old: str, new: str, context: str) -> str:
    """The new text for what the pattern finds, after the article that goes with it."""

    def put(found: re.Match[str]) -> str:
        return (f"{found[1]}n " if _AN.match(new) else f"{found[1]} ") + new if found[1] else new

    return re.sub(rf"(?:(?<!\w)([Aa])n? )?(?:{old})", put, context)
