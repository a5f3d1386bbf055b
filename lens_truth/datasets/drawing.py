"""The miniature world in pictures: the four floors of a house, with the coloured things that stand on them."""

from __future__ import annotations

from PIL import Image

from lens_truth.datasets.world import Scene, Thing
from lens_truth.errors import InputError


def image_name(scene: Scene, number: int) -> str:
    """The name under which `lens_truth.images.open_image` draws a scene; the number chooses where things stand."""
    return "zoo:" + "+".join(f"{thing.colour}.{thing.name}.{thing.room}" for thing in sorted(scene)) + f"#{number}"


def draw_named(name: str) -> Image.Image:
    """The picture of `SCENE#N`.

    Raises:
        InputError: if the name is not one that `image_name` gives.
    """
    try:
        told, _, number = name.partition("#")
        scene = tuple(Thing(*thing.split(".")) for thing in told.split("+"))
        return draw_scene(scene, int(number))
    except (ValueError, TypeError, KeyError) as error:
        raise InputError(f"zoo:{name}: is not the name of a picture of the zoo") from error


def draw_scene(scene: Scene, number: int) -> Image.Image:
    raise NotImplementedError
