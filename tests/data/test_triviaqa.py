"""TriviaQA as its authors and the hub publish it."""

from __future__ import annotations

from pathlib import Path

import pytest
from published import Case, changed, check_recognised, check_refused, in_all_ways, read

from lens_truth.errors import gathered_notices

PUBLISHED: dict[str, Case] = {
    "triviaqa": (
        "TriviaQA",
        {
            "Data": [
                {
                    "Question": "What is moss?",
                    "QuestionId": "tc_1",
                    "Answer": {
                        "Value": "Plant",
                        "Aliases": ["Plant", "Plantae"],
                        "NormalizedAliases": ["plant", "plantae"],
                    },
                    "EntityPages": [],
                }
            ],
            "Domain": "Web",
        },
        [("", "What is moss?", "Plant", 1)],
    ),
    "triviaqa hub": (
        "TriviaQA's rows",
        {
            "question": "What is moss?",
            "question_id": "tc_1",
            "answer": {"value": "Plant", "aliases": ["Plantae"], "normalized_aliases": ["plant", "plantae"]},
            "entity_pages": {"title": []},
        },
        [("", "What is moss?", "Plant", 1)],
    ),
}


@in_all_ways(PUBLISHED)
def test_files_are_recognised(tmp_path: Path, case: Case, way: str) -> None:
    check_recognised(tmp_path, case, way)


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (changed(PUBLISHED["triviaqa"], Data={}), "field 'Data' is not a list"),
        (
            changed(PUBLISHED["triviaqa"], Data=[7]),
            "question 1: field 'Answer' holds no answer, as in TriviaQA's test questions",
        ),
        (
            changed(PUBLISHED["triviaqa hub"], answer={"value": "<unk>"}),
            "line 1: field 'answer' holds no answer, as in Trivi",
        ),
    ],
)
def test_what_is_not_understood_is_named(tmp_path: Path, content: str, complaint: str) -> None:
    check_refused(tmp_path, content, complaint)


def test_aliases_are_all_other_answers(tmp_path: Path) -> None:
    """Of TriviaQA as it was released and as the hub has it, each once; a question that comes again counts once."""
    for case in ("triviaqa", "triviaqa hub"):
        (found,) = read(tmp_path / "a.json", PUBLISHED[case][1])
        assert (found.id, found.group, found.aliases) == (
            "triviaqa-tc_1",
            "triviaqa-tc_1",
            ("Plantae", "plant", "plantae"),
        )
    row = PUBLISHED["triviaqa hub"][1]
    with gathered_notices() as said:
        found = read(tmp_path / "a.json", row, {**row, "question_id": "tc_2"}, row)
    assert [e.id for e in found] == ["triviaqa-tc_1", "triviaqa-tc_2"]
    assert said == [f"1 of 3 questions of {tmp_path / 'a.json'} stand there twice and are left out the second time"]
    people = {**row["answer"], "human_answers": ["A green one"]}
    assert "A green one" in read(tmp_path / "a.json", {**row, "answer": people})[0].aliases
