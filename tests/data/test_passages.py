"""SQuAD and HotpotQA: the evidence is what annotators marked, and every kind of bad row is named with its question."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from lens_truth.data.examples import Example, read_examples, write_examples
from lens_truth.data.loading import load_examples
from lens_truth.data.row_fields import NOT_STATED, UNSTATED
from lens_truth.errors import InputError, gathered_notices


def told(example: Example) -> list[str]:
    """The texts of the evidence."""
    return [example.context[start:stop] for start, stop in example.evidence]


# -- SQuAD ----------------------------------------------------------------------------------------------------------

HOUSE, GARDEN = "The coral heart is in the attic, the brown brick in the vault.", "The garden is empty — héllo, 漢字."


def asked(id: str, text: str = "attic", start: int = 26, **more: Any) -> dict[str, Any]:
    return {"id": id, "question": f"What of {id}?", "answers": [{"answer_start": start, "text": text}], **more}


def squad(path: Path, *paragraphs: tuple[str, list[Any]]) -> str:
    """The name of a file with an article a paragraph."""
    articles = [{"title": "A", "paragraphs": [{"context": context, "qas": rows}]} for context, rows in paragraphs]
    path.write_text(json.dumps({"version": "1.1", "data": articles}))
    return f"squad:{path}"


def test_squad_questions(tmp_path: Path) -> None:
    """The first annotator's answer is the answer, its span the evidence, and others' are aliases; one paragraph is one
    group, also where it comes again."""
    other = {"answer_start": 22, "text": "the attic"}
    several = asked("1", answers=[{"answer_start": 26, "text": "attic"}, other, other])
    last = asked("4", "brick", 43)
    name = squad(
        tmp_path / "a.json", (HOUSE, [several, asked("2")]), (GARDEN, [asked("3", "漢字", 29)]), (HOUSE, [last])
    )
    rows = load_examples(name)
    first = Example("squad-1", "squad-0", "What of 1?", "attic", 1, HOUSE, ((26, 31),), aliases=("the attic",))
    assert rows[0] == first
    assert [row.id for row in rows] == ["squad-1", "squad-2", "squad-3", "squad-4"]
    assert [row.group for row in rows] == ["squad-0", "squad-0", "squad-1", "squad-0"]
    assert [row.answer for row in rows] == ["attic", "attic", "漢字", "brick"]
    assert all(told(row) == [row.answer] and row.label == 1 for row in rows)
    write_examples(tmp_path / "again.jsonl", rows)
    assert read_examples(tmp_path / "again.jsonl") == rows


def test_unanswerable_questions_are_answered_by_saying_so(tmp_path: Path) -> None:
    """As SQuAD 2.0 marks them (with a plausible answer that is none), and without any answer, as the hub has them."""
    plausible = [{"answer_start": 4, "text": "coral"}]
    impossible = asked("1", answers=[], is_impossible=True, plausible_answers=plausible)
    possible, none = asked("2", is_impossible=False), asked("3", answers={"text": [], "answer_start": []})
    name = squad(tmp_path / "a.json", (HOUSE, [impossible, possible, none]))
    rows = load_examples(name)
    assert [(row.id, row.answer, row.label) for row in rows] == [
        ("squad-1", NOT_STATED, 1),
        ("squad-1-plausible", "coral", 0),
        ("squad-2", "attic", 1),
        ("squad-3", NOT_STATED, 1),
    ]
    assert rows[0].aliases == rows[3].aliases == UNSTATED and not rows[0].has_evidence and not rows[1].has_evidence
    assert len({row.group for row in rows}) == 1
    assert [row.id for row in load_examples(name, limit=1)] == ["squad-1"]
    write_examples(tmp_path / "again.jsonl", rows)
    assert read_examples(tmp_path / "again.jsonl") == rows
    wrong = asked("1", answers=[], is_impossible=True, plausible_answers=[{"answer_start": 4}])
    with pytest.raises(InputError, match="question 1: has no field 'text'"):
        load_examples(squad(tmp_path / "b.json", (HOUSE, [wrong])))


@pytest.mark.parametrize(
    ("row", "complaint"),
    [
        (asked("x", "attic", 27), "x: the answer 'attic' does not stand at character 27 .*, where 'ttic,' stands"),
        (asked("x", "attic", -36), "does not stand at character -36 of its paragraph, which has 62 characters"),
        (asked("x", "attic", 99), "does not stand at character 99 of its paragraph, which has 62 characters"),
        (
            asked("x", "attic" * 99, 0),
            r"the answer '(attic){11}at\.\.\.' does not .*, where 'The coral .* the v\.\.\.' stands",
        ),
        (asked("x", ""), "question x: field 'text' is empty"),
        (asked("x", " ", 3), "question x: field 'text' is empty"),
        (asked("x", answers=[{"text": "attic"}]), "question x: has no field 'answer_start'"),
        (asked("x", answers=[{"text": 5, "answer_start": 26}]), "question x: field 'text' is not text"),
        (asked("x", answers=[{"text": "attic", "answer_start": 26.0}]), "field 'answer_start' is not a whole number"),
        (asked("x", answers=["attic"]), "question x: has no field 'text'"),
        (asked("x", answers="attic"), "question x: field 'answers' is not a list"),
        (asked("x", answers=None), "question x: has no field 'answers'"),
        (asked("x", question=" "), "question x: field 'question' is empty"),
        (asked(""), "article 2, paragraph 1, question 1: has no field 'id'"),
        (7, "article 2, paragraph 1, question 1: has no field 'id'"),
        (asked("good"), "question good stands there twice"),
    ],
)
def test_bad_squad_question_is_named(tmp_path: Path, row: Any, complaint: str) -> None:
    name = squad(tmp_path / "a.json", (HOUSE, [asked("good")]), (HOUSE, [row]))
    with pytest.raises(InputError, match=f"a.json.*{complaint}"):
        load_examples(name)
    with pytest.raises(InputError, match=complaint):
        load_examples(name, limit=2)
    assert len(load_examples(name, limit=1)) == 1  # what comes after a limit is not looked at


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        ([], "a.json: holds no rows"),
        ({"rows": []}, "a.json, line 1: has the fields 'rows'; what can be read has those of SQuAD \\(data"),
        ({"data": {}}, "a.json: field 'data' is not a list"),
        ({"data": []}, "a.json: holds no questions"),
        ({"data": [5]}, "a.json, article 1: has no field 'paragraphs'"),
        ({"data": [{"paragraphs": [{"qas": []}]}]}, "article 1, paragraph 1: has no field 'context'"),
        ({"data": [{"paragraphs": [{"context": " "}]}]}, "article 1, paragraph 1: field 'context' is empty"),
        ({"data": [{"paragraphs": [{"context": "c"}]}]}, "article 1, paragraph 1: has no field 'qas'"),
    ],
)
def test_bad_squad_file_is_named(tmp_path: Path, content: Any, complaint: str) -> None:
    (tmp_path / "a.json").write_text(json.dumps(content))
    with pytest.raises(InputError, match=complaint):
        load_examples(f"squad:{tmp_path / 'a.json'}")


# -- HotpotQA -------------------------------------------------------------------------------------------------------

ROW = {
    "id": "h1",
    "question": "In which city is the house of the heart?",
    "answer": "Paris",
    "supporting_facts": {"title": ["House", "Heart"], "sent_id": [1, 0]},
    "context": {
        "title": ["Heart", "Cross", "House"],
        "sentences": [
            ["The heart is coral.", " It is small."],
            ["A cross."],
            ["A house has rooms. ", " The house is in Paris.", ""],
        ],
    },
}
TOLD = "Heart: The heart is coral. It is small.\nCross: A cross.\nHouse: A house has rooms.  The house is in Paris."


def pairs(row: dict[str, Any]) -> dict[str, Any]:
    """A row as HotpotQA's authors write it."""
    made = {("_id" if field == "id" else field): value for field, value in row.items()}
    made["context"] = [list(pair) for pair in zip(*row["context"].values(), strict=True)]
    made["supporting_facts"] = [list(pair) for pair in zip(*row["supporting_facts"].values(), strict=True)]
    return made


