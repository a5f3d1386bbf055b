"""Where the answer lies in a reply, by the words of the question: one rule for right and wrong ones, and no judge."""

from __future__ import annotations

import re

from lens_truth.data.sentences import VERBS, is_verb, word_set

_WORD = re.compile(r"\w+(?:['’.&-]\w+)*")
_HELPING = word_set(
    "is are was were be been being has have had do does did can could will would shall should may might must became"
)
_FUNCTION = _HELPING | word_set(
    "the a an of in on at to for from with by as and or it its he she they his her their this that these those there "
    "who whom whose which what where when why how also called named known"
)
_CALLED = word_set("called named known")
_PREPOSITIONS = word_set("by in at as from of on to with")
_END = re.compile(r"(?:(?<=[^\W\d_]{3})|(?<=\d{2})|(?<=[)\"”]))[.!?](?=[\"”]?\s+[\"“]?[A-Z])")
"""The end of a sentence, and not of an initial or a short abbreviation (J.D. Salinger, St. Louis)."""
_SHORT = ("Mrs", "Bros", "Prof", "Capt", "Messrs")
_STANDS_FOR = word_set("it he she they")
"""What a reply may say for the question's subject: It is Paris."""


def answer_part(question: str, reply: str) -> tuple[int, int] | None:
    """Characters [start, stop) of a reply that are its answer: the first sentence of its first line that is not empty,
    without what repeats the question, and without punctuation and quotes at the ends. None of an empty reply.

    What repeats the question is a beginning up to a helping verb, with a participle behind it (The
    capital of France is | Paris, It was written by | Joyce), or an end from a verb on (Paris | is the capital of
    France), in which all words are the question's or function words. A phrase without a verb stays whole, even where
    its words are the question's (the Boston Marathon).
    """
    lines = [line.span() for line in re.finditer(r"[^\r\n]+", reply) if line[0].strip()]
    if not lines:
        return None
    start, stop = next((line for line in lines if _WORD.search(reply, *line)), lines[0])
    words = list(_WORD.finditer(reply, start, stop))
    if not words:  # a sign is the answer
        return _trimmed(reply, start, stop, " \t")
    ends = [end.start() for end in _END.finditer(reply, words[0].end(), stop)]
    if end := next((end for end in ends if not reply[:end].endswith(_SHORT)), None):
        stop = end
        words = [word for word in words if word.end() <= stop]
    first, last = _beyond(_plain(question), [word[0] for word in words])
    return _trimmed(
        reply, words[first].start() if first else start, words[last].end() if last + 1 < len(words) else stop
    )


def _beyond(question: str, words: list[str]) -> tuple[int, int]:
    """The first and the last word that do not repeat the question."""
    said = [_plain(word) for word in words]
    asked = {word[0] for word in _WORD.finditer(question)} - _FUNCTION
    told = [word in asked or word in _FUNCTION for word in said]
    first, last = 0, len(said) - 1
    if all(told):  # nothing is beyond it
        return first, last
    for place in range(1, last):
        before = said[:place]
        about = not asked.isdisjoint(before) or (place == 1 and said[0] in _STANDS_FOR)
        if words[place] in _HELPING and all(told[:place]) and about:
            first = place + 1
    if first and first + 1 < last and words[first].islower() and words[first + 1] in _PREPOSITIONS:
        first += 2 * (words[first + 1] == "by" or words[first] in asked | _CALLED)
    for place in range(last, first, -1):
        if not told[place]:
            break
        if _finite(words[place], asked) and not asked.isdisjoint(said[place:]):
            last = place - 1
    return first, last


def _finite(word: str, asked: set[str]) -> bool:
    """Whether a word can begin what repeats the question: a helping verb, or an inflected one that is the question's.
    With a capital, or as it stands in a dictionary, it is as well a name's (New Covent Garden Market, Green set)."""
    return word in _HELPING or (word in asked and word not in VERBS and is_verb(word))


def _trimmed(text: str, start: int, stop: int, around: str = ' \t\r\n.,;:!?*"“”') -> tuple[int, int]:
    while start < stop and text[start] in around and not text[start:stop][1:2].isdigit():  # .5 is a number
        start += 1
    while start < stop and text[stop - 1] in around:
        stop -= 1
    return start, stop


def _plain(text: str) -> str:
    """A text whose words compare: in lower case, without the endings of possession."""
    return re.sub(r"(?<=\w)'s?(?!\w)", "", text.replace("’", "'").lower())
