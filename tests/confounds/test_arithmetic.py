"""Numbers in words, expressions, and statements about numbers against Python's own arithmetic."""

from __future__ import annotations

import math
import re
from fractions import Fraction

import inflect
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lens_truth.confounds.arithmetic import stated
from lens_truth.confounds.arithmetic_questions import asked
from lens_truth.confounds.expressions import value_of
from lens_truth.confounds.numbers_said import number_said, number_shown
from lens_truth.confounds.spelling import plain

WORDS = inflect.engine()


def in_words(n: int, joined: str = "and") -> str:
    said = str(WORDS.number_to_words(abs(n), andword=joined))  # type: ignore[arg-type]
    return f"minus {said}" if n < 0 else said


numbers = st.integers(-9999, 9999) | st.integers(-(10**9), 10**9)
"""Of every size."""


@st.composite
def written(draw: st.DrawFn) -> tuple[int, str]:
    n = draw(numbers)
    return n, draw(st.sampled_from([str(n), f"{n:,}", in_words(n), in_words(n, "")]))


@pytest.mark.parametrize(("joined", "step"), [("and", 1), ("", 13)])
def test_every_number_below_ten_thousand_is_read_as_inflect_writes_it(joined: str, step: int) -> None:
    for n in range(0, 10_000, step):
        words = plain(in_words(n, joined)).replace(",", "").split()
        assert number_said(words) == (n, len(words))


@given(written())
def test_numbers_are_read_however_they_are_written(number: tuple[int, str]) -> None:
    n, text = number
    assert value_of(plain(text.replace(", ", " "))) == n


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("a hundred", 100),
        ("a hundred and one", 101),
        ("ninety-nine hundred", 9900),
        ("2.5 million", 2_500_000),
        ("Three Thousand", 3000),
        ("one half", Fraction(1, 2)),
        ("negative five", -5),
        ("twenty twenty", None),
        ("ten-four", None),
        ("one hundred and two hundred", None),
        ("fifty one two", None),
        ("1 1/2", None),
        ("1,00", None),
        ("1.2.3", None),
        ("1e5", None),
        ("9" * 41, None),
    ],
)
def test_numbers(text: str, value: int | Fraction | None) -> None:
    assert value_of(plain(text)) == value


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("2 + 3 * 4", 14),
        ("(2 + 3) × 4", 20),
        ("10 - 4 - 3", 3),
        ("8 / 2 / 2", 2),
        ("10 ÷ 4", Fraction(5, 2)),
        ("3 x 4", 12),
        ("3x4", 12),
        ("2**3", 8),
        ("3²", 9),
        ("10^-2", Fraction(1, 100)),
        ("√16 + 9", 13),
        ("|3 - 5|", 2),
        ("5!", 120),
        ("0.1 + 0.2", Fraction(3, 10)),
        ("25% of 8", 2),
        ("twenty-five percent of 8", 2),
        ("seven plus 3", 10),
        ("3 squared", 9),
        ("the square of 3", 9),
        ("the square root of 49", 7),
        ("Cube root of 27", 3),
        ("2 to the power of 10", 1024),
        ("half of ten", 5),
        ("a third of 9", 3),
        ("twice 7", 14),
        ("the sum of 3, 4 and 5", 12),
        ("5 plus the sum of 3 and 4", 12),
        ("the product of three and four", 12),
        ("the difference between 9 and 4", 5),
        ("the quotient of 8 and 2", 4),
        ("the average of 2 and 3", Fraction(5, 2)),
        ("the remainder when 7 is divided by 3", 1),
        ("7 mod 3", 1),
        ("the smaller of 51 and 52", 51),
        ("the largest of 1, 5 and 3", 5),
        # two readings, or none
        ("-3^2", None),
        ("2^3^2", None),
        ("half of 10 plus 2", None),
        ("the square root of 16 plus 9", None),
        ("three plus four times two", None),
        ("the sum of 3 and 4 times 2", None),
        ("the difference between 4 and 9", None),
        ("the square root of 2", None),
        ("2(3)", None),
        ("2020-01-02 + 1", None),
        ("0x10", None),
        ("1 / 0", None),
        ("0^0", None),
        ("the quotient of 1 and 0", None),
        ("10^10^10", None),
        ("9999^9999", None),
        ("(2 + 3", None),
        ("3 + apples", None),
        ("3 +", None),
        ("", None),
    ],
)
def test_expressions(text: str, value: int | Fraction | None) -> None:
    assert value_of(plain(text)) == value


@given(st.recursive(st.integers(0, 99).map(str), lambda inner: st.builds(
    lambda a, sign, b: f"({a} {sign} {b})", inner, st.sampled_from("+-*/"), inner), max_leaves=6))  # fmt: skip
