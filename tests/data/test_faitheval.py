"""FaithEval as the hub publishes it."""

from __future__ import annotations

from pathlib import Path

import pytest
from published import MOSS, Case, changed, check_recognised, check_refused, in_all_ways, read

PUBLISHED: dict[str, Case] = {
    "faitheval counterfactual": (
        "FaithEval's counterfactual contexts",
        {
            "id": "f1",
            "question": "What is moss?",
            "answer": "a metal",
            "answerKey": "B",
            "choices": {"label": ["A", "B"], "text": ["a plant", "a metal"]},
            "context": "Moss is a metal.",
            "num of options": 2,
        },
        [("Moss is a metal.", "What is moss?", "a plant", 0), ("Moss is a metal.", "What is moss?", "a metal", 1)],
    ),
    "faitheval unanswerable": (
        "FaithEval",
        {"qid": "u", "question": "Why?", "context": MOSS, "answers": ["unknown", "unclear"], "subset": "x"},
        [(MOSS, "Why?", "not stated", 1)],
    ),
    "faitheval inconsistent": (
        "FaithEval",
        {"qid": "i", "question": "Where?", "context": f"{MOSS} Moss grows in bogs.", "answers": ["the roof", "bogs"]},
        [
            (f"{MOSS} Moss grows in bogs.", "Where?", "conflict", 1),
            (f"{MOSS} Moss grows in bogs.", "Where?", "the roof", 0),
            (f"{MOSS} Moss grows in bogs.", "Where?", "bogs", 0),
        ],
    ),
}


@in_all_ways(PUBLISHED)
def test_files_are_recognised(tmp_path: Path, case: Case, way: str) -> None:
    check_recognised(tmp_path, case, way)


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (changed(PUBLISHED["faitheval counterfactual"], answerKey="C"), "field 'answerKey' is 'C', not one of A, B"),
        (changed(PUBLISHED["faitheval counterfactual"], choices=["a", "b"]), "field 'choices' is not {'label': "),
        (
            changed(PUBLISHED["faitheval inconsistent"], answers=["bogs"]),
            "field 'answers' holds neither words for an unknown ",
        ),
    ],
)
def test_what_is_not_understood_is_named(tmp_path: Path, content: str, complaint: str) -> None:
    check_refused(tmp_path, content, complaint)


def test_answers_that_say_that_there_is_none(tmp_path: Path) -> None:
    """FaithEval names ways to say so; ours are as right."""
    (silent,) = read(tmp_path / "a.json", PUBLISHED["faitheval unanswerable"][1])
    assert silent.id == "faitheval-u-right" and {"unclear", "not mentioned"} <= set(silent.aliases)
    assert (
        read(tmp_path / "a.json", {**PUBLISHED["faitheval unanswerable"][1], "answers": []})[0].answer == "not stated"
    )
    said = read(tmp_path / "a.json", PUBLISHED["faitheval inconsistent"][1])
    assert "contradictory" in said[0].aliases and len({e.group for e in said}) == 1
    choices = [{"label": 1, "text": "a plant"}, {"label": 2, "text": "a metal"}]
    row = {**PUBLISHED["faitheval counterfactual"][1], "answerKey": "2", "choices": choices}
    assert [(e.answer, e.label, e.evidence) for e in read(tmp_path / "a.json", row)] == [
        ("a plant", 0, ()),
        ("a metal", 1, ((8, 15),)),
    ]
