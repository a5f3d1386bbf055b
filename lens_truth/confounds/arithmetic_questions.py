"""Questions about numbers whose answer can be computed: yes or no, which of several, how much."""

from __future__ import annotations

import re
from collections.abc import Iterator
from fractions import Fraction

from lens_truth.confounds.arithmetic import (
    LESS,
    MORE,
    VOCABULARY,
    amount_said,
    related,
    relation_of,
    rounds,
    said_of,
    stated,
)
from lens_truth.confounds.expressions import is_number, value_of
from lens_truth.confounds.numbers_said import number_shown
from lens_truth.confounds.truths import Asked, Truth
from lens_truth.data.sentences import word_set

_LEAST = f"{LESS}|smallest|least|lowest"
_MOST = f"{MORE}|largest|greatest|biggest|highest|most"
_EXTREME = rf"({_LEAST}|{_MOST})"
_NOUN = r"(?: (?:number|one|value|integer))?"
_WHICH = rf"(?:which|what){_NOUN}"
_THESE = r"(?: of (?:the|these|the following|the two|these two|the following two)(?: numbers| values| integers)?)?"
_THE_BEST = rf"(?:the )?{_EXTREME}{_NOUN}(?: of (?:the|these) two(?: numbers)?)?"
_PAIR = r"(?:between |among |of |out of |in )?(?:the (?:two )?numbers )?(?P<of>.+?)"
_ONE_OF = (
    rf"(?:tell me |say )?{_WHICH}{_THESE} is {_THE_BEST}(?: ?[,:;?-])? {_PAIR}",
    rf"(?:choose|pick|select|name|give|tell me) {_THE_BEST}(?: ?[,:;])? {_PAIR}",
    rf"{_WHICH} {_PAIR},? is {_THE_BEST}",
    rf"(?:compare |given )?{_PAIR} ?[,:;?.]? {_WHICH}{_THESE} is {_THE_BEST}",
    rf"is (?P<of>.+ or .+?) {_THE_BEST}",
)
_CHOICES = [re.compile(pattern) for pattern in _ONE_OF]
_OPEN = (
    re.compile(rf"{_WHICH}{_THESE} is (?P<than>.+)"),
    re.compile(r"(?:name|give|tell me|find) (?:me )?(?:a|any|some|one) number (?:that is |which is )?(?P<than>.+)"),
)
_BLANK = re.compile(rf"(?P<one>.+) is (?P<than>.+) {_WHICH}")
_LACKING = re.compile(rf"{_WHICH} is (?P<said>.+)")
_EITHER = re.compile(rf"is (?P<one>.+) ({LESS}|{MORE}) or ({LESS}|{MORE}) than (?P<other>.+)")
_COMPARED = re.compile(r"how does (?P<one>.+) compare (?:to|with) (?P<other>.+)")
_BETWEEN_THEM = re.compile(r"(?P<one>.+) is (?:_+|\.\.\.) than (?P<other>.+)")
_KINDS = re.compile(
    r"is (.+?) (?:an? )?(even|odd|prime|composite|positive|negative)(?: number)?,? or "
    r"(?:an? )?(even|odd|prime|composite|positive|negative)(?: number)?"
)
_YES_NO = re.compile(r"(?:is|are) (.+)")
_DOES = re.compile(r"does (.+) (equal|exceed) (.+)")
_HOW_MUCH = re.compile(
    r"(?:(?:what|how much) (?:is|are|does|do)|what will be|calculate|compute|evaluate|find|solve|work out|simplify)"
    r"(?: the (?:value|result|answer)(?: of| to))?:? (.+)"
)
_TO_BE_FILLED = re.compile(r"(.+?)(?: equals?| equal to| makes?| gives?| comes? to| is|(?P<sign>\s*=))(?: what| _+)?")
_PERCENT = re.compile(r"what (?:percent|percentage) of (.+) is (.+)|(.+) is what (?:percent|percentage) of (.+)")
QUESTION_WORDS = VOCABULARY | word_set(
    "which what of these following choose pick select name give tell me out from any some that find or how much "
    "does do are calculate compute evaluate solve work simplify answer to makes make gives comes come will be largest "
    "say compare given with most percentage values value integers"
)
"""The words of questions about numbers."""


