"""One spelling for what is spelled in several ways, before numbers and dates are looked for."""

from __future__ import annotations

import re

_SIGNS = str.maketrans({"×": "*", "·": "*", "∙": "*", "÷": "/", "−": "-", "–": "-", "’": "'", "‘": "'", "²": "^2",
                        "³": "^3", "≤": "<=", "≥": ">=", "≠": "!=", "“": '"', "”": '"', "\u00a0": " "})  # fmt: skip
_SPELLINGS = (
    (re.compile(r"(?<=[a-z])-(?=[a-z])"), " "),
    (re.compile(r"(?<=[\w)]) x (?=[\w(-])"), " * "),
    (re.compile(r"(?<=\d)(?<!\b0)x(?=\d)"), " * "),
    (re.compile(r"\*\*"), "^"),
    (re.compile(r"\b(is|are|was|were|does|do|did)n't\b"), r"\1 not"),
    (re.compile(r"\b(what|which|it|that|who)'s\b"), r"\1 is"),
    (re.compile(r"\s+"), " "),
)


def plain(text: str) -> str:
    """A text in small letters, with one kind of sign and space and without a final full stop or question mark.

    >>> plain("Fifty-one  isn't ≥ 2³.")
    'fifty one is not >= 2^3'
    """
    text = text.translate(_SIGNS).lower()
    for pattern, instead in _SPELLINGS:
        text = pattern.sub(instead, text)
    return text.strip().rstrip(" .?")
