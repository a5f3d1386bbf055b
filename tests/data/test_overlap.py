"""Ids and questions that two data sets share, in rows and in files of ids; and the command that names them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from conftest import refused, run

from lens_truth.data.examples import Example, write_examples
from lens_truth.data.id_lists import read_ids
from lens_truth.data.overlap import Overlap, shared_questions
from lens_truth.errors import InputError


def asked(*questions: str, context: str = "", start: int = 0) -> list[Example]:
    return [
        Example(f"{n}", f"{n}", question, "moss", 1, context=context and f"{context} {n}")
        for n, question in enumerate(questions, start=start)
    ]


def test_a_question_is_its_words() -> None:
    one = asked("Where is moss?", "Who is  it?", "What?")
    other = asked("where is MOSS", "Who is it? Respond with the answer only, without any explanation.", start=7)
    found = shared_questions(one, other)
    assert (found.ids, found.of, found.questions) == (0, (3, 2), 2)
    assert found.first_question == "Where is moss?"
    (said,) = found.warnings("train", "test")
    assert "train and test share 2 questions (first: 'Where is moss?'); neither is a held-out test" in said


def test_the_same_number_of_a_row_is_no_shared_question() -> None:
    """Ids of rows without any are numbers; only those count whose question is the same, perhaps with an instruction."""
    one, other = asked("Where is moss?", "Who?"), asked("Where is moss? Answer shortly.", "What?")
    found = shared_questions(one, other)
    assert (found.ids, found.first_id, found.questions) == (1, "0", 0)
    assert shared_questions(asked("Who?"), asked("What?")).warnings("a", "b") == []


def test_contexts_count_only_where_questions_repeat() -> None:
    """Real questions are known by their words, whatever context stands beside them; those of a made world are not."""
    one = asked("Where is moss?", "Who?", context="roof")
    assert shared_questions(one, asked("Who?", "What?", context="cellar")).questions == 1
    made = asked(*["What colour is it?"] * 5, context="red")
    assert shared_questions(made, asked(*["What colour is it?"] * 5, context="blue")).questions == 0
    assert shared_questions(made, made[2:]).questions == 3
    told = [Example("a", "a", "", "Moss is green.", 1)]
    assert shared_questions(told, [replace(told[0], id="b")]).questions == 1


def test_ids_alone() -> None:
    trivia = [Example("triviaqa-tc_1", "triviaqa-tc_1", "Who?", "moss", 1)]
    found = shared_questions(trivia, ["tc_2", "tc_1", "tc_1"])
    assert (found.ids, found.of, found.questions, found.first_id) == (1, (1, 2), None, "tc_1")
    assert found.warnings("a", "b") == [
        "SHARED QUESTIONS: a and b share 1 ids (of 1 and 2; first: 'tc_1'); neither is a held-out test of the other"
    ]


LISTS: list[tuple[str, Any, dict[str, tuple[str, ...]]]] = [
    ("a.json", ["a", "b"], {"": ("a", "b")}),
    ("a.json", [1, 2], {"": ("1", "2")}),
    ("a.json", {"t": ["a"], "f": ["b"], "seed": 3}, {"": ("a", "b")}),
    ("a.json", {"ids": ["a", "b"], "n_ids": 2}, {"": ("a", "b")}),
    (
        "a.json",
        {"dev": {"train": ["a"], "val": ["b"]}, "test": ["c"]},
        {"dev.train": ("a",), "dev.val": ("b",), "test": ("c",)},
    ),
    ("a.json", {"train": {"t": ["a"], "f": ["b"]}, "test": ["c"]}, {"train": ("a", "b"), "test": ("c",)}),
    ("a.json", [{"qid": "a", "fold": 1}, {"qid": "b", "fold": 2}], {"": ("a", "b")}),
    ("a.jsonl", '{"id": "a"}\n{"id": "b"}\n', {"": ("a", "b")}),
    ("a.csv", "question_id,split\na,train\nb,test\n", {"": ("a", "b")}),
    ("a.txt", "a\nb\n", {"": ("a", "b")}),
    ("a.json", {"seed": 1}, {}),
    ("a.json", [{"id": "a", "label": 1}], {}),
    ("a.json", [["a"]], {}),
    ("a.csv", "x,y\n1,2\n", {}),
    ("a.csv", "", {}),
]


@pytest.mark.parametrize(("name", "content", "wanted"), LISTS)
def test_lists_of_ids(tmp_path: Path, name: str, content: Any, wanted: dict[str, tuple[str, ...]]) -> None:
    path = tmp_path / name
    path.write_text(content if isinstance(content, str) else json.dumps(content, indent=1))
    assert read_ids(path) == wanted


def test_an_id_has_one_label(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_text(json.dumps({"t": ["a", "b"], "f": ["b"]}))
    with pytest.raises(InputError, match=r"1 ids stand in both lists, t and f \(first: 'b'\)"):
        read_ids(path)


def overlaps(folder: Path) -> dict[str, Overlap]:
    record = json.loads((folder / "result.json").read_text())
    return {name: Overlap.load(folder, name) for name in record["results"]["overlap"]}


def test_the_command_names_what_is_shared(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows, ids = tmp_path / "train.jsonl", tmp_path / "ids.json"
    write_examples(rows, asked("Where?", "Who?"))
    ids.write_text(json.dumps({"train": ["1", "1", "2"], "test": ["2", "3"]}))
    code, out, _ = run(capsys, "audit", rows, ids, "--out", tmp_path / "out")
    assert code == 0
    assert "3 ids in train, 1 of them twice" in out
    assert "1 ids in train\n" in run(capsys, "audit", rows, ids, "--limit", "1", "--out", tmp_path / "few")[1]
    assert "train.jsonl and ids.json:train share 1 ids (of 2 and 2; first: '1')" in out
    assert "ids.json:train and ids.json:test share 1 ids (of 2 and 2; first: '2')" in out
    found = overlaps(tmp_path / "out")
    assert {name: its.ids for name, its in found.items()} == {
        "train.jsonl and ids.json:train": 1,
        "train.jsonl and ids.json:test": 0,
        "ids.json:train and ids.json:test": 1,
    }
    assert run(capsys, "report", tmp_path / "out", "--out", tmp_path / "page.html")[0] == 0
    assert "Ids and questions that two data sets have both" in (tmp_path / "page.html").read_text()
    ids.write_text(json.dumps({"seed": 1}))
    refused(capsys, "ids.json, line 1: has the fields 'seed'", "audit", ids, "--out", tmp_path / "out")


SHARED = {
    ("gemma27b_TriviaQA_train_qids.json", "gemma27b_TriviaQA_test_qids.json"): (107, None),
    ("gemma27b_TriviaQA_answer_tokens_train.jsonl", "gemma27b_TriviaQA_answer_tokens_test.jsonl"): (107, 107),
    ("Llama33_TriviaQA_train_qids.json", "Llama33_TriviaQA_test_qids.json"): (0, None),
    ("Llama33_TriviaQA_answer_tokens_train.jsonl", "Llama33_TriviaQA_answer_tokens_test.jsonl"): (0, 1),
    ("gemma3_4b_train_qids.json", "gemma3_4b_test_qids.json"): (1327, None),
}


@pytest.mark.published  # Llama's train and test share no id, and one question under two ids
@pytest.mark.parametrize("files", SHARED)
def test_published_splits(data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], files: Sequence[str]) -> None:
    code, out, _ = run(capsys, "audit", *(data / "h_neurons" / name for name in files), "--out", tmp_path / "out")
    (found,) = overlaps(tmp_path / "out").values()
    ids, questions = SHARED[files[0], files[1]]
    assert (code, found.ids, found.of, found.questions) == (0, ids, (2000, 2000), questions)
    assert (f"share {ids} ids (of 2000 and 2000; first: '{found.first_id}')" in out) == bool(ids)
