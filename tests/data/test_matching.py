"""Rows in which the surface tells nothing, and rewrites where there are none."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import binom
from sklearn.ensemble import RandomForestClassifier
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import GroupKFold, cross_val_predict

from lens_truth import Example, InputError, load_examples
from lens_truth.data import cloze_examples, match, swapped_answers
from lens_truth.data.examples import labels_of
from lens_truth.data.surface_fits import surface_baselines
from lens_truth.stats.power import detectable_accuracy


def answers(n: int, shift: float, seed: int = 0) -> list[Example]:
    """Supported answers are shorter by some characters."""
    rng = np.random.default_rng(seed)
    found: list[Example] = []
    for number in range(n):
        for label in (1, 0):
            length = max(2, round(rng.normal(30 + shift * (not label), 8)))
            text = "".join(rng.choice(list("abcdefgh "), length)).strip() or "a"
            found.append(Example(f"{number}-{label}", str(number), f"Which is number {number}?", text + ".", label))
    return found


def length_auroc(examples: list[Example]) -> float:
    """Of a forest, which sees more than a line, by scikit-learn."""
    x = np.array([[len(e.answer)] for e in examples])
    forest = RandomForestClassifier(100, min_samples_leaf=10, random_state=0)
    labels, groups = labels_of(examples), [e.group for e in examples]
    told = cross_val_predict(forest, x, labels, groups=groups, cv=GroupKFold(5), method="predict_proba")[:, 1]
    return float(roc_auc_score(labels, told))


def test_length_no_longer_tells_the_label_and_most_rows_stay() -> None:
    examples = answers(300, 8)
    matched = match(examples, on=["characters"])
    assert length_auroc(examples) > 0.65 and abs(length_auroc(matched.examples) - 0.5) < 0.08
    assert matched.left and matched.after is not None and matched.after.low <= 0.5 <= matched.after.high
    labels = labels_of(matched.examples)
    assert 2 * sum(labels) == len(labels) == matched.n
    # two normal distributions a standard deviation apart overlap by .617, so more rows cannot be had
    assert 0.5 * 600 < matched.n < 0.68 * 600
    assert [examples[int(row)] for row in matched.rows] == matched.examples and matched.of == 600
    assert (np.diff(matched.rows) > 0).all()
    again = match(examples, on=["characters"])
    assert (again.rows == matched.rows).all()
    assert f"{matched.n} of 600 rows" in matched.sentence


def test_what_tells_nothing_is_left_whole() -> None:
    examples = answers(100, 0)
    matched = match(examples)
    assert matched.n == 200 and matched.after == matched.before


def test_words_are_matched_too() -> None:
    rng = np.random.default_rng(0)
    words = ["amber", "birch", "cedar", "dune", "elm", "fern", "grove", "heath"]
    examples = [
        Example(
            f"{n}-{label}",
            str(n),
            f"Q{n}?",
            " ".join([*rng.choice(words, 3), "so" if label == (n % 3 > 0) else "no"]),
            label,
        )
        for n in range(200)
        for label in (1, 0)
    ]
    before, after = (
        surface_baselines(its, names=["answer words"])[0]
        for its in (examples, match(examples, on=["answer words"]).examples)
    )
    assert before.low > 0.55 and after.low <= 0.5


def test_power_is_that_of_the_exact_test() -> None:
    share = detectable_accuracy(100)
    enough = binom.isf(0.05, 100, 0.5)
    assert binom.sf(enough, 100, 0.5) < 0.05 and binom.sf(enough, 100, share) == pytest.approx(0.8, abs=1e-3)
    assert detectable_accuracy(1000) < share and np.isnan(detectable_accuracy(3))


def test_where_nothing_is_left_it_is_said_and_rewritten() -> None:
    """Every supported answer is short, every other one long."""
    rng = np.random.default_rng(1)
    examples = [
        Example(
            f"{n}-{label}",
            str(n),
            f"In what city is house {n}?",
            f"{name}" if label else f"It is in {name}, they say in town",
            label,
        )
        for n in range(60)
        for name in ["".join(rng.choice(list("aeiou"), 5)).capitalize()]
        for label in (1, 0)
    ]
    matched = match(examples, on=["characters"])
    assert not matched.left and "rewrite them (swap:FILE" in matched.sentence
    swapped = match(examples, on=["characters"], rewrite="swap")
    assert swapped.left and swapped.n == 120 and swapped.rewritten and "swapped between questions" in swapped.sentence
    assert not len(swapped.rows)


def test_swapped_answers_have_both_labels_in_one_group() -> None:
    names = ["Delhi", "Paris", "Lagos", "Quito", "Tunis", "Hanoi", "Dakar", "Seoul"]
    examples = [
        Example(f"{n}-{label}", str(n), f"In what city is house {n}?", name if label else "nowhere", label)
        for n, name in enumerate(names)
        for label in (1, 0)
    ]
    swapped = swapped_answers(examples)
    assert len(swapped) == 16 and len({e.id for e in swapped}) == 16
    for name in names:
        rows = [e for e in swapped if e.answer == name]
        assert sorted(e.label for e in rows) == [0, 1] and len({e.group for e in rows}) == 1
    own = {e.question: e.answer for e in examples if e.label}
    assert all((own[e.question] == e.answer) == bool(e.label) for e in swapped)
    assert all(abs(its.auroc - 0.5) < 1e-9 for its in surface_baselines(swapped, n_folds=4, n_permutations=0))


def test_no_answer_goes_to_a_question_that_names_it_or_has_it() -> None:
    one = Example("1", "1", "Is Paris or Lagos in Africa?", "Lagos", 1)
    other = Example("2", "2", "Which city has a tower?", "Paris", 1)
    alias = Example("3", "3", "Which city is by the Seine?", "Rouen", 1, aliases=("Paris",))
    with pytest.raises(InputError, match="no two of the 3 questions with a supported answer can trade them"):
        swapped_answers([one, other, alias])
    with pytest.raises(InputError, match="no two of the 0 questions"):
        swapped_answers([Example("1", "1", "", "Paris is in France.", 1)])


def test_clozes_leave_out_a_name_that_stands_once() -> None:
    cities = {"Delhi": "India", "Paris": "France", "Lagos": "Nigeria", "Quito": "Ecuador"}
    examples = [
        Example(
            f"{n}",
            f"{n}",
            "What is it?",
            "a long answer in many words",
            1,
            context=f"Short one. The old town of {city} lies in {land}, they say.",
        )
        for n, (city, land) in enumerate(cities.items())
    ]
    clozes = cloze_examples(examples)
    right = [e for e in clozes if e.label]
    assert len(clozes) == 8 and {e.answer for e in right} == set(cities.values())
    assert (
        right[0].question.endswith("lies in ____, they say.")
        and right[0].context[slice(*right[0].evidence[0])] == right[0].answer
    )
    with pytest.raises(InputError, match="no cloze can be made"):
        cloze_examples([Example("1", "1", "Q?", "a", 1, context="nothing here but small words in a row")])


def test_files_are_rewritten_by_name(tmp_path) -> None:
    file = tmp_path / "rows.csv"
    lines = [
        "question,answer,label",
        *(f"In what city is house {n}?,{name},1" for n, name in enumerate(["Delhi", "Paris"])),
    ]
    file.write_text("\n".join(lines))
    assert [e.label for e in load_examples(f"swap:{file}")] == [1, 0, 1, 0]
    assert len(load_examples(f"swap:{file}", limit=3)) == 3


def test_what_cannot_be_matched_is_named() -> None:
    with pytest.raises(InputError, match="nothing to match on"):
        match(answers(20, 0), on=[])
    with pytest.raises(InputError, match="nothing of overlap in which they differ"):
        match([Example(f"{n}", f"{n}", "", f"It is {n}.", n % 2) for n in range(40)], on="overlap")
    with pytest.raises(InputError, match="there is no surface feature 'colour'"):
        match(answers(20, 0), on=["colour"])
    with pytest.raises(InputError, match="rewritten by swap or cloze, not by 'turn'"):
        match(answers(20, 0), rewrite="turn")
    with pytest.raises(InputError, match="a probe needs both classes"):
        match([e for e in answers(20, 0) if e.label])
