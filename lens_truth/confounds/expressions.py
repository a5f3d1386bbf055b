"""What an expression in signs or in words comes to, exactly (`2 + 3 × 4`, `half of ten`, `the sum of 3 and 4`, `√16`).

A small grammar reads it; nothing is evaluated as code. Whatever is not understood to the last word, or is said so that
it may mean two numbers (`half of 10 plus 2`, `-3^2`, `three plus four times two`), has no value.
"""

from __future__ import annotations

import re
from fractions import Fraction
from functools import lru_cache
from math import factorial, isqrt, prod

from lens_truth.confounds.numbers_said import DIGITS, NUMBER_WORDS, SCALES, digits_said, number_said
from lens_truth.data.sentences import word_set

_WORDS = (
    (re.compile(r"\bmultiplied by\b"), "times"),
    (re.compile(r"\bdivided by\b"), "over"),
    (re.compile(r"\badded to\b"), "plus"),
    (re.compile(r"\b(?:raised )?to the power of\b"), "power"),
    (re.compile(r"\b(?:modulo|mod)\b"), "mod"),
    (re.compile(r"\bper ?cent\b"), "%"),
    (re.compile(r"\b(?:the )?(?:value|result) of\b|\bthe (?:number|integer|whole number)\b|\bthe\b|\bexactly\b"), ""),
    (re.compile(r"\b(?:remainder when) (.+) is (?=over)"), r"remainder of \1 "),
    (re.compile(r"\bremainder of (.+) over\b"), r"remainder of \1 and"),
)
_DATE = re.compile(r"(?<!\d)\d{4}-\d\d-\d\d(?!\d)")
_TOKEN = re.compile(rf"\s*(?:({DIGITS})(?![\w.])|([a-z]+)|([-+*/^()|!%√,]))")
_PARTS = {"half": 2, "third": 3, "quarter": 4, "fourth": 4, "fifth": 5, "tenth": 10}
_OF_SEVERAL = {"sum", "product", "difference", "quotient", "average", "mean", "remainder"}
_LEAST = {"smaller", "lesser", "lower", "smallest", "least", "lowest", "minimum"}
_MOST = {"larger", "greater", "bigger", "higher", "largest", "greatest", "biggest", "highest", "maximum"}
VOCABULARY = NUMBER_WORDS | _PARTS.keys() | _OF_SEVERAL | _LEAST | _MOST | word_set(
    "a an the and or of by to is number integer whole value result exactly plus minus times over multiplied divided "
    "added raised power modulo mod per cent percent squared cubed square cube root factorial negative twice double "
    "triple remainder when between among numbers two x more less than"
)  # fmt: skip
"""The words of expressions."""
_LARGEST_POWER, _LARGEST_FACTORIAL, _LARGEST_BITS = 1000, 200, 4000


class _NotUnderstoodError(Exception):
    """The text is no expression, or may be read in two ways."""


@lru_cache(4096)
def value_of(text: str) -> Fraction | None:
    """The value of an expression; None for whatever is not understood, has no value or a huge one. `plain` has been
    applied.

    >>> value_of("the sum of three and 4")
    Fraction(7, 1)
    """
    try:
        return _Reader(_tokens(text)).all()
    except (_NotUnderstoodError, ZeroDivisionError):
        return None


def is_number(text: str) -> bool:
    """Whether a plain text is one number (also a fraction or a percentage), not a sum that is still to be done."""
    if re.fullmatch(r"(?:the )?-?(?:\d+/\d+|[\d.,]*\d(?: ?%| percent)?)", text.strip()):
        return value_of(text.strip()) is not None
    words = re.sub(r"^(?:the (?:number )?|negative |minus )", "", text.strip()).split()
    return (found := number_said(words)) is not None and found[1] == len(words)


