"""Statements find what contradicts them."""

from __future__ import annotations

from dataclasses import replace

import pytest

from lens_truth.data.examples import Example
from lens_truth.data.loading import load_examples
from lens_truth.errors import InputError
from lens_truth.geometry.partners import contradicting_rows, negation_rows, with_answer


def said(text: str, label: int, group: str = "lodz", question: str = "") -> Example:
    return Example(text, group, question, text, label)


CITIES = [said("Lodz is in Poland.", 1), said("Lodz is in Peru.", 0), said("Lima is in Peru.", 1, "lima")]
NEGATED = [
    said("Lima is not in Peru.", 0, "lima"),
    said("Lodz is not in Peru.", 1),
    said("Lodz is not in Poland.", 0),
]


def test_negations_are_found_in_any_order() -> None:
    assert negation_rows(CITIES, NEGATED) == [2, 1, 0]


def test_a_negation_serves_once() -> None:
    asked = [replace(example, question="Where is it?") for example in (CITIES[0], CITIES[0])]
    with pytest.raises(InputError, match="pairs without partner: 1 of 2 statements have no negation"):
        negation_rows(asked, NEGATED)


def test_negations_of_facts_are_those_of_the_same_claim() -> None:
    """Worded otherwise, and in the place of the other answer."""
    its, negated = (load_examples(f"facts:{kind}", limit=80) for kind in ("affirmative", "negated"))
    for row, found in enumerate(negation_rows(its, negated)):
        name, answer = its[row].id.rsplit("-", 1)
        turned = {"right": "wrong", "wrong": "right"}[answer]
        assert negated[found].id == f"{name}-{turned}".replace("affirmative", "negated")


def test_right_and_wrong_answers_are_pairs() -> None:
    its = load_examples("zoo:text", limit=40)
    pairs = contradicting_rows(its)
    assert len(pairs) == 20
    assert all(its[one].label > its[other].label for one, other in pairs)
    assert all(its[one].question == its[other].question for one, other in pairs)


def test_of_several_claims_about_a_subject_those_alike_are_a_pair() -> None:
    claims = ["Water boils at 100 degrees.", "Water boils at 50 degrees.", "Water is wet.", "Water is dry."]
    its = [said(text, int(i % 2 == 0), "water") for i, text in enumerate(claims)]
    assert contradicting_rows(its) == [(0, 1), (2, 3)]
    assert contradicting_rows([its[0], its[2], its[3], its[1]]) == [(0, 3), (1, 2)]


def test_claims_without_their_opposite_are_counted() -> None:
    with pytest.raises(InputError, match="pairs without partner: 1 of 2 questions or subjects .*'Lima is in Peru.'"):
        contradicting_rows(CITIES)


def test_a_statement_with_an_answer_keeps_what_it_is() -> None:
    (one,) = with_answer(CITIES[:1], "Yes")
    assert (one.question, one.answer, one.label, one.group) == ("Lodz is in Poland. Is that true?", "Yes", 1, "lodz")
    (asked,) = with_answer([said("Poland", 1, question="Where is Lodz?")], "No")
    assert asked.question == "Where is Lodz? Poland Is that true?"
    assert with_answer(CITIES, "Yes")[1].id != with_answer(CITIES, "No")[1].id
