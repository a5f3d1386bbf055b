"""From what a model wrote to what it said: yes or no, or a short answer."""

from __future__ import annotations

import re
import string
from collections import Counter

_ARTICLES = re.compile(r"\b(a|an|the)\b")
_PUNCTUATION = str.maketrans("", "", string.punctuation)


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


def yes_or_no(text: str) -> str | None:
    """`yes` or `no` if the answer begins with that word, None otherwise (the strict parse)."""
    match = re.match(r"(yes|no)\b", first_line(text).lower())
    return match[1] if match else None
