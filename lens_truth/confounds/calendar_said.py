"""Years, months, dates, days of the week and units of time in words."""

from __future__ import annotations

import calendar
import datetime
import re
from dataclasses import dataclass
from fractions import Fraction

from lens_truth.confounds.numbers_said import in_order

MONTHS = in_order("january february march april may june july august september october november december")
DAYS = in_order("monday tuesday wednesday thursday friday saturday sunday")
MONTH, DAY = "|".join(MONTHS), "|".join(DAYS)
_SECONDS = {"second": 1, "minute": 60, "hour": 3600, "day": 86400, "week": 604800, "fortnight": 1209600}
_IN_MONTHS = {"month": 1, "year": 12, "decade": 120, "century": 1200, "millennium": 12000}
_METRES = {"millimeter": Fraction(1, 1000), "centimeter": Fraction(1, 100), "meter": 1, "kilometer": 1000}
_GRAMS = {"milligram": Fraction(1, 1000), "gram": 1, "kilogram": 1000}
_KINDS = {"time": _SECONDS, "months": _IN_MONTHS, "length": _METRES, "mass": _GRAMS}
_PLURALS = {"century": "centuries", "millennium": "millennia"}
UNITS: dict[str, tuple[str, Fraction]] = {}
"""What a unit measures, and how many of the smallest; `leap year` and days of a year stand in `ratio`."""
for _kind, _units in _KINDS.items():
    for _unit, _size in _units.items():
        _forms = [_unit, _PLURALS.get(_unit, f"{_unit}s")]
        for _form in [*_forms, *(form.replace("meter", "metre") for form in _forms)]:
            UNITS[_form] = (_kind, Fraction(_size))
UNIT = "leap years?|" + "|".join(sorted(UNITS, key=len, reverse=True))
VOCABULARY = frozenset([*MONTHS, *DAYS, *UNITS, "leap", "common", "st", "nd", "rd", "th", "ad", "bc", "ce", "bce", "s"])

_ISO = re.compile(r"(\d{4})-(\d{2})-(\d{2})")
_DAY_FIRST = re.compile(rf"(?:the )?(\d{{1,2}})(?:st|nd|rd|th)?(?: of)? ({MONTH}),? (\d{{4}})")
_MONTH_FIRST = re.compile(rf"({MONTH}) (?:the )?(\d{{1,2}})(?:st|nd|rd|th)?,? (\d{{4}})")
_MONTH_OF_YEAR = re.compile(rf"({MONTH})(?: of)?,? (\d{{4}})")
_YEAR = re.compile(
    r"(?:the year )?(\d{4})(?: ?(?:ad|ce))?|(?:the year )?(?:ad )?(\d{1,3})(?: (?:ad|ce))|(\d{1,4}) (bce?)"
)


@dataclass(frozen=True)
class Span:
    """The days that a date may be: one, or all of a month or a year.

    >>> span_said("february 2020")
    Span(first=(2020, 2, 1), last=(2020, 2, 29))
    """

    first: tuple[int, int, int]
    last: tuple[int, int, int]

    def before(self, other: Span) -> bool | None:
        """Whether it is earlier; None where the two overlap and are not the same."""
        if self.last < other.first or self == other:
            return self != other
        return False if other.last < self.first else None

    def shown(self) -> str:
        """As ISO writes it; years before our era with `BC`."""
        year = f"{self.first[0]}" if self.first[0] > 0 else f"{1 - self.first[0]} BC"
        if self.first == self.last:
            return f"{year}-{self.first[1]:02}-{self.first[2]:02}"
        return year if self.first[1] != self.last[1] else f"{year}-{self.first[1]:02}"


def span_said(text: str) -> Span | None:
    """The days of a date, a month of a year, or a year; None for whatever is none, and for a day that is not in the
    calendar. `plain` has been applied."""
    text = text.strip()
    if (found := _ISO.fullmatch(text)) is not None:
        return _day(int(found[1]), int(found[2]), int(found[3]))
    if (found := _DAY_FIRST.fullmatch(text)) is not None:
        return _day(int(found[3]), 1 + MONTHS.index(found[2]), int(found[1]))
    if (found := _MONTH_FIRST.fullmatch(text)) is not None:
        return _day(int(found[3]), 1 + MONTHS.index(found[1]), int(found[2]))
    if (found := _MONTH_OF_YEAR.fullmatch(text)) is not None:
        month, year = 1 + MONTHS.index(found[1]), int(found[2])
        return Span((year, month, 1), (year, month, days_in(month, year))) if year > 0 else None
    if (found := _YEAR.fullmatch(text)) is not None:
        year = 1 - int(found[3]) if found[3] else int(found[1] or found[2])
        return None if not found[3] and year == 0 else Span((year, 1, 1), (year, 12, 31))
    return None


def days_in(month: int, year: int) -> int:
    """Days of a month of a year."""
    return calendar.monthrange(year, month)[1]


def weekday_of(span: Span) -> str | None:
    """The day of the week of one day since 1753; before, calendars differed from country to country."""
    return DAYS[datetime.date(*span.first).weekday()] if span.first == span.last and span.first[0] > 1752 else None


def ratio(one: str, other: str) -> Fraction | None:
    """How many of one unit another has; None where they measure different things, or it is not always the same number
    (days of a year)."""
    if one.startswith("leap year") or other.startswith("leap year"):
        day = UNITS.get(one if other.startswith("leap year") else other)
        if not other.startswith("leap year") or day is None or one.rstrip("s") != "day":
            return None
        return Fraction(366)
    (kind, size), (kind_of_other, size_of_other) = UNITS[one], UNITS[other]
    return size_of_other / size if kind == kind_of_other else None


def _day(year: int, month: int, day: int) -> Span | None:
    if not (0 < month < 13 and year > 0) or not 0 < day <= days_in(month, year):
        return None
    return Span((year, month, day), (year, month, day))
