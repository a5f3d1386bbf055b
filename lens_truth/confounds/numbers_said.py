"""Numbers in words (`fifty-one`, `one hundred and five`, `2.5 million`) and in digits, exactly."""

from __future__ import annotations

import re
from collections.abc import Sequence
from fractions import Fraction


def in_order(words: str) -> list[str]:
    """The words of a text."""
    return words.split()


_ONES = in_order(
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen "
    "seventeen eighteen nineteen"
)
_TENS = in_order("twenty thirty forty fifty sixty seventy eighty ninety")
ONES = {word: value for value, word in enumerate(_ONES)}
TENS = {word: 10 * value for value, word in enumerate(_TENS, 2)} | {"fourty": 40}
SCALES = {"billion": 10**9, "million": 10**6, "thousand": 1000}
"""Largest first. A billion and more is not the same everywhere; 10**9 is what English means today."""
NUMBER_WORDS = frozenset([*ONES, *TENS, *SCALES, "hundred"])
DIGITS = r"\d{1,3}(?:,\d{3})+(?:\.\d+)?(?![\d.,]*\d)|\d+(?:\.\d+)?|\.\d+"
"""A number in digits; commas stand between thousands only."""
_NUMBER = re.compile(DIGITS)
_LONGEST = 40
"""Digits of the longest number that is read."""


def number_said(words: Sequence[str], at: int = 0) -> tuple[int, int] | None:
    """The longest number in words that begins at a word, and where it ends; None where none begins. Words are in small
    letters and without hyphens; `and` stands in a number only behind a hundred or a larger unit.

    >>> number_said("two thousand and fifty one cats".split())
    (2051, 5)
    """
    total, limit, start = 0, None, at
    while True:
        behind = at
        if limit is not None and words[at : at + 1] == ["and"]:
            behind += 1
        group = _below_10000(words, behind, article=limit is None)
        if group is None:
            break
        value, end = group
        scale = SCALES.get(words[end], 1) if end < len(words) else 1
        if limit is not None and (scale >= limit or value * scale >= limit or (behind > at and scale > 1)):
            break
        total, at, limit = total + value * scale, end + (scale > 1), scale
        if scale == 1:
            break
    return (total, at) if at > start else None


def digits_said(text: str) -> Fraction | None:
    """A number in digits, without sign: `1,000.5`; None for anything else, and for more than 40 digits."""
    return Fraction(text.replace(",", "")) if len(text) <= _LONGEST and _NUMBER.fullmatch(text) else None


def number_shown(value: Fraction) -> str:
    """A number in digits: as decimals where they end soon, otherwise as a fraction."""
    if max(abs(value.numerator), value.denominator) > 10**_LONGEST:
        return "a very long number"
    whole, rest = value.denominator, value.denominator
    for prime in (2, 5):
        while rest % prime == 0:
            rest //= prime
    if rest > 1 or whole > 10**8:
        return f"{value.numerator}/{value.denominator}"
    places = next(n for n in range(40) if 10**n % whole == 0)
    digits = f"{abs(value.numerator) * 10**places // whole:0{places + 1}d}"
    shown = f"{digits[:-places]}.{digits[-places:]}" if places else digits
    return f"-{shown}" if value < 0 else shown


def _below_100(words: Sequence[str], at: int) -> tuple[int, int] | None:
    first = words[at] if at < len(words) else ""
    if first in TENS:
        second = ONES.get(words[at + 1], 0) if at + 1 < len(words) else 0
        return (TENS[first] + second, at + 2) if 0 < second < 10 else (TENS[first], at + 1)
    return (ONES[first], at + 1) if first in ONES else None


def _below_10000(words: Sequence[str], at: int, article: bool) -> tuple[int, int] | None:
    """`ninety-nine hundred and ninety-nine` at most; `a hundred` and `a thousand`, where an article may stand."""
    following = words[at + 1] if at + 1 < len(words) else ""
    if article and words[at : at + 1] in (["a"], ["one"]) and (following in SCALES or following == "hundred"):
        count = (1, at + 1)
    else:
        count = _below_100(words, at)
    if count is None or count[0] == 0:
        return count
    value, at = count
    if words[at : at + 1] != ["hundred"]:
        return value, at
    at += 1
    behind = at + (words[at : at + 1] == ["and"])
    rest = _below_100(words, behind)
    if rest is None or rest[0] == 0 or words[rest[1] : rest[1] + 1] == ["hundred"]:
        return 100 * value, at
    return 100 * value + rest[0], rest[1]
