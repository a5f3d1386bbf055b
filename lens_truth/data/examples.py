"""`Example`: one answer to one question, labelled by whether its context supports it; or a statement alone."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypedDict, Unpack

import numpy as np

from lens_truth.data.drawing import Box
from lens_truth.data.images import check_images, image_hash, image_in, image_size
from lens_truth.data.row_fields import HALLUCINATED, SUPPORTED, TRUTHS, Fields, is_blank
from lens_truth.data.row_table import save_row_table
from lens_truth.data.subjects import subject_in, subject_of
from lens_truth.errors import InputError
from lens_truth.io.files import hash_of, write_text
from lens_truth.io.rows import read_rows
from lens_truth.io.streams import Stream, stream


class FieldNames(TypedDict, total=False):
    """What the fields of an `Example` are called in a row, where they are called otherwise."""

    id: str
    group: str
    question: str
    answer: str
    statement: str
    label: str
    context: str
    evidence: str
    image: str
    boxes: str
    aliases: str


@dataclass(frozen=True)
class Example:
    """One question, one answer and its label; without a question, a statement that is true or false by itself.

    >>> Example("1-right", "1", "What colour is the heart?", "coral", 1, context="The coral heart is in the attic.")
    >>> Example("2", "paris", "", "Paris is in France.", 1)
    """

    id: str
    """Unique name of the row."""
    group: str
    """Rows of one question, scene, image or subject share a group; a group is never split between folds."""
    question: str
    """Empty for a statement."""
    answer: str
    """Or the statement."""
    label: int
    """1 if the context supports the answer or the statement is true, 0 if it is hallucinated or false."""
    context: str = ""
    """What the answer must rest on; empty for a closed-book question."""
    evidence: tuple[tuple[int, int], ...] = ()
    """Character spans [start, stop) of `context` that hold the evidence."""
    image: str = ""
    """The image that the answer must rest on, as `lens_truth.data.images.open_image` knows it; empty for none."""
    boxes: tuple[Box, ...] = ()
    """Boxes of `image`, in pixels as `open_image` gives it, that show the evidence."""
    aliases: tuple[str, ...] = ()
    """Other answers that are as right, where a model writes its own."""

    @classmethod
    def from_row(
        cls,
        row: Mapping[str, Any],
        *,
        where: str = "the row",
        images: str | Path | None = None,
        **names: Unpack[FieldNames],
    ) -> Example:
        """An example from any mapping: a row of a Hugging Face `datasets` set, of a DataFrame (of
        `frame.to_dict("records")`), a dict.

        >>> [Example.from_row(row, answer="response", where=f"row {n}") for n, row in enumerate(rows)]

        Required are question, answer and label (1 or 0; also gold / hallucinated, TruthProbe's words). Optional, and as
        if absent where None, NaN or empty: id (default: a hash of the answer and what it is about), group (default: the
        image, or else equal context and question), context, evidence (a list of [start, stop] character spans of the
        context, or of texts that occur in it once), image (a file's name; `black`; `zoo:SCENE#N`), boxes (a list of
        [left, top, right, bottom] in pixels of the image), aliases (a list of texts). Whether an image is there is seen
        when it is opened.

        A row with a statement in place of question and answer is an example without a question; its label may also be
        true or false, and its default group is what it is about (`lens_truth.data.subject_of`).

        Args:
            where: what errors call the row.
            images: the folder of image files.
            names: of fields that are called otherwise in the row, such as `answer="response"`.

        Raises:
            InputError: names the row and its first bad field.
        """
        check_names(names)
        its = Fields(row, where, {field: str(name) for field, name in names.items()})
        stated = all(its.value(field)[1] in (None, "") for field in ("question", "answer", "image")) and (
            its.value("statement")[1] is not None
        )
        question, answer = ("", its.text("statement")) if stated else (its.text("question"), its.text("answer"))
        context, image = its.text("context", ""), its.text("image", "")
        about = subject_of(answer, subject_in(row)) if stated else f"{context}\n{question}"
        return cls(
            id=its.word("id", hash_of(image, context, question, answer)),
            group=its.word("group", image or about),
            question=question,
            answer=answer,
            label=its.label(TRUTHS if stated else {}),
            context=context,
            evidence=its.evidence(context),
            image=image_in(Path(images), image) if images is not None else image,
            boxes=its.boxes(image),
            aliases=tuple(its.texts("aliases")),
        )

    @property
    def is_statement(self) -> bool:
        """Whether it asks nothing, neither in words nor by an image."""
        return not (self.question.strip() or self.image)

    @property
    def has_evidence(self) -> bool:
        """Whether it is known what the answer rests on, in the context or in the image."""
        return bool(self.evidence or self.boxes)


def check_names(names: Mapping[str, Any]) -> None:
    """Raises an InputError for the name of a field that examples do not have."""
    if unknown := names.keys() - FieldNames.__annotations__.keys():
        raise InputError(f"an example has no field '{min(unknown)}', only {', '.join(FieldNames.__annotations__)}")


def examples_hash(examples: Sequence[Example]) -> str:
    """A hash of all fields of all rows, in order; of an image what is in it counts, not where it lies.

    >>> lens_truth.data.examples_hash(examples)

    Raises:
        InputError: names an image that is missing.
    """
    rows = [_for_json(example, example.image and image_hash(example.image)) for example in examples]
    for row in rows:
        if not row["image"]:
            del row["image"]  # as before there were images
    return hash_of(*(json.dumps(row, sort_keys=True) for row in rows))


def _for_json(example: Example, image: str) -> dict[str, Any]:
    """What an example holds; boxes and aliases only if there are any, boxes as floats, so that 1 and 1.0 are the
    same."""
    row = {**asdict(example), "image": image, "boxes": [[float(edge) for edge in box] for box in example.boxes]}
    if example.is_statement:
        row["statement"] = row.pop("answer")
        del row["question"]
    return {name: value for name, value in row.items() if value or name not in ("boxes", "aliases")}


def labels_of(examples: Sequence[Example]) -> list[int]:
    """The label of each example: 1 supported, 0 hallucinated."""
    return [example.label for example in examples]


def rows_by_question(examples: Sequence[Example]) -> list[list[int]]:
    """Row numbers of each question's answers; questions differ in group, image, context or text."""
    questions: dict[tuple[str, str, str, str], list[int]] = {}
    for row, example in enumerate(examples):
        questions.setdefault((example.group, example.image, example.context, example.question), []).append(row)
    return list(questions.values())


def has_pairs(examples: Sequence[Example]) -> bool:
    """Whether any question has answers of both labels."""
    both = {HALLUCINATED, SUPPORTED}
    return any({examples[row].label for row in rows} == both for rows in rows_by_question(examples))


def question_pairs(examples: Sequence[Example]) -> list[tuple[list[int], list[int]]]:
    """Row numbers of the supported and of the hallucinated answers, for every question that has both.

    >>> pairs = lens_truth.data.question_pairs(examples)

    Raises:
        InputError: if no question has answers of both labels.
    """
    sides = [
        tuple([row for row in rows if examples[row].label == label] for label in (SUPPORTED, HALLUCINATED))
        for rows in rows_by_question(examples)
    ]
    pairs = [(supported, hallucinated) for supported, hallucinated in sides if supported and hallucinated]
    if not pairs:
        raise InputError(
            "no question has both a supported and a hallucinated answer, so an answer margin is not defined"
        )
    return pairs


def split_groups(examples: Sequence[Example], shares: Sequence[float], seed: int) -> list[list[Example]]:
    """Parts of about the given shares; all rows of a group go to the same part, and rows keep their order.

    >>> score_rows, test_rows = lens_truth.data.split_groups(examples, (0.5, 0.5), seed=0)

    Raises:
        InputError: if a part would be empty.
    """
    groups = list(dict.fromkeys(example.group for example in examples))
    order = stream(seed, Stream.SPLIT).permutation(len(groups))
    bounds = np.rint(np.cumsum(shares) / sum(shares) * len(groups))
    part_of = {groups[int(g)]: int(np.searchsorted(bounds, rank, side="right")) for rank, g in enumerate(order)}
    parts: list[list[Example]] = [[] for _ in shares]
    for example in examples:
        parts[part_of[example.group]].append(example)
    if not all(parts):
        raise InputError(f"{len(groups)} groups are too few to be split into {len(shares)} parts")
    return parts


def read_examples(path: str | Path, images: Path | None = None, limit: int | None = None) -> list[Example]:
    """Examples from JSON lines, a JSON list of objects, or a table with a header row, packed with gzip or not; from a
    Parquet file, or a folder that `save_to_disk` of Hugging Face's `datasets` wrote.

    Fields are those of `Example.from_row`, with the row's number for an id that is absent. Text tables hold neither
    evidence nor boxes. Image files lie in the folder `images`, or else beside the file of examples. With a limit only
    the first so many are given, and the images of the others need not be there.

    >>> examples = lens_truth.read_examples("my-rows.csv")

    Raises:
        InputError: names file, line and field of the first bad row; counts empty answers and missing images; also for
            a missing or empty file.
    """
    return examples_of(Path(path), read_rows(Path(path)), images, limit)


def examples_of(
    path: Path,
    rows: Iterable[tuple[str, dict[str, Any]]],
    images: Path | None = None,
    limit: int | None = None,
    **names: Unpack[FieldNames],
) -> list[Example]:
    """`read_examples` of rows that were read already."""
    rows = list(rows)
    if not rows:
        raise InputError(f"{path}: holds no examples")
    answer, statement, own_id = (names.get(field, field) for field in ("answer", "statement", "id"))
    refuse_empty(path, [place for place, row in rows if is_blank(row.get(answer, row.get(statement)))], len(rows))
    examples: list[Example] = []
    places: dict[str, str] = {}
    for number, (place, row) in enumerate(rows):
        numbered = {**row, own_id: str(number)} if row.get(own_id) in (None, "") else row
        where = f"{path}, {place}"
        example = Example.from_row(numbered, where=where, images=path.parent if images is None else images, **names)
        examples.append(example)
        if (first := places.setdefault(example.id, place)) != place:
            raise InputError(f"{where}: id '{example.id}' stands already on {first}")
    check_images(example.image for example in examples[:limit])
    for example in examples[:limit]:
        _refuse_outside(example, f"{path}, {places[example.id]}")
    return examples[:limit]


def refuse_empty(path: Path, places: Sequence[str], n: int) -> None:
    """Raises an InputError that counts empty answers, if there are any at these places."""
    if places:
        raise InputError(f"{path}: {len(places)} of {n} answers are empty (first: {places[0]})")


def _refuse_outside(example: Example, where: str) -> None:
    """Raises an InputError if a box does not lie in the image."""
    width, height = image_size(example.image) if example.boxes else (0, 0)
    for box in example.boxes:
        left, top, right, bottom = box
        if left < 0 or top < 0 or right > width or bottom > height:
            raise InputError(f"{where}: box {list(box)} does not lie in the image, which has {width} x {height} pixels")


def write_examples(path: str | Path, examples: Iterable[Example]) -> None:
    """Examples as JSON lines, or of a path that ends in `.parquet` as such a file, that `read_examples` reads back
    unchanged; image files are named by absolute paths.

    >>> lens_truth.write_examples("first.jsonl", examples[:40])
    """
    rows = [row_of(example) for example in examples]
    if Path(path).suffix == ".parquet":
        return save_row_table(Path(path), rows)
    return write_text(Path(path), "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))


def row_of(example: Example) -> dict[str, Any]:
    """What an example holds, with its image file by an absolute path."""
    return _for_json(example, image_in(Path.cwd(), example.image))
