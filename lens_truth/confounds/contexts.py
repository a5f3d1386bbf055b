"""Labels against contexts: an answer that is called supported, of which its context says nothing."""

from __future__ import annotations

from collections.abc import Sequence

from lens_truth.confounds.findings import Finding, Level, shown
from lens_truth.data.examples import SUPPORTED, Example
from lens_truth.data.row_fields import NOT_STATED, UNSTATED
from lens_truth.data.sentences import word_set
from lens_truth.data.surface_features import plain

_LONGEST = 12
"""Words of an answer that may be expected to stand in its context as it is."""
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
        if any(f" {way} " in context for way in ways if way):
            continue
        absent += 1
        first = first or example
        words = [word for way in ways for word in way.split() if word not in _SMALL]
        if words and not any(_stands(word, context) for word in words):
            strange.append(example)
    if not absent or first is None:
        return []
    level: Level = "wrong" if strange else "note"
    of_these = f"; of {len(strange)} the context has no word" if strange else ""
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
            if strange
            else "Read some: paraphrases are fine, other answers are not",
        )
    ]


def _judges(answer: str) -> bool:
    first = answer.split()[0]
    return first in _JUDGED or answer in {NOT_STATED, *UNSTATED}


def _stands(word: str, context: str) -> bool:
    """Also as the beginning of a longer word, or with another ending."""
    return f" {word[: max(4, len(word) - 2)]}" in context
