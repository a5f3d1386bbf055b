"""Prompts with answers that have no labels, and scores as they are written."""

from __future__ import annotations

import csv
import json
from io import StringIO
from pathlib import Path

import pytest

from lens_truth.detection.texts import ScoredAnswer, ScoredToken, read_texts, scores_csv, tokens_jsonl
from lens_truth.errors import InputError

ANSWER = ScoredAnswer(
    "a, b", "Where?", None, -0.25, 0.4, -3.5, (ScoredToken(" in", 1.0, float("nan"), ((0, 1, 0.5),)),) * 2
)


def test_rows(tmp_path: Path) -> None:
    path = tmp_path / "answers.jsonl"
    rows = [{"prompt": "p", "answer": "a", "context": "c"}, {"question": "q", "response": "r", "id": "seven"}]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    one, two = read_texts(path)
    assert (one.id, one.question, one.answer, one.context) == ("0", "p", "a", "c")
    assert (two.id, two.question, two.answer, two.context) == ("seven", "q", "r", "")
    table = tmp_path / "answers.csv"
    table.write_text("prompt,completion\np,a\n,b\n")
    assert [(its.question, its.answer) for its in read_texts(table)] == [("p", "a"), ("", "b")]


def test_one_text(tmp_path: Path) -> None:
    path = tmp_path / "letter.txt"
    path.write_text("The heart is in the attic.\nIt is red.\n")
    (its,) = read_texts(path)
    assert its.is_statement and its.answer == "The heart is in the attic.\nIt is red." and its.id == "letter.txt"


@pytest.mark.parametrize(
    ("name", "content", "complaint"),
    [
        ("a.txt", "  \n", "the text is empty"),
        ("a.jsonl", '{"prompt": "p"}\n', "line 1: has no field 'answer' \\(or response"),
        ("a.jsonl", '{"prompt": "p", "answer": " "}\n', "line 1: has no field 'answer'"),
        ("a.jsonl", '{"prompt": 3, "answer": "a"}\n', "line 1: field 'prompt' is 3, not a text"),
        ("a.jsonl", '{"answer": "a", "id": 1}\n{"answer": "b", "id": 1}\n', "id '1' stands there twice"),
        ("a.csv", "prompt,answer\n", "holds no answers"),
    ],
)
def test_bad_rows(tmp_path: Path, name: str, content: str, complaint: str) -> None:
    (tmp_path / name).write_text(content)
    with pytest.raises(InputError, match=complaint) as caught:
        read_texts(tmp_path / name)
    assert name in str(caught.value)


def test_written() -> None:
    (line,) = csv.DictReader(StringIO(scores_csv([ANSWER], -0.3)))
    assert line["id"] == "a, b" and line["label"] == "" and line["supported"] == "1" and line["answer"] == "in in"
    (row,) = map(json.loads, tokens_jsonl([ANSWER]).splitlines())
    assert row["tokens"][0] == {"text": " in", "score": 1.0, "log_prob": None, "heads": [[0, 1, 0.5]]}
    assert row["label"] is None and row["probability"] == 0.4
