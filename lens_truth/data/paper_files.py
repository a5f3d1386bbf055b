"""The data sets that TruthProbe was measured on, as they are released: HaluEval QA, PhD and RLHF-V.

HaluEval QA (Li et al. 2023) has a right and a hallucinated answer a row. PhD and RLHF-V have a question about an image,
one answer, one label a row: `{"question_id", "question", "answer", "label": "gold" or "hallucinated", "image": file
name}`; in the text counterpart of PhD (TruthProbe's set C for language models) a `context` stands for the image.

Set D (RLHF-V) and the RLHF-V rows of set E hold the same 2,726 answers, 2,724 of them with opposite labels, and a row
does not say which is right (docs/reproduce.md says what is known; tests/data/test_label_audit.py measures it). The sign
of a causal score hangs on it, and so does any pooling with PhD, whose labels agree in sets C and E.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from lens_truth.data.examples import HALLUCINATED, SUPPORTED, Example, refuse_empty
from lens_truth.data.images import check_images, image_in
from lens_truth.data.row_fields import Fields, is_blank
from lens_truth.errors import InputError, notice
from lens_truth.io.readers import read_csv, read_jsonl

Source = Literal["phd", "rlhfv"]
"""What ids of examples begin with."""
_HALUEVAL = ("knowledge", "raw_question", "correct_answer", "hallucinated_answer")


def read_halueval(path: str | Path) -> list[Example]:
    """Two examples (right, hallucinated) for each row of the csv file; they share a group."""
    path = Path(path)
    examples: list[Example] = []
    empty: list[int] = []
    for line, row in read_csv(path):
        for field in _HALUEVAL:
            if field not in row:
                raise InputError(f"{path}: has no column '{field}' (HaluEval QA has {', '.join(_HALUEVAL)})")
            if not row[field].strip() and not field.endswith("answer"):
                raise InputError(f"{path}, line {line}: field '{field}' is empty")
        knowledge, question, right, wrong = (row[field] for field in _HALUEVAL)
        empty += [line for answer in (right, wrong) if not answer.strip()]
        group = f"halueval-{len(examples) // 2}"
        examples.append(Example(f"{group}-right", group, question, right, SUPPORTED, knowledge))
        examples.append(Example(f"{group}-wrong", group, question, wrong, HALLUCINATED, knowledge))
    if not examples:
        raise InputError(f"{path}: holds no rows")
    refuse_empty(path, empty, len(examples))
    return examples


def read_image_rows(
    path: str | Path, images: Path | None, source: Source, *, images_needed: bool = True, limit: int | None = None
) -> list[Example]:
    """The rows of a `.jsonl` or `.jsonl.gz` file with the images in the folder `images`; a text context that a row has
    besides is left out. Rows of one image share a group: by `image_id`, its number among COCO's, since PhD and RLHF-V
    name the file of one photograph in two ways, or else by its name. Empty answers, of which the released sets D and E
    have one, are left out with a `DataWarning` that counts them.

    Args:
        limit: only the first so many; the images of the others need not be there.
        images_needed: False reads rows whose images need not be there, for looking at rows alone.
    """
    path = Path(path)
    if images is None and images_needed:
        raise InputError(f"{path}: its rows name image files; say in which folder they lie (--images FOLDER)")
    if images is not None and not images.is_dir():
        raise InputError(f"{images}: there is no such folder of images")
    examples = [
        Example(id, fields.word("image_id", image), *said, image=image_in(images, image) if images else image)
        for id, fields, said in _rows(path, source)
        for image in [fields.text("image", hint="; rows without images are read as phd-text:FILE")]
    ][:limit]
    if images_needed:
        check_images(example.image for example in examples)
    return examples


def read_text_rows(path: str | Path) -> list[Example]:
    """The rows of a file of PhD as text: the `context` where a row has one, and no image.

    A row without a context is a closed-book question, and a `DataWarning` counts these. Rows of one image, or without
    an image of one context, share a group. Empty answers are left out as by `read_image_rows`.
    """
    path = Path(path)
    examples: list[Example] = []
    for id, fields, said in _rows(path, "phd"):
        context, image = fields.text("context", ""), fields.text("image", "")
        group = fields.word("image_id", image or context or said[0])
        examples.append(Example(id, group, *said, context))
    closed = sum(not example.context.strip() for example in examples)
    if closed:
        notice(
            f"CLOSED BOOK: {closed} of {len(examples)} rows of {path} have no context, so a text model is asked about "
            "images that it is not shown; its scores there are not about a context"
        )
    return examples


def _rows(path: Path, source: Source) -> Iterator[tuple[str, Fields, tuple[str, str, int]]]:
    """(id, fields, (question, answer, label)) of all rows that have an answer. An id is `rlhfv-17`, or, where a
    question_id comes again, as in set E, `rlhfv-17/2`."""
    if path.name.removesuffix(".gz").rpartition(".")[2] != "jsonl":
        raise InputError(f"{path}: such rows are read from .jsonl or .jsonl.gz files")
    rows = list(read_jsonl(path))
    if not rows:
        raise InputError(f"{path}: holds no rows")
    ids: set[str] = set()
    empty: list[int] = []
    for line, row in rows:
        if is_blank(row.get("answer")):
            empty.append(line)
            continue
        fields = Fields(row, f"{path}, line {line}")
        first = f"{source}-{fields.word('question_id', str(line))}"
        id, again = first, 1
        while id in ids:
            again += 1
            id = f"{first}/{again}"
        ids.add(id)
        yield id, fields, (fields.text("question"), fields.text("answer"), fields.label())
    if len(empty) == len(rows):
        raise InputError(f"{path}: all {len(rows)} answers are empty")
    if empty:
        notice(f"{len(empty)} of {len(rows)} answers of {path} are empty and left out (first: line {empty[0]})")
