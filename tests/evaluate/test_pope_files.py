"""Answers to POPE's questions as those write them who give them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from lens_truth.errors import InputError
from lens_truth.evaluate.pope import PopeQuestion, read_answers

TEXTS = ["Is there a cat?", "Is there a dog?"]
SAID = ["Yes", "No"]
QUESTIONS = [PopeQuestion(str(n), "1.jpg", text, "yes") for n, text in enumerate(TEXTS, start=1)]
BOTH = list(zip((1, 2), TEXTS, SAID, strict=True))
WAYS: dict[str, list[dict[str, Any]]] = {
    "LLaVA": [{"question_id": n, "prompt": asked, "text": said, "answer_id": "x"} for n, asked, said in BOTH[::-1]],
    "VCD": [
        {"question_id": n, "prompt": f"{asked} Answer:", "text": said, "image": "1.jpg"} for n, asked, said in BOTH
    ],
    "POPE": [{"question": asked, "answer": said} for _, asked, said in BOTH],
    "in order": [{"answer": said} for said in SAID],
}


def written(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.mark.parametrize("way", WAYS)
def test_answers_as_others_write_them(tmp_path: Path, way: str) -> None:
    assert read_answers(written(tmp_path / "a.jsonl", WAYS[way]), QUESTIONS) == SAID
    (tmp_path / "a.json").write_text(json.dumps(WAYS[way], indent=1))
    assert read_answers(tmp_path / "a.json", QUESTIONS) == SAID


@pytest.mark.parametrize(
    ("rows", "complaint"),
    [
        (
            WAYS["POPE"][::-1],
            r"line 1: answers 'Is there a dog\?', and the question of that place is 'Is there a cat\?'",
        ),
        (WAYS["POPE"][:1], "its 1 answers have no question_id, and there are 2 questions"),
        ([*WAYS["POPE"][:1], {"question": TEXTS[1]}], "line 2: has no field 'answer' or 'text'"),
        ([{"answer": "Yes"}, {"answer": ["No"]}], "line 2: field 'answer' is not text"),
    ],
)
def test_answers_without_ids_must_be_in_order(tmp_path: Path, rows: list[dict[str, Any]], complaint: str) -> None:
    with pytest.raises(InputError, match=f"a.jsonl.*{complaint}"):
        read_answers(written(tmp_path / "a.jsonl", rows), QUESTIONS)
