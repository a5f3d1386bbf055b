"""What can be seen of an example without understanding it: the length of its answer, its first and last character, its
signs, which words it has, and which of them stand in the context too. Each is a matrix of a row an example, sparse
where it counts words."""

from __future__ import annotations

import re
import string
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Any

import numpy as np
from jaxtyping import Float

from lens_truth.data.examples import Example

LONGEST = 2000
"""Characters of a text whose words are counted: what is beyond them is not read, so that one text costs no minutes."""
_COLUMNS = 2**18
_WORD = re.compile(r"\w+")
_TOKEN = re.compile(r"\w+|[^\w\s]")
Seen = Callable[[Sequence[Example]], Any]


@dataclass(frozen=True)
class Feature:
    """One way to look at an example."""

    what: str
    """For tables and sentences."""
    see: Seen
    """A matrix of numbers, a row an example, dense or of SciPy's sparse ones; one without a column where nothing of
    that kind is there."""
    numbers: bool = False
    """Whether its columns are numbers, which are brought to one scale; else they say what is there and what is not."""


def _answer(example: Example) -> str:
    return example.answer.strip()


def _question(example: Example) -> str:
    return example.question.strip()


def _both(example: Example) -> str:
    """Nothing for a statement, whose words are its answer's."""
    return f"{example.question} {example.answer}".strip() if example.question.strip() else ""


def _context(example: Example) -> str:
    return example.context.strip()


def _lengths(count: Callable[[str], int], examples: Sequence[Example]) -> Float[np.ndarray, "N 2"]:
    n = np.array([count(_answer(example)) for example in examples], dtype=float)
    return np.stack([n, np.log1p(n)], axis=1)


def _n_tokens(text: str) -> int:
    return sum(1 for _ in _TOKEN.finditer(text))


def _character(at: int, examples: Sequence[Example]) -> Any:
    """Which character stands first or last, one column each that two answers have."""
    from scipy import sparse

    found = [_answer(example)[at:][:1] for example in examples]
    names = {name: column for column, name in enumerate(sorted(set(found)))}
    columns = [names[name] for name in found]
    counted: Any = sparse.csr_matrix((np.ones(len(found)), (np.arange(len(found)), columns)), (len(found), len(names)))
    return _seen_twice(counted)


def _signs(examples: Sequence[Example]) -> Float[np.ndarray, "N S"]:
    """How often each sign occurs, as log(1 + n), and digits and capitals beside them."""
    rows: list[list[float]] = []
    for example in examples:
        text = _answer(example)
        counts = [text.count(sign) for sign in string.punctuation]
        rows.append([*counts, sum(map(str.isdigit, text)), sum(map(str.isupper, text))])
    counted = np.log1p(np.array(rows, dtype=float))
    return counted[:, counted.any(0)]


def _overlap(examples: Sequence[Example]) -> Float[np.ndarray, "N o"]:
    """Which share of the answer's words stands in the context and in the question, and whether all of it stands in the
    context as it is; nothing for statements by themselves."""
    if not any(example.context.strip() or example.question.strip() for example in examples):
        return np.empty((len(examples), 0))
    return np.array([_shares(example) for example in examples])


def _shares(example: Example) -> list[float]:
    answer = plain(example.answer[:LONGEST])
    words = answer.split()
    shares = [
        sum(word in words_in(text) for word in words) / max(1, len(words))
        for text in (example.context, example.question)
    ]
    return [*shares, float(bool(words) and f" {answer} " in f" {plain(example.context)} ")]


@lru_cache(maxsize=64)  # rows about one context mostly stand together; all contexts would take too much room
def plain(text: str) -> str:
    """A text in lower case, its words and nothing else."""
    return " ".join(_WORD.findall(text.lower()))


@lru_cache(maxsize=64)
def words_in(text: str) -> frozenset[str]:
    """The words of a text in lower case."""
    return frozenset(_WORD.findall(text.lower()))


def _bag(text_of: Callable[[Example], str], counter: Callable[[], Any], examples: Sequence[Example]) -> Any:
    """Which words (or letters in a row) a text has: each different text is read once."""
    from scipy import sparse

    texts = [text_of(example)[:LONGEST] for example in examples]
    if not any(texts):
        return sparse.csr_matrix((len(texts), 0))
    different = {text: number for number, text in enumerate(dict.fromkeys(texts))}
    counted = counter().transform(different)
    return _seen_twice(counted[[different[text] for text in texts]])


def _seen_twice(counted: Any) -> Any:
    """Without columns that no two rows have, or that all have, which tell nothing of other rows."""
    n = np.bincount(counted.indices, minlength=counted.shape[1])
    return counted[:, np.flatnonzero((n > 1) & (n < counted.shape[0]))]


def _counter(**how: Any) -> Any:
    """Hashed to columns: a vocabulary would take ten times the memory of the counts."""
    from sklearn.feature_extraction import text

    hashing: Any = text.HashingVectorizer
    return hashing(n_features=_COLUMNS, binary=True, norm=None, alternate_sign=False, **how)


_WORDS = r"(?u)\b\w+\b"
_words = partial(_counter, token_pattern=_WORDS)
words_in_a_row = partial(_counter, token_pattern=_WORDS, ngram_range=(1, 2))
"""Which words and which two in a row, in lower case."""
signs_in_a_row = partial(_counter, token_pattern=r"\S+", ngram_range=(1, 2))
"""The same of a text whose words and signs stand apart."""
_letters = partial(_counter, analyzer="char_wb", ngram_range=(2, 3))

FEATURES: dict[str, Feature] = {
    "characters": Feature("length in characters", partial(_lengths, len), numbers=True),
    "tokens": Feature("length in words and signs", partial(_lengths, _n_tokens), numbers=True),
    "first": Feature("first character", partial(_character, 0)),
    "last": Feature("last character", partial(_character, -1)),
    "punctuation": Feature("signs, digits and capitals", _signs, numbers=True),
    "overlap": Feature("overlap with context and question", _overlap, numbers=True),
    "answer words": Feature("words of the answer", partial(_bag, _answer, words_in_a_row)),
    "n-grams": Feature("letters of the answer (2 and 3 in a row)", partial(_bag, _answer, _letters)),
    "question words": Feature("words of the question", partial(_bag, _question, words_in_a_row)),
    "context words": Feature("words of the context", partial(_bag, _context, _words)),
    "both words": Feature("words of question and answer", partial(_bag, _both, words_in_a_row)),
}
"""By the names that `match` knows."""
