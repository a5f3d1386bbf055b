"""What a set of neurons is held against: the same classifier of other neurons, all neurons, and what the texts show."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from lens_truth.data.bag_of_words import PENALTY, word_counter
from lens_truth.io.streams import Stream, stream

Table = Float[np.ndarray, "n K"]
Labels = Int[np.ndarray, " n"]
Decisions = Float[np.ndarray, " t"]
_CHUNK = 4096
"""Neurons at a time, of which copies are made."""


def refitted(train: Table, labels: Labels, test: Float[np.ndarray, "t K"]) -> Decisions:
    """A logistic regression (L2, C = 1) on columns of equal spread: above 0 for label 1."""
    from sklearn.linear_model import LogisticRegression

    middle, spread = train.mean(0, dtype=float), train.std(0, dtype=float)
    spread = np.where(spread > 0, spread, 1)
    model: Any = LogisticRegression(max_iter=5000)
    model.fit((train - middle) / spread, labels)
    return np.asarray(model.decision_function((test - middle) / spread))


def dense(train: Table, hallucinated: Labels, test: Float[np.ndarray, "t K"]) -> Decisions:
    """A ridge classifier on all columns, each of equal spread; the penalty is the mean squared length of a row, so that
    it needs no choice. Solved in the rows, of which there are fewer."""
    n, signs = len(train), 2.0 * hallucinated - 1
    inner, across = np.zeros((n, n)), np.zeros((len(test), n))
    for first in range(0, train.shape[1], _CHUNK):
        here = np.asarray(train[:, first : first + _CHUNK])
        middle, spread = here.mean(0), here.std(0)
        spread = np.where(spread > 0, spread, 1)
        mine, theirs = (here - middle) / spread, (test[:, first : first + _CHUNK] - middle) / spread
        inner += mine @ mine.T
        across += theirs @ mine.T
    inner += np.eye(n) * np.trace(inner) / n
    lean = signs.mean()
    solve: Any = np.linalg.solve
    return np.asarray(across @ solve(inner, signs - lean) + lean)


def best_single(train: Table, hallucinated: Labels, n: int) -> Int[np.ndarray, " _"]:
    """The n columns whose means in hallucinated and right answers are furthest apart, measured by their spread inside
    the classes."""
    right, wrong = train[hallucinated == 0], train[hallucinated == 1]
    apart = wrong.mean(0) - right.mean(0)
    spread = np.sqrt((wrong.var(0) + right.var(0)) / 2)
    told = np.abs(apart) / np.where(spread > 0, spread, np.inf)
    return np.argsort(-told, kind="stable")[:n]


def drawn_columns(n: int, total: int, without: Int[np.ndarray, " K"], seed: int, draw: int) -> Int[np.ndarray, " _"]:
    """So many columns at random, none of them in the set."""
    free = np.setdiff1d(np.arange(total), without)
    return stream(seed, Stream.RANDOM_NEURONS, 2, draw).choice(free, min(n, len(free)), replace=False)


def words(train: Sequence[str], hallucinated: Labels, test: Sequence[str]) -> Decisions:
    """By the words and pairs of words of a text."""
    from sklearn.linear_model import LogisticRegression

    counter = word_counter()
    try:
        seen = counter.fit_transform(train)
    except ValueError:  # no text has a word
        return np.zeros(len(test))
    model: Any = LogisticRegression(C=PENALTY, max_iter=10_000)
    model.fit(seen, hallucinated)
    return np.asarray(model.decision_function(counter.transform(test)))
