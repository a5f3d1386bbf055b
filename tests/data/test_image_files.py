"""POPE, PhD, RLHF-V and RLAIF-V as their authors publish them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from published import check_refused, lines

from lens_truth.data.loading import load_examples
from lens_truth.errors import InputError

POPE = {"question_id": 1, "image": "COCO_val2014_000000000007.jpg", "text": "Is there a cat?", "label": "no"}
PHD = {
    "image_id": "000000000007",
    "task": "object",
    "yes_question": "Is there a cat?",
    "no_question": "Is there a dog?",
    "hitem": "dog",
    "gt": "cat",
    "subject": "cat",
    "context": {"sec": "Dogs are common.", "icc": "There is a dog."},
}
PREFERRED = {"question": "What is it?", "chosen": "A cat.", "rejected": "A dog."}
RLHFV = {"ds_name": "x", "image": "c", "text": json.dumps(PREFERRED), "idx": 0, "image_path": "coco/7.jpg"}


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (lines({**RLHFV, "text": "{]"}), "field 'text' is not a JSON object with question, chosen and rejected"),
        (lines({**RLHFV, "text": "[" * 99_999}), "field 'text' is not a JSON object with question"),
        (lines({**PHD, "image_id": None}), "line 1: has no field 'image_id'"),
        (lines({**POPE, "label": "maybe"}), "1 of 1 labels are not yes or no"),
    ],
)
def test_what_is_not_understood_is_named(tmp_path: Path, content: str, complaint: str) -> None:
    check_refused(tmp_path, content, complaint)


@pytest.mark.parametrize(
    ("row", "file", "expected"),
    [
        (POPE, POPE["image"], [("Is there a cat?", "yes", 0), ("Is there a cat?", "no", 1)]),
        (
            PHD,
            "COCO_train2014_000000000007.jpg",
            [
                ("Is there a cat?", "yes", 1),
                ("Is there a cat?", "no", 0),
                ("Is there a dog?", "yes", 0),
                ("Is there a dog?", "no", 1),
            ],
        ),
        ({**PHD, "image_id": "7", "ccs_description": "a purple cat"}, "CCS_images/7.png", None),
        (RLHFV, "7.jpg", [("What is it?", "A cat.", 1), ("What is it?", "A dog.", 0)]),
        ({**PREFERRED, "image_path": "coco/7.jpg"}, "coco/7.jpg", [("What is it?", "A cat.", 1)]),
    ],
    ids=["POPE", "PhD", "PhD's own images", "RLHF-V", "RLAIF-V"],
)
def test_published_rows_about_images(
    tmp_path: Path, row: dict[str, Any], file: str, expected: list[tuple[str, str, int]] | None
) -> None:
    (tmp_path / "data.json").write_text(json.dumps([row]))
    folder = tmp_path / "images"
    (folder / file).parent.mkdir(parents=True)
    Image.new("RGB", (4, 4)).save(folder / file, "PNG")
    found = load_examples(str(tmp_path / "data.json"), images=folder)
    assert {e.image for e in found} == {str(folder / file)} and len({e.group for e in found}) == 1
    if expected is not None:
        assert [(e.question, e.answer, e.label) for e in found][: len(expected)] == expected
    with pytest.raises(InputError, match="say in which folder they lie"):
        load_examples(str(tmp_path / "data.json"))
    assert len(load_examples(str(tmp_path / "data.json"), images_needed=False)) == len(found)
    (folder / file).unlink()
    with pytest.raises(InputError, match="1 of 1 images are not there"):
        load_examples(str(tmp_path / "data.json"), images=folder)
