"""The miniature world in pictures: the four floors of a house, with the coloured things that stand on them.

A picture is 48 x 48 pixels. Every room is a band of 12 rows, a thing is a coloured shape of 10 x 10 pixels in it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable

import numpy as np
from jaxtyping import Float
from PIL import Image

from lens_truth.data.world import COLOURS, ROOMS, THINGS, Scene, Thing, scene_key
from lens_truth.errors import InputError

Box = tuple[int | float, int | float, int | float, int | float]
"""Left, top, right, bottom in pixels of a picture; right and bottom are not part of it."""

SIZE = 48
"""Width and height of a picture."""
FLOOR = SIZE // len(ROOMS)
"""Height of a room."""
SHAPE = 10
"""Width and height of a thing."""

_RGB: dict[str, tuple[int, int, int]] = {
    "coral": (255, 96, 84),
    "white": (250, 250, 250),
    "black": (12, 12, 12),
    "brown": (112, 62, 18),
    "amber": (250, 190, 10),
    "green": (24, 140, 40),
    "azure": (20, 110, 250),
    "lilac": (200, 130, 230),
}
_WALLS = ((150, 146, 140), (138, 142, 146), (146, 140, 142), (134, 138, 134))  # of the rooms, from top to bottom
_SKY, _BEAM = (168, 190, 196), (92, 88, 86)
_NOISE = 6


def image_name(scene: Scene, number: int) -> str:
    """The name under which `lens_truth.data.images.open_image` draws a scene; the number chooses where things stand.

    >>> Thing = lens_truth.data.Thing
    >>> lens_truth.data.image_name((Thing("green", "heart", "attic"), Thing("lilac", "arrow", "vault")), 0)
    """
    return f"zoo:{scene_key(scene)}#{number}"


def scene_of_image(name: str) -> tuple[Scene, int]:
    """Scene and number of a picture's name, things in its order; an InputError if `image_name` gives no such name."""
    told, _, number = name.removeprefix("zoo:").partition("#")
    things = [tuple(thing.split(".")) for thing in told.split("+")]
    known = number.isdecimal() and all(
        len(words) == 3 and words[0] in COLOURS and words[1] in THINGS and words[2] in ROOMS for words in things
    )
    scene = tuple(Thing(*words) for words in things) if known else ()
    one_a_room = len({thing.room for thing in scene}) == len(scene)
    if not known or not one_a_room or image_name(scene, int(number)) != f"zoo:{told}#{number}":
        raise InputError(f"zoo:{told}#{number}: is not the name of a picture of the zoo")
    return scene, int(number)


def draw_scene(scene: Scene, number: int) -> Image.Image:
    """The picture of a scene in RGB, 48 x 48; the same scene and number give the same pixels."""
    rng = picture_rng(scene, number)
    pixels = _HOUSE.copy()
    for thing, (left, top, right, bottom) in thing_boxes(rng, scene).items():
        under = pixels[top:bottom, left:right]
        under += _MASKS[thing.name][:, :, None] * (np.array(_RGB[thing.colour], dtype=np.float32) - under)
    pixels += rng.integers(-_NOISE, _NOISE + 1, pixels.shape, dtype=np.int8)
    return Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))


def picture_rng(scene: Scene, number: int) -> np.random.Generator:
    """What a picture's places and then its noise are drawn from."""
    digest = hashlib.blake2b(image_name(scene, number).encode(), digest_size=8).digest()
    return np.random.default_rng(int.from_bytes(digest, "big"))


def thing_boxes(rng: np.random.Generator, scene: Scene) -> dict[Thing, tuple[int, int, int, int]]:
    """Where the things of a scene stand in its picture."""
    places: dict[Thing, tuple[int, int, int, int]] = {}
    for thing in sorted(scene):
        left = int(rng.integers(SIZE - SHAPE + 1))
        top = FLOOR * ROOMS.index(thing.room) + int(rng.integers(FLOOR - SHAPE + 1))
        places[thing] = (left, top, left + SHAPE, top + SHAPE)
    return places


def floor_box(room: str) -> Box:
    """The floor of a house that is a room: all that is seen of the thing in it, since a room holds one at most."""
    top = FLOOR * ROOMS.index(room)
    return 0, top, SIZE, top + FLOOR


def _house() -> Float[np.ndarray, "48 48 3"]:
    """The empty house: a roof over the attic, a beam under every room."""
    rows, columns = np.mgrid[:SIZE, :SIZE]
    house = np.array(_WALLS, dtype=np.float32)[rows // FLOOR]
    house[rows % FLOOR == FLOOR - 1] = _BEAM
    house[rows + np.minimum(columns, SIZE - 1 - columns) < FLOOR - 1] = _SKY
    return house


_SHAPES: dict[str, Callable[[np.ndarray, np.ndarray], np.ndarray]] = {  # x to the right and y down, both -1 to 1
    "heart": lambda x, y: (
        ((abs(x) - 0.45) ** 2 + (y + 0.4) ** 2 < 0.27) | ((y > -0.4) & (y < 0.95) & (abs(x) < (0.95 - y) * 0.71))
    ),
    "pearl": lambda x, y: x**2 + y**2 < 0.9,
    "arrow": lambda x, y: ((x > 0) & (abs(y) < 1 - x)) | ((x <= 0) & (abs(y) < 0.3)),
    "brick": lambda x, y: abs(y) < 0.5,
    "crown": lambda x, y: (abs(x) < 0.95) & (abs(y) < 0.85) & (y > 2 * abs((x / 0.95 + 0.5) % 1 - 0.5) - 0.85),
    "wedge": lambda x, y: y > -x,
    "wheel": lambda x, y: (x**2 + y**2 < 0.95) & (x**2 + y**2 > 0.3),
    "cross": lambda x, y: (abs(x) < 0.28) | (abs(y) < 0.28),
}


def _mask(inside: Callable[[np.ndarray, np.ndarray], np.ndarray]) -> Float[np.ndarray, "10 10"]:
    """How much of every pixel a shape covers."""
    fine = 8
    centres = (np.arange(SHAPE * fine) + 0.5) / (SHAPE * fine) * 2 - 1
    cover = np.broadcast_to(inside(centres[None, :], centres[:, None]), (SHAPE * fine, SHAPE * fine))
    return cover.reshape(SHAPE, fine, SHAPE, fine).mean(axis=(1, 3)).astype(np.float32)


_HOUSE = _house()
_MASKS = {name: _mask(inside) for name, inside in _SHAPES.items()}
