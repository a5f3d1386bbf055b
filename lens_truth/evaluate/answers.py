"""From what a model wrote to what it said, yes or no or a short answer, and how often that was right."""

from __future__ import annotations

import re
import string
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, cast

UNREADABLE = 0.05  # a larger share of answers that cannot be read is warned of
_ARTICLES = re.compile(r"\b(a|an|the)\b")
_PUNCTUATION = str.maketrans("", "", string.punctuation)

_NEXT = re.compile(r"^(Question|Context):", re.MULTILINE)
"""How a model that continues our prompt begins another question."""

Mode = Literal["answer", "choose", "yes-no", "judge", "caption"]


@dataclass(frozen=True)
class Answer:
    """What a model wrote."""

    text: str
    margin: float | None = None
    """log p(yes) - log p(no) for the first token of the answer, where it was asked for; of an answer that was given to
    the model, or that it sampled, the log-probability of its tokens."""
    tokens: tuple[int, ...] = ()
    """Those that were sampled."""


def first_line(text: str) -> str:
    """The answer is what stands on the first line that is not empty; models go on with another question after it."""
    return next((line.strip() for line in text.splitlines() if line.strip()), "")


def normalized(text: str) -> str:
    """Lower case, without punctuation, articles and extra spaces (SQuAD's normalisation, Rajpurkar et al. 2016)."""
    return " ".join(_ARTICLES.sub(" ", text.lower().translate(_PUNCTUATION)).split())


def token_f1(said: str, gold: str) -> float:
    """SQuAD's F1 of the words that two normalised answers share."""
    said_words, gold_words = normalized(said).split(), normalized(gold).split()
    shared = sum((Counter(said_words) & Counter(gold_words)).values())
    return 2 * shared / (len(said_words) + len(gold_words)) if shared else 0.0


def equals(text: str, wanted: str) -> bool:
    """Whether the first line of an answer is the right one (the strict reading)."""
    said = first_line(text)
    return bool(said) and normalized(said) == normalized(wanted)


def contains(text: str, wanted: str) -> bool:
    """Whether an answer has the right one in it, in whole words (the lenient reading); what a model writes behind an
    answer, to questions that it asks itself, does not count. An answer that lists all there is would be right."""
    said, gold = normalized(_NEXT.split(text.strip())[0]), normalized(wanted)
    return f" {gold} " in f" {said} " if gold else equals(text, wanted)


MATCHES: dict[str, Callable[[str, str], bool]] = {"strict": equals, "contains": contains}
"""Ways to hold an open answer against the right one."""


def yes_or_no(text: str) -> str | None:
    """`yes` or `no` if the answer begins with that word, None otherwise (the strict parse)."""
    match = re.match(r"(yes|no)\b", first_line(text).lower())
    return match[1] if match else None


def truthprobe_yes_or_no(text: str) -> str:
    """TruthProbe's parse of HaluEval answers: `no` unless the answer begins with the word yes."""
    return "yes" if re.match(r"yes\b", text.lower().strip()) else "no"


def halueval_yes_or_no(text: str) -> str | None:
    """HaluEval's own parse (Li et al. 2023, evaluate.py): which of Yes and No occurs, capitalised, anywhere; None for
    both or neither, which HaluEval counts as wrong."""
    yes, no = ("Yes" in text.replace(".", "")), ("No" in text.replace(".", ""))
    return None if yes == no else "yes" if yes else "no"


def pope_yes_or_no(text: str) -> str:
    """POPE's own parse (Li et al. 2023, evaluate.py): `no` if the first sentence has no, No or not, otherwise `yes`."""
    words = text.split(".")[0].replace(",", "").split(" ")
    return "no" if {"No", "not", "no"} & set(words) else "yes"


PARSES: dict[str, Callable[[str], str | None]] = {
    "strict": yes_or_no,
    "truthprobe": truthprobe_yes_or_no,
    "halueval": halueval_yes_or_no,
    "pope": pope_yes_or_no,
}
"""Ways to read an answer to a yes-or-no question. Benchmarks' own parses read a yes or a no into every answer, so the
share that the strict parse cannot read belongs beside each of them."""


@dataclass(frozen=True)
class BinaryMetrics:
    """Of answers to yes-or-no questions; yes is the positive class, and an answer that could not be read is wrong."""

    n: int
    accuracy: float
    precision: float | None
    """Share of right ones among the answers yes; None if there is none."""
    recall: float | None
    """Share of the questions with the answer yes that got it; None if there is none."""
    f1: float | None
    yes_ratio: float
    """Share of yes among all answers (of the model, not of the questions)."""
    unparsed: float


def binary_metrics(said: Sequence[str | None], wanted: Sequence[str]) -> BinaryMetrics:
    """Compares answers (`yes`, `no`, or None for neither) with the right ones."""
    n, n_said, n_wanted = len(wanted), said.count("yes"), wanted.count("yes")
    hits = sum(s == w == "yes" for s, w in zip(said, wanted, strict=True))
    right = sum(s == w for s, w in zip(said, wanted, strict=True))
    return BinaryMetrics(
        n=n,
        accuracy=right / n,
        precision=hits / n_said if n_said else None,
        recall=hits / n_wanted if n_wanted else None,
        f1=2 * hits / (n_said + n_wanted) if n_said + n_wanted else None,
        yes_ratio=n_said / n,
        unparsed=said.count(None) / n,
    )


@dataclass(frozen=True)
class MarginMetrics:
    """Of the log-odds of yes against no, which are there whatever a model writes; yes where they are above 0."""

    accuracy: float
    precision: float | None
    recall: float | None
    f1: float | None
    yes_ratio: float
    auroc: float | None
    """Whether they rank questions with the answer yes above the others; None where all have the same answer."""


def margin_metrics(margins: Sequence[float], wanted: Sequence[str]) -> MarginMetrics:
    """Compares log-odds with the right answers."""
    from sklearn import metrics  # takes longer than showing what was found

    m = binary_metrics(["yes" if margin > 0 else "no" for margin in margins], wanted)
    truth = [answer == "yes" for answer in wanted]
    auroc = float(cast("float", metrics.roc_auc_score(truth, margins))) if len(set(truth)) == 2 else None
    return MarginMetrics(m.accuracy, m.precision, m.recall, m.f1, m.yes_ratio, auroc)
