"""What the words of a text tell of its label, without a model: the surface baseline of probes that are trained on one
set of examples and tested on another.

The baseline is scikit-learn's logistic regression (L2, C = 10) on which words and which two words in a row a text has:
`CountVectorizer(binary=True, ngram_range=(1, 2), token_pattern=r"(?u)\\b\\w+\\b")` in lower case, so that words of one
letter count and signs do not. Of an example it sees question and answer, of a statement the statement. On the files of
Probing the Geometry of Truth (Bao et al. 2025, arXiv 2506.00823), ungrouped as they mostly are, these settings give
AUROC .338 from cities to negated cities, .010 from facts to negated facts, and .041 within cities."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any, cast

import numpy as np
from jaxtyping import Bool, Float, Int

from lens_truth.data.examples import Example, labels_of
from lens_truth.io.stages import stage

PENALTY = 10.0
"""C of the logistic regression."""
Rows = Bool[np.ndarray, " N"]


def bag_of_words_auroc(
    train: Sequence[Example],
    test: Sequence[Example] | None = None,
    *,
    n_folds: int = 5,
    seed: int = 0,
    grouped: bool = True,
) -> float:
    """AUROC of a bag of words that is trained on one set of examples and tested on another, or within one set.

    Below .5 it is worse than a guess: trained on `... is in Russia.`, it is nearly always wrong about `... is not in
    Russia.`, and a probe that transfers does something that words do not.

    >>> lens_truth.bag_of_words_auroc(cities)  # about .5: a country is no more often right than wrong
    >>> lens_truth.bag_of_words_auroc(cities, negated_cities)

    Args:
        test: by default the rows of `train` in folds.
        n_folds: folds over the groups of both sets; rows are tested while their fold is held out of the training rows,
            and the result is the mean over folds.
        grouped: False for figures as they are often published: trained on all of `train`; within one set, folds that
            split groups (shuffled and stratified). Then a statement and its negation, or two about one subject, stand
            on both sides.

    Raises:
        InputError: for one label only, and for fewer groups than folds.
    """
    from lens_truth.stats.folds import check_labels, cut_folds

    if grouped:
        tested = {"train": train} if test is None else {"test": test}
        return float(bag_of_words_transfer({"train": train}, tested, n_folds=n_folds, seed=seed)[0])
    texts = _Texts({"train": train} if test is None else {"train": train, "test": test})
    for number in range(len(texts.names)):
        check_labels(texts.labels[texts.domain == number])
    first = texts.domain == 0
    if test is not None:
        return texts.auroc(first, ~first)
    fold = cut_folds(texts.labels, n_folds, seed)
    return float(np.mean([texts.auroc(fold != k, fold == k) for k in range(n_folds)]))


@stage("surface")
def bag_of_words_transfer(
    trained: Mapping[str, Sequence[Example]],
    tested: Mapping[str, Sequence[Example]],
    *,
    n_folds: int = 5,
    seed: int = 0,
) -> Float[np.ndarray, " M"]:
    """AUROC on each of the tested sets of one bag of words that is trained on the rows of all trained sets together;
    of sets that stand in both under one name the rows count once. As `bag_of_words_auroc`, grouped.

    >>> lens_truth.bag_of_words_transfer({"cities": cities}, {"cities": cities, "negated": negated_cities})
    """
    texts = _Texts({**trained, **tested})
    fold = texts.folds(n_folds, seed)
    train = np.isin(texts.domain, [texts.names.index(name) for name in trained])
    return np.array(texts.over_folds(fold, train)[[texts.names.index(name) for name in tested]])


@stage("surface")
def bag_of_words_matrix(
    sets: Mapping[str, Sequence[Example]], *, n_folds: int = 5, seed: int = 0
) -> Float[np.ndarray, "R M"]:
    """`bag_of_words_transfer` from every set (rows) to every set (columns), in one set of folds over the groups of all;
    of three and more sets, the last row is trained on all sets but the one that is tested.

    >>> lens_truth.bag_of_words_matrix({"cities": cities, "inventors": inventors, "facts": facts})
    """
    texts = _Texts(sets)
    fold, M = texts.folds(n_folds, seed), len(sets)
    rows = [texts.over_folds(fold, texts.domain == number) for number in range(M)]
    if M > 2:
        rows.append(np.array([texts.over_folds(fold, texts.domain != number, number)[number] for number in range(M)]))
    return np.array(rows)


def word_counter() -> Any:
    """Counts which words and which two words in a row a text has, as this module's docstring says."""
    from sklearn.feature_extraction.text import CountVectorizer

    floats: Any = np.float64
    return CountVectorizer(binary=True, ngram_range=(1, 2), token_pattern=r"(?u)\b\w+\b", dtype=floats)


class _Texts:
    """The words of the rows of several sets, counted once."""

    def __init__(self, sets: Mapping[str, Sequence[Example]]) -> None:
        self.names = list(sets)
        self._rows = [example for its in sets.values() for example in its]
        self.labels: Int[np.ndarray, " N"] = np.array(labels_of(self._rows))
        self.domain: Int[np.ndarray, " N"] = np.repeat(np.arange(len(sets)), [len(its) for its in sets.values()])

    def folds(self, n_folds: int, seed: int) -> Int[np.ndarray, " N"]:
        """One set of folds over the groups of all sets."""
        from lens_truth.stats.folds import check_labels, grouped_folds

        for number in range(len(self.names)):
            check_labels(self.labels[self.domain == number])
        return grouped_folds(self.labels, [example.group for example in self._rows], n_folds, seed, self.domain)

    @cached_property
    def _words(self) -> Any:
        # Words that no training row has keep the weight 0, as if they were not counted.
        return word_counter().fit_transform([f"{example.question} {example.answer}" for example in self._rows])

    def over_folds(self, fold: Int[np.ndarray, " N"], train: Rows, only: int | None = None) -> Float[np.ndarray, " M"]:
        """AUROC on every set (or one only) of rows in a fold, trained on the training rows outside it: the mean over
        folds in which the set has both labels."""
        wanted = range(len(self.names)) if only is None else [only]
        found = np.full((int(fold.max()) + 1, len(self.names)), np.nan)
        for k in range(len(found)):
            decisions = self._decisions(train & (fold != k))
            for number in wanted:
                rows = (fold == k) & (self.domain == number)
                found[k, number] = _auroc(self.labels[rows], decisions[rows])
        return np.array([np.nanmean(its) if not np.isnan(its).all() else np.nan for its in found.T])

    def auroc(self, train: Rows, test: Rows) -> float:
        """Of the test rows, trained on the others."""
        return _auroc(self.labels[test], self._decisions(train)[test])

    def _decisions(self, train: Rows) -> Float[np.ndarray, " N"]:
        from sklearn.linear_model import LogisticRegression

        words = self._words[train]
        seen = np.flatnonzero(words.getnnz(axis=0))
        fitted: Any = LogisticRegression(C=PENALTY, max_iter=10_000)
        fitted.fit(words[:, seen], self.labels[train])
        decided: np.ndarray = self._words[:, seen] @ fitted.coef_[0] + fitted.intercept_[0]
        return decided


def _auroc(labels: Int[np.ndarray, " n"], decisions: Float[np.ndarray, " n"]) -> float:
    from sklearn import metrics

    return (
        float(cast("Any", metrics).roc_auc_score(labels, decisions)) if len(set(labels.tolist())) == 2 else float("nan")
    )
