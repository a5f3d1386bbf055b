"""Images by name: a file, `black` (the paper's image without content), or `zoo:SCENE#N`, which the zoo draws; and boxes
in them."""

from __future__ import annotations

import base64
import os.path
import warnings
from collections.abc import Generator, Iterable, Sequence
from contextlib import contextmanager
from functools import lru_cache
from io import BytesIO
from pathlib import Path

import numpy as np
from jaxtyping import Float
from PIL import Image, ImageOps, UnidentifiedImageError

from lens_truth.data.drawing import SIZE, Box, draw_scene, scene_of_image
from lens_truth.errors import InputError
from lens_truth.io.files import hash_of

BLACK = "black"
"""The name of a black image."""
_BLACK_SIZE = (336, 336)
_ORIENTATION, _SIDEWAYS = 0x0112, (5, 6, 7, 8)  # of EXIF: what swaps width and height
_is_file = os.path.isfile
_DAMAGED = (OSError, ValueError, SyntaxError)
"""What Pillow raises where a file ends too early or holds nonsense."""


def open_image(name: str) -> Image.Image:
    """The image in RGB, the right way up, as Hugging Face's `load_image` gives it: EXIF rotation applied, greyscale and
    palettes expanded, transparency dropped; 16-bit greyscale, which would turn white, is scaled down to 8 bits.

    >>> lens_truth.data.open_image(example.image)  # a notebook shows it

    Raises:
        InputError: names a file that is missing, truncated or no image.
    """
    if name == BLACK:
        return Image.new("RGB", _BLACK_SIZE)
    if name.startswith("zoo:"):
        return draw_scene(*scene_of_image(name))
    with _opened(name) as image:
        upright = ImageOps.exif_transpose(image)
        if upright.mode.startswith("I;16"):
            upright = upright.convert("I").point(lambda value: value / 257).convert("L")
        if upright.mode == "P" and "transparency" in upright.info:
            upright = upright.convert("RGBA")  # as Pillow asks for
        return upright.convert("RGB")


def image_size(name: str) -> tuple[int, int]:
    """Width and height of the image as `open_image` gives it, from the file's header alone."""
    if name == BLACK:
        return _BLACK_SIZE
    if name.startswith("zoo:"):
        scene_of_image(name)  # or there is no such picture
        return SIZE, SIZE
    with _opened(name) as image:
        width, height = image.size
        swapped = image.format != "TIFF" and image.getexif().get(_ORIENTATION) in _SIDEWAYS  # Pillow turns TIFFs itself
        return (height, width) if swapped else (width, height)


def data_url(image: Image.Image) -> str:
    """The image itself, as a page holds it that loads nothing."""
    written = BytesIO()
    image.save(written, "PNG", optimize=True)
    return f"data:image/png;base64,{base64.b64encode(written.getvalue()).decode()}"


def image_in(folder: Path, name: str) -> str:
    """The name of an image that a row of data gives as a file in a folder; other names stay as they are."""
    return name if not name or is_made(name) else str(folder / name)


def is_made(name: str) -> bool:
    """Whether an image is no file but made on the spot."""
    return name == BLACK or name.startswith("zoo:")


def check_images(names: Iterable[str]) -> None:
    """Raises an InputError that counts the files which are not there and names the first."""
    files = {name for name in names if name and not is_made(name)}
    missing = sorted(name for name in files if not _is_file(name))
    if missing:
        first = missing[0] if len(missing[0]) < 300 else f"{missing[0][:100]}..."
        raise InputError(f"{len(missing)} of {len(files)} images are not there (first: {first})")


def image_hash(name: str) -> str:
    """A hash of what is in the image; the same wherever the file lies."""
    if is_made(name):
        return hash_of(name)
    if not _is_file(name):
        raise InputError(f"{name}: there is no such image")
    stat = Path(name).stat()
    return _file_hash(name, stat.st_mtime_ns, stat.st_size)


@lru_cache(maxsize=1 << 16)
def _file_hash(name: str, modified: int, size: int) -> str:  # a changed file is read again
    return hash_of(Path(name).read_bytes())


@contextmanager
def _opened(name: str) -> Generator[Image.Image, None, None]:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            image = Image.open(name)
    except FileNotFoundError as error:
        raise InputError(f"{name}: there is no such image") from error
    except (UnidentifiedImageError, *_DAMAGED) as error:
        raise InputError(f"{name}: is not an image that can be read ({error})") from error
    except (Image.DecompressionBombWarning, Image.DecompressionBombError) as error:
        raise InputError(f"{name}: is too large to be an image for a model ({error})") from error
    with image:
        try:
            yield image
        except _DAMAGED as error:
            raise InputError(f"{name}: is damaged and cannot be read as an image ({error})") from error


def tokens_showing(boxes: Float[np.ndarray, "n 4"], evidence: Sequence[Box]) -> list[int]:
    """The tokens that show a piece of evidence, in order: those with at least half of their box in it, or, for evidence
    too small for that, the one with the largest overlap. Evidence that no box touches has none."""
    found: set[int] = set()
    area = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    for left, top, right, bottom in evidence:
        across = np.minimum(boxes[:, 2], right) - np.maximum(boxes[:, 0], left)
        down = np.minimum(boxes[:, 3], bottom) - np.maximum(boxes[:, 1], top)
        overlap = np.nan_to_num(across.clip(0) * down.clip(0))
        inside = np.flatnonzero((overlap > 0) & (overlap >= area / 2))
        found.update(inside.tolist() or ([int(overlap.argmax())] if overlap.any() else []))
    return sorted(found)
