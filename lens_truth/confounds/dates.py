"""Statements and questions about dates: what comes before what, leap years, days of the week, how long units are."""

from __future__ import annotations

import calendar
import re
from fractions import Fraction

from lens_truth.confounds.arithmetic_questions import number_answer, splits
from lens_truth.confounds.calendar_said import (
    DAY,
    DAYS,
    MONTH,
    MONTHS,
    UNIT,
    UNITS,
    Span,
    days_in,
    ratio,
    span_said,
    weekday_of,
)
from lens_truth.confounds.calendar_said import VOCABULARY as _CALENDAR
from lens_truth.confounds.expressions import is_number, value_of
from lens_truth.confounds.numbers_said import number_shown
from lens_truth.confounds.truths import Asked, Check, Truth
from lens_truth.data.sentences import word_set

_BE = r"(?:is|was|are|were|comes?|came|falls?|fell)"
_DO = r"(?:does not|did not) (?:come|fall)"
_ORDER = re.compile(
    rf"(?P<one>.+?) (?:{_BE}|(?P<do>{_DO}))(?P<no> not)? (?P<next>immediately |right |directly |just )?"
    r"(?P<word>before|after|earlier than|later than|prior to) (?P<other>.+)"
)
_ASKED_ORDER = re.compile(
    r"(?:is|was|does|did) (?P<said>.+?) (?:come |fall )?(?P<next>immediately |right |directly |just )?"
    r"(?P<word>before|after|earlier than|later than|prior to) (?P<other>.+)"
)
_WEEKDAY = re.compile(rf"(?P<one>.+?) (?:is|was|falls on|fell on|will be)(?P<no> not)? (?:on )?(?:an? )?(?P<day>{DAY})")
_LEAP = re.compile(r"(?P<one>.+?) (?:is|was|will be)(?P<no> not)? (?:an? )?(?P<kind>leap|common) year")
_OF_MONTH = rf"(?P<month>{MONTH})(?:,?(?: of)? (?P<year>\d{{4}}))?"
_MONTH_HAS = re.compile(rf"{_OF_MONTH} (?:has|had|will have|(?P<no>does not have|did not have)) (?P<n>.+) days")
_MONTH_THERE = re.compile(rf"there (?:are|were)(?P<no> not)? (?P<n>.+) days in (?:the month of )?{_OF_MONTH}")
_WHOLE = rf"(?P<m>an?|each|every|\S+|\w+ \w+) (?P<whole>{UNIT})"
_UNIT_HAS = re.compile(
    rf"{_WHOLE} (?:has|have|is|are|contains?|consists? of|lasts?|equals?|is equal to|=|(?P<no>does not have|is not)) "
    rf"(?P<n>.+?) (?P<part>{UNIT})(?: long)?"
)
_UNIT_THERE = re.compile(rf"there (?:are|is)(?P<no> not)? (?P<n>.+?) (?P<part>{UNIT}) in {_WHOLE}")
_LIFE = re.compile(
    r"(?P<who>[^\W\d_][\w.'\- ]{0,80}?),?(?: was)? born (?:in|on) (?P<one>[\w ,-]+?),? and (?:he |she |they )?"
    r"died (?:in|on) (?P<other>[\w ,-]+)"
)
_LIVED = re.compile(r"(?P<who>[^\W\d_][\w.'\- ]{0,80}?) lived from (?P<one>[\w ,]+?) (?:to|until) (?P<other>[\w ,]+)")
_DENIED = re.compile(r"\b(?:not|never|neither|if|either|nor|no|false|wrong)\b")
_HOW_MANY = re.compile(rf"how many (?P<part>{UNIT}) (?:are|is|were) (?:there )?in {_WHOLE}")
_HOW_MANY_HAS = re.compile(rf"how many (?P<part>{UNIT}) (?:does|do) {_WHOLE} (?:have|contain|last)")
_HOW_MANY_DAYS = re.compile(rf"how many days (?:are|were|is|was) (?:there )?in {_OF_MONTH}")
_HOW_MANY_DAYS_HAS = re.compile(rf"how many days (?:does|did) {_OF_MONTH} have")
_WHICH_DAY = re.compile(
    r"(?:what|which) (?:day(?: of the week)?|weekday) (?:is|was|will be|did) (?:it on )?(?P<one>.+?)(?: fall on| be)?"
    r"|on (?:what|which) (?:day(?: of the week)?|weekday) (?:did|does|will|was) (?P<two>.+?)(?: fall| be)?"
)
_NEXT = re.compile(
    rf"(?:what|which) (?:month|day)(?: of the (?:week|year))? (?:comes|is) "
    rf"(?:immediately |right |directly |just )?(before|after) ({MONTH}|{DAY})"
)
_FIRST = r"(first|earlier|earliest|later|latest|last|sooner)"
_WHICH_FIRST = re.compile(
    rf"(?:which|what|who)(?: (?:year|date|day|month|one|of these))? (?:came|comes|is|was|happened)(?: the)? "
    rf"(?:born )?{_FIRST}"
    r"(?: one| year| date)? ?[,:;?] (?P<a>.+?),? or (?P<b>.+)"
)
_NAMED = re.compile(r"(.+?) \((?:born )?(?:in )?([^()]+)\)")
WORDS = _CALENDAR | word_set(
    "is was are were come comes came fall falls fell follow follows does did do not immediately right directly just "
    "before after earlier later than prior to on a an will be year leap common has had have there in of each every "
    "contains contain consists consist lasts last long equal equals the month week day days how many it which what "
    "weekday first one happened these or sooner latest earliest date"
)
"""The words of statements and questions about dates, without those of numbers and names."""


