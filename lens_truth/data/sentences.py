"""Plain English sentences, as far as statements of fact need it: where the first verb stands, and a text that is the
same for a sentence and its negation."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path


def word_set(words: str) -> frozenset[str]:
    """The words of a text."""
    return frozenset(words.split())


_AUXILIARIES = word_set("is are was were am be been can could will would shall should may might must do")
VERBS = word_set(Path(__file__).with_name("verbs.txt").read_text(encoding="utf-8"))
"""Base forms of verbs that statements of fact are made with. Some are nouns too; then a subject may end early, but it
ends at the same word in a sentence and in its negation."""
_IRREGULAR = {
    "has": "have", "had": "have", "does": "do", "did": "do", "went": "go", "laid": "lay", "became": "become",
    "began": "begin", "held": "hold", "made": "make", "meant": "mean", "took": "take", "wrote": "write", "gave": "give",
    "grew": "grow", "led": "lead", "ran": "run", "said": "say", "built": "build", "came": "come", "fell": "fall",
    "flew": "fly", "kept": "keep", "knew": "know", "lost": "lose", "rose": "rise", "sold": "sell", "stood": "stand",
    "told": "tell", "thought": "think", "wore": "wear", "won": "win", "ate": "eat", "fed": "feed", "left": "leave",
    "lies": "lie", "lay": "lie", "dies": "die", "sang": "sing", "spoke": "speak", "swam": "swim", "drank": "drink",
    "taught": "teach", "bought": "buy", "brought": "bring", "met": "meet", "sent": "send", "saw": "see", "got": "get",
    "sank": "sink", "shook": "shake", "chose": "choose", "drove": "drive", "fought": "fight", "sought": "seek",
}  # fmt: skip
"""Forms whose base form no ending tells."""
_NEGATED = {"cannot": "can", "can't": "can", "won't": "will", "shan't": "shall"}
_WITHOUT_N = {"neither": "either", "nor": "or", "without": "with"}
_NEGATIONS = word_set("not never no any")
_SIGNS = word_set("= < > ≤ ≥ ≠")
_COUNTS = word_set("two three four five six seven eight nine ten")
_PARTICLES = word_set("do am")
"""Inside a name these are no verbs: Sao Bernardo do Campo."""
DETERMINERS = word_set("the a an all some any every each most many both no not this that these those")
PREPOSITIONS = word_set(
    "in on at by for from with without through as to between into onto around about over under during after before "
    "against among within via because when while than , ; :"
)
_WORD = re.compile(r"\w+(?:[.'/&-]\w+)*|[^\w\s]")


def words_of(text: str) -> list[str]:
    """Words, numbers and signs; an apostrophe, a full stop or a hyphen inside a word belongs to it."""
    return _WORD.findall(_plain(text))


def text_before(text: str, word: int) -> str:
    """What stands before the word of this number."""
    found = list(_WORD.finditer(_plain(text)))
    return text[: found[word].start()] if word < len(found) else text


def first_verb(words: Sequence[str]) -> int | None:
    """Which word it is; None if no verb is known among them. A negation and the signs of comparison count as verbs."""
    for place in range(first_noun(words) + 1, len(words)):
        word = words[place]
        if word in _SIGNS or _negates(word) or (is_verb(word) and not _is_noun(words, place)):
            return place
    return None


def first_noun(words: Sequence[str]) -> int:
    """Which word is the first that is no determiner."""
    return next((place for place, word in enumerate(words) if word.lower() not in DETERMINERS), len(words))


def canonical(text: str) -> str:
    """The same text for a sentence and its negation: words in lower case without their endings, without `not`, `no`,
    `any` and the `do` that comes with them."""
    words = words_of(text)
    while words and words[-1] in ".!":
        words = words[:-1]
    kept: list[str] = []
    for place, word in enumerate(words):
        after = [*words, ""][place + 1]
        base = _stem(_WITHOUT_N.get(word.lower(), word))
        helps = base == "do" and (_negates(word) or _negates(after) or after == "no" or is_verb(after))
        if word.lower() not in _NEGATIONS and not helps:
            kept.append(base)
    return " ".join(kept)


def affirmed(words: Sequence[str]) -> list[str]:
    """Words of a subject as they are where it is not negated."""
    return [_WITHOUT_N.get(word.lower(), word) for word in words if word.lower() not in _NEGATIONS - {"no"}]


def _stem(word: str) -> str:
    """A word in lower case, without the endings of verbs and of the plural."""
    word = _base(word)
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


def is_verb(word: str) -> bool:
    """Whether a word in lower case can be one."""
    ends = word.endswith(("ed", "ing")) and _stem(word) in _STEMS
    return word.islower() and (word in _AUXILIARIES or _base(word) in VERBS or ends)


def _is_noun(words: Sequence[str], place: int) -> bool:
    """Whether what could be a verb is part of a name, or counted (`three states`)."""
    before, word, after = words[place - 1], words[place], [*words, ""][place + 1]
    counted = before.lower() in _COUNTS and word.endswith("s") and word not in _AUXILIARIES and _base(word) != "have"
    return counted or (word in _PARTICLES and before[0].isupper() and after[:1].isupper())


def _plain(text: str) -> str:
    return text.replace("’", "'")


_STEMS = frozenset(map(_stem, VERBS))
