"""Whatever is written is read back the same; whatever is damaged is an InputError and never another exception."""

from __future__ import annotations

import csv
import gzip
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pytest
import torch
from hypothesis import assume, example, given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from lens_truth.data.examples import Example, examples_hash, read_examples, write_examples
from lens_truth.errors import InputError
from lens_truth.gates.gate import HeadGate
from lens_truth.io.readers import read_json, read_jsonl
from lens_truth.io.rows import read_csv
from lens_truth.scoring.scores import HeadScores

T = TypeVar("T")

texts = st.text(max_size=20)
words = texts.filter(str.strip)
leaves = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | texts


def objects(values: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    return st.dictionaries(texts, values, max_size=4)


json_values = st.recursive(leaves, lambda inner: st.lists(inner, max_size=3) | objects(inner), max_leaves=8)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One for all examples of a property: each writes the same file anew."""
    return tmp_path_factory.mktemp("files")


def written(path: Path, content: bytes) -> Path:
    path.write_bytes(gzip.compress(content, mtime=0) if path.suffix == ".gz" else content)
    return path


def unless_refused(path: Path, read: Callable[[], T]) -> T | None:
    """What is read; None where an InputError names the file."""
    try:
        return read()
    except InputError as error:
        said = str(error)
    assert said.startswith(str(path))
    return None


@st.composite
def damaged(draw: st.DrawFn, whole: bytes) -> bytes:
    """Bytes that were cut off, or of which one has another value, or into which some were put."""
    assume(whole)
    at = draw(st.integers(0, len(whole) - 1))
    kind = draw(st.sampled_from(["cut", "changed", "more"]))
    if kind == "cut":
        return whole[:at]
    if kind == "changed":
        return whole[:at] + bytes([whole[at] ^ draw(st.integers(1, 255))]) + whole[at + 1 :]
    return whole[:at] + draw(st.binary(min_size=1, max_size=4)) + whole[at:]


# -- readers --------------------------------------------------------------------------------------------------------


@given(st.lists(objects(json_values), max_size=5), st.sampled_from(["", "\n", "  \n\r\n"]), st.booleans())
def test_json_lines_are_read_as_written(folder: Path, rows: list[dict[str, Any]], between: str, packed: bool) -> None:
    lines = [json.dumps(row, ensure_ascii=number % 2 == 0) for number, row in enumerate(rows)]
    path = written(folder / f"rows.jsonl{'.gz' * packed}", "".join(f"{line}\n{between}" for line in lines).encode())
    found = list(read_jsonl(path))
    assert [row for _, row in found] == rows
    assert [line for line, _ in found] == [1 + number * (1 + between.count("\n")) for number in range(len(rows))]


not_objects = json_values.filter(lambda value: not isinstance(value, dict)).map(json.dumps)
not_json = st.sampled_from(["{", "}", "{'a': 1}", '{"a": 1', '{"a": 1}}', '{"a" 1}', "nothing", '"', "\x00", "[" * 999])
too_much = st.sampled_from(['{"a": ' + "1" * 9999 + "}", '{"a": ' + "[" * 99_999 + "]" * 99_999 + "}"])
half_a_character = st.just(r'{"a": "\ud800"}')


@given(st.lists(objects(leaves), max_size=4), st.data())
def test_a_bad_line_is_named(folder: Path, rows: list[dict[str, Any]], data: st.DataObject) -> None:
    lines = [json.dumps(row) for row in rows]
    at = data.draw(st.integers(0, len(lines)))
    lines.insert(at, data.draw(not_objects | not_json | too_much | half_a_character))
    path = written(folder / "rows.jsonl", "\n".join(lines).encode())
    with pytest.raises(InputError, match=rf"rows\.jsonl, line {at + 1}: "):
        list(read_jsonl(path))


@given(not_json | too_much)
def test_a_bad_value_is_named(folder: Path, text: str) -> None:
    path = written(folder / "value.json", text.encode())
    with pytest.raises(InputError, match=r"value\.json(, line 1)?: is (not JSON|JSON that Python cannot read)"):
        read_json(path)


column_names = texts.filter(lambda name: not name.startswith("\ufeff") and not set("\t;") & set(name))
cells = texts.filter(lambda cell: not cell.endswith(","))  # after a line break it looks like a row that was swallowed


@given(st.lists(column_names, min_size=1, max_size=4, unique=True), st.data())
def test_tables_are_read_as_written(folder: Path, names: list[str], data: st.DataObject) -> None:
    rows = data.draw(st.lists(st.lists(cells, min_size=len(names), max_size=len(names)), max_size=4))
    packed = data.draw(st.booleans())
    with (folder / "plain.csv").open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([names, *rows])
    path = written(folder / f"table.csv{'.gz' * packed}", (folder / "plain.csv").read_bytes())
    assert [row for _, row in read_csv(path)] == [dict(zip(names, row, strict=True)) for row in rows]


@given(st.lists(st.lists(cells, min_size=3, max_size=3), max_size=3), st.integers(1, 5), st.data())
def test_a_row_of_another_length_is_named(
    folder: Path, rows: list[list[str]], length: int, data: st.DataObject
) -> None:
    assume(length != 3)
    at = data.draw(st.integers(0, len(rows)))
    with (folder / "table.csv").open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([["a", "b", "c"], *rows[:at], ["x"] * length, *rows[at:]])
    with (folder / "table.csv").open(encoding="utf-8", newline="") as file:
        lines = csv.reader(file)
        for _ in range(at + 1):
            next(lines)
        line = lines.line_num + 1
    with pytest.raises(InputError, match=rf"table\.csv, line {line}: the row does not have"):
        list(read_csv(folder / "table.csv"))


GOOD = [{"question": f"Question {i}, or another?", "answer": "Zwölf ☕", "label": i % 2} for i in range(3)]
LINES = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in GOOD).encode()
TABLE = "question,answer,label\n" + "".join(f'"{row["question"]}",{row["answer"]},{row["label"]}\n' for row in GOOD)


@pytest.mark.parametrize(("suffix", "whole"), [(".jsonl", LINES), (".csv", TABLE.encode())])
@given(data=st.data())
def test_damaged_examples_are_named(folder: Path, suffix: str, whole: bytes, data: st.DataObject) -> None:
    path = written(folder / f"damaged{suffix}", data.draw(damaged(whole)))
    found = unless_refused(path, lambda: read_examples(path))
    assert found is None or (0 < len(found) <= 4 and {row.label for row in found} <= {0, 1})


@given(st.data())
def test_a_damaged_gzip_file_is_noticed(folder: Path, data: st.DataObject) -> None:
    """It has a checksum: what can be read is what was written."""
    path = folder / "rows.jsonl.gz"
    content = data.draw(damaged(gzip.compress(LINES, mtime=0)))
    assume(content)  # gzip calls a file without a byte an empty one
    path.write_bytes(content)
    found = unless_refused(path, lambda: [row for _, row in read_jsonl(path)])
    assert found is None or found == GOOD


# -- examples -------------------------------------------------------------------------------------------------------


def spans(length: int) -> st.SearchStrategy[list[tuple[int, int]]]:
    ends = st.tuples(st.integers(0, length), st.integers(0, length)).map(sorted).map(tuple)
    return st.lists(ends.filter(lambda span: span[0] < span[1]), max_size=3) if length else st.just([])


edges = st.integers(0, 336) | st.floats(0, 336)  # of the picture `black`
sides = st.tuples(edges, edges).filter(lambda side: side[0] != side[1]).map(sorted)
boxes = st.tuples(sides, sides).map(lambda box: (box[0][0], box[1][0], box[0][1], box[1][1]))


@st.composite
def fields(draw: st.DrawFn) -> dict[str, Any]:
    context, image = draw(texts), draw(st.sampled_from(["", "black"]))
    return {
        "group": draw(texts.filter(bool)),
        "question": draw(words),
        "answer": draw(words),
        "label": draw(st.integers(0, 1)),
        "context": context,
        "evidence": tuple(draw(spans(len(context)))),
        "image": image,
        "boxes": tuple(draw(st.lists(boxes, max_size=2))) if image else (),
    }


@given(st.dictionaries(texts.filter(bool), fields(), min_size=1, max_size=4))
def test_examples_are_read_as_written(folder: Path, made: dict[str, dict[str, Any]]) -> None:
    examples = [Example(id=name, **row) for name, row in made.items()]
    write_examples(folder / "examples.jsonl", examples)
    again = read_examples(folder / "examples.jsonl")
    assert again == examples and examples_hash(again) == examples_hash(examples)
    first = (folder / "examples.jsonl").read_bytes()
    write_examples(folder / "examples.jsonl", again)
    assert (folder / "examples.jsonl").read_bytes() == first


# -- scores and gates -----------------------------------------------------------------------------------------------

numbers = st.floats(-1e9, 1e9).filter(lambda x: not 20 <= x <= 100)  # which accuracies in percent would be
shapes = st.tuples(st.integers(1, 5), st.integers(1, 5))
TAKEN = ("layer", "head", "accuracy")  # columns with a meaning of their own in a .csv file
kinds = st.from_regex(r"\w[\w.-]{0,8}", fullmatch=True).filter(lambda name: name not in TAKEN)


@st.composite
def score_parts(draw: st.DrawFn) -> dict[str, Any]:
    shape = draw(shapes)
    kind = draw(st.sampled_from(["truth", "causal"]) | kinds)
    values = draw(arrays(np.float64, shape, elements=numbers))
    names = draw(st.lists(st.sampled_from(["precision", "recall", "f1", "auroc", "ci_low", "p_value"]), unique=True))
    metrics = {name: draw(arrays(np.float64, shape, elements=numbers | st.just(np.nan))) for name in names}
    if kind == "truth" and draw(st.booleans()):
        metrics["accuracy"] = values
    folds = draw(st.none() | st.integers(1, 3).flatmap(lambda n: arrays(np.float64, (n, *shape), elements=numbers)))
    provenance = draw(objects(json_values).filter(lambda record: "n_kv_heads" not in record))
    if draw(st.booleans()):
        provenance["n_kv_heads"] = shape[1]
    return {"values": values, "kind": kind, "metrics": metrics, "folds": folds, "provenance": provenance}


def same(one: np.ndarray | None, other: np.ndarray | None) -> bool:
    return one is other or (one is not None and other is not None and np.array_equal(one, other, equal_nan=True))


@given(score_parts())
def test_scores_are_read_as_written(folder: Path, parts: dict[str, Any]) -> None:
    scores = HeadScores(**parts)
    for suffix in ("safetensors", "npy", "csv"):
        scores.save(folder / f"s.{suffix}")
        loaded = HeadScores.load(folder / f"s.{suffix}")
        assert same(loaded.values, scores.values) and loaded.values.dtype == np.float64
        assert loaded.kind == ("truth" if suffix == "npy" else scores.kind)
        first = (folder / f"s.{suffix}").read_bytes()
        loaded.save(folder / f"s.{suffix}")
        assert (folder / f"s.{suffix}").read_bytes() == first
        if suffix == "csv" and "accuracy" in scores.metrics:
            published = {"accuracy", "precision", "recall", "f1"} & set(scores.metrics)
            assert set(loaded.metrics) == published
            assert all(same(loaded.metrics[name], scores.metrics[name]) for name in published)
    whole = HeadScores.load(folder / "s.safetensors")
    assert set(whole.metrics) == set(scores.metrics)
    assert all(same(whole.metrics[name], values) for name, values in scores.metrics.items())
    assert same(whole.folds, scores.folds) and whole.provenance == scores.provenance


SCORES = HeadScores(
    np.random.default_rng(0).random((3, 4)),
    metrics={"f1": np.random.default_rng(1).random((3, 4))},
    folds=np.random.default_rng(2).random((2, 3, 4)),
    provenance={"model": "org/model", "n_kv_heads": 2, "seed": 0},
)


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize("suffix", ["safetensors", "npy", "csv"])
@given(data=st.data())
def test_damaged_scores_are_named(folder: Path, suffix: str, data: st.DataObject) -> None:
    """Their formats have no checksum, so a number may be another one; but it is a number, one a head."""
    path = folder / f"damaged.{suffix}"
    SCORES.save(path)
    whole = path.read_bytes()
    content = data.draw(damaged(whole))
    path.write_bytes(content)
    loaded = unless_refused(path, lambda: HeadScores.load(path))
    if loaded is not None:
        assert suffix == "csv" or len(content) >= len(whole)  # a cut is noticed
        assert loaded.values.ndim == 2 and np.isfinite(loaded.values).all()


@given(arrays(np.float32, shapes, elements=st.floats(-1e6, 1e6, width=32)), objects(json_values))
def test_gates_are_read_as_written(folder: Path, values: np.ndarray, provenance: dict[str, Any]) -> None:
    gate = HeadGate(torch.from_numpy(values), "block", provenance)
    gate.save(folder / "gate.safetensors")
    loaded = HeadGate.load(folder / "gate.safetensors")
    assert torch.equal(loaded.values, gate.values)
    assert (loaded.site, loaded.provenance) == ("block", provenance)


@pytest.mark.usefixtures("unchecked")
@given(st.data())
@example(None)
def test_damaged_gates_are_named(folder: Path, data: st.DataObject | None) -> None:
    path = folder / "damaged.safetensors"
    HeadGate(torch.rand(3, 4, generator=torch.Generator().manual_seed(0)), provenance={"scores": "truth"}).save(path)
    whole = path.read_bytes()
    content = data.draw(damaged(whole)) if data else whole.replace(b"{", b"[").replace(b"}", b"]")
    path.write_bytes(content)
    loaded = unless_refused(path, lambda: HeadGate.load(path))
    if loaded is not None:
        assert len(content) >= len(whole)
        assert loaded.values.shape == (3, 4) and torch.isfinite(loaded.values).all()
