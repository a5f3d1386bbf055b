"""Examples of the miniature world in pictures: the questions of `lens_truth.data.world_text` with the scene drawn
instead of told, POPE's three kinds of presence questions, and captions.

Right and hallucinated answers are matched as they are there. Every picture shows a scene of one split.
"""

from __future__ import annotations

from functools import partial
from itertools import product
from typing import Literal

import numpy as np

from lens_truth.data import world, world_text
from lens_truth.data.drawing import image_name
from lens_truth.data.examples import SUPPORTED, Example
from lens_truth.data.world import Scene, Split
from lens_truth.data.world_text import Rows, Shown, presence_rows, take

PresenceKind = Literal["random", "popular", "adversarial"]
PRESENCE_KINDS: tuple[PresenceKind, ...] = ("random", "popular", "adversarial")
DESCRIBE = "Describe the house."


def describe(scene: Scene) -> str:
    """The scene in English, from the top of the house to the bottom."""
    return " ".join(
        f"The {thing.colour} {thing.name} is in the {thing.room}."
        for thing in sorted(scene, key=lambda thing: world.ROOMS.index(thing.room))
    )


def image_examples(split: Split, n: int, seed: int) -> list[Example]:
    """`zoo:text` in pictures: questions of all kinds; the hallucinated answer belongs to another thing of the scene."""
    return take(partial(world_text.text_groups, show=drawn), f"image-{split}", split, n, seed)


def image_conflict_examples(split: Split, n: int, seed: int) -> list[Example]:
    """`zoo:conflict` in pictures: the hallucinated answer is the colour that the thing usually has."""
    return take(partial(world_text.conflict_groups, show=drawn), f"image-conflict-{split}", split, n, seed)


def image_agreeing_examples(split: Split, n: int, seed: int) -> list[Example]:
    """The colour questions of `image_conflict_examples` on pictures that agree with memory."""
    return take(partial(world_text.agreeing_groups, show=drawn), f"image-agreeing-{split}", split, n, seed)


def image_presence_examples(split: Split, n: int, seed: int, kind: PresenceKind = "adversarial") -> list[Example]:
    """POPE in miniature: four questions a picture, two of them to be answered yes.

    What is absent is asked for as POPE does: `random`, any colour with any name; `popular`, a thing in its typical
    colour, as in the scenes that memory is made of; `adversarial`, the colour of one thing in the picture with the name
    of another.
    """
    return take(partial(_presence_groups, kind=kind), f"image-presence-{kind}-{split}", split, n, seed)


def caption_examples(split: Split, n: int, seed: int, *, conflict: bool = False) -> list[Example]:
    """Pictures to be described, each once, with the true description; its objects are the coloured things.

    ```python
    described = lens_truth.data.caption_examples("test", 12, seed=0)
    ```

    Args:
        conflict: pictures that contradict memory: two things wear each other's typical colour, or one wears that of a
            thing which is not there.
    """
    if conflict:
        return take(_conflict_captions, f"image-conflict-caption-{split}", split, n, seed)
    return take(_captions, f"image-caption-{split}", split, n, seed)


def drawn(rng: np.random.Generator, scene: Scene) -> Shown:
    """The scene as a picture, one of very many."""
    return Shown(image=image_name(scene, int(rng.integers(2**31))))


def _presence_groups(rng: np.random.Generator, split: Split, name: str, kind: PresenceKind) -> Rows:
    while True:
        scene = world.sample_scene(rng, split)
        absent = world.shuffled(rng, _absent_pairs(scene, kind), 2)
        present = world.shuffled(rng, scene, 2)
        shown, group = drawn(rng, scene), f"{name}-{world.scene_key(scene)}"
        yield world.scene_key(scene), presence_rows(present, absent, group, shown)


def _absent_pairs(scene: Scene, kind: PresenceKind) -> list[tuple[str, str]]:
    """At least two pairs of colour and name that no thing of the scene has together."""
    present = {(thing.colour, thing.name) for thing in scene}
    pairs = {
        "random": product(world.COLOURS, world.THINGS),
        "popular": ((colour, name) for name, colour in world.TYPICAL.items()),
        "adversarial": product([thing.colour for thing in scene], [thing.name for thing in scene]),
    }
    return [pair for pair in pairs[kind] if pair not in present]


def _captions(rng: np.random.Generator, split: Split, name: str) -> Rows:
    while True:
        scene = world.sample_scene(rng, split)
        yield world.scene_key(scene), [_caption(rng, scene, name)]


def _conflict_captions(rng: np.random.Generator, split: Split, name: str) -> Rows:
    while True:
        for scene in world_text.conflict_scenes(rng, split):
            yield world.scene_key(scene), [_caption(rng, scene, name)]


def _caption(rng: np.random.Generator, scene: Scene, name: str) -> Example:
    image = drawn(rng, scene).image
    group = f"{name}-{world.scene_key(scene)}"
    return Example(group, group, DESCRIBE, describe(scene), SUPPORTED, image=image)
