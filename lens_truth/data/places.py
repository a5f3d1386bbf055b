"""Where an answer stands in a text."""

from __future__ import annotations

import re
from functools import cache


@cache
def standing(answer: str, *, any_case: bool = False) -> re.Pattern[str]:
    """The answer in whole words, and a number as a whole number: 300 does not stand in 1,300.

    >>> standing("300").search("1,300 of 300").start()
    9

    Args:
        any_case: for finding it, where an answer may be written in small letters; who puts another in its place has to
            tell Rock from rock.
    """
    before = r"(?<!\d[.,])" * answer[0].isdigit()
    behind = r"(?![.,]\d)" * answer[-1].isdigit()
    pattern = rf"(?<!\w){before}{re.escape(answer)}(?!\w){behind}"
    return re.compile(pattern, re.IGNORECASE if any_case else re.NOFLAG)


def places_of(answer: str, context: str, *, any_case: bool = False) -> tuple[tuple[int, int], ...]:
    """The characters [start, stop) of each place."""
    return tuple(found.span() for found in standing(answer, any_case=any_case).finditer(context))
