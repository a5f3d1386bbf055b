"""Statements and questions about dates against Python's calendar."""

from __future__ import annotations

import calendar
import datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lens_truth.confounds.claims import computed
from lens_truth.confounds.dates import lives, stated
from lens_truth.confounds.spelling import plain
from lens_truth.data.examples import Example

MONTHS = list(calendar.month_name)[1:]
dates = st.dates(datetime.date(1753, 1, 1), datetime.date(2999, 12, 31))


def ways(date: datetime.date) -> list[str]:
    day, month, year = date.day, MONTHS[date.month - 1], date.year
    ending = {1: "st", 2: "nd", 3: "rd"}.get(day % 10 if day not in (11, 12, 13) else 0, "th")
    return [date.isoformat(), f"{day} {month} {year}", f"{month} {day}, {year}", f"the {day}{ending} of {month} {year}"]


@given(dates, dates, st.integers(0, 3), st.integers(0, 3))
def test_dates_are_in_order(one: datetime.date, other: datetime.date, way: int, other_way: int) -> None:
    said = ways(one)[way], ways(other)[other_way]
    for relation, holds in (
        ("is before", one < other),
        ("came after", one > other),
        ("is later than", one > other),
        ("was not earlier than", one >= other),
    ):
        truth = stated(plain(f"{said[0]} {relation} {said[1]}."))
        assert truth is not None and truth.holds == holds, relation


@given(dates, st.integers(0, 3), st.integers(0, 6))
def test_days_of_the_week(date: datetime.date, way: int, day: int) -> None:
    name = calendar.day_name[day]
    truth = stated(plain(f"{ways(date)[way]} was a {name}."))
    assert truth is not None and truth.holds == (date.weekday() == day)
    asked = Example("1", "1", f"What day of the week was {ways(date)[way]}?", name, 1)
    its = computed(asked)
    assert its is not None and its.label == (date.weekday() == day)


@given(st.integers(1600, 2999), st.integers(1, 12), st.integers(28, 31))
def test_leap_years_and_days_of_months(year: int, month: int, days: int) -> None:
    leap = stated(plain(f"The year {year} was a leap year"))
    assert leap is not None and leap.holds == calendar.isleap(year)
    right = calendar.monthrange(year, month)[1]
    name = MONTHS[month - 1]
    for text in (f"{name} {year} has {days} days.", f"There are {days} days in {name} {year}."):
        truth = stated(plain(text))
        assert truth is not None and truth.holds == (days == right)


@pytest.mark.parametrize(
    ("text", "holds"),
    [
        ("1990 is before 1995", True),
        ("The year 1990 came after 1995.", False),
        ("44 BC is before 14 AD", True),
        ("March comes after February", True),
        ("March does not come after February", False),
        ("April comes immediately after February", False),
        ("January comes right after December", True),
        ("Tuesday comes after Monday", True),
        ("The year 1900 was a leap year", False),
        ("1 January 2020 was a Wednesday", True),
        ("2020-03-01 is later than 2020-02-29", True),
        ("There are 29 days in February 2024.", True),
        ("February has 30 days.", False),
        ("A week has 7 days.", True),
        ("A week has five days.", False),
        ("There aren't 50 hours in a day.", True),
        ("There are 120 minutes in 2 hours.", True),
        ("60 seconds is one minute", True),
        ("A millennium consists of ten centuries.", True),
        ("A leap year has 365 days.", False),
        ("1 kilometer is 100 metres.", False),
        # open, or not in the calendar
        ("December comes before January", None),
        ("Saturday comes before Sunday", None),
        ("February has 28 days", None),
        ("A year has 365 days", None),
        ("A month has 4 weeks", None),
        ("January 2020 is before 2020", None),
        ("30 February 2020 was a Sunday", None),
        ("4 July 1066 was a Monday", None),
        ("The year 1500 was a leap year", None),
        ("3/4/2020 is before 2021", None),
        ("The war of 1990 is before 1995", None),
        ("A week has 5 working days", None),
        ("May is before him", None),
    ],
)
def test_statements(text: str, holds: bool | None) -> None:
    truth = stated(plain(text))
    assert (truth and truth.holds) == holds


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        ("Ada Lovelace was born in 1950 and died in 1940.", True),
        ("Ada Lovelace, born on 10 December 1852, and died on 27 November 1852", True),
        ("The inventor J. Smith-Jones lived from 1950 to 1940", True),
        ("Ada Lovelace was born in 1815 and died in 1852.", False),
        ("Ada Lovelace was born in 1815 and died in 1815.", False),
        ("Ada Lovelace was not born in 1950 and died in 1940.", False),
        ("Augustus was born in 63 and died in 14.", False),
        ("Augustus was born in 63 BC and died in 14 AD.", False),
        ("Ada Lovelace was born in London and died in 1852.", False),
    ],
)
def test_nobody_dies_before_birth(text: str, wrong: bool) -> None:
    truth = lives(plain(text))
    assert (truth is not None) == wrong
    assert truth is None or not truth.holds


@pytest.mark.parametrize(
    ("question", "answer", "label"),
    [
        ("Which came first, 1912 or 1905?", "1905", 1),
        ("Which year is later, 1912 or 1905?", "1905", 0),
        ("Who was born first, Ada Lovelace (1815) or Alan Turing (1912)?", "Ada Lovelace", 1),
        ("Who was born first, Ada Lovelace (1815) or Alan Turing (1912)?", "Alan Turing was born first.", 0),
        ("Who was born first, Ada Lovelace or Alan Turing?", "Alan Turing", None),
        ("How many days are in a week?", "7", 1),
        ("How many days are there in February 2024?", "28 days", 0),
        ("How many days does February have?", "28", None),
        ("How many minutes does an hour have?", "Sixty minutes.", 1),
        ("How many days are in a week?", "A lot", None),
        ("Which month comes after February?", "April", 0),
        ("What day comes before Monday?", "It is Sunday.", 1),
        ("Was 1900 a leap year?", "Yes", 0),
        ("Is 1 January 2020 before 2 January 2020?", "yes", 1),
        ("Did 1990 come before 1995?", "No.", 0),
        ("Are there 31 days in April?", "No, there are 30 days in April.", 1),
        ("Does February 2024 have 29 days?", "Yes", 1),
        ("Did 1 January 2020 fall on a Wednesday?", "Yes", 1),
    ],
)
def test_questions(question: str, answer: str, label: int | None) -> None:
    its = computed(Example("1", "1", question, answer, 1))
    assert (None if its is None else (its.label, its.check)) == (None if label is None else (label, "dates"))