def asked(text: str) -> Truth | Asked | None:
    """What a question about numbers asks for, computed; None if it is none, or not understood to the last word. `plain`
    has been applied.

    >>> asked("which is smaller, fifty one or 52").how
    'the smaller of 51 and 52 is 51'
    """
    return _yes_or_no(text) or _choice(text) or _either(text) or _open(text) or _amount(text)


def splits(text: str) -> Iterator[tuple[str, str]]:
    """A text in two at every space, the longest first part first."""
    for found in reversed(list(re.finditer(" ", text))):
        yield text[: found.start()], text[found.end() :]


def number_answer(text: str) -> Fraction | None:
    """The number that an answer is."""
    return value_of(text) if is_number(text) else None


def _yes_or_no(text: str) -> Truth | None:
    if (found := _DOES.fullmatch(text)) is not None:
        return related(found[1], ">" if found[2] == "exceed" else "=", found[3])
    if (found := _YES_NO.fullmatch(text)) is None or " or " in text.replace("or equal to", ""):
        return None
    if re.search("[<>=]", found[1]):
        return stated(found[1])
    for subject, predicate in splits(found[1]):
        with_equal = re.match(r"(?:the|half|twice|double|an?) ", predicate) is not None
        if not predicate.startswith("not ") and (truth := said_of(subject, predicate, with_equal)) is not None:
            return truth
    return None


def _options(text: str) -> list[Fraction] | None:
    """The numbers between which a question lets choose."""
    word = " or " if " or " in text else " and " if " and " in text else ", "
    for found in reversed(list(re.finditer(word, text))):
        first = re.split(r",? or |, ", text[: found.start()].rstrip(","))
        values = [value_of(part) for part in (*first, text[found.end() :])]
        if None not in values:
            return [value for value in values if value is not None]
    return None


def _choice(text: str) -> Asked | None:
    for pattern in _CHOICES:
        if (found := pattern.fullmatch(text)) is None:
            continue
        word = next(group for group in found.groups() if group and re.fullmatch(_EXTREME, group))
        values = _options(found["of"])
        if values is None or len(set(values)) < len(values):
            continue
        least = re.fullmatch(_LEAST, word) is not None
        best, words = (min if least else max)(values), _LEAST if least else _MOST
        listed = ", ".join(number_shown(value) for value in values[:-1]) + f" and {number_shown(values[-1])}"
        sign = "<" if least else ">"

        def says(truth: Truth, best: Fraction = best, sign: str = sign, values: list[Fraction] = values) -> bool | None:
            if truth.sign != sign or not set(truth.of) <= set(values):
                return None
            picked = truth.of[0] == best
            return picked if picked == truth.holds else None

        return Asked(
            f"the {word} of {listed} is {number_shown(best)}",
            value_of,
            lambda value, best=best: value == best,
            says,
            words=(rf"(.+) is (?:the )?(?:{words}){_NOUN}", rf"the (?:{words}){_NOUN} is (.+)"),
        )
    return None


def _either(text: str) -> Asked | None:
    """`Is 51 smaller or larger than 52?`, `51 is ___ than 52`, `Is 10 even or odd?`"""
    if (found := _EITHER.fullmatch(text)) is not None:
        asked_for = [found[2], found[3]]
    elif (found := _COMPARED.fullmatch(text) or _BETWEEN_THEM.fullmatch(text)) is not None:
        asked_for = [*LESS.split("|"), *MORE.split("|")]
    else:
        return _either_kind(text)
    truth = related(found["one"], "<", found["other"])
    if truth is None or truth.of[0] == truth.of[1]:
        return None
    words = {word: (re.fullmatch(LESS, word) is not None) == truth.holds for word in asked_for}
    return _one_of_words(found["one"], words, truth.of)


def _either_kind(text: str) -> Asked | None:
    if (found := _KINDS.fullmatch(text)) is None:
        return None
    truths = {found[n]: said_of(found[1], found[n]) for n in (2, 3)}
    words = {word: truth.holds for word, truth in truths.items() if truth is not None}
    truth = truths[found[2]]
    return None if truth is None or len(words) < 2 else _one_of_words(found[1], words, truth.of)


