"""RLHF-V and PhD rows: what is read, what is left out and said, and how every kind of bad row is named."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from lens_truth.data.examples import Example, examples_hash
from lens_truth.data.loading import load_examples
from lens_truth.errors import InputError, gathered_notices

ROW = {"question_id": 1, "question": "Is there a cat?", "answer": "yes", "label": "gold"}
ROW |= {"image": "7.png"}


def write(path: Path, *changes: dict[str, Any]) -> Path:
    """A file with a row a change; None removes a field."""
    rows = [{k: v for k, v in (ROW | change).items() if v is not None} for change in changes]
    text = "".join(json.dumps(row) + "\n" for row in rows)
    path.write_bytes(gzip.compress(text.encode(), mtime=0) if path.suffix == ".gz" else text.encode())
    return path


def pictures(folder: Path, *names: str) -> Path:
    folder.mkdir(exist_ok=True)
    for name in names:
        Image.new("RGB", (4, 4), "red").save(folder / name)
    return folder


@pytest.mark.parametrize("suffix", ["jsonl", "jsonl.gz"])
def test_rows_with_images(tmp_path: Path, suffix: str) -> None:
    """One format for both; rows of one image share a group; a question_id that comes again, as in set E, is an id of
    its own; and a text context is not shown beside the image."""
    images = pictures(tmp_path / "images", "7.png", "8.png")
    path = write(
        tmp_path / f"rows.{suffix}",
        {},
        {"question": "Is there a dog?", "label": "hallucinated", "context": "A cat.", "question_id": "1/2"},
        {"image": "8.png"},
        {"question_id": None, "image": "8.png", "answer": "no"},
    )
    rows = load_examples(f"rlhfv:{path}", images=images)
    assert rows[0] == Example("rlhfv-1", "7.png", "Is there a cat?", "yes", 1, image=str(images / "7.png"))
    assert [row.id for row in rows] == ["rlhfv-1", "rlhfv-1/2", "rlhfv-1/3", "rlhfv-4"]
    assert [row.label for row in rows] == [1, 0, 1, 1]
    assert [row.group for row in rows] == ["7.png", "7.png", "8.png", "8.png"]
    assert not any(row.context for row in rows)
    assert load_examples(f"phd:{path}", images=images, limit=2)[1].id == "phd-1/2"

    before, moved = examples_hash(rows), images.rename(tmp_path / "elsewhere")
    assert examples_hash(load_examples(f"rlhfv:{path}", images=moved)) == before  # wherever images lie


def test_one_photograph_under_two_names_is_one_group(tmp_path: Path) -> None:
    """As in set E, where PhD and RLHF-V name the files of COCO's photographs in two ways."""
    images = pictures(tmp_path / "images", "jpg_7.jpg", "000007.jpg")
    rows = [{"image": "jpg_7.jpg", "image_id": "000007"}, {"image": "000007.jpg", "image_id": "000007"}]
    path = write(tmp_path / "rows.jsonl", *rows)
    assert {row.group for row in load_examples(f"rlhfv:{path}", images=images)} == {"000007"}
    with gathered_notices():
        assert {row.group for row in load_examples(f"phd-text:{path}")} == {"000007"}


def test_images_beyond_a_limit_need_not_be_there(tmp_path: Path) -> None:
    images = pictures(tmp_path / "images", "7.png")
    path = write(tmp_path / "rows.jsonl", {}, {"image": "8.png"})
    assert len(load_examples(f"phd:{path}", images=images, limit=1)) == 1
    with pytest.raises(InputError, match="1 of 2 images are not there"):
        load_examples(f"phd:{path}", images=images, limit=2)
    line = {"question": "q", "answer": "a", "label": 1}
    mine = tmp_path / "mine.jsonl"
    mine.write_text("".join(json.dumps({**line, "image": name}) + "\n" for name in ("7.png", "8.png")))
    assert len(load_examples(str(mine), images=images, limit=1)) == 1


def test_rows_as_text(tmp_path: Path) -> None:
    """The text counterpart of PhD has a context for the image; rows without one are closed-book, which is said."""
    with_context = {"image": None, "context": "A cat sits there."}
    path = write(tmp_path / "text.jsonl", with_context, with_context | {"question": "Is there a dog?", "answer": "no"})
    with gathered_notices() as said:
        rows = load_examples(f"phd-text:{path}")
    assert not said and {row.group for row in rows} == {"A cat sits there."}
    assert rows[0] == Example("phd-1", "A cat sits there.", "Is there a cat?", "yes", 1, "A cat sits there.")

    both = write(tmp_path / "both.jsonl", {"context": "A cat."}, {"image": "8.png"})
    with gathered_notices() as said:
        rows = load_examples(f"phd-text:{both}")
    assert not any(row.image for row in rows) and [row.group for row in rows] == ["7.png", "8.png"]
    (sentence,) = said
    assert "CLOSED BOOK: 1 of 2 rows" in sentence and "both.jsonl" in sentence


