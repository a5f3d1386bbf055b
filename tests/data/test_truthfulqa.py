"""TruthfulQA as its authors and the hub publish it."""

from __future__ import annotations

from pathlib import Path

import pytest
from published import Case, changed, check_recognised, check_refused, in_all_ways, table

from lens_truth.data.loading import load_examples
from lens_truth.errors import InputError

PUBLISHED: dict[str, Case] = {
    "truthfulqa csv": (
        "TruthfulQA",
        {
            "Type": "Adversarial",
            "Category": "Plants",
            "Question": "Does moss point north?",
            "Best Answer": "No",
            "Correct Answers": "No; It grows on all sides",
            "Incorrect Answers": "Yes; Moss grows north;",
            "Source": "own",
        },
        [
            ("", "Does moss point north?", "No", 1),
            ("", "Does moss point north?", "It grows on all sides", 1),
            ("", "Does moss point north?", "Yes", 0),
            ("", "Does moss point north?", "Moss grows north", 0),
        ],
    ),
    "truthfulqa generation": (
        "TruthfulQA",
        {"type": "x", "question": "Q?", "best_answer": "No", "correct_answers": ["No"], "incorrect_answers": ["Yes"]},
        [("", "Q?", "No", 1), ("", "Q?", "Yes", 0)],
    ),
    "truthfulqa mc_task": (
        "TruthfulQA's choices",
        {"question": "Q?", "mc1_targets": {"No": 1, "Yes": 0}, "mc2_targets": {"No": 1, "Never": 1, "Yes": 0}},
        [("", "Q?", "No", 1), ("", "Q?", "Never", 1), ("", "Q?", "Yes", 0)],
    ),
    "truthfulqa multiple choice": (
        "TruthfulQA's choices",
        {
            "question": "Q?",
            "mc1_targets": {"choices": ["No", "Yes"], "labels": [1, 0]},
            "mc2_targets": {"choices": ["No", "Yes"], "labels": [1, 0]},
        },
        [("", "Q?", "No", 1), ("", "Q?", "Yes", 0)],
    ),
}


@in_all_ways(PUBLISHED)
def test_files_are_recognised(tmp_path: Path, case: Case, way: str) -> None:
    check_recognised(tmp_path, case, way)


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (
            changed(PUBLISHED["truthfulqa mc_task"], mc2_targets={"No": 1}),
            "line 1: has no answers of both kinds, true and false",
        ),
        (
            changed(PUBLISHED["truthfulqa mc_task"], mc2_targets={"No": 2}),
            r"field 'mc2_targets' is neither \{answer: 1 or 0\} nor",
        ),
        (
            changed(PUBLISHED["truthfulqa mc_task"], mc2_targets=["No"]),
            r"field 'mc2_targets' is neither \{answer: 1 or 0\} nor",
        ),
        (
            changed(PUBLISHED["truthfulqa mc_task"], mc2_targets={"choices": ["No"], "labels": []}),
            "field 'mc2_targets' is neither",
        ),
        (
            changed(PUBLISHED["truthfulqa generation"], correct_answers=7),
            "field 'correct_answers' is neither a text nor a list of texts",
        ),
    ],
)
def test_what_is_not_understood_is_named(tmp_path: Path, content: str, complaint: str) -> None:
    check_refused(tmp_path, content, complaint)


def test_a_file_in_another_format_than_its_name_says(tmp_path: Path) -> None:
    (tmp_path / "data.json").write_text(changed(PUBLISHED["truthfulqa mc_task"]))
    with pytest.raises(InputError, match=r"'mc2_targets'; what can be read has those of HaluEval's questions \(know"):
        load_examples(f"halueval:{tmp_path / 'data.json'}")


def test_groups_and_ids_of_a_question(tmp_path: Path) -> None:
    _, row, _ = PUBLISHED["truthfulqa csv"]
    (tmp_path / "TruthfulQA.csv").write_text(table(row, row))
    found = load_examples(str(tmp_path / "TruthfulQA.csv"))
    assert len({e.id for e in found}) == 8 and [e.group[-1] for e in found] == list("00001111")
