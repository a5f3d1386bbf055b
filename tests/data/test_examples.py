"""Examples: formats round-trip, and every kind of bad row is named with file, line and field."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from lens_truth.data.examples import Example, examples_hash, question_pairs, read_examples, split_groups, write_examples
from lens_truth.data.loading import load_examples
from lens_truth.errors import InputError


def test_csv_and_default_fields(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_text('context,question,answer,label\n"a, b\nc",why?,yes,gold\n"a, b\nc",why?,no,hallucinated\nd,q,x,1\n')
    first, second, third = read_examples(path)
    assert (first.context, first.label, second.label, third.label) == ("a, b\nc", 1, 0, 1)
    assert first.group == second.group != third.group
    assert len({first.id, second.id, third.id}) == 3


GOOD = {"question": "q", "answer": "a", "label": 1}


@pytest.mark.parametrize(
    ("row", "complaint"),
    [
        ({k: v for k, v in GOOD.items() if k != "label"}, "has no label"),
        ({**GOOD, "label": 2}, "label is 2"),
        ({**GOOD, "label": True}, "label is True"),
        ({**GOOD, "label": 0.5}, "label is 0.5"),
        ({**GOOD, "id": "\ud83d"}, "half of a surrogate pair"),
        ({**GOOD, "question": ""}, "field 'question' is empty"),
        ({**GOOD, "answer": 3}, "field 'answer' is not text"),
        ({"answer": "a", "label": 1}, "has no field 'question'"),
        ({**GOOD, "context": "abc", "evidence": [[0, 9]]}, "does not lie in the context"),
        ({**GOOD, "evidence": 5}, "field 'evidence'"),
        ({**GOOD, "context": "abc", "evidence": "abc"}, "field 'evidence' is not a list"),
        ({**GOOD, "context": "abc", "evidence": [[0, 1.5]]}, "field 'evidence' is not a list"),
        ({**GOOD, "context": "abc", "evidence": [" "]}, "a text in field 'evidence' is empty"),
        ({**GOOD, "context": "abc", "evidence": ["abd"]}, "evidence 'abd' does not occur in the context"),
        ({**GOOD, "evidence": ["word\n" * 99]}, r"evidence 'word word( word)* wo\.\.\.' does not occur"),
        ({**GOOD, "context": "abcabc", "evidence": ["bc"]}, r"'bc' occurs 2 times .*; \[start, stop\] in place of"),
        ({**GOOD, "context": "aaa", "evidence": ["aa"]}, "'aa' occurs 2 times"),
        ({**GOOD, "boxes": [[0, 0, 9, 9]]}, "has boxes but no image"),
        ({**GOOD, "image": "black", "boxes": 5}, "field 'boxes' is not a list of"),
        ({**GOOD, "image": "black", "boxes": [0, 0, 9, 9]}, "field 'boxes' is not a list of"),
        ({**GOOD, "image": "black", "boxes": ["0999"]}, "field 'boxes' is not a list of"),
        ({**GOOD, "image": "black", "boxes": [[0, 0, 9]]}, "each 4 finite numbers"),
        ({**GOOD, "image": "black", "boxes": [[0, 0, 9, True]]}, "each 4 finite numbers"),
        ({**GOOD, "image": "black", "boxes": [[0, 0, 9, float("nan")]]}, "each 4 finite numbers"),
        ({**GOOD, "image": "black", "boxes": [[0, 0, 9, 10**400]]}, "each 4 finite numbers"),
        ({**GOOD, "image": "black", "boxes": [[0, 0, 9, 9], [4, 0, 4, 9]]}, r"box \[4, 0, 4, 9\] is empty or inverted"),
        ({**GOOD, "image": "black", "boxes": [[0, 9, 4, 2]]}, r"box \[0, 9, 4, 2\] is empty or inverted"),
        ({**GOOD, "image": "black", "boxes": [[0, 0, 336.5, 9]]}, r"336.5, 9.0\] does not lie .* 336 x 336 pixels"),
        ({**GOOD, "image": "black", "boxes": [[0, -1, 9, 9]]}, "does not lie in the image"),
    ],
)
def test_bad_row_is_named(tmp_path: Path, row: dict[str, object], complaint: str) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text(json.dumps(GOOD) + "\n\n" + json.dumps(row) + "\n")
    with pytest.raises(InputError, match=f"rows.jsonl, line 3: .*{complaint}"):
        read_examples(path)


def test_evidence_as_a_text(tmp_path: Path) -> None:
    row = {**GOOD, "context": "One heart (coral). One crown.", "evidence": ["heart (coral).", [19, 22], "One crown"]}
    path = tmp_path / "rows.jsonl"
    path.write_text(json.dumps(row))
    (example,) = read_examples(path)
    assert [example.context[start:stop] for start, stop in example.evidence] == ["heart (coral).", "One", "One crown"]
    write_examples(tmp_path / "again.jsonl", [example])
    assert read_examples(tmp_path / "again.jsonl") == [example]


def test_boxes_round_trip_and_count_in_the_hash(tmp_path: Path) -> None:
    Image.new("RGB", (8, 6)).save(tmp_path / "a.png")
    shown = Example("x", "g", "q", "a", 1, image=str(tmp_path / "a.png"), boxes=((0, 0, 8, 6), (1, 1.5, 2, 3)))
    plain = Example("y", "g", "q", "a", 1, image="black")
    write_examples(tmp_path / "rows.jsonl", [shown, plain])
    assert "boxes" not in (tmp_path / "rows.jsonl").read_text().splitlines()[1]
    again = read_examples(tmp_path / "rows.jsonl")
    assert again == [shown, plain]
    assert examples_hash(again) == examples_hash([shown, plain]) != examples_hash([replace(shown, boxes=()), plain])
    assert examples_hash([plain]) == "737cc12bcf078596"  # as before there were boxes
    told = Example("1", "g", "Where?", "here", 1, "It is here.", ((6, 10),))
    assert examples_hash([told]) == "4348f5b799ccdc8d"  # as before there were images
    Image.new("RGB", (8, 5)).save(tmp_path / "a.png")
    with pytest.raises(
        InputError, match=r"line 1: box \[0.0, 0.0, 8.0, 6.0\] does not lie in the image.* 8 x 5 pixels"
    ):
        read_examples(tmp_path / "rows.jsonl")


def test_boxes_beyond_a_limit_are_not_measured(tmp_path: Path) -> None:
    boxes = [[0, 0, 999, 9]]
    lines = [GOOD, {**GOOD, "image": "black", "boxes": boxes}, {**GOOD, "image": "missing.png", "boxes": boxes}]
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert len(read_examples(path, limit=1)) == 1
    with pytest.raises(InputError, match="line 2: box"):
        read_examples(path, limit=2)
    with pytest.raises(InputError, match=r"1 of 1 images are not there \(first: .*missing.png\)"):
        read_examples(path)


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (b'{"question": "q"\n', "line 1: is not JSON"),
        (b"[1]\n", "row 1: is not a JSON object"),
        (b"", "holds no examples"),
        (b"\xff\xfe", "is not UTF-8"),
        (b"PAR1\x15\x04\xff", "is not a table that can be read"),
        (
            b'{"question":"q","answer":" ","label":1}\n{"question":"q","answer":"a","label":1}\n' * 2,
            r"2 of 4 answers are empty \(first: line 1\)",
        ),
        (b'{"id":"x","question":"q","answer":"a","label":1}\n' * 2, "line 2: id 'x' stands already on line 1"),
    ],
)
def test_bad_file_is_named(tmp_path: Path, content: bytes, complaint: str) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_bytes(content)
    with pytest.raises(InputError, match=complaint):
        read_examples(path)


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be read"):
        read_examples(tmp_path / "none.jsonl")


def test_what_other_programs_write(tmp_path: Path) -> None:
    """A byte order mark, CRLF, labels as floats, null or empty for a field that is not there."""
    table = "question,answer,label,group,id\r\nq1,a,1.0,,\r\nq1,b,0.0,,\r\nq2,c,1.0,g,x\r\n"
    (tmp_path / "rows.csv").write_bytes(b"\xef\xbb\xbf" + table.encode())
    rows = read_examples(tmp_path / "rows.csv")
    assert [(e.id, e.label) for e in rows] == [("0", 1), ("1", 0), ("x", 1)]
    assert rows[0].group == rows[1].group != rows[2].group == "g"
    line = {"question": "q", "answer": "a", "label": 1.0, "group": None, "id": None, "context": None, "evidence": None}
    other = {**line, "question": "r"}
    (tmp_path / "rows.jsonl").write_text("".join(f"\ufeff{json.dumps(line)}\n{json.dumps(other)}\n"), "utf-8")
    first, second = read_examples(tmp_path / "rows.jsonl")
    assert first.group != second.group and (first.id, second.id) == ("0", "1") and first.context == ""
    shown = [{**row, "image": "black"} for row in (line, other)]
    (tmp_path / "shown.jsonl").write_text("".join(json.dumps(row) + "\n" for row in shown))
    first, second = read_examples(tmp_path / "shown.jsonl")
    assert first.group == second.group == first.image == "black"  # questions about one image stay together


def test_csv_row_of_another_length(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_text("question,answer,label\nq,a,1\nq,a\n")
    with pytest.raises(InputError, match="line 3: the row does not have"):
        read_examples(path)


def test_question_pairs() -> None:
    rows = [("g", "q", 1), ("g", "q", 0), ("g", "other", 1), ("h", "q", 0), ("g", "q", 0)]
    examples = [Example(str(i), group, question, "a", label) for i, (group, question, label) in enumerate(rows)]
    assert question_pairs(examples) == [([0], [1, 4])]
    with pytest.raises(InputError, match="no question has both"):
        question_pairs(examples[2:4])


@given(st.integers(3, 40), st.integers(0, 5))
def test_split_groups_keeps_groups_whole(n_groups: int, seed: int) -> None:
    examples = [Example(f"{g}-{i}", f"g{g}", "q", "a", i % 2) for g in range(n_groups) for i in range(3)]
    try:
        parts = split_groups(examples, (0.4, 0.2, 0.4), seed)
    except InputError:
        assert n_groups < 6
        return
    assert sorted(e.id for part in parts for e in part) == sorted(e.id for e in examples)
    groups = [{e.group for e in part} for part in parts]
    assert not groups[0] & groups[1] and not groups[0] & groups[2] and not groups[1] & groups[2]
    assert parts == split_groups(examples, (0.4, 0.2, 0.4), seed)


def test_unknown_data_set() -> None:
    with pytest.raises(InputError, match="no data set 'zoo:textt'"):
        load_examples("zoo:textt")
    with pytest.raises(InputError, match="no data set 'zoo:text/tset'"):
        load_examples("zoo:text/tset")
    with pytest.raises(InputError, match="limit is 0"):
        load_examples("zoo:text", limit=0)


def test_halueval_reader(tmp_path: Path) -> None:
    path = tmp_path / "qa.csv"
    header = "knowledge,raw_question,correct_answer,hallucinated_answer\n"
    path.write_text(header + "k1,q1,r1,h1\nk2,q2,r2,h2\n")
    examples = load_examples(f"halueval:{path}")
    assert [(e.context, e.question, e.answer, e.label) for e in examples] == [
        ("k1", "q1", "r1", 1),
        ("k1", "q1", "h1", 0),
        ("k2", "q2", "r2", 1),
        ("k2", "q2", "h2", 0),
    ]
    assert [e.group for e in examples] == ["halueval-0"] * 2 + ["halueval-1"] * 2
    path.write_text(header + "k1,q1,r1,h1\nk2,q2, ,h2\nk3,q3,r3,\n")
    with pytest.raises(InputError, match=r"2 of 6 answers are empty \(first: line 3\)"):
        load_examples(f"halueval:{path}")
    path.write_text(header + "k1, ,r1,h1\n")
    with pytest.raises(InputError, match="line 2: field 'raw_question' is empty"):
        load_examples(f"halueval:{path}")
    path.write_text("knowledge,raw_question\na,b\n")
    with pytest.raises(InputError, match="line 2: has the fields 'knowledge', 'raw_question'; what can be read"):
        load_examples(f"halueval:{path}")


def test_any_mapping_is_a_row() -> None:
    """As dicts, `datasets` and data frames give them: other names, NumPy's numbers, and NaN for what is missing."""
    context = "The coral heart is in the attic."
    plain = Example.from_row({"question": "Where?", "answer": "attic", "label": "gold", "context": context})
    names = {"question": "ask", "answer": "response", "label": "faithful", "context": "passage"}
    row = {
        "ask": np.str_("Where?"),
        "response": "attic",
        "faithful": np.int64(1),
        "passage": context,
        "id": np.float64("nan"),
        "group": float("nan"),
        "image": None,
        "evidence": np.array([[4, 15]]),
        "boxes": np.array([]),
    }
    named = Example.from_row(MappingProxyType(row), **names)
    assert named == replace(plain, evidence=((4, 15),)) and plain.label == 1
    assert named.group == f"{context}\nWhere?" and plain.id != replace(plain, id="x").id
    assert Example.from_row({**row, "faithful": np.float32(0)}, **names).label == 0
    assert Example.from_row({**row, "id": np.int64(7), "group": 3}, **names).id == "7"
    shown = Example.from_row(
        {**row, "image": "a.png", "boxes": [(0, np.float32(1.5), 3, 4)]}, images="pictures", **names
    )
    assert shown.image == str(Path("pictures") / "a.png") and shown.boxes == ((0, 1.5, 3, 4),)
    assert shown.group == "a.png"


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"response": None}, "row 3: has no field 'response'"),
        ({"response": " "}, "row 3: field 'response' is empty"),
        ({"ask": np.float64("nan")}, "row 3: has no field 'ask'"),
        ({"ask": 5}, "row 3: field 'ask' is not text"),
        ({"faithful": np.float64("nan")}, "row 3: has no label in field 'faithful'"),
        ({"faithful": np.bool_(True)}, "row 3: label is True, not 1"),
        ({"evidence": np.array([[0, 99]])}, r"row 3: evidence span \[0, 99\] does not lie in the context"),
    ],
)
def test_a_bad_mapping_is_named(change: dict[str, object], complaint: str) -> None:
    row = {"ask": "Where?", "response": "attic", "faithful": 1, **change}
    with pytest.raises(InputError, match=complaint):
        Example.from_row(row, where="row 3", question="ask", answer="response", label="faithful")
    with pytest.raises(InputError, match="an example has no field 'reply', only id, group, question, answer"):
        Example.from_row(row, reply="response")  # pyright: ignore[reportCallIssue] (that is the mistake)
