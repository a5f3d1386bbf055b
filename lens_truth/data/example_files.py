"""Files of examples: JSON lines and tables, read and written; a bad row is named by file, line and field."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from lens_truth.data.examples import Example, example_fields
from lens_truth.data.images import check_images, image_size, is_made
from lens_truth.data.row_fields import is_blank
from lens_truth.errors import InputError
from lens_truth.io.files import write_text
from lens_truth.io.readers import read_csv, read_jsonl


def read_examples(path: str | Path, images: Path | None = None, limit: int | None = None) -> list[Example]:
    """Examples from JSON lines (`.jsonl`) or a table with a header row (`.csv`).

    ```python
    examples = read_examples("mine.jsonl", images=Path("photographs"))
    ```

    Fields are those of `Example.from_row`, with the row's number for an id that is absent. Tables hold neither evidence
    nor boxes. Image files lie in the folder `images`, or else beside the file of examples. With a limit only the first
    so many are given, and the images of the others need not be there.

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
    refuse_empty(path, [line for line, row in rows if is_blank(row.get("answer"))], len(rows))
    examples = [
        Example.from_row(_numbered(row, number), where=f"{path}, line {line}", images=folder)
        for number, (line, row) in enumerate(rows)
    ]
    seen: dict[str, int] = {}
    for (line, _), example in zip(rows, examples, strict=True):
        if example.id in seen:
            raise InputError(f"{path}, line {line}: id '{example.id}' stands already on line {seen[example.id]}")
        seen[example.id] = line
    check_images(example.image for example in examples[:limit])
    for (line, _), example in zip(rows, examples[:limit], strict=False):
        _refuse_outside(example, f"{path}, line {line}")
    return examples[:limit]


def _numbered(row: dict[str, Any], number: int) -> dict[str, Any]:
    return {**row, "id": str(number)} if row.get("id") in (None, "") else row


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


def _refuse_outside(example: Example, where: str) -> None:
    """Raises an InputError if a box does not lie in the image."""
    if not example.boxes:
        return
    width, height = image_size(example.image)
    for box in example.boxes:
        left, top, right, bottom = box
        if left < 0 or top < 0 or right > width or bottom > height:
            raise InputError(f"{where}: box {list(box)} does not lie in the image, which has {width} x {height} pixels")
