"""Captions and the objects of their images, as files."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from itertools import chain, islice
from pathlib import Path
from typing import Any

from lens_truth.data.images import check_images
from lens_truth.errors import InputError, shortened
from lens_truth.evaluate.chair import Caption, ObjectNames, TrueObjects
from lens_truth.evaluate.coco import class_named, coco_objects, image_key, refuse_unknown
from lens_truth.io.files import write_text
from lens_truth.io.readers import is_list, is_object, read_json
from lens_truth.io.rows import read_rows
from lens_truth.io.stages import stage

_IMAGE = ("image_id", "image", "file_name", "id")
_TEXT = ("caption", "text", "answer")
"""What the image of a caption and its text are called, by OPERA, LLaVA, LURE and others; the first that is there."""


def read_captions(path: Path) -> list[Caption]:
    """Captions, in their order: rows (JSON lines, or a JSON list) with `image_id` and `caption`, or by other names of
    the two; the input and the output of CHAIR's scorer (`imgToEval`, `sentences`), whose numbers are left aside; COCO's
    captions; or one object `{image: caption}`."""
    captions = [_caption(row, f"{path}, {where}", where) for where, row in _caption_rows(path)]
    if not captions:
        raise InputError(f"{path}: holds no captions")
    if empty := [caption.where for caption in captions if not caption.text.strip()]:
        raise InputError(f"{path}: {len(empty)} of {len(captions)} captions are empty (first: {empty[0]})")
    return captions


def _caption_rows(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    rows = read_rows(path)
    first = list(islice(rows, 2))
    whole = first[0][1] if len(first) == 1 else {}
    for name in ("sentences", "annotations"):
        listed = whole.get(name)
        if is_list(listed) and all(is_object(row) for row in listed):
            yield from ((f"{name} {number}", row) for number, row in enumerate(listed, start=1))
            return
    by_image = whole.get("imgToEval")
    if is_object(by_image) and all(is_object(row) for row in by_image.values()):
        yield from ((f"image {image}", {"image_id": image, **row}) for image, row in by_image.items())
        return
    if whole and not whole.keys() & {*_IMAGE, *_TEXT} and all(isinstance(text, str) for text in whole.values()):
        yield from ((f"image {image}", {"image_id": image, "caption": text}) for image, text in whole.items())
        return
    yield from chain(first, rows)


def _caption(row: dict[str, Any], at: str, where: str) -> Caption:
    names = [next((name for name in names if row.get(name) is not None), None) for names in (_IMAGE, _TEXT)]
    for name, its_names in zip(names, (_IMAGE, _TEXT), strict=True):
        if name is None:
            others = ", ".join(f"'{name}'" for name in its_names[1:])
            raise InputError(f"{at}: has no field '{its_names[0]}' (nor {others})")
    image, text = (row[name] for name in names if name)
    if isinstance(image, bool) or not isinstance(image, int | str) or not str(image).strip():
        raise InputError(f"{at}: field '{names[0]}' is {shortened(repr(image))}, not a number or a name")
    if names[0] == "id" and not (isinstance(image, str) and Path(image).suffix):
        raise InputError(f"{at}: has no field 'image_id' (nor 'image', 'file_name'), and its 'id' names no image file")
    if not isinstance(text, str):
        raise InputError(f"{at}: field '{names[1]}' is not text")
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


@stage("data")
def read_all_objects(paths: Sequence[Path], names: ObjectNames) -> TrueObjects:
    """`read_objects` of several files: what they say of an image adds up, as CHAIR has it of COCO's two annotations."""
    of_image: dict[str, frozenset[str]] = {}
    for path in paths:
        for image, found in read_objects(path, names).of_image.items():
            of_image[image] = of_image.get(image, frozenset()) | found
    return TrueObjects(" and ".join(map(str, paths)), of_image)


def read_objects(path: Path, names: ObjectNames) -> TrueObjects:
    """The objects in each image, from a `.json` or `.json.gz` file {image id: [class, ...]}, where an object may go by
    any name of its class in the table ('sofa' for 'couch'); or from COCO's annotations, of instances or of captions."""
    table = read_json(path)
    if not is_object(table) or not table:
        raise InputError(f"{path}: is not a dictionary from image ids to lists of objects")
    if "annotations" in table:
        return TrueObjects(str(path), coco_objects(path, table, names))
    of_image: dict[str, frozenset[str]] = {}
    known: dict[str, str | None] = {}
    for image, listed in table.items():
        if not is_list(listed) or not all(isinstance(name, str) for name in listed):
            raise InputError(f"{path}: what stands under image {shortened(image)} is not a list of names")
        key = image_key(image)
        if key in of_image:
            raise InputError(f"{path}: image {key} stands there twice, the second time as '{image}'")
        known |= {name: class_named(name, names) for name in listed if name not in known}
        of_image[key] = frozenset(known[name] or name for name in listed)
    refuse_unknown(path, known)
    return TrueObjects(str(path), of_image)
