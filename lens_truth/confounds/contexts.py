"""Labels against contexts: an answer that is called supported, of which its context says nothing."""

from __future__ import annotations

import re
from collections.abc import Sequence
from fractions import Fraction

from lens_truth.confounds.findings import Finding, Level, shown
from lens_truth.confounds.numbers_said import digits_said, number_said
from lens_truth.data.examples import SUPPORTED, Example
from lens_truth.data.row_fields import NOT_STATED, UNSTATED
from lens_truth.data.sentences import word_set
from lens_truth.data.surface_features import plain

_LONGEST = 12
"""Words of an answer that may be expected to stand in its context as it is."""
_FEW, _SHARE = 3, 0.01
"""As many answers (and this share of them) with no word in their context are more than paraphrases."""
_JUDGED = frozenset({"yes", "no", "true", "false", "neither", "both", "none", "unknown", "conflict"})
_SMALL = word_set("a an and are as at be by for from in is it its of on or that the to was were with")


def context_findings(examples: Sequence[Example]) -> list[Finding]:
    """Supported answers of up to twelve words that do not stand in their context: how many not word by word, and how
    many with no word at all. Answers that judge (`yes`, `not stated`) are left out; aliases count."""
    asked = absent = 0
    first: Example | None = None
    strange: list[Example] = []
    for example in examples:
        if example.label != SUPPORTED or not example.context.strip():
            continue
        ways = [plain(way) for way in (example.answer, *example.aliases)]
        if not ways[0] or len(ways[0].split()) > _LONGEST or _judges(ways[0]):
            continue
        asked += 1
        context = f" {plain(example.context)} "
        if any(f" {way} " in context for way in ways if way) or _stands_without_spaces(example):
            continue
        absent += 1
        first = first or example
        words = [word for way in ways for word in way.split() if word not in _SMALL]
        if words and not any(_stands(word, context) for word in words):
            strange.append(example)
    if not absent or first is None:
        return []
    level: Level = "wrong" if len(strange) >= max(_FEW, _SHARE * asked) else "note"
    of_these = f"; the context has no word of {len(strange)} of them" if strange else ""
    return [
        Finding(
            "not in the context",
            level,
            f"{absent} of {asked} short answers that are labelled supported do not stand in their context word by word"
            + of_these,
            absent,
            asked,
            shown((strange or [first])[0]),
            "Read them: what no context says is not supported by it"
            if level == "wrong"
            else "Read some: paraphrases are fine, other answers are not",
        )
    ]


def _stands_without_spaces(example: Example) -> bool:
    """Letters and digits one behind another: U.S.A. as USA, and scripts without spaces; numbers in words too."""
    context = example.context.lower()
    letters = "".join(filter(str.isalnum, context))
    for way in (example.answer, *example.aliases):
        bare = "".join(filter(str.isalnum, way.lower()))
        long = len(bare) > 2 or (bare and not bare.isascii())
        value = _value(way.lower().split())
        if (long and bare in letters) or (value is not None and value in _numbers_in(context)):
            return True
    return False


def _numbers_in(context: str) -> set[Fraction]:
    return {value for word in re.findall(r"[\w.,-]*\w", context) if (value := _value([word])) is not None}


def _value(words: Sequence[str]) -> Fraction | None:
    """Of a number in digits or words."""
    if len(words) == 1 and (digits := digits_said(words[0])) is not None:
        return digits
    found = number_said(words)
    return Fraction(found[0]) if found is not None and found[1] == len(words) else None


def _judges(answer: str) -> bool:
    first = answer.split()[0]
    return first in _JUDGED or answer in {NOT_STATED, *UNSTATED}


def _stands(word: str, context: str) -> bool:
    """Also as the beginning of a longer word, or with another ending."""
    return f" {word[: max(4, len(word) - 2)]}" in context
