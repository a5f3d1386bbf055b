"""Statements about numbers: comparisons, equations, parity, primes and divisors, in words and in signs."""

from __future__ import annotations

import operator
import re
from collections.abc import Callable
from fractions import Fraction
from functools import lru_cache
from math import isqrt

from lens_truth.confounds.expressions import VOCABULARY as _EXPRESSIONS
from lens_truth.confounds.expressions import is_number, value_of
from lens_truth.confounds.numbers_said import number_shown
from lens_truth.confounds.truths import Truth
from lens_truth.data.sentences import word_set

MORE = "larger|greater|bigger|higher|more"
LESS = "smaller|less|lower|fewer|lesser"
_RELATIONS = (
    (rf"(?:(?:{MORE}) than or (?:is )?equal to|at least|no (?:{LESS}) than)", ">="),
    (rf"(?:(?:{LESS}) than or (?:is )?equal to|at most|no (?:{MORE}) than)", "<="),
    (rf"(?:strictly )?(?:{MORE}) than", ">"),
    (rf"(?:strictly )?(?:{LESS}) than", "<"),
    (r"(?:equal to|the same as)", "="),
    (r"(?:different from|unequal to)", "!="),
)
_RELATION = re.compile("|".join(f"({pattern})" for pattern, _ in _RELATIONS) + " ")
_SIGN = re.compile(r"\s*(<=|>=|!=|==|=|<|>)\s*")
_HOLDS: dict[str, Callable[[Fraction, Fraction], bool]] = {
    "<": operator.lt, ">": operator.gt, "<=": operator.le, ">=": operator.ge, "=": operator.eq, "!=": operator.ne,
}  # fmt: skip
_VERB = re.compile(r" (?:is|are|was) ")
_EQUALS = re.compile(r"(.+?) (does not equal|do not equal|equals?|does not exceed|exceeds) (.+)")
_KIND = r"(?:even|odd|prime|composite|positive|negative|rational|irrational)"
_KINDS = re.compile(rf"(?:an? )?({_KIND}(?: {_KIND})*)(?: (?:number|integer))?")
_POWER = re.compile(r"(?:an? )?(?:perfect )(square|cube)(?: number)?")
_DIVISOR = re.compile(
    r"(?:(divisible by|an? multiple of)|(an? (?:factor|divisor) of|an? prime (?:factor|divisor) of)) (.+)"
)
_MORE_THAN = re.compile(rf"(.+?) (?:({MORE})|{LESS}) than (.+)")
_LARGEST_PRIME = 10**8
"""Up to which primes are looked for."""
VOCABULARY = _EXPRESSIONS | word_set(
    f"{MORE}|{LESS}".replace("|", " ") + " is are was not than or equal to at least most no strictly the same as "
    "different from unequal does do equals exceed exceeds even odd prime composite positive negative rational "
    "irrational perfect divisible multiple factor divisor integer whole between"
)
"""The words of statements about numbers."""


def relation_of(predicate: str) -> tuple[str, str] | None:
    """The sign of a comparison in words, and what stands behind it: `smaller than 52` is `<` and `52`."""
    found = _RELATION.match(f"{predicate} ")
    if found is None:
        return None
    sign = next(sign for group, (_, sign) in zip(found.groups(), _RELATIONS, strict=True) if group)
    return sign, predicate[found.end() :]


def stated(text: str) -> Truth | None:
    """Whether a statement about numbers holds; None if it is none, or not understood to the last word. `plain` has
    been applied.

    >>> stated("fifty one is smaller than 52").sentence
    '51 < 52 is true'
    """
    if _SIGN.search(text):
        return _in_signs(text)
    if (found := _EQUALS.fullmatch(text)) is not None:
        sign = ">" if "exceed" in found[2] else "="
        if (truth := related(found[1], sign, found[3])) is not None:
            return truth.negated("not" in found[2])
    for verb in _VERB.finditer(text):
        if (truth := said_of(text[: verb.start()], text[verb.end() :], with_equal=True)) is not None:
            return truth
    return None


def said_of(subject: str, predicate: str, with_equal: bool = False) -> Truth | None:
    """Whether a predicate (`smaller than 52`, `not a prime`, `divisible by 5`) holds of a number.

    Args:
        with_equal: whether a predicate may be a number alone, which the subject then is.
    """
    if (value := value_of(subject)) is None:
        return None
    negated = predicate.startswith("not ")
    predicate = predicate.removeprefix("not ")
    if (relation := relation_of(predicate)) is not None:
        truth = related(subject, *relation)
    elif (truth := _kind(subject, value, predicate) or _between(subject, value, predicate)) is None and with_equal:
        truth = related(subject, "=", predicate)
    return truth and truth.negated(negated)