def _one_of_words(subject: str, words: dict[str, bool], of: tuple[object, ...]) -> Asked | None:
    """A question that one of these words answers, of which one at least is right and one is wrong."""
    if len(set(words.values())) < 2:
        return None
    right = next(word for word, holds in words.items() if holds)

    def read(answer: str) -> str | None:
        return word if (word := re.sub(r"^an? | number$| than .+$", "", answer)) in words else None

    def says(truth: Truth) -> bool | None:
        return truth.holds if truth.of == of and (truth.sign in ("<", ">") or truth.how.split()[-1] in words) else None

    how = f"{number_shown(value_of(subject) or Fraction(0))} is {right}"
    return Asked(how, read, lambda word: words[str(word)], says, words=(rf"{re.escape(subject)} is (\w+)",))


def _open(text: str) -> Asked | None:
    """`What number is smaller than 52?`, also with a choice; `51 is smaller than what?`, `What is 51 smaller than?`"""
    for pattern in _OPEN:
        if (found := pattern.fullmatch(text)) is not None and (relation := relation_of(found["than"])) is not None:
            known, _, choice = re.sub(r" ?[:,;?] ", ":", relation[1], count=1).partition(":")
            options = _options(choice)
            if value_of(known) is not None and (not choice or options is not None):
                return _open_to(known, relation[0], False, options)
    if (found := _BLANK.fullmatch(text)) is not None and (relation := relation_of(found["than"])) is not None:
        if value_of(found["one"]) is not None and not relation[1]:
            return _open_to(found["one"], relation[0], True)
    elif (found := _LACKING.fullmatch(text)) is not None:
        for known, than in splits(found["said"]):
            if (relation := relation_of(than)) is not None and not relation[1] and value_of(known) is not None:
                return _open_to(known, relation[0], True)
    return None


def _open_to(known: str, sign: str, comes_first: bool, options: list[Fraction] | None = None) -> Asked | None:
    """A question for any number (of some) that stands in a relation to a known one, which comes first or second."""
    value = value_of(known)
    if value is None or sign in ("=", "!="):
        return None

    def right(answer: object) -> bool | None:
        if options is not None and answer not in options:
            return False
        one, other = (known, f"({answer})") if comes_first else (f"({answer})", known)
        return None if (truth := related(one, sign, other)) is None else truth.holds

    def says(truth: Truth) -> bool | None:
        is_asked = truth.sign == sign and truth.of[0 if comes_first else 1] == value
        return truth.holds if is_asked and options is None else None

    shown = number_shown(value)
    how = f"{shown} {sign} the answer" if comes_first else f"the answer {sign} {shown}"
    return Asked(f"right are those with {how}", number_answer, right, says)


def _amount(text: str) -> Asked | None:
    """`What is 3 + 4?`, `3 plus four equals?`, `What percent of 50 is 5?`"""
    if (found := _PERCENT.fullmatch(text)) is not None:
        whole, part = (value_of(found[n] or found[m]) if found[n] or found[m] else None for n, m in ((1, 4), (2, 3)))
        if not whole or part is None:
            return None
        share = part / whole
        return _amount_of(f"{number_shown(part)} of {number_shown(whole)}", 100 * share, (share,), " percent")
    body = found[1] if (found := _HOW_MUCH.fullmatch(text)) is not None else text
    filled = _TO_BE_FILLED.fullmatch(body)
    for expression in (body, filled[1] if filled else ""):
        value = amount_said(expression)
        if value is not None and not is_number(expression):
            return _amount_of(expression.strip(), value)
    return None


def _amount_of(said: str, value: Fraction, others: tuple[Fraction, ...] = (), unit: str = "") -> Asked:
    def read(answer: str) -> Fraction | None:
        found = number_answer(answer)
        near = found is not None and found != value and rounds(answer, found - value)
        return None if near else found

    def says(truth: Truth) -> bool | None:
        return truth.holds if truth.sign == "=" and truth.of[0] == value else None

    return Asked(
        f"{said} is {number_shown(value)}{unit}",
        read,
        lambda answer: answer == value or answer in others,
        says,
        words=(rf"{re.escape(said)} (?:is|equals|is equal to) (.+)",),
    )