def hotpot(path: Path, *rows: dict[str, Any]) -> str:
    lines = [json.dumps(row) for row in rows]
    text = "\n".join(lines) if ".jsonl" in path.name else f"[{', '.join(lines)}]"
    path.write_bytes(gzip.compress(text.encode(), mtime=0) if path.suffix == ".gz" else text.encode())
    return f"hotpot:{path}"


@pytest.mark.parametrize("file", ["a.jsonl", "a.json", "a.jsonl.gz"])
@pytest.mark.parametrize("form", [dict, pairs])
def test_hotpot_questions(tmp_path: Path, file: str, form: Any) -> None:
    name = hotpot(tmp_path / file, form(ROW), form(ROW | {"id": "h2"}))
    first, second = load_examples(name)
    assert told(first) == ["The heart is coral.", "The house is in Paris."]  # in the context's order, without spaces
    assert first == Example("hotpot-h1", "hotpot-h1", ROW["question"], "Paris", 1, TOLD, first.evidence)
    assert (second.id, second.group, second.context) == ("hotpot-h2", "hotpot-h2", TOLD)
    assert load_examples(name, limit=1) == [first]


def facts(*of: tuple[str, int]) -> dict[str, Any]:
    return {"supporting_facts": {"title": [title for title, _ in of], "sent_id": [number for _, number in of]}}


def test_facts_that_are_not_in_the_context_are_counted_and_left_out(tmp_path: Path) -> None:
    """A title that is not there, a sentence beyond the last, an empty one; one fact twice is one piece of evidence."""
    mixed = facts(("Heart", 1), ("Nowhere", 0), ("Cross", 1), ("House", 2), ("House", -1), ("Heart", 1))
    name = hotpot(tmp_path / "a.jsonl", ROW, ROW | mixed | {"id": "h2"})
    with gathered_notices() as said:
        _, example = load_examples(name)
    assert told(example) == ["It is small."]
    (sentence,) = said
    assert sentence.startswith(f"4 of 8 supporting facts read from {tmp_path / 'a.jsonl'} are not in their question's")
    assert sentence.endswith("left out (first: sentence 0 of 'Nowhere', question h2)")
    with gathered_notices() as said:
        load_examples(name, limit=1)
    assert not said


