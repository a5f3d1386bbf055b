"""Files of examples: JSON lines and tables, read and written; a bad row is named by file, line and field."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from lens_truth.data.boxes import Box
from lens_truth.data.examples import HALLUCINATED, SUPPORTED, Example, example_fields
from lens_truth.data.images import check_images, image_in, image_size, is_made
from lens_truth.errors import InputError
from lens_truth.io.files import write_text
from lens_truth.io.readers import is_list, read_csv, read_jsonl


def read_examples(path: str | Path, images: Path | None = None, limit: int | None = None) -> list[Example]:
    """Examples from JSON lines (`.jsonl`) or a table with a header row (`.csv`).

    Required fields: question, answer, label (1 or 0; also gold / hallucinated, TruthProbe's words).
    Optional, and as if absent where null or empty: id (default: the row's number), group (default: the image, or else
    equal context and question), context, evidence (JSON lines only: a list of [start, stop] character spans of the
    context, or of texts that occur in it once), image (a file's name in the folder `images`, or else relative to the
    file of examples; `black`; `zoo:SCENE#N`), boxes (JSON lines only: a list of [left, top, right, bottom] in pixels of
    the image). With a limit only the first so many are given, and the images of the others need not be there.

    ```python
    examples = lens_truth.read_examples("my-rows.csv")
    ```

    Raises:
        InputError: names file, line and field of the first bad row; counts empty answers and missing images; also for
            a missing or empty file.
    """
    path = Path(path)
    if path.suffix not in (".jsonl", ".csv"):
        raise InputError(f"{path}: examples are read from .jsonl or .csv files, not '{path.suffix}'")
    rows = list(read_jsonl(path) if path.suffix == ".jsonl" else read_csv(path))
    if not rows:
        raise InputError(f"{path}: holds no examples")
    folder = images if images is not None else path.parent
    examples = [_example(row, f"{path}, line {line}", number, folder) for number, (line, row) in enumerate(rows)]
    refuse_empty(
        path, [line for (line, _), example in zip(rows, examples, strict=True) if not example.answer.strip()], len(rows)
    )
    seen: dict[str, int] = {}
    for (line, _), example in zip(rows, examples, strict=True):
        if example.id in seen:
            raise InputError(f"{path}, line {line}: id '{example.id}' stands already on line {seen[example.id]}")
        seen[example.id] = line
    check_images(example.image for example in examples[:limit])
    for (line, _), example in zip(rows, examples[:limit], strict=False):
        _refuse_outside(example, f"{path}, line {line}")
    return examples[:limit]


def refuse_empty(path: Path, lines: Sequence[int], n: int) -> None:
    """Raises an InputError that counts empty answers, if there are any at `lines`."""
    if lines:
        raise InputError(f"{path}: {len(lines)} of {n} answers are empty (first: line {lines[0]})")


def write_examples(path: str | Path, examples: Iterable[Example]) -> None:
    """Examples as JSON lines that `read_examples` reads back unchanged; image files are named by absolute paths.

    ```python
    lens_truth.write_examples("first.jsonl", examples[:40])
    ```
    """
    write_text(Path(path), "".join(json.dumps(_row(example), ensure_ascii=False) + "\n" for example in examples))


def _row(example: Example) -> dict[str, Any]:
    image = example.image
    return {**example_fields(example), "image": image if not image or is_made(image) else str(Path(image).absolute())}


def _example(row: dict[str, Any], where: str, number: int, images: Path) -> Example:
    def text(field: str, default: str | None = None) -> str:
        value = default if row.get(field) is None else row[field]
        if value is None:
            raise InputError(f"{where}: has no field '{field}'")
        if not isinstance(value, str):
            raise InputError(f"{where}: field '{field}' is not text")
        return value

    context, question, answer, image = text("context", ""), text("question"), text("answer"), text("image", "")
    if not question.strip():
        raise InputError(f"{where}: the question is empty")
    return Example(
        id=_name(row, "id", str(number)),
        group=_name(row, "group", image or f"{context}\n{question}"),
        question=question,
        answer=answer,
        label=_label(row, where),
        context=context,
        evidence=_evidence(row.get("evidence") or [], context, where),
        image=image_in(images, image),
        boxes=_boxes(row.get("boxes") or [], image, where),
    )


def _name(row: dict[str, Any], field: str, default: str) -> str:
    return default if row.get(field) in (None, "") else str(row[field])


def _label(row: dict[str, Any], where: str) -> int:
    words = {"1": SUPPORTED, "1.0": SUPPORTED, "gold": SUPPORTED}
    words |= {"0": HALLUCINATED, "0.0": HALLUCINATED, "hallucinated": HALLUCINATED}
    if row.get("label") is None or row["label"] == "":
        raise InputError(f"{where}: has no label")
    label = words.get(str(row["label"]).strip().lower())
    if label is None or isinstance(row["label"], bool):
        raise InputError(f"{where}: label is {row['label']!r}, not 1 (supported) or 0 (hallucinated)")
    return label


def _evidence(items: Any, context: str, where: str) -> tuple[tuple[int, int], ...]:
    if not is_list(items):
        raise InputError(f"{where}: field 'evidence' is not a list of [start, stop] pairs or texts")
    return tuple(_span(item, context, where) for item in items)


def _span(item: Any, context: str, where: str) -> tuple[int, int]:
    """The characters of the context that an item of `evidence` means, by where they are or by what they say."""
    if isinstance(item, str):
        return _only_place(item, context, where)
    if not (is_list(item) and len(item) == 2 and all(type(end) is int for end in item)):
        raise InputError(f"{where}: field 'evidence' is not a list of [start, stop] pairs or texts")
    start, stop = item
    if not 0 <= start < stop <= len(context):
        raise InputError(f"{where}: evidence span [{start}, {stop}] does not lie in the context")
    return start, stop


def _only_place(quote: str, context: str, where: str) -> tuple[int, int]:
    if not quote.strip():
        raise InputError(f"{where}: a text in field 'evidence' is empty")
    starts = [found.start() for found in re.finditer(f"(?={re.escape(quote)})", context)]  # also where they overlap
    if not starts:
        raise InputError(f"{where}: evidence '{shortened(quote)}' does not occur in the context")
    if len(starts) > 1:
        raise InputError(
            f"{where}: evidence '{shortened(quote)}' occurs {len(starts)} times in the context; [start, stop] in place "
            "of the text says which one is meant"
        )
    return starts[0], starts[0] + len(quote)


def shortened(text: str) -> str:
    """A text for a message: on one line, of 60 characters at most."""
    line = " ".join(text.split())
    return line if len(line) <= 60 else f"{line[:57]}..."


def _boxes(boxes: Any, image: str, where: str) -> tuple[Box, ...]:
    def is_number(value: Any) -> bool:
        return type(value) in (int, float) and abs(value) <= sys.float_info.max  # neither NaN nor infinity

    if not is_list(boxes) or not all(is_list(box) and len(box) == 4 and all(map(is_number, box)) for box in boxes):
        raise InputError(f"{where}: field 'boxes' is not a list of [left, top, right, bottom], each 4 finite numbers")
    if boxes and not image:
        raise InputError(f"{where}: has boxes but no image")
    for left, top, right, bottom in boxes:
        if left >= right or top >= bottom:
            raise InputError(f"{where}: box {[left, top, right, bottom]} is empty or inverted")
    return tuple((float(left), float(top), float(right), float(bottom)) for left, top, right, bottom in boxes)


def _refuse_outside(example: Example, where: str) -> None:
    """Raises an InputError if a box does not lie in the image."""
    if not example.boxes:
        return
    width, height = image_size(example.image)
    for box in example.boxes:
        left, top, right, bottom = box
        if left < 0 or top < 0 or right > width or bottom > height:
            raise InputError(f"{where}: box {list(box)} does not lie in the image, which has {width} x {height} pixels")
