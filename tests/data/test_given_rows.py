"""Examples from Parquet, from folders that `datasets` saved, from rows in memory, and back."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import datasets
import duckdb
import numpy as np
import pandas
import pyarrow
import pyarrow.parquet
import pytest
from conftest import run

import lens_truth
from lens_truth.data.examples import Example, read_examples, write_examples
from lens_truth.data.loading import read_data_set
from lens_truth.errors import InputError

ROWS: list[dict[str, Any]] = [
    {
        "id": "a",
        "group": "1",
        "question": "What?",
        "answer": "a heart",
        "label": 1,
        "context": "A heart.",
        "evidence": [[2, 7]],
    },
    {
        "id": "b",
        "group": "1",
        "question": "What?",
        "answer": "größer",
        "label": 0,
        "context": "A heart.",
        "evidence": [],
    },
]
EXAMPLES = [Example.from_row(row) for row in ROWS]
MIXED = [
    *EXAMPLES,
    Example("c", "2", "", "Paris is in France.", 1),
    Example("d", "3", "Is it black?", "yes", 1, image="black", boxes=((0.0, 1.0, 5.0, 5.5),), aliases=("yeah", "yep")),
]


@pytest.mark.parametrize("examples", [EXAMPLES, EXAMPLES[1:], MIXED, MIXED[2:3]])
def test_parquet_and_back(tmp_path: Path, examples: list[Example]) -> None:
    write_examples(tmp_path / "x.parquet", examples)
    assert read_examples(tmp_path / "x.parquet") == examples
    assert lens_truth.load_examples(str(tmp_path / "x.parquet"), limit=1) == examples[:1]
    n = duckdb.sql(f"select count(*), sum(label) from '{tmp_path / 'x.parquet'}'").fetchall()
    assert n == [(len(examples), sum(example.label for example in examples))]


def test_rows_in_memory_are_those_of_a_file(tmp_path: Path) -> None:
    frame = pandas.DataFrame(ROWS)
    frame["more"] = np.arange(2)
    dataset = datasets.Dataset.from_list(ROWS)
    for rows in (frame, frame.set_index("more"), dataset, dataset.to_pandas(), ROWS, iter(ROWS), tuple(ROWS)):
        assert lens_truth.examples_from(rows) == EXAMPLES
    assert lens_truth.examples_from(frame, limit=1) == EXAMPLES[:1]
    assert lens_truth.examples_from(lens_truth.to_dataset(MIXED)) == MIXED
    renamed = frame.rename(columns={"answer": "response", "label": "ok"}).drop(columns="id")
    found = lens_truth.examples_from(renamed, answer="response", label="ok")
    assert [(its.answer, its.label, its.id) for its in found] == [("a heart", 1, "0"), ("größer", 0, "1")]


def test_what_is_missing_in_a_frame_is_absent() -> None:
    frame = pandas.DataFrame(
        [{**ROWS[0], "id": None}, {**ROWS[1], "id": float("nan"), "context": pandas.NA, "evidence": None}]
    )
    first, second = lens_truth.examples_from(frame)
    assert (first.id, second.id, second.context, second.evidence) == ("0", "1", "", ())


def test_a_folder_that_datasets_saved(tmp_path: Path) -> None:
    """In the order that the data set has, which is not that of its files."""
    datasets.Dataset.from_list(ROWS * 1).select([1, 0]).save_to_disk(str(tmp_path / "own"))
    found = read_data_set(str(tmp_path / "own"))
    assert found.examples == EXAMPLES[::-1] and found.n_rows == 2
    both = datasets.DatasetDict(
        {"train": datasets.Dataset.from_list(ROWS), "test": datasets.Dataset.from_list(ROWS[:1])}
    )
    both.save_to_disk(str(tmp_path / "both"))
    assert lens_truth.load_examples(str(tmp_path / "both" / "test")) == EXAMPLES[:1]
    with pytest.raises(InputError, match="holds test, train splits of a data set; name one, as .*both/SPLIT"):
        lens_truth.load_examples(str(tmp_path / "both"))
    with pytest.raises(
        InputError, match="examples are made of rows, and this is a DatasetDict of train, test: take one"
    ):
        lens_truth.examples_from(both)
    with pytest.raises(InputError, match="is a folder, and not one that datasets' save_to_disk wrote"):
        lens_truth.load_examples(str(tmp_path))
    next((tmp_path / "own").glob("*.arrow")).write_bytes(b"no")
    with pytest.raises(InputError, match="own: is not a table that can be read"):
        lens_truth.load_examples(str(tmp_path / "own"))


def test_published_formats_are_known_in_parquet(tmp_path: Path) -> None:
    row = {
        "knowledge": "It is there.",
        "question": "What?",
        "right_answer": "a heart",
        "hallucinated_answer": "a brick",
    }
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist([row, {**row, "question": "Where?"}]), tmp_path / "qa")
    found = read_data_set(str(tmp_path / "qa"))  # whatever its name
    assert found.format == "HaluEval's questions" and [its.label for its in found.examples] == [1, 0, 1, 0]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"label": 3}, "row 2: label is 3, not 1"),
        ({"question": 5.5}, "row 2: field 'question' is not text"),
        ({"evidence": [[0, 99]]}, r"row 2: evidence span \[0, 99\] does not lie in the context"),
        ({"id": "a"}, "row 2: id 'a' stands already on row 1"),
        ({"answer": " "}, r"1 of 2 answers are empty \(first: row 2\)"),
    ],
)
def test_the_same_is_said_of_files_and_of_rows(tmp_path: Path, change: dict[str, Any], said: str) -> None:
    rows = [ROWS[0], {**ROWS[1], **change}]
    with pytest.raises(InputError, match=f"^the data frame(, |: ){said}"):
        lens_truth.examples_from(pandas.DataFrame(rows))
    with pytest.raises(InputError, match=f"^the rows(, |: ){said}"):
        lens_truth.examples_from(rows)
    if "question" not in change:  # columns of Parquet have one type
        pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), tmp_path / "x.parquet")
        with pytest.raises(InputError, match=f"x.parquet(, |: ){said}"):
            read_examples(tmp_path / "x.parquet")


def test_what_are_no_rows() -> None:
    for rows, said in (
        (3, "this is a int"),
        ("rows", "this is a str"),
        ([1], "row 1: is a int, not a mapping"),
        ([], "holds no examples"),
    ):
        with pytest.raises(InputError, match=said):
            lens_truth.examples_from(rows)
    with pytest.raises(InputError, match="an example has no field 'reply'"):
        lens_truth.examples_from(ROWS, reply="answer")  # type: ignore[call-arg]


def test_a_damaged_parquet_file(tmp_path: Path) -> None:
    path = tmp_path / "x.parquet"
    write_examples(path, EXAMPLES)
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(InputError, match="x.parquet: is not a table that can be read"):
        read_examples(path)


def test_a_command_takes_parquet(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    examples = lens_truth.load_examples("zoo:text", limit=60)
    write_examples(tmp_path / "x.parquet", examples)
    assert read_examples(tmp_path / "x.parquet") == examples
    code, said, err = run(capsys, "audit", tmp_path / "x.parquet", "--out", tmp_path / "out")
    assert code == 0, err
    assert "x.parquet" in said
