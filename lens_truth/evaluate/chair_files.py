"""Captions and the objects of their images, as files."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lens_truth.data.images import check_images
from lens_truth.errors import InputError
from lens_truth.evaluate.chair import Caption, ObjectNames, TrueObjects, tokenize
from lens_truth.io.files import write_text
from lens_truth.io.readers import is_list, is_object, read_json, read_rows

_IMAGE_FILE = re.compile(r"(?:COCO_[a-z]+[0-9]{4}_)?0*([0-9]+)(?:\.(?:jpe?g|png))?", re.IGNORECASE)


def image_key(image: int | str) -> str:
    """One name for an image, whether given as 226988, '226988' or 'COCO_val2014_000000226988.jpg'."""
    text = str(image).strip()
    match = _IMAGE_FILE.fullmatch(text)
    return match[1] if match else text


def read_captions(path: Path) -> list[Caption]:
    """Captions, in their order, from JSON lines (or a JSON list) of objects with `image_id` and `caption`."""
    captions = [_caption(row, f"{path}, {where}", where) for where, row in read_rows(path)]
    if not captions:
        raise InputError(f"{path}: holds no captions")
    if empty := [caption.where for caption in captions if not caption.text.strip()]:
        raise InputError(f"{path}: {len(empty)} of {len(captions)} captions are empty (first: {empty[0]})")
    return captions


def _caption(row: dict[str, Any], at: str, where: str) -> Caption:
    for field in ("image_id", "caption"):
        if row.get(field) is None:
            raise InputError(f"{at}: has no field '{field}'")
    image, text = row["image_id"], row["caption"]
    if isinstance(image, bool) or not isinstance(image, int | str) or not str(image).strip():
        raise InputError(f"{at}: field 'image_id' is {image!r}, not a number or a name")
    if not isinstance(text, str):
        raise InputError(f"{at}: field 'caption' is not text")
    return Caption(image_key(image), text, where)


def write_captions(path: Path, captions: Sequence[Caption]) -> None:
    """JSON lines that `read_captions` reads, empty captions apart."""
    rows = [{"image_id": caption.image, "caption": caption.text} for caption in captions]
    write_text(path, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))


def find_images(folder: Path, listed: Path | None, objects: TrueObjects) -> list[Path]:
    """Image files of a folder: those that a list names (JSON lines with `file_name` or `image`, which may name a folder
    too), by default all whose objects are known."""
    if not folder.is_dir():
        raise InputError(f"{folder}: there is no such folder of images")
    if listed is None:
        paths = sorted(path for path in folder.iterdir() if image_key(path.name) in objects.of_image)
    else:
        paths = [_listed(row, folder, f"{listed}, {where}") for where, row in read_rows(listed)]
    if not paths:
        raise InputError(f"{listed or folder}: names no image whose objects {objects.source} knows")
    check_images(str(path) for path in paths)
    if unknown := [path.name for path in paths if image_key(path.name) not in objects.of_image]:
        raise InputError(f"{len(unknown)} of {len(paths)} images are not in {objects.source} (first: {unknown[0]})")
    return paths


def _listed(row: dict[str, Any], folder: Path, where: str) -> Path:
    name = row.get("file_name") or row.get("image")
    if not isinstance(name, str):
        raise InputError(f"{where}: has no field 'file_name' or 'image'")
    try:
        return folder / name if (folder / name).is_file() else folder / Path(name).name
    except OSError as error:
        raise InputError(f"{where}: '{name}' is no name of a file ({error.strerror})") from error


def read_objects(path: Path, names: ObjectNames) -> TrueObjects:
    """The objects in each image, from a `.json` or `.json.gz` file {image id: [class, ...]}, where an object may go by
    any name of its class in the table ('sofa' for 'couch')."""
    table = read_json(path)
    if not is_object(table) or not table:
        raise InputError(f"{path}: is not a dictionary from image ids to lists of objects")
    of_image: dict[str, frozenset[str]] = {}
    known: dict[str, str | None] = {}
    for image, listed in table.items():
        if not is_list(listed) or not all(isinstance(name, str) for name in listed):
            raise InputError(f"{path}: what stands under image {image} is not a list of names")
        key = image_key(image)
        if key in of_image:
            raise InputError(f"{path}: image {key} stands there twice, the second time as '{image}'")
        known |= {name: _class_named(name, names) for name in listed if name not in known}
        of_image[key] = frozenset(known[name] or name for name in listed)
    if unknown := [f"'{name}'" for name, found in known.items() if found is None]:
        shown = ", ".join(unknown[:5]) + (", ..." if len(unknown) > 5 else "")
        raise InputError(f"{path}: {len(unknown)} names of objects are not in the table of synonyms: {shown}")
    return TrueObjects(str(path), of_image)


def _class_named(name: str, names: ObjectNames) -> str | None:
    plain = " ".join(name.lower().split())
    if plain in names.classes:
        return plain
    return names.class_of.get(names.forms.get(tuple(tokenize(plain)), "")) or None