def amount_said(text: str) -> Fraction | None:
    """The value of an expression, also of `one less than 4` and `5 more than 3`."""
    if (value := value_of(text)) is not None or (found := _MORE_THAN.fullmatch(text)) is None:
        return value
    by, start = value_of(found[1]) if is_number(found[1]) else None, value_of(found[3])
    return None if by is None or start is None else start + by if found[2] else start - by


def related(one: str, sign: str, other: str) -> Truth | None:
    """Whether a relation holds between two expressions. An equation that only rounding makes wrong (1/3 = 0.33) is
    left open."""
    a, b = amount_said(one), amount_said(other)
    if a is None or b is None or (sign in ("=", "!=") and a != b and (rounds(one, a - b) or rounds(other, a - b))):
        return None
    return Truth(_HOLDS[sign](a, b), f"{told(one, a)} {sign} {told(other, b)}", (a, b), sign=sign)


def rounds(text: str, difference: Fraction) -> bool:
    """Whether a number is so close to a value that it may be the value, rounded or cut off: 0.33 for 1/3."""
    found = re.fullmatch(r"-?[\d,]*(?:\.(\d+))?( ?%| percent)?", text.strip())
    if found is None and not is_number(text):
        return False
    places = len(found[1] or "") + 2 * bool(found[2]) if found else 0
    return "/" not in text and 0 < abs(difference) < Fraction(1, 10**places)


def told(text: str, value: Fraction) -> str:
    """A number in digits; of an expression also what it comes to: `2 + 2 (4)`."""
    return number_shown(value) if is_number(text) else f"{text.strip()} ({number_shown(value)})"


@lru_cache(4096)
def is_prime(value: int) -> bool:
    """By trial division."""
    return value > 1 and all(value % n for n in range(2, isqrt(value) + 1))


def _in_signs(text: str) -> Truth | None:
    """One relation or a chain of them (`1 < 2 < 3`), all of which must hold."""
    sides, signs = _SIGN.split(text)[::2], [sign.replace("==", "=") for sign in _SIGN.split(text)[1::2]]
    truths = [related(one, sign, other) for one, sign, other in zip(sides, signs, sides[1:], strict=False)]
    known = [truth for truth in truths if truth is not None]
    if len(known) < len(truths):
        return None
    if len(known) == 1:
        return known[0]
    if "!=" in signs:
        return None
    values = (known[0].of[0], *(truth.of[1] for truth in known))
    return Truth(all(truth.holds for truth in known), " and ".join(truth.how for truth in known), values)


def _between(subject: str, value: Fraction, predicate: str) -> Truth | None:
    found = re.fullmatch(r"between (.+?) and (.+)", predicate)
    if found is None or (low := value_of(found[1])) is None or (high := value_of(found[2])) is None:
        return None
    if low >= high or value in (low, high):
        return None
    how = f"{number_shown(low)} < {told(subject, value)} < {number_shown(high)}"
    return Truth(low < value < high, how, (value, low, high))


def _kind(subject: str, value: Fraction, predicate: str) -> Truth | None:
    """Parity, primes, signs, perfect powers, divisors."""
    who = told(subject, value)
    if (found := _KINDS.fullmatch(predicate)) is not None:
        kinds = [_is_of_kind(value, kind) for kind in found[1].split()]
        if None in kinds:
            return None
        return Truth(all(kinds), f"{who} is {found[1]}", (value,))
    if re.fullmatch(r"an (?:integer|whole number)", predicate):
        return Truth(value.denominator == 1, f"{who} is {predicate}", (value,))
    if value.denominator > 1:
        return None
    whole = int(value)
    if (found := _POWER.fullmatch(predicate)) is not None and 0 <= whole < 10**15:
        near = isqrt(whole) if found[1] == "square" else round(whole ** (1 / 3))
        degree = 2 if found[1] == "square" else 3
        return Truth(near**degree == whole, f"{who} is a perfect {found[1]}", (value,))
    if (found := _DIVISOR.fullmatch(predicate)) is None or (other := value_of(found[3])) is None:
        return None
    divided, divisor = (whole, other) if found[1] else (other, whole)
    if divisor == 0 or other.denominator > 1:
        return None
    holds = divided % divisor == 0
    if found[2] and "prime" in found[2]:
        if whole > _LARGEST_PRIME:
            return None
        holds = holds and is_prime(whole)
    return Truth(holds, f"{who} is {found[1] or found[2]} {number_shown(other)}", (value, other))


def _is_of_kind(value: Fraction, kind: str) -> bool | None:
    """None where it is no question, or would take long."""
    if kind in ("positive", "negative"):
        return value > 0 if kind == "positive" else value < 0
    if kind in ("rational", "irrational"):
        return kind == "rational"  # as all numbers that are computed here
    if value.denominator > 1:
        return None
    if kind in ("even", "odd"):
        return value % 2 == (kind == "odd")
    if not 0 <= value <= _LARGEST_PRIME:
        return None
    return is_prime(int(value)) if kind == "prime" else value > 1 and not is_prime(int(value))
