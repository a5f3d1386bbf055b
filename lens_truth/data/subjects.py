"""What a statement is about, which groups statements. `The city of Krasnodar is not in Russia.`, the same without `not`,
and `It is the case either that the city of Krasnodar is in Peru or that it is in Russia.` are about `krasnodar`.

A subject is found in the statement alone, so that a row has the same group in whatever file it stands, whatever else
was read. It is what stands before the first verb, and of that the possessor, where something is possessed, the name
behind a word for its kind (`the inventor Grace Hopper`), or what stands in quotation marks (`the Spanish word 'con'`).
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

_SUBJECTS = ("object_1", "city", "subject")
"""Columns in which published statements name what they are about."""
_VERBS = frozenset(
    """absorb accelerate accept accompany act add adhere affect aid allow alternate appear apply arrive ask assist
    attach attack attract avoid bark beat become beg begin behave belong bind bite block blow boil border bore
    borrow break breathe breed bring build burn buy call carry cause change circle clean climb close collapse
    collect combine come communicate comprise conduct connect conserve consist consume contain continue contract
    contradict contribute control convert cook cool cost cover create cross crush cure cut damage deal decay
    declare decline decompose decrease define deliver depend depict describe design destroy determine develop
    differ digest direct disappear discourage discover disrupt dissolve distribute divide do dominate draw drink
    drive drop earn eat eject emerge emit employ enable encompass encourage end engage enhance enjoy ensure enter
    equal erase erode erupt establish evaporate evolve exceed exclude exist expand explain expose express extend
    face facilitate fall feed fight fill filter find float flow fluctuate fly focus follow forbid form freeze
    function generate get give go govern graze grow happen harm hatch have heal hear help hibernate hinder hold host
    hunt ignore illuminate improve include increase indicate infect influence inhabit inherit inhibit invent invest
    involve join kill know lack last lay lead learn leave let lie lift limit live locate lose lower maintain make
    manage manufacture market mate mean measure meet melt migrate mine move need neighbor neighbour neutralize obey
    observe obtain occupy occur offer operate oppose orbit organize originate outlaw own participate pass perform
    permit persist play pollinate possess power precede predict prefer prepare preserve prevent process produce
    prohibit promote propose protect prove provide publish pull pump purify push put radiate reach read receive
    recognize reduce refer reflect refract refuse regenerate regulate reject release rely remain remove repel
    replace represent reproduce require reside resist respire respond result retain revolve rise rotate run rust
    satisfy say secrete see seek sell send separate serve set shape share shed shine shrink sing sink sleep slow
    smell solidify speak specialise specialize spin spread stabilize stand start state stay steal stop store
    strengthen study suffer suggest supply support surround survive swim symbolize take target taste teach tell
    tend think threaten trade transfer transform translate transmit transport travel treat trigger turn undergo
    unite use vaporize vary vibrate violate visit want warm wash waste weaken wear weigh win work worship write
    yield""".split()
)
"""Base forms of verbs that statements of fact are made with, and that are seldom nouns before a verb."""
_AUXILIARIES = frozenset("is are was were am be been can could will would shall should may might must do".split())
_IRREGULAR = {
    "has": "have", "had": "have", "does": "do", "did": "do", "went": "go", "laid": "lay", "became": "become",
    "began": "begin", "held": "hold", "made": "make", "meant": "mean", "took": "take", "wrote": "write", "gave": "give",
    "grew": "grow", "led": "lead", "ran": "run", "said": "say", "built": "build", "came": "come", "fell": "fall",
    "flew": "fly", "kept": "keep", "knew": "know", "lost": "lose", "rose": "rise", "sold": "sell", "stood": "stand",
    "told": "tell", "thought": "think", "wore": "wear", "won": "win", "ate": "eat", "fed": "feed", "left": "leave",
    "lies": "lie", "lay": "lie", "dies": "die", "sang": "sing", "spoke": "speak", "swam": "swim", "drank": "drink",
    "taught": "teach", "bought": "buy", "brought": "bring", "met": "meet", "sent": "send", "saw": "see", "got": "get",
}  # fmt: skip
"""Forms whose base form no ending tells."""
_NEGATED = {"cannot": "can", "can't": "can", "won't": "will", "shan't": "shall"}
_WITHOUT_N = {"neither": "either", "nor": "or", "without": "with"}
_DROPPED = frozenset("not never no any".split())
_COUNTS = frozenset("two three four five six seven eight nine ten".split())
_PARTICLES = frozenset("do am".split())
"""Inside a name, no verbs: Sao Bernardo do Campo."""
_DETERMINERS = frozenset("the a an all some any every each most many both no not this that these those".split())
_CLAUSE = frozenset("that which who whom whose where".split())
_PREPOSITIONS = frozenset(
    "in on at by for from with without through as to between into onto around about over under during after before "
    "against among within via because when while than , ; :".split()
)
_WHOLE = frozenset("if when while unless because although there".split())
"""A sentence that begins so is about all that it says."""
_SIGNS = frozenset("= < > ≤ ≥ ≠".split())
_ADVERB = re.compile(r"only|also|often|always|sometimes|still|now|[a-z]{3,}ly")
_WORD = re.compile(r"\w+(?:[.'/&-]\w+)*|[^\w\s]")
_QUOTED = re.compile(r"""(?<!\w)(['"])(?=\S)([^'"]+)\1(?!\w)""")
_COMPOUND = re.compile(r"\s*it is the case (both|either) that (.+?),? (?:and|or) that (.+?)\.?\s*", re.I | re.S)
_PRONOUN = re.compile(r"(?:it|he/she|he|she|they)\b\s*", re.I)


def subject_of(statement: str, name: str = "") -> str:
    """What a statement is about, in lower case; of two that are joined, what the first is about.

    Args:
        name: of its subject, where that is known.
    """
    if name.strip():
        return _named(_words(name))
    first = parts_of(statement)[0]
    words = _words(first)
    stop, found = _verb(words)
    if not words or words[0].lower() in _WHOLE:
        return canonical(first)
    if not found:
        return canonical(" ".join(words[:stop]))
    if quoted := _QUOTED.search(_before(first, stop)):
        return quoted[2].casefold()
    stop = next((place for place in range(1, stop) if words[place] in _CLAUSE), stop)
    return _named(words[:stop]) or canonical(first)


def subject_in(row: Mapping[str, Any]) -> str:
    """The name of its subject that a published row of a statement holds; empty where it holds none."""
    return next((value for column in _SUBJECTS if isinstance(value := row.get(column), str)), "")


def parts_of(statement: str) -> tuple[str, ...]:
    """The two statements that `It is the case both that ... and that ...` (`either`, `or`) joins, the second with the
    subject of the first for its pronoun; of any other, itself."""
    joined = _COMPOUND.fullmatch(statement)
    if joined is None:
        return (statement,)
    _, first, second = joined.groups()
    if pronoun := _PRONOUN.match(second):
        second = _before(first, _verb(_words(first))[0]) + second[pronoun.end() :]
    return first, second


def joined_by(statement: str) -> str:
    """`and` or `or` where two statements are joined, nothing otherwise."""
    joined = _COMPOUND.fullmatch(statement)
    return "" if joined is None else {"both": "and", "either": "or"}[joined[1].lower()]


def canonical(statement: str) -> str:
    """The same text for a statement and its negation: words in lower case without their endings, without `not`, `no`,
    `any` and the `do` that comes with them."""
    words = _words(statement)
    while words and words[-1] in ".!":
        words = words[:-1]
    kept: list[str] = []
    for word, after in zip(words, [*words[1:], ""], strict=True):
        base = stem(word)
        is_help = base == "do" and (_negates(word) or _negates(after) or after == "no" or _is_verb(after))
        if word.lower() not in _DROPPED and not is_help:
            kept.append(base)
    return " ".join(kept)


def stem(word: str) -> str:
    """A word in lower case, without the endings of verbs and of the plural."""
    word = _base(_WITHOUT_N.get(word.lower(), word))
    word = re.sub(r"(?<=..)(?:ing|ed)$", "", word) if re.search(r"[aeiouy].*(?:ing|ed)$", word) else word
    return re.sub(r"(?<=...)e$", "", re.sub(r"([^aeiou\W\d])\1$", r"\1", word))


def _base(word: str) -> str:
    """A word in lower case without negation and without -s."""
    word = word.lower()
    word = _NEGATED.get(word, word.removesuffix("n't"))
    if word in _IRREGULAR:
        return _IRREGULAR[word]
    if len(word) > 4 and word.endswith(("ies", "ied")):
        return f"{word[:-3]}y"
    if word.endswith(("sses", "shes", "ches", "xes", "oes")):
        return word[:-2]
    return word[:-1] if len(word) > 3 and re.search(r"[^sui]s$", word) else word


def _negates(word: str) -> bool:
    return word.lower() in ("not", *_NEGATED) or word.lower().endswith("n't")


def _words(text: str) -> list[str]:
    return _WORD.findall(text.replace("’", "'"))


def _before(text: str, stop: int) -> str:
    """The text before its word of this number."""
    found = list(_WORD.finditer(text.replace("’", "'")))
    return text[: found[stop].start()] if stop < len(found) else text


def _verb(words: Sequence[str]) -> tuple[int, bool]:
    """Which word is the first verb; without any (False), where the first preposition stands, or the end."""
    first = next((place for place, word in enumerate(words) if word.lower() not in _DETERMINERS), len(words))
    for place in range(first + 1, len(words)):
        word = words[place]
        if word in _SIGNS or _negates(word) or (_is_verb(word) and not _is_noun(words, place)):
            return place, True
    return next((at for at in range(first + 1, len(words)) if words[at].lower() in _PREPOSITIONS), len(words)), False


def _is_verb(word: str) -> bool:
    """Whether a word in lower case can be one."""
    ends = word.endswith(("ed", "ing")) and stem(word) in _STEMS
    return word.islower() and (word in _AUXILIARIES or _base(word) in _VERBS or ends)


def _is_noun(words: Sequence[str], place: int) -> bool:
    """Whether what could be a verb is part of a name, or counted (`three states`)."""
    before, word, after = words[place - 1], words[place], [*words, ""][place + 1]
    counted = before.lower() in _COUNTS and word.endswith("s") and word not in _AUXILIARIES and _base(word) != "have"
    return counted or (word in _PARTICLES and before[0].isupper() and after[:1].isupper())


def _named(words: Sequence[str]) -> str:
    """A subject without what stands before its name, and without what it possesses."""
    kept = [_WITHOUT_N.get(word.lower(), word) for word in words if word.lower() not in _DROPPED - {"no"}]
    name = _without_determiner(kept)
    if len(name) < len(kept) and name and name[0][0].islower():
        name = _without_determiner(name[next((at for at, word in enumerate(name) if word[0].isupper()), 0) :])
    if (owner := next((at for at, word in enumerate(name) if word.endswith("'s")), None)) is not None:
        name = [*name[:owner], name[owner][:-2]]
    while name and (not name[-1][-1].isalnum() or _ADVERB.fullmatch(name[-1])):
        name = name[:-1]
    return " ".join(name).casefold()


def _without_determiner(words: Sequence[str]) -> Sequence[str]:
    return words[next((at for at, word in enumerate(words) if word.lower() not in _DETERMINERS), len(words)) :]


_STEMS = frozenset(map(stem, _VERBS))