def test_expressions_in_signs_are_those_of_python(text: str) -> None:
    fractions = re.sub(r"\d+", r"Fraction(\g<0>)", text)
    try:
        expected = eval(fractions, {"Fraction": Fraction})  # made above from numbers and four signs
    except ZeroDivisionError:
        expected = None
    assert value_of(text) == expected


COMPARISONS = {
    "is smaller than": lambda a, b: a < b,
    "is less than": lambda a, b: a < b,
    "is larger than": lambda a, b: a > b,
    "is greater than or equal to": lambda a, b: a >= b,
    "is at most": lambda a, b: a <= b,
    "is not larger than": lambda a, b: not a > b,
    "isn't smaller than": lambda a, b: not a < b,
    "is no more than": lambda a, b: a <= b,
    "equals": lambda a, b: a == b,
    "is equal to": lambda a, b: a == b,
    "is different from": lambda a, b: a != b,
    "exceeds": lambda a, b: a > b,
    "does not exceed": lambda a, b: not a > b,
    "<": lambda a, b: a < b,
    "≥": lambda a, b: a >= b,
    "≠": lambda a, b: a != b,
    "=": lambda a, b: a == b,
}


@given(written(), written(), st.sampled_from(list(COMPARISONS)))
def test_comparisons_are_those_of_python(one: tuple[int, str], other: tuple[int, str], relation: str) -> None:
    texts = [text.replace(", ", " ") for _, text in (one, other)]
    truth = stated(plain(f"{texts[0].capitalize()} {relation} {texts[1]}."))
    assert truth is not None
    assert truth.holds == COMPARISONS[relation](one[0], other[0])


@given(st.integers(0, 2000))
def test_kinds_of_numbers(n: int) -> None:
    divisors = [d for d in range(1, n + 1) if n % d == 0]
    said = {
        "an even number": n % 2 == 0,
        "odd": n % 2 == 1,
        "a prime": len(divisors) == 2,
        "not a prime number": len(divisors) != 2,
        "a composite number": len(divisors) > 2,
        "a perfect square": math.isqrt(n) ** 2 == n,
        "divisible by 7": n % 7 == 0,
        "a multiple of six": n % 6 == 0,
        "a factor of 60": n in (1, 2, 3, 4, 5, 6, 10, 12, 15, 20, 30, 60),
    }
    for predicate, holds in said.items():
        if n == 0 and "factor" in predicate:
            continue
        truth = stated(f"{n} is {predicate}")
        assert truth is not None and truth.holds == holds, predicate


@pytest.mark.parametrize(
    ("text", "holds"),
    [
        ("2 + 2 = 4", True),
        ("2 + 2 = 5", False),
        ("0.1 + 0.2 = 0.3", True),
        ("1/2 is equal to 0.5.", True),
        ("1/5 is 50%.", False),
        ("1 < 2 < 3", True),
        ("1 < 3 < 2", False),
        ("50 is half of 100.", True),
        ("3 is one less than 4.", True),
        ("5 is between 3 and 7", True),
        ("9.11 is greater than 9.9", False),
        ("2 is an odd prime number.", False),
        ("The number 2 is prime.", True),
        ("3 plus 4 is greater than 6", True),
        ("The larger of 3 and 5 is 3", False),
        # open, or no statement about numbers alone
        ("1/3 = 0.333", None),
        ("1/3 is 33%", None),
        ("10 / 3 = 3.33", None),
        ("7 / 2 = 3", None),
        ("5 is between 5 and 7", None),
        ("12 is divisible by 0", None),
        ("2.5 is even", None),
        ("x + 0 = x", None),
        ("If 3 > 2, then 4 > 3", None),
        ("2 is the only even prime number.", None),
        ("Seven of nine is larger than 3", None),
        ("About 50 is larger than 40", None),
        ("5 metres is more than 3", None),
        ("Rome is larger than Pisa.", None),
    ],
)
def test_statements(text: str, holds: bool | None) -> None:
    truth = stated(plain(text))
    assert (truth and truth.holds) == holds


def test_what_was_computed_is_told() -> None:
    truths = [stated(plain(text)) for text in ("Fifty-one isn't less than 52.", "2 + 2 = 5", "1,000 is 10 cubed")]
    assert [truth and truth.sentence for truth in truths] == [
        "not 51 < 52 is false",
        "2 + 2 (4) = 5 is false",
        "1000 = 10 cubed (1000) is true",
    ]


@pytest.mark.parametrize(
    "text",
    ["which is smaller, a or b", "what is 5", "is rome larger than pisa", "which is larger, 0.5 or 1/2", "what is"],
)
def test_other_questions_are_not_computed(text: str) -> None:
    assert asked(text) is None


@pytest.mark.parametrize(
    ("value", "text"), [("51", "51"), ("-0.05", "-0.05"), ("5/2", "2.5"), ("1/3", "1/3"), ("-7/3", "-7/3"), ("0", "0")]
)
def test_numbers_are_shown_in_digits(value: str, text: str) -> None:
    assert number_shown(Fraction(value)) == text
