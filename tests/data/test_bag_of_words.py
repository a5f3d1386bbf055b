"""What words tell of labels from one set to another, against scikit-learn written out."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score  # pyright: ignore[reportUnknownVariableType]

from lens_truth.data.bag_of_words import bag_of_words_auroc, bag_of_words_matrix, bag_of_words_transfer
from lens_truth.data.examples import Example
from lens_truth.data.loading import load_examples
from lens_truth.errors import InputError
from lens_truth.stats.folds import grouped_folds


def towns(word: str = "", n: int = 40) -> list[Example]:
    """Statements in which a land tells the label, and a negation turns it round."""
    return [
        Example(f"{word}{n}-{land}", str(n), "", f"Town {n} is {word}in Land {land}.", int((land < 2) != bool(word)))
        for n in range(n)
        for land in (n % 2, 2 + n % 2)
    ]


def plain(train: list[Example], test: list[Example]) -> float:
    words = CountVectorizer(binary=True, ngram_range=(1, 2), token_pattern=r"(?u)\b\w+\b")
    fitted: Any = LogisticRegression(C=10, max_iter=10_000)
    fitted.fit(words.fit_transform([e.answer for e in train]), [e.label for e in train])
    decisions: Any = fitted.decision_function(words.transform([e.answer for e in test]))
    return float(cast("Any", roc_auc_score)([e.label for e in test], decisions))


def test_words_that_tell_are_turned_round_by_a_negation() -> None:
    one, other = towns(), towns("not ")
    assert bag_of_words_auroc(one) == 1 == bag_of_words_auroc(other)
    assert bag_of_words_auroc(one, other) == 0 == bag_of_words_auroc(one, other, grouped=False)


def test_is_scikit_learns() -> None:
    one, other = towns()[:50], towns("not ")
    one = [*one, Example("x", "0", "", "Town 3 is in Land 0.", 0), Example("y", "1", "", "Town 4 is in Land 3.", 1)]
    assert bag_of_words_auroc(one, other, grouped=False) == pytest.approx(plain(one, other), abs=0.01)
    fold = grouped_folds(np.array([e.label for e in (*one, *other)]), [e.group for e in (*one, *other)], 5, 0)
    of_one, of_other = fold[: len(one)], fold[len(one) :]
    expected = [
        plain(
            [e for e, its in zip(one, of_one, strict=True) if its != k],
            [e for e, its in zip(other, of_other, strict=True) if its == k],
        )
        for k in range(5)
    ]
    assert bag_of_words_auroc(one, other) == pytest.approx(float(np.mean(expected)), abs=0.02)


def test_matrix_is_made_of_transfers() -> None:
    sets = {"towns": towns(), "negated": towns("not "), "some": towns(n=12)[::-1]}
    matrix = bag_of_words_matrix(sets, n_folds=3)
    assert matrix.shape == (4, 3)
    for row, name in enumerate(sets):
        np.testing.assert_allclose(matrix[row], bag_of_words_transfer({name: sets[name]}, sets, n_folds=3))
    others = {name: its for name, its in sets.items() if name != "negated"}
    np.testing.assert_allclose(matrix[3, 1], bag_of_words_transfer(others, sets, n_folds=3)[1])
    assert bag_of_words_matrix(dict([*sets.items()][:2]), n_folds=3).shape == (2, 2)


def test_question_and_answer_are_seen() -> None:
    rows = [Example(str(n), str(n), f"Is {'it' if n % 2 else 'she'}?", "yes", n % 2) for n in range(20)]
    assert bag_of_words_auroc(rows) == 1


def test_bad_sets_are_refused() -> None:
    one = [e for e in towns() if e.label]
    for grouped in (True, False):
        with pytest.raises(InputError, match="all 40 examples are supported"):
            bag_of_words_auroc(towns(), one, grouped=grouped)
    with pytest.raises(InputError, match="2 groups, fewer than the 5 folds"):
        bag_of_words_auroc(towns(n=2))


@pytest.mark.published
def test_published_figures(data: Path) -> None:
    """Those of the data's own description; with subjects held out, words are at most as bad."""
    cities, not_cities, facts, not_facts = (
        load_examples(str(data / "negation" / f"{name}.csv")) for name in ("cities", "neg_cities", "facts", "neg_facts")
    )
    assert bag_of_words_auroc(cities, not_cities, grouped=False) == pytest.approx(0.338, abs=0.001)
    assert bag_of_words_auroc(facts, not_facts, grouped=False) == pytest.approx(0.010, abs=0.001)
    assert bag_of_words_auroc(cities, grouped=False) == pytest.approx(0.041, abs=0.001)
    assert bag_of_words_auroc(cities) == pytest.approx(0.460, abs=0.002)
    assert bag_of_words_auroc(cities, not_cities) == pytest.approx(0.540, abs=0.002)
