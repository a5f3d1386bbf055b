"""What COCO calls its images and the objects in them: names, numbers, annotations."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lens_truth.errors import InputError, shortened
from lens_truth.evaluate.chair import ObjectNames, objects_in, tokenize
from lens_truth.io.readers import is_list, is_object

_IMAGE_FILE = re.compile(r"(?:COCO_[a-z]+[0-9]{4}_)?0*([0-9]+)(?:\.(?:jpe?g|png))?", re.IGNORECASE)


def image_key(image: int | str) -> str:
    """One name for an image, whether given as 226988, '226988' or 'val2014/COCO_val2014_000000226988.jpg'."""
    text = str(image).strip()
    match = _IMAGE_FILE.fullmatch(text.rpartition("/")[2] if Path(text).suffix else text)
    return match[1] if match else text


def coco_objects(path: Path, whole: Mapping[str, Any], names: ObjectNames) -> dict[str, frozenset[str]]:
    """What is in each image by a file of COCO's annotations: `instances_*.json` names a category each, and what
    `captions_*.json` mentions is there. Images without an annotation hold nothing."""
    images, annotations, categories = (_rows(path, whole, part) for part in ("images", "annotations", "categories"))
    of_image: dict[str, set[str]] = defaultdict(set)
    for number, image in enumerate(images, start=1):
        of_image[image_key(_value(image, "id", f"{path}, images {number}"))] = set()
    class_of: dict[Any, str] = {}
    known: dict[str, str | None] = {}
    for number, category in enumerate(categories, start=1):
        where = f"{path}, categories {number}"
        name = str(_value(category, "name", where))
        known[name] = class_named(name, names)
        class_of[_value(category, "id", where)] = known[name] or name
    refuse_unknown(path, known)
    for number, row in enumerate(annotations, start=1):
        where = f"{path}, annotations {number}"
        found = of_image[image_key(_value(row, "image_id", where))]
        if "caption" in row:
            found.update(mention.name for mention in objects_in(str(row["caption"]), names))
        elif (category := _value(row, "category_id", where)) in class_of:
            found.add(class_of[category])
        else:
            raise InputError(f"{where}: category_id {category} is not one of the categories")
    return {image: frozenset(found) for image, found in of_image.items()}


def _rows(path: Path, whole: Mapping[str, Any], part: str) -> list[dict[str, Any]]:
    rows: Any = whole.get(part, [])
    if not is_list(rows) or not all(is_object(row) for row in rows):
        raise InputError(f"{path}: '{part}' is not a list of objects")
    return rows


def _value(row: dict[str, Any], field: str, where: str) -> int | str:
    value = row.get(field)
    if isinstance(value, bool) or not isinstance(value, int | str):
        raise InputError(f"{where}: field '{field}' is {shortened(repr(value))}, not a number or a name")
    return value


def class_named(name: str, names: ObjectNames) -> str | None:
    """The class that a name stands for in the table; None if it is not there."""
    plain = " ".join(name.lower().split())
    if plain in names.classes:
        return plain
    return names.class_of.get(names.forms.get(tuple(tokenize(plain)), "")) or None


def refuse_unknown(path: Path, known: Mapping[str, str | None]) -> None:
    """Raises an InputError that counts names which stand for no class."""
    if unknown := [f"'{name}'" for name, found in known.items() if found is None]:
        shown = ", ".join(unknown[:5]) + (", ..." if len(unknown) > 5 else "")
        raise InputError(f"{path}: {len(unknown)} names of objects are not in the table of synonyms: {shown}")