def stated(text: str) -> Truth | None:
    """Whether a statement about dates holds; None if it is none, or not understood to the last word. `plain` has been
    applied.

    >>> stated("march comes after february").sentence
    'february comes before march is true'
    """
    if (found := _ORDER.fullmatch(text)) is not None:
        truth = _ordered(found["one"], found["word"], found["other"], found["next"])
        return truth and truth.negated(bool(found["no"] or found["do"]))
    for pattern, said in ((_WEEKDAY, _weekday), (_LEAP, _leap), (_MONTH_HAS, _month), (_MONTH_THERE, _month),
                          (_UNIT_HAS, _unit), (_UNIT_THERE, _unit)):  # fmt: skip
        if (found := pattern.fullmatch(text)) is not None and (truth := said(found)) is not None:
            return truth.negated(bool(found["no"]))
    return None


def lives(text: str) -> Truth | None:
    """That somebody was born after they died is false; the right order says nothing. None for all other statements."""
    found = _LIFE.fullmatch(text) or _LIVED.fullmatch(text)
    if found is None or _DENIED.search(found["who"]):
        return None
    born, died = span_said(found["one"]), span_said(found["other"])
    if born is None or died is None or born.before(died) is not False or born == died:
        return None
    if min(born.first[0], died.first[0]) < 1000:  # years before our era are often told without saying so
        return None
    return Truth(False, f"born {born.shown()}, died {died.shown()}", (born, died), "dates")


def asked(text: str) -> Truth | Asked | None:
    """What a question about dates asks for, computed; None if it is none, or not understood to the last word."""
    return _yes_or_no(text) or _how_many(text) or _which_day(text) or _which_next(text) or _which_first(text)


def _ordered(one: str, word: str, other: str, is_next: str | None) -> Truth | None:
    if word in ("after", "later than"):
        one, other = other, one
    for names in (MONTHS, DAYS):
        if one in names and other in names:
            holds = _in_circle(names, names.index(one), names.index(other), bool(is_next))
            how = f"{one} comes {is_next or ''}before {other}"
            return None if holds is None else Truth(holds, how, (one, other), "dates", "<")
    first, second = span_said(one), span_said(other)
    if is_next or first is None or second is None or (holds := first.before(second)) is None:
        return None
    return Truth(holds, f"{first.shown()} is before {second.shown()}", (first, second), "dates", "<")


def _in_circle(names: list[str], one: int, other: int, is_next: bool) -> bool | None:
    """Whether a month or a day of the week comes before another one. After the last comes the first again, and weeks
    begin on Sunday or on Monday: None where that makes a difference."""
    ahead = (other - one) % len(names)
    if is_next or ahead == 0:
        return ahead == 1
    orders = {one < other} if names is MONTHS else {one < other, (one + 1) % 7 < (other + 1) % 7}
    if len(orders) == 2:
        return None
    return True if True in orders else None if ahead <= len(names) / 2 else False


def _weekday(found: re.Match[str]) -> Truth | None:
    span = span_said(found["one"])
    if span is None or (day := weekday_of(span)) is None:
        return None
    return Truth(day == found["day"], f"{span.shown()} is a {found['day']} ({day})", (span, found["day"]), "dates", "=")


def _leap(found: re.Match[str]) -> Truth | None:
    span = span_said(found["one"])
    if span is None or span.first[1:] != (1, 1) or span.last[1:] != (12, 31) or span.first[0] < 1600:
        return None  # the Julian calendar's leap years were others
    holds = calendar.isleap(span.first[0]) == (found["kind"] == "leap")
    return Truth(holds, f"{span.shown()} is a {found['kind']} year", (span, found["kind"]), "dates")


def _days_of(month: str, year: str | None) -> set[int]:
    """How many days a month may have."""
    number = 1 + MONTHS.index(month)
    years = [int(year)] if year else [2023, 2024]
    return {days_in(number, its) for its in years} if min(years) >= 1600 else set()


def _month(found: re.Match[str]) -> Truth | None:
    days, n = _days_of(found["month"], found["year"]), number_answer(found["n"])
    if not days or n is None or (len(days) > 1 and n in days):
        return None
    which = " ".join(filter(None, (found["month"].capitalize(), found["year"])))
    shown = " or ".join(map(str, sorted(days)))
    return Truth(n in days, f"{which} has {number_shown(n)} days ({shown})", (Fraction(min(days)), n), "dates", "=")


