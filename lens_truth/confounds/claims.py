"""Labels that contradict what arithmetic or the calendar says."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from lens_truth.confounds import arithmetic, arithmetic_questions, dates
from lens_truth.confounds.calendar_said import VOCABULARY as _CALENDAR
from lens_truth.confounds.findings import Finding, shown
from lens_truth.confounds.spelling import plain
from lens_truth.confounds.truths import Asked, Check, Truth
from lens_truth.data.examples import Example
from lens_truth.data.sentences import word_set
from lens_truth.data.subjects import joined_by, parts_of

_LONGEST = 300
"""Characters of the longest text that is computed."""
_MOST_WORDS = 48
_TRUE, _FALSE = r"(?:true|correct|right)", r"(?:false|incorrect|wrong|untrue|not true|not correct)"
_CLAIMS = (
    (re.compile(rf"it is (?:{_TRUE}|the case|a fact) that (.+)"), False),
    (re.compile(rf"it is (?:{_FALSE}|not the case) that (.+)"), True),
    (re.compile(rf"(?:the (?:statement|claim) )?[\"'](.+?)\.?[\"'] is {_TRUE}"), False),
    (re.compile(rf"(?:the (?:statement|claim) )?[\"'](.+?)\.?[\"'] is {_FALSE}"), True),
    (re.compile(rf"(?:the (?:statement|claim) that )(.+) is {_TRUE}"), False),
    (re.compile(rf"(?:the (?:statement|claim) that )(.+) is {_FALSE}"), True),
    (re.compile(rf"(.+?)[.,:;?]? (?:this|that|the) (?:statement|claim|sentence) is:? {_TRUE}"), False),
    (re.compile(rf"(.+?)[.,:;?]? (?:this|that|the) (?:statement|claim|sentence) is:? {_FALSE}"), True),
    (re.compile(rf"the following (?:statement|claim|sentence) is {_TRUE}[:.]? (.+)"), False),
    (re.compile(rf"the following (?:statement|claim|sentence) is {_FALSE}[:.]? (.+)"), True),
    (re.compile(r"(?:statement|claim|fact): (.+)"), False),
)
_OR_NOT = r"(?: or (?:false|not|incorrect|wrong|untrue))?"
_WHETHER = (
    re.compile(rf"is it {_TRUE}{_OR_NOT} that (.+)"),
    re.compile(r"is it the case that (.+)"),
    re.compile(rf"(?:{_TRUE} or {_FALSE}|yes or no)[:,?.]? (.+)"),
    re.compile(rf"(?:is|are) (?:the following|this|the) (?:statement|claim|sentence) {_TRUE}{_OR_NOT}[:?,.]? (.+)"),
    re.compile(
        rf"(?:statement: )?(.+?)[.,:?]? (?:is (?:this|that|it|this statement|the statement) )?{_TRUE}(?: or {_FALSE})?"
    ),
    re.compile(r"(?:statement: )?(.+?)[.,:?]? yes or no"),
)
_YES = re.compile(rf"(yes|yeah|yep|{_TRUE}|no|nope|{_FALSE})\b[,.;:!]?(?: -)? ?(.*)")
_SAYS_YES = re.compile(rf"yes|yeah|yep|{_TRUE}")
_IT_IS = re.compile(
    rf"(?:(?:it|this|that|that statement|this statement|the statement)(?: is| does| was| did)?)(?: {_TRUE})?"
)
_IT_IS_NOT = re.compile(
    rf"(?:it|this|that|this statement|the statement) (?:(?:is|does|was|did) not|is {_FALSE}|cannot)"
)
_SO = re.compile(
    r"(?:(?:the )?(?:correct |right |final )?answer(?: is|:)|the result is|result:|it is|that is|it equals|equals|"
    r"this is|=):? (?:equal to )?(.+)"
)
_BEFORE_QUESTION = re.compile(r"(?:question|q) ?: ")
_BEHIND_QUESTION = re.compile(
    r"[.,?]? (?:\(?(?:please )?(?:answer|respond|reply)(?: only| just)? (?:with )?(?:only |just )?"
    r"['\"]?(?:yes|true)['\"]? or ['\"]?(?:no|false)['\"]?\)?"
    r"|\((?:yes|true) ?(?:/|or) ?(?:no|false)\)|(?:answer|a):)[. ]*$"
)
_BEFORE_ANSWER = re.compile(r"(?:answer|a) ?: ")
_EXCHANGE = re.compile(r"\s*(?:(?:question|q)\s*:)\s*(.+?)\s*(?:answer|a)\s*:\s*(.+)", re.I | re.S)
_ASKED_AND_SAID = re.compile(r"([^?]+\?)\s+([^?]+)", re.S)
_WORDS = re.compile(r"[^\W\d_]+")
_KNOWN = arithmetic.VOCABULARY | arithmetic_questions.QUESTION_WORDS | dates.WORDS | _CALENDAR | word_set(
    "please respond reply only just with a yes yeah yep no nope true false correct incorrect right wrong "
    "untrue it that this the case fact statement "
    "claim following sentence answer final result question q s t both either cannot neither nor isn "
    "doesn wasn aren didn weren don"
)  # fmt: skip
_NAMES = re.compile(r"\b(?:born|died|lived)\b|\((?:born )?(?:in )?[^()]*\d{4}\)", re.I)
"""What is about people or things with dates may hold any names."""


@dataclass(frozen=True)
class Computed:
    """What an example's label computes to, and how.

    >>> computed(Example("1", "1", "", "Fifty-one is smaller than fifty-two.", 0))
    Computed(label=1, how='51 < 52 is true', check='arithmetic')
    """

    label: int
    """1 if the statement holds, or the answer is right."""
    how: str
    check: Check
    """What it was computed by."""


def computed(example: Example) -> Computed | None:
    """The label that arithmetic or the calendar gives an example; None where they give none, also where a word of it is
    not understood. Looks at the question and the answer alone, of a statement at the statement.

    >>> computed(Example("1", "1", "Which is smaller, fifty-one or 52?", "52", 1)).how
    'the smaller of 51 and 52 is 51'
    """
    if len(example.question) > _LONGEST or len(example.answer) > _LONGEST or not example.answer.strip():
        return None
    return _computed(example.question.strip(), example.answer.strip())


def claim_findings(examples: Sequence[Example]) -> list[Finding]:
    """A finding for labels that arithmetic contradicts and one for those that the calendar contradicts; none where all
    that can be computed hold.

    >>> [finding.says for finding in claim_findings(examples)]
    """
    found: dict[Check, list[tuple[Example, Computed]]] = {"arithmetic": [], "dates": []}
    for example in examples:
        if (its := computed(example)) is not None:
            found[its.check].append((example, its))
    findings: list[Finding] = []
    for check, rows in found.items():
        wrong = [(example, its) for example, its in rows if its.label != example.label]
        if not wrong:
            continue
        example, its = wrong[0]
        what = "answers" if all(row.question for row, _ in rows) else "rows"
        says = f"{len(wrong)} of {len(rows)} {what} that can be computed compute to the other label"
        cure = "Mend these labels, or leave the rows out" + ("; the others hold" if len(wrong) < len(rows) else "")
        told = f"{shown(example)}, labelled {example.label} -- {its.how}"
        findings.append(Finding(check, "wrong", says, len(wrong), len(rows), told, cure))
    return findings


@lru_cache(16384)
def _computed(question: str, answer: str) -> Computed | None:
    if not question and not _is_known(answer):
        return None
    if question:
        return _answered(question, answer) if _is_known(question) else None
    truth = _stated(answer)
    if truth is not None:
        return Computed(int(truth.holds), truth.sentence, truth.check)
    exchange = _EXCHANGE.fullmatch(answer) or _ASKED_AND_SAID.fullmatch(answer)
    return None if exchange is None else _answered(exchange[1], exchange[2])


def _is_known(text: str) -> bool:
    """Whether all words are words of arithmetic or the calendar."""
    if text.count(" ") >= _MOST_WORDS:
        return False
    return bool(_NAMES.search(text)) or _KNOWN.issuperset(word.lower() for word in _WORDS.findall(text))


def _stated(statement: str) -> Truth | None:
    """Whether a statement, or what two statements join to, holds."""
    if word := joined_by(statement):
        parts = [_stated(part) for part in parts_of(statement)]
        first, second = (*parts, None)[:2]
        if first is None or second is None:
            return None
        holds = first.holds and second.holds if word == "and" else first.holds or second.holds
        return Truth(holds, f"'{first.how} {word} {second.how}'", (*first.of, *second.of), first.check)
    return _plainly_stated(plain(statement))


def _plainly_stated(text: str) -> Truth | None:
    for pattern, negated in _CLAIMS:
        if (found := pattern.fullmatch(text)) is not None:
            truth = _plainly_stated(found[1])
            return truth and truth.negated(negated)
    return arithmetic.stated(text) or dates.stated(text) or dates.lives(text)


def _asked(question: str) -> Truth | Asked | None:
    """What a question asks for: of one to which yes or no is the answer, whether it is yes."""
    text = _BEFORE_QUESTION.sub("", plain(question), count=1)
    text = plain(_BEHIND_QUESTION.sub("", text))
    if (found := arithmetic_questions.asked(text) or dates.asked(text)) is not None:
        return found
    for pattern in _WHETHER:
        if (found := pattern.fullmatch(text)) is not None and (truth := _plainly_stated(plain(found[1]))) is not None:
            return truth
    return None


def _answered(question: str, answer: str) -> Computed | None:
    """Whether an answer is right."""
    wanted = _asked(question)
    if wanted is None:
        return None
    said = _BEFORE_ANSWER.sub("", plain(answer), count=1)
    if isinstance(wanted, Truth):
        right = _yes_is_right(wanted, said)
        return None if right is None else Computed(int(right), wanted.sentence, wanted.check)
    if (right := _answer_is_right(wanted, said)) is None:
        return None
    return Computed(int(right), wanted.how, wanted.check)


def _yes_is_right(wanted: Truth, said: str) -> bool | None:
    """Of an answer that is yes or no, also with a statement behind it, which must be as right as the word."""
    found = _YES.fullmatch(said)
    if found is None:
        truth = _plainly_stated(said)
        if _IT_IS.fullmatch(said) or _IT_IS_NOT.fullmatch(said):
            return wanted.holds == (_IT_IS.fullmatch(said) is not None)
        return truth.holds if truth is not None and set(truth.of) == set(wanted.of) else None
    says_yes = _SAYS_YES.fullmatch(found[1]) is not None
    right = says_yes == wanted.holds
    if not found[2] or (_IT_IS if says_yes else _IT_IS_NOT).fullmatch(found[2]):
        return right
    truth = _plainly_stated(found[2])
    return right if truth is not None and truth.holds == right else None


def _answer_is_right(wanted: Asked, said: str) -> bool | None:
    bare = found[1] if (found := _SO.fullmatch(said)) is not None else said
    for pattern in ("(.+)", *wanted.words):
        if (found := re.fullmatch(pattern, bare)) is not None and (value := wanted.read(found[1])) is not None:
            return wanted.right(value)
    truth = _plainly_stated(said)
    return None if truth is None else wanted.stated(truth)