def test_two_paragraphs_of_one_title(tmp_path: Path) -> None:
    context = {"title": ["House", "House"], "sentences": [["One."], ["Two.", " Three."]]}
    row = ROW | {"context": context} | facts(("House", 0), ("House", 1))
    (example,) = load_examples(hotpot(tmp_path / "a.json", row))
    assert told(example) == ["One.", "Three."]


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (facts(("Home", 0), ("Cross", 9)), r"none of its 2 supporting facts .* \(first: sentence 0 of 'Home'\)"),
        (facts(), "question h2: none of its 0 supporting facts is in its context$"),
        ({"supporting_facts": None}, "question h2: has no field 'supporting_facts'"),
        ({"supporting_facts": {"title": ["Heart"]}}, r"'supporting_facts' is neither {'title': .*, 'sent_id'"),
        ({"supporting_facts": {"title": ["Heart"], "sent_id": []}}, "field 'supporting_facts' is neither"),
        ({"supporting_facts": [["Heart", "0"]]}, "field 'supporting_facts' is neither"),
        ({"supporting_facts": [["Heart", True]]}, "field 'supporting_facts' is neither"),
        ({"supporting_facts": 5}, "field 'supporting_facts' is neither"),
        ({"context": None}, "question h2: has no field 'context'"),
        ({"context": "A house."}, r"field 'context' is neither .* nor a list of \[title, sentences\]"),
        ({"context": [["Heart", "The heart is coral."]]}, "field 'context' is neither"),
        ({"context": [["Heart", ["The heart.", 5]]]}, "question h2: a sentence of 'Heart' is not text"),
        ({"answer": ""}, "question h2: field 'answer' is empty"),
        ({"question": 5}, "question h2: field 'question' is not text"),
        ({"id": None}, "a.jsonl, line 2: has no field 'id'"),
        ({"id": "h1"}, "a.jsonl: question h1 stands there twice"),
    ],
)
def test_bad_hotpot_row_is_named(tmp_path: Path, change: dict[str, Any], complaint: str) -> None:
    name = hotpot(tmp_path / "a.jsonl", ROW, {**ROW, "id": "h2", **change})
    with pytest.raises(InputError, match=complaint):
        load_examples(name)
    assert len(load_examples(name, limit=1)) == 1


def test_bad_hotpot_file_is_named(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text("")
    with pytest.raises(InputError, match=r"a.jsonl: holds no rows"):
        load_examples(f"hotpot:{path}")
    path.write_text(json.dumps(ROW) + "\n{]\n")
    with pytest.raises(InputError, match=r"a.jsonl, line 2: is not JSON"):
        load_examples(f"hotpot:{path}")
    assert len(load_examples(f"hotpot:{path}", limit=1)) == 1
    with pytest.raises(InputError, match=r"none.jsonl: cannot be read"):
        load_examples(f"hotpot:{tmp_path / 'none.jsonl'}")


# -- names, and the real files --------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["sqaud:a.json", "squad"])
def test_names_that_are_none_are_refused_with_those_that_are(name: str) -> None:
    with pytest.raises(InputError, match=f"no data set '{name}', nor such a file; .* zoo:text, .*squad:FILE"):
        load_examples(name)


@pytest.mark.published
def test_xquad(data: Path) -> None:
    rows = load_examples(f"squad:{data / 'evidence' / 'xquad.en.json'}")
    assert (len(rows), len({row.group for row in rows})) == (1190, 240)
    assert all(told(row) == [row.answer] for row in rows)
    assert (rows[0].question, rows[0].answer) == ("How many points did the Panthers defense surrender?", "308")
    assert rows[0].evidence == ((34, 37),)
    assert len({(row.group, row.context) for row in rows}) == 240


@pytest.mark.published
def test_hotpot(data: Path) -> None:
    path = data / "evidence" / "hotpot_distractor_100.jsonl"
    released = [json.loads(line) for line in path.read_text().splitlines()]
    with gathered_notices() as said:
        rows = load_examples(f"hotpot:{path}")
    assert not said and len(rows) == len({row.group for row in rows}) == 100
    for row, raw in zip(rows, released, strict=True):
        paragraphs = dict(zip(raw["context"]["title"], raw["context"]["sentences"], strict=True))
        supporting = zip(*raw["supporting_facts"].values(), strict=True)
        meant = [paragraphs[title][number].strip() for title, number in supporting]
        assert sorted(told(row)) == sorted(meant)
        assert row.context.count("\n") >= len(paragraphs) - 1
        assert (row.question, row.answer, row.label) == (raw["question"], raw["answer"], 1)