def _parts_in(found: re.Match[str]) -> Fraction | None:
    """How many of the smaller unit are in so many of the larger one."""
    m = Fraction(1) if found["m"] in ("a", "an", "each", "every") else number_answer(found["m"])
    each = ratio(found["part"], found["whole"])
    return None if m is None or each is None else m * each


def _unit(found: re.Match[str]) -> Truth | None:
    right, n = _parts_in(found), value_of(found["n"]) if is_number(found["n"]) else None
    if right is None or n is None:
        return None
    how = f"{found['m']} {found['whole']} has {number_shown(n)} {found['part']} ({number_shown(right)})"
    return Truth(n == right, how, (right, n), _check(found), "=")


def _check(found: re.Match[str]) -> Check:
    """Units of time belong to the calendar, others to arithmetic."""
    return "arithmetic" if UNITS.get(found["part"], ("time",))[0] in ("length", "mass") else "dates"


def _yes_or_no(text: str) -> Truth | None:
    if (found := _ASKED_ORDER.fullmatch(text)) is not None:
        return _ordered(found["said"], found["word"], found["other"], found["next"])
    begins = re.match(r"(?:is|was|are|were|does|did|do|will) ", text)
    if begins is None or " or " in text or " not " in text:
        return None
    verb, rest = text[: begins.end()].strip(), text[begins.end() :]
    if rest.startswith("there ") and verb in ("is", "are", "were"):
        return stated(f"there {verb} {rest[6:]}")
    for subject, predicate in splits(rest):
        verb_of = {"have": "has", "fall": "falls", "contain": "contains", "last": "lasts", "be": "will be"}
        word, _, more = predicate.partition(" ")
        said = f"{verb_of[word]} {more}" if word in verb_of else f"{verb} {predicate}"
        if (truth := stated(f"{subject} {said}")) is not None:
            return truth
    return None


def _how_many(text: str) -> Asked | None:
    """`How many days are in February 2024?`, `How many minutes does an hour have?`"""
    if (found := _HOW_MANY_DAYS.fullmatch(text) or _HOW_MANY_DAYS_HAS.fullmatch(text)) is not None:
        numbers, unit, check = {Fraction(n) for n in _days_of(found["month"], found["year"])}, "days", "dates"
    elif (found := _HOW_MANY.fullmatch(text) or _HOW_MANY_HAS.fullmatch(text)) is not None:
        numbers, unit, check = {n for n in [_parts_in(found)] if n is not None}, found["part"], _check(found)
    else:
        return None
    if not numbers:
        return None
    return Asked(
        f"{text}: {' or '.join(map(number_shown, sorted(numbers)))}",
        lambda answer: number_answer(answer.removesuffix(f" {unit}")),
        lambda n: None if len(numbers) > 1 and n in numbers else n in numbers,
        lambda truth: truth.holds if truth.sign == "=" and truth.of[0] in numbers else None,
        check,
    )


def _named(names: list[str], right: str, how: str) -> Asked:
    def stated_so(truth: Truth) -> bool | None:
        return truth.holds if truth.sign == "=" and truth.of[-1] in names else None

    return Asked(
        how,
        lambda answer: found if (found := re.sub(r"^(?:on )?(?:an? )?", "", answer)) in names else None,
        lambda answer: answer == right,
        stated_so,
        "dates",
    )


def _which_day(text: str) -> Asked | None:
    if (found := _WHICH_DAY.fullmatch(text)) is None or (span := span_said(found["one"] or found["two"])) is None:
        return None
    day = weekday_of(span)
    return None if day is None else _named(DAYS, day, f"{span.shown()} is a {day}")


def _which_next(text: str) -> Asked | None:
    if (found := _NEXT.fullmatch(text)) is None:
        return None
    names = MONTHS if found[2] in MONTHS else DAYS
    right = names[(names.index(found[2]) + (1 if found[1] == "after" else -1)) % len(names)]
    return _named(names, right, f"{right} comes {found[1]} {found[2]}")


def _which_first(text: str) -> Asked | None:
    """Of two dates, or of two names with a date in brackets."""
    if (found := _WHICH_FIRST.fullmatch(text)) is None:
        return None
    options: dict[str, Span] = {}
    for name in (found["a"], found["b"]):
        named = _NAMED.fullmatch(name)
        span = span_said(named[2] if named else name)
        if span is None:
            return None
        options[named[1] if named else span.shown()] = span
    (name, first), (other, second) = list(options.items()) if len(options) == 2 else (("", None), ("", None))
    if first is None or second is None or (before := first.before(second)) is None or first == second:
        return None
    if found[1] in ("later", "latest", "last"):
        before = not before
    right = name if before else other

    def read(answer: str) -> str | None:
        answer = named[1] if (named := _NAMED.fullmatch(answer)) else answer
        return answer if answer in options else span.shown() if (span := span_said(answer)) else None

    return Asked(
        f"of {name} and {other} the {found[1]} is {right}", read, lambda a: a == right if a in options else None,
        lambda _: None, "dates",
        words=(rf"(.+) (?:came|comes|is|was)(?: the)?(?: born)? {found[1]}(?: one| year| date)?",),
    )  # fmt: skip
