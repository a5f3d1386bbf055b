"""Tables and JSON, strictly."""

from __future__ import annotations

from pathlib import Path

import pytest

from lens_truth.data.loading import load_examples
from lens_truth.errors import InputError

HEAD = "question,label,answer\n"
ROWS = [f'q{n},{n % 2},"an answer, {n}"\n' for n in range(8)]


@pytest.mark.parametrize(
    ("bad", "complaint"),
    [
        ('q,1,"never closed\n', "line 6: a quote in this row is not closed"),
        ('q,1,"closed"again"\n', "line 6: a quote in this row is not closed, or not well"),
        ('"q,1,never closed\n', "line 6: a quote in this row is not closed"),
        ("q,1\n", "line 6: the row does not have the header's number of fields"),
        ("q,1,a,b\n", "line 6: the row does not have the header's number of fields"),
    ],
)
def test_a_quote_swallows_no_rows(tmp_path: Path, bad: str, complaint: str) -> None:
    path = tmp_path / "rows.csv"
    path.write_text(HEAD + "".join([*ROWS[:4], bad, *ROWS[4:]]))
    with pytest.raises(InputError, match=f"rows.csv, {complaint}"):
        load_examples(str(path))
    path.write_text(HEAD + "".join([*ROWS, bad.replace("line 6", "")]))
    with pytest.raises(InputError, match=r"rows\.csv, line 10: "):  # also where it is the last row
        load_examples(str(path))


def test_two_quotes_that_make_one_field_of_two_rows(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_text(HEAD + "".join([ROWS[0], 'q,1,"open\n', "q,0,plain\n", 'q,0,"\n', ROWS[1]]))
    with pytest.raises(InputError, match="line 3: a quote in this row is closed in a later row only"):
        load_examples(str(path))
    path.write_text(HEAD + 'q,1,"two\nlines, and a comma"\n')
    assert [e.answer for e in load_examples(str(path))] == ["two\nlines, and a comma"]


def test_what_stands_twice_is_refused(tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_text("question,answer,label,answer\nq,a,1,b\n")
    with pytest.raises(InputError, match="line 1: column 'answer' stands there twice"):
        load_examples(str(tmp_path / "rows.csv"))
    (tmp_path / "rows.jsonl").write_text('{"question": "q", "answer": "a", "label": 1, "label": 0}\n')
    with pytest.raises(InputError, match="line 1: 'label' stands there twice"):
        load_examples(str(tmp_path / "rows.jsonl"))
