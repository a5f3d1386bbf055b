"""Questions about images that are answered with yes or no, as their authors release them: POPE's (Li et al. 2023) and
PhD's `data.json` (Liu et al. 2025), which has two questions an image, one of each answer. Both answers to a question
become examples; which one is right the label says."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lens_truth.data.data_file import DataFile
from lens_truth.data.examples import HALLUCINATED, SUPPORTED, Example
from lens_truth.data.images import image_in
from lens_truth.errors import InputError

_COCO_NAMES = ("COCO_val2014_{}.jpg", "COCO_train2014_{}.jpg", "{}.jpg", "{}.png")
_FOLDERS = (".", "val2014", "train2014", "CCS_images")


@dataclass(frozen=True)
class PopeQuestion:
    """One question about one image, whose answer (the label) is `yes` or `no`."""

    id: str
    image: str
    text: str
    label: str


def pope_questions(path: Path, rows: Iterable[tuple[str, dict[str, Any]]]) -> list[PopeQuestion]:
    """A split: rows with `question_id`, `image`, `text` and `label`."""
    questions: dict[str, PopeQuestion] = {}
    wrong: list[str] = []
    for place, row in rows:
        where = f"{path}, {place}"
        id, image, text, label = (text_of(row, field, where) for field in ("question_id", "image", "text", "label"))
        if id in questions:
            raise InputError(f"{where}: question_id {id} stands there already")
        questions[id] = PopeQuestion(id, image, text, label.strip().lower())
        if questions[id].label not in ("yes", "no"):
            wrong.append(f"question {id} with '{label}'")
    if not questions:
        raise InputError(f"{path}: holds no questions")
    if wrong:
        raise InputError(f"{path}: {len(wrong)} of {len(questions)} labels are not yes or no (first: {wrong[0]})")
    return list(questions.values())


def text_of(row: dict[str, Any], field: str, where: str) -> str:
    """Text, or a whole number as text."""
    value = row.get(field)
    if value is None:
        raise InputError(f"{where}: has no field '{field}'")
    if isinstance(value, float) and value.is_integer():
        value = int(value)  # as some libraries write whole numbers
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise InputError(f"{where}: field '{field}' is not text")
    return str(value)


def read_pope(file: DataFile) -> list[Example]:
    """The questions of a split, each with both answers; those about one image share a group."""
    file.check_folder()
    return file.first(
        [
            example
            for asked in pope_questions(file.path, file)
            for image in [image_in(file.images, asked.image) if file.images else asked.image]
            for example in _both(f"pope-{asked.id}", asked.image, asked.text, asked.label, image)
        ]
    )


def read_phd(file: DataFile) -> list[Example]:
    """Both questions of each row (without its misleading contexts), each with both answers. Images are named by number:
    COCO's of 2014, and PhD's own."""
    file.check_folder()
    examples: list[Example] = []
    for number, (_, fields) in enumerate(file.fields()):
        key = fields.word("image_id", "")
        if not key:
            raise fields.wrong("has no field 'image_id'")
        image = _image_file(file.images, key)
        for right in ("yes", "no"):
            examples += _both(f"phd-{number}-{right}", key, fields.text(f"{right}_question"), right, image)
    return file.first(examples)


def _both(id: str, group: str, question: str, right: str, image: str) -> Iterator[Example]:
    for answer in ("yes", "no"):
        label = SUPPORTED if answer == right else HALLUCINATED
        yield Example(f"{id}-{answer}", group, question, answer, label, image=image)


def _image_file(folder: Path | None, key: str) -> str:
    """The file of an image with this number, where COCO and PhD have theirs."""
    names = [name.format(number) for number in dict.fromkeys((key.zfill(12), key)) for name in _COCO_NAMES]
    if folder is None:
        return names[0]
    places = (folder / inner / name for inner in _FOLDERS for name in names)
    return str(next((path for path in places if path.is_file()), folder / names[0]))
