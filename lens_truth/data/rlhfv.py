"""RLHF-V (Yu et al. 2024) as it is released, and RLAIF-V: a question about an image with the answer that people chose
after mending it, and the one they rejected because it hallucinates."""

from __future__ import annotations

import json
from pathlib import Path

from lens_truth.data.data_file import DataFile
from lens_truth.data.examples import HALLUCINATED, SUPPORTED, Example
from lens_truth.data.row_fields import Fields
from lens_truth.io.readers import is_object


def read_preferences(file: DataFile) -> list[Example]:
    """Two examples a row, chosen and rejected; rows of one image share a group. The three texts are fields of the row,
    or of the JSON in its field `text`; the image lies in the folder `images` as `image_path` says, or right there."""
    file.check_folder()
    examples: list[Example] = []
    for number, (_, fields) in enumerate(file.fields()):
        said, image = _said(fields), fields.text("image_path")
        for field, label in (("chosen", SUPPORTED), ("rejected", HALLUCINATED)):
            answer, place = said.text(field), _placed(file.images, image)
            examples.append(
                Example(f"rlhfv-{number}-{field}", image, said.text("question"), answer, label, image=place)
            )
    return file.first(examples)


def _said(fields: Fields) -> Fields:
    _, text = fields.value("text")
    if text is None:
        return fields
    try:
        inner = json.loads(text) if isinstance(text, str) else text
    except (ValueError, RecursionError):
        inner = None
    if not is_object(inner):
        raise fields.wrong("field 'text' is not a JSON object with question, chosen and rejected")
    return fields.of(inner)


def _placed(folder: Path | None, name: str) -> str:
    if folder is None:
        return name
    return str(folder / name if (folder / name).is_file() else folder / Path(name).name)