def _tokens(text: str) -> list[str]:
    if _DATE.search(text):
        raise _NotUnderstoodError
    for pattern, instead in _WORDS:
        text = pattern.sub(instead, text)
    text, at, found = text.strip(), 0, list[str]()
    while at < len(text):
        token = _TOKEN.match(text, at)
        if token is None or (token[3] == "," and text[token.end() : token.end() + 1].strip()):
            raise _NotUnderstoodError
        found.append(token[1] or token[2] or token[3])
        at = token.end()
    return found


class _Reader:
    """Reads tokens from left to right; every method leaves `at` behind what it has read."""

    def __init__(self, tokens: list[str]) -> None:
        self.tokens, self.at = tokens, 0
        self.said: set[str] = set()  # which ranks of operators are said in words

    def all(self) -> Fraction:
        value = self.sum()
        if self.at < len(self.tokens) or len(self.said) > 1:
            raise _NotUnderstoodError
        return value

    def next(self) -> str:
        return self.tokens[self.at] if self.at < len(self.tokens) else ""

    def took(self, *tokens: str) -> bool:
        if self.next() not in tokens or not self.next():
            return False
        self.at += 1
        return True

    def needs(self, *tokens: str) -> None:
        if not self.took(*tokens):
            raise _NotUnderstoodError

    def sum(self) -> Fraction:
        value = self.product()
        while (sign := self.next()) in ("+", "-", "plus", "minus"):
            self.at += 1
            self.says(sign, "sum")
            other = self.product()
            value = value + other if sign in ("+", "plus") else value - other
        return value

    def product(self) -> Fraction:
        value = self.signed()
        while (sign := self.next()) in ("*", "/", "times", "over", "mod"):
            self.at += 1
            self.says(sign, "product")
            other = self.signed()
            if sign == "mod":
                value %= other
            else:
                value = value * other if sign in ("*", "times") else value / other
            self.bounded(value)
        return value

    def says(self, sign: str, rank: str) -> None:
        if sign.isalpha():
            self.said.add(rank)

    def signed(self) -> Fraction:
        if not self.took("-", "minus", "negative"):
            return self.power()
        value = self.postfixed()
        if self.next() in ("^", "power") or self.tokens[self.at - 1] in ("squared", "cubed", "!", "factorial"):
            raise _NotUnderstoodError  # -3^2: people do not agree
        return -value

    def power(self) -> Fraction:
        value = self.postfixed()
        if not self.took("^", "power"):
            return value
        self.says(self.tokens[self.at - 1], "power")
        exponent = -self.postfixed() if self.took("-") else self.postfixed()
        if self.next() in ("^", "power"):
            raise _NotUnderstoodError
        return self.raised(value, exponent)

    def raised(self, value: Fraction, exponent: Fraction) -> Fraction:
        bits = max(value.numerator.bit_length(), value.denominator.bit_length())
        too_large = abs(exponent) > _LARGEST_POWER or bits * abs(exponent) > _LARGEST_BITS
        if exponent.denominator > 1 or too_large or (value == 0 and exponent <= 0):
            raise _NotUnderstoodError
        return value ** int(exponent)

    def postfixed(self) -> Fraction:
        value = self.atom()
        while self.next() in ("!", "factorial", "squared", "cubed", "%"):
            mark = self.next()
            self.at += 1
            if mark in ("squared", "cubed"):
                self.says(mark, "power")
                value = self.raised(value, Fraction(2 if mark == "squared" else 3))
            elif mark == "%":
                value /= 100
                if self.took("of"):
                    value *= self.last()
            elif value.denominator > 1 or not 0 <= value <= _LARGEST_FACTORIAL:
                raise _NotUnderstoodError
            else:
                value = Fraction(factorial(int(value)))
        return value

    def atom(self) -> Fraction:
        if self.took("("):
            outside, self.said = self.said, set()
            value = self.sum()
            self.needs(")")
            if len(self.said) > 1:
                raise _NotUnderstoodError
            self.said = outside
            return value
        if self.took("|"):
            value = abs(self.sum())
            self.needs("|")
            return value
        if self.took("√"):
            return self.root(self.atom(), 2)
        return self.number() if self.next() in NUMBER_WORDS or self.next()[:1] in tuple(".0123456789") else self.named()

    def number(self) -> Fraction:
        if self.next() == "one" and set(self.tokens[self.at + 1 : self.at + 2]) & _PARTS.keys():
            return self.named()
        if (found := number_said(self.tokens, self.at)) is not None:
            self.at = found[1]
            return Fraction(found[0])
        value = digits_said(self.next())
        if value is None:
            raise _NotUnderstoodError
        self.at += 1
        if self.next() in SCALES or self.next() == "hundred":
            value *= SCALES.get(self.next(), 100)
            self.at += 1
        return value

    def named(self) -> Fraction:
        """What a word asks for: a part, a root, a sum of several."""
        is_part = set(self.tokens[self.at + 1 : self.at + 2]) & _PARTS.keys()
        if not is_part and (found := number_said(self.tokens, self.at)) is not None:  # a hundred
            self.at = found[1]
            return Fraction(found[0])
        counted = self.took("a", "an", "one")
        word = self.next()
        self.at += 1
        if word in _PARTS and (counted or word == "half"):
            return self.last() / _PARTS[word] if self.took("of") else Fraction(1, _PARTS[word])
        if counted:
            raise _NotUnderstoodError
        if word in ("twice", "double", "triple"):
            return self.last() * (3 if word == "triple" else 2)
        if word in ("square", "cube"):
            degree, is_root = (2 if word == "square" else 3), self.took("root")
            self.needs("of")
            return self.root(self.last(), degree) if is_root else self.raised(self.last(), Fraction(degree))
        if word in _OF_SEVERAL:
            self.needs("of", "between")
            return self.of_several(word, self.several())
        if word in _LEAST | _MOST:
            self.took("number")
            self.needs("of", "between", "among")
            values = self.several()
            return min(values) if word in _LEAST else max(values)
        raise _NotUnderstoodError

    def last(self) -> Fraction:
        """What a word such as `half of` is said of: the last that is said, for it may be meant of all that follows."""
        value = self.signed()
        self.ended()
        return value

    def several(self) -> list[Fraction]:
        """Two numbers or more between commas and `and`."""
        self.took("numbers")
        values = [self.signed()]
        while self.next() in (",", "and", "or"):
            self.took(",")
            self.took("and", "or")
            values.append(self.signed())
        self.ended()
        if len(values) < 2:
            raise _NotUnderstoodError
        return values

    def ended(self) -> None:
        if self.next() not in ("", ")", "|"):
            raise _NotUnderstoodError

    def of_several(self, word: str, values: list[Fraction]) -> Fraction:
        if word == "sum":
            return sum(values, Fraction(0))
        if word == "product":
            self.bounded(value := prod(values, start=Fraction(1)))
            return value
        if word in ("average", "mean"):
            return sum(values, Fraction(0)) / len(values)
        first, second, *more = values
        if more:
            raise _NotUnderstoodError
        if word == "quotient":
            return first / second
        whole = first.denominator == second.denominator == 1
        if first < second if word == "difference" else not (whole and second > 0):
            raise _NotUnderstoodError
        return first - second if word == "difference" else first % second

    def root(self, value: Fraction, degree: int) -> Fraction:
        """An exact root; others have no value here."""
        if value < 0:
            raise _NotUnderstoodError
        parts = [_whole_root(number, degree) for number in (value.numerator, value.denominator)]
        if None in parts:
            raise _NotUnderstoodError
        return Fraction(parts[0] or 0, parts[1] or 1)

    def bounded(self, value: Fraction) -> None:
        if max(value.numerator.bit_length(), value.denominator.bit_length()) > _LARGEST_BITS:
            raise _NotUnderstoodError


def _whole_root(number: int, degree: int) -> int | None:
    near = isqrt(number) if degree == 2 else round(number ** (1 / 3)) if number < 10**40 else 0
    return near if near**degree == number else None