def test_empty_answers_are_counted_and_left_out(tmp_path: Path) -> None:
    path = write(tmp_path / "rows.jsonl", {}, {"answer": " "}, {"answer": ""}, {"answer": "no"})
    with gathered_notices() as said:
        rows = load_examples(f"phd:{path}", images_needed=False)
    assert [row.answer for row in rows] == ["yes", "no"]
    assert said == [f"2 of 4 answers of {path} are empty and left out (first: line 2)"]
    write(path, {"answer": " "})
    with pytest.raises(InputError, match="all 1 answers are empty"):
        load_examples(f"phd:{path}", images_needed=False)


def test_images_that_are_not_there(tmp_path: Path) -> None:
    path = write(tmp_path / "rows.jsonl", {}, {"image": "8.png"}, {"image": "9.png"}, {"image": "9.png"})
    with pytest.raises(InputError, match="rows.jsonl: its rows name image files; .*--images FOLDER"):
        load_examples(f"rlhfv:{path}")
    with pytest.raises(InputError, match="none: there is no such folder of images"):
        load_examples(f"rlhfv:{path}", images=tmp_path / "none")
    images = pictures(tmp_path / "images", "7.png")
    with pytest.raises(InputError, match=r"2 of 3 images are not there \(first: .*8.png\)"):
        load_examples(f"rlhfv:{path}", images=images)
    rows = load_examples(f"rlhfv:{path}", images_needed=False)  # rows alone can be looked at
    assert [row.image for row in rows] == ["7.png", "8.png", "9.png", "9.png"]


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"label": "good"}, "label is 'good', not 1 \\(supported\\) or 0 \\(hallucinated\\)"),
        ({"label": None}, "has no label"),
        ({"label": ["gold"]}, "label is \\['gold'\\]"),
        ({"question": None}, "has no field 'question'"),
        ({"question": " "}, "field 'question' is empty"),
        ({"answer": 3}, "field 'answer' is not text"),
        ({"answer": "half \ud83d"}, "half of a surrogate pair"),
        ({"image": None}, "has no field 'image'; rows without images are read as phd-text:FILE"),
        ({"image": 7}, "field 'image' is not text"),
    ],
)
@pytest.mark.parametrize("suffix", ["jsonl", "jsonl.gz"])
def test_bad_row_is_named(tmp_path: Path, suffix: str, change: dict[str, Any], complaint: str) -> None:
    path = write(tmp_path / f"rows.{suffix}", {}, change)
    with pytest.raises(InputError, match=f"rows.{suffix}, line 2: .*{complaint}"):
        load_examples(f"phd:{path}", images_needed=False)


@pytest.mark.parametrize(
    ("name", "content", "complaint"),
    [
        ("rows.jsonl.gz", gzip.compress(b'{"a": 1}\n' * 99, mtime=0)[:9], "rows.jsonl.gz: the gzip file is damaged"),
        ("rows.jsonl.gz", b"{}\n", "rows.jsonl.gz: the gzip file is damaged"),
        ("rows.jsonl.gz", gzip.compress(b"\xff", mtime=0), "is not UTF-8"),
        ("rows.jsonl.gz", gzip.compress(b"\n{]", mtime=0), "line 2: is not JSON"),
        ("rows.jsonl.gz", gzip.compress(b"[7]", mtime=0), "row 1: is not a JSON object"),
        ("rows.jsonl.gz", gzip.compress(b"", mtime=0), "holds no rows"),
        ("rows.jsonl", b"", "holds no rows"),
    ],
)
def test_bad_file_is_named(tmp_path: Path, name: str, content: bytes, complaint: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=complaint):
        load_examples(f"rlhfv:{tmp_path / name}", images_needed=False)


@pytest.mark.parametrize("name", ["rows.jsonl", "rows.jsonl.gz"])
def test_missing_file(tmp_path: Path, name: str) -> None:
    with pytest.raises(InputError, match=f"{name}: cannot be read"):
        load_examples(f"rlhfv:{tmp_path / name}", images_needed=False)


@pytest.mark.published
@pytest.mark.parametrize(
    ("name", "read", "empty"),
    [
        ("phd:setC_images_phd10k", 10_000, 0),
        ("rlhfv:setD_images_rlhfv", 2_725, 1),
        ("rlhfv:setE_images_rlhfv_phd", 12_725, 1),
    ],
)
def test_released_rows(data: Path, name: str, read: int, empty: int) -> None:
    source, _, file = name.partition(":")
    with gathered_notices() as said:
        rows = load_examples(f"{source}:{data / 'rlhfv_phd' / file}.jsonl.gz", images_needed=False)
    assert len(rows) == len({row.id for row in rows}) == read
    assert len(said) == empty and all("1 of" in sentence for sentence in said)


@pytest.mark.published
def test_photographs_of_the_released_rows_stay_together(data: Path) -> None:
    files = {"phd": "setC_images_phd10k", "rlhfv": "setD_images_rlhfv"}
    with gathered_notices():
        groups = {
            source: {row.group for row in load_examples(f"{source}:{path}", images_needed=False)}
            for source, name in files.items()
            for path in [data / "rlhfv_phd" / f"{name}.jsonl.gz"]
        }
    assert len(groups["phd"] & groups["rlhfv"]) == 206  # under other file names
