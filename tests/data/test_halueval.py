"""HaluEval as its authors publish it."""

from __future__ import annotations

from pathlib import Path

import pytest
from published import MOSS, Case, check_recognised, check_refused, in_all_ways, lines

from lens_truth.data.loading import load_examples

ASKED = {"knowledge": MOSS, "question": "Where?"}
SUMMARY = {"document": MOSS, "right_summary": "Moss on a roof.", "hallucinated_summary": "Moss in a bog."}
TALK = "[Human]: Where? [Assistant]: On the roof. [Human]: What?"

PUBLISHED: dict[str, Case] = {
    "halueval qa": (
        "HaluEval's questions",
        {**ASKED, "right_answer": "roof", "hallucinated_answer": "bog"},
        [(MOSS, "Where?", "roof", 1), (MOSS, "Where?", "bog", 0)],
    ),
    "halueval csv": (
        "HaluEval's questions",
        {"knowledge": MOSS, "raw_question": "Where?", "correct_answer": "roof", "hallucinated_answer": "bog"},
        [(MOSS, "Where?", "roof", 1), (MOSS, "Where?", "bog", 0)],
    ),
    "halueval dialogue": (
        "HaluEval's dialogues",
        {"knowledge": MOSS, "dialogue_history": TALK, "right_response": "Moss.", "hallucinated_response": "Ivy."},
        [(MOSS, TALK, "Moss.", 1), (MOSS, TALK, "Ivy.", 0)],
    ),
    "halueval summarization": (
        "HaluEval's summaries",
        SUMMARY,
        [
            (MOSS, "Summarize the document.", "Moss on a roof.", 1),
            (MOSS, "Summarize the document.", "Moss in a bog.", 0),
        ],
    ),
    "halueval qa samples": (
        "HaluEval's question samples",
        {**ASKED, "answer": "bog", "hallucination": "yes"},
        [(MOSS, "Where?", "bog", 0)],
    ),
    "halueval dialogue samples": (
        "HaluEval's dialogue samples",
        {"knowledge": MOSS, "dialogue_history": TALK, "response": "Moss.", "hallucination": "no"},
        [(MOSS, TALK, "Moss.", 1)],
    ),
    "halueval general": (
        "HaluEval's user queries",
        {
            "ID": "7",
            "user_query": "Name a plant.",
            "chatgpt_response": "Moss.",
            "hallucination": "no",
            "hallucination_spans": [],
        },
        [("", "Name a plant.", "Moss.", 1)],
    ),
    "halueval general, first release": (
        "HaluEval's user queries",
        {"ID": "7", "user_query": "Name a plant.", "chatgpt_response": "Quartz.", "hallucination_label": "yes"},
        [("", "Name a plant.", "Quartz.", 0)],
    ),
}


@in_all_ways(PUBLISHED)
def test_files_are_recognised(tmp_path: Path, case: Case, way: str) -> None:
    check_recognised(tmp_path, case, way)


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (
            lines({**ASKED, "answer": "bog", "hallucination": "maybe"}),
            "field 'hallucination' is 'maybe', not yes or no",
        ),
        (lines({**SUMMARY, "document": " "}), "line 1: field 'document' is empty"),
        (lines(SUMMARY, {**SUMMARY, "right_summary": ""}), r"1 of 4 answers are empty \(first: line 2\)"),
    ],
)
def test_what_is_not_understood_is_named(tmp_path: Path, content: str, complaint: str) -> None:
    check_refused(tmp_path, content, complaint)


def test_groups_and_ids_of_a_question(tmp_path: Path) -> None:
    rows = [PUBLISHED["halueval qa"][1]] * 2
    (tmp_path / "qa_data.json").write_text(lines(*rows))
    found = load_examples(str(tmp_path / "qa_data.json"))
    assert [e.id for e in found] == [f"halueval-{n}-{side}" for n in (0, 1) for side in ("right", "wrong")]
    assert [e.group for e in found] == ["halueval-0"] * 2 + ["halueval-1"] * 2
