"""The miniature world in pictures: the name says every pixel, things stand in their rooms, names are checked."""

from __future__ import annotations

from itertools import combinations, pairwise, product

import numpy as np
import pytest

from lens_truth.data import world
from lens_truth.data.drawing import (
    FLOOR,
    SIZE,
    draw_scene,
    floor_box,
    image_name,
    picture_rng,
    scene_of_image,
    thing_boxes,
)
from lens_truth.data.images import image_size, open_image
from lens_truth.data.world import COLOURS, ROOMS, THINGS, Scene, Thing
from lens_truth.errors import InputError

HEART = Thing("coral", "heart", "attic")


def pixels(scene: Scene, number: int = 0) -> np.ndarray:
    return np.asarray(draw_scene(scene, number)).astype(int)


def scenes(n: int) -> list[Scene]:
    rng = np.random.default_rng(0)
    return [world.sample_scene(rng, "train") for _ in range(n)]


def test_the_name_says_every_pixel() -> None:
    scene = scenes(1)[0]
    name = image_name(scene, 7)
    image = open_image(name)
    assert image.mode == "RGB" and image.size == image_size(name) == (SIZE, SIZE)
    assert image.tobytes() == draw_scene(scene, 7).tobytes() == draw_scene(scene[::-1], 7).tobytes()
    assert image_name(scene, 7) == image_name(scene[::-1], 7)
    assert image.tobytes() != draw_scene(scene, 8).tobytes()
    assert scene_of_image(name) == (tuple(sorted(scene)), 7)


def test_things_stand_in_their_rooms_and_nowhere_else() -> None:
    empty = np.median([pixels((), number) for number in range(20)], axis=0)
    for number, scene in enumerate(scenes(50)):
        changed = np.abs(pixels(scene, number) - empty).max(axis=2) > 20
        for thing, (left, top, right, bottom) in thing_boxes(picture_rng(scene, number), scene).items():
            floor = floor_box(thing.room)
            assert floor[0] <= left < right <= floor[2] and floor[1] <= top < bottom <= floor[3]
            assert changed[top:bottom, left:right].sum() > 20
            changed[top:bottom, left:right] = False
        assert not changed.any()


def test_floors_are_the_house() -> None:
    floors = [floor_box(room) for room in ROOMS]
    assert floors[0] == (0, 0, SIZE, FLOOR) and floors[-1] == (0, SIZE - FLOOR, SIZE, SIZE)
    assert all(above[3] == below[1] for above, below in pairwise(floors))


def test_things_move_and_noise_differs() -> None:
    boxes = {thing_boxes(picture_rng((HEART,), number), (HEART,))[HEART] for number in range(50)}
    assert len({box[0] for box in boxes}) > 20 and len({box[1] for box in boxes}) > 1
    still = np.abs(pixels((HEART,), 0)[FLOOR:] - pixels((HEART,), 1)[FLOOR:])
    assert 0 < still.mean() < 12


def test_colours_and_shapes_look_different() -> None:
    """As the mean over many pictures: every thing in a picture differs clearly from any other in its place."""

    def portrait(colour: str, name: str) -> np.ndarray:
        thing = Thing(colour, name, "study")
        views = []
        for number in range(10):
            left, top, right, bottom = thing_boxes(picture_rng((thing,), number), (thing,))[thing]
            views.append(pixels((thing,), number)[top:bottom, left:right])
        return np.mean(views, axis=0)

    portraits = {key: portrait(*key) for key in product(COLOURS, THINGS)}
    for (key, one), (other_key, other) in combinations(portraits.items(), 2):
        if key[0] == other_key[0] or key[1] == other_key[1]:
            assert np.abs(one - other).mean() > 7, (key, other_key)


@pytest.mark.parametrize(
    "name",
    [
        "coral.heart.attic",
        "coral.heart.attic#",
        "coral.heart.attic#-1",
        "coral.heart.attic#01",
        "coral.heart.attic#1#2",
        "coral.heart#1",
        "coral.heart.cellar#1",
        "mauve.heart.attic#1",
        "white.pearl.study+coral.heart.attic#1",
        "coral.heart.attic+white.pearl.attic#1",
        "#1",
        "",
    ],
)
def test_other_names_are_refused(name: str) -> None:
    with pytest.raises(InputError, match="is not the name of a picture of the zoo"):
        open_image(f"zoo:{name}")
