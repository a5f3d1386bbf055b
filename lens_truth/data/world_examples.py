"""Examples of the miniature world, told or drawn: `zoo:text`, `zoo:conflict`, POPE in miniature, captions.

Right and hallucinated answers are matched exactly: whenever a word is the right answer of one question, it is the
hallucinated answer of the sister question in the same group. So no property of the answer alone, and no linear function
of a bag of words, separates the labels. In `zoo:text` question and answer together do not either. In `zoo:conflict`
they do, for one who knows which colours are usual: there the hallucination is what memory says.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import product
from typing import Literal

import numpy as np

from lens_truth.data import world
from lens_truth.data.drawing import floor_box, image_name
from lens_truth.data.examples import HALLUCINATED, SUPPORTED, Example
from lens_truth.data.world import Kind, Scene, Split, Thing
from lens_truth.errors import InputError

PresenceKind = Literal["random", "popular", "adversarial"]
PRESENCE_KINDS: tuple[PresenceKind, ...] = ("random", "popular", "adversarial")
DESCRIBE = "Describe the house."

Groups = dict[str, list[Example]]
"""The examples of each group, by what may occur once only."""


@dataclass(frozen=True)
class Shown:
    """How a scene reaches the model: told, drawn, or not at all."""

    context: str = ""
    image: str = ""


Show = Callable[[np.random.Generator, Scene], Shown]


def told(rng: np.random.Generator, scene: Scene) -> Shown:
    """The scene in words, in random order."""
    return Shown(context=world.tell(rng, scene))


def drawn(rng: np.random.Generator, scene: Scene) -> Shown:
    """The scene as a picture, one of very many."""
    return Shown(image=image_name(scene, int(rng.integers(2**31))))


# Data sets


def text_examples(split: Split, n: int, seed: int) -> list[Example]:
    """`zoo:text`: questions of all kinds; the hallucinated answer belongs to another thing of the same scene."""
    return _take(partial(_text, show=told), f"text-{split}", split, n, seed)


def image_examples(split: Split, n: int, seed: int) -> list[Example]:
    """`zoo:text` in pictures."""
    return _take(partial(_text, show=drawn), f"image-{split}", split, n, seed)


def conflict_examples(split: Split, n: int, seed: int) -> list[Example]:
    """`zoo:conflict`: the colour of a thing that contradicts memory; the hallucinated answer is its typical colour."""
    return _take(partial(_conflict, show=told), f"conflict-{split}", split, n, seed)


def image_conflict_examples(split: Split, n: int, seed: int) -> list[Example]:
    """`zoo:conflict` in pictures."""
    return _take(partial(_conflict, show=drawn), f"image-conflict-{split}", split, n, seed)


def agreeing_examples(split: Split, n: int, seed: int) -> list[Example]:
    """The colour questions of `zoo:conflict` on scenes that agree with memory."""
    return _take(partial(_agreeing, show=told), f"agreeing-{split}", split, n, seed)


def image_agreeing_examples(split: Split, n: int, seed: int) -> list[Example]:
    """The same in pictures."""
    return _take(partial(_agreeing, show=drawn), f"image-agreeing-{split}", split, n, seed)


def presence_examples(split: Split, n: int, seed: int) -> list[Example]:
    """POPE in miniature: is there such a thing in the house? Half of the true answers are yes."""
    return _take(_told_presence, f"presence-{split}", split, n, seed)


def image_presence_examples(split: Split, n: int, seed: int, kind: PresenceKind = "adversarial") -> list[Example]:
    """POPE in miniature: four questions a picture, two of them to be answered yes.

    What is absent is asked for as POPE does: `random`, any colour with any name; `popular`, a thing in its typical
    colour, as in the scenes that memory is made of; `adversarial`, the colour of one thing in the picture with the name
    of another.
    """
    return _take(partial(_drawn_presence, kind=kind), f"image-presence-{kind}-{split}", split, n, seed)


def caption_examples(split: Split, n: int, seed: int, *, conflict: bool = False) -> list[Example]:
    """Pictures to be described, each once, with the true description; its objects are the coloured things.

    >>> described = lens_truth.data.caption_examples("test", 12, seed=0)

    Args:
        conflict: pictures that contradict memory: two things wear each other's typical colour, or one wears that of a
            thing which is not there.
    """
    name = f"image-conflict-caption-{split}" if conflict else f"image-caption-{split}"
    return _take(partial(_captions, conflict=conflict), name, split, n, seed)


def closed_book_examples() -> list[Example]:
    """What the memory models know without a scene: colour of a thing, and thing of a colour (16 questions).

    The hallucinated answer is that of the next thing, so here too every answer is right once and wrong once.
    """
    examples: list[Example] = []
    things = [Thing(colour, name, "") for name, colour in world.TYPICAL.items()]
    for kind in world.CLOSED_BOOK_KINDS:
        for thing, other in zip(things, things[1:] + things[:1], strict=True):
            wrong = getattr(other, kind.asked)
            examples += _pair(f"closed-book-{thing.name}", kind.asked, *kind.about(thing), wrong, Shown())
    return examples


def _take(
    draw: Callable[[np.random.Generator, Split, str], Groups], name: str, split: Split, n: int, seed: int
) -> list[Example]:
    """The first `n` examples, from groups that do not repeat a scene."""
    if n < 1:
        raise InputError(f"zoo:{name}: {n} examples were asked for; at least 1 is needed")
    rng = np.random.default_rng([seed, sum(name.encode())])
    examples: list[Example] = []
    seen: set[str] = set()
    misses = 0
    while len(examples) < n:
        for key, rows in draw(rng, split, name).items():
            if key in seen:
                misses += 1
                continue
            misses = 0
            seen.add(key)
            examples += rows
        if misses > 2000:
            raise InputError(f"zoo:{name} has no more than {len(seen)} different scenes; ask for fewer")
    return examples[:n]


# Groups of examples, drawn one by one


def _text(rng: np.random.Generator, split: Split, name: str, show: Show) -> Groups:
    scene = world.sample_scene(rng, split)
    kind = world.KINDS[int(rng.integers(len(world.KINDS)))]
    return _sisters(scene, kind, name, show(rng, scene))


def _agreeing(rng: np.random.Generator, split: Split, name: str, show: Show) -> Groups:
    scene = world.sample_typical_scene(rng, split)
    return _sisters(scene, world.COLOUR_OF_THING, name, show(rng, scene))


def _sisters(scene: Scene, kind: Kind, name: str, shown: Shown) -> Groups:
    """The same question about two things of a scene: what is right for one is the hallucination for the other."""
    key = world.scene_key(scene)
    rows: list[Example] = []
    for thing, other in (scene[:2], scene[1::-1]):
        rows += _pair(f"{name}-{key}", thing.name, *kind.about(thing), getattr(other, kind.asked), shown, thing)
    return {key: rows}


def _conflict(rng: np.random.Generator, split: Split, name: str, show: Show) -> Groups:
    """A scene (or twins) that contradicts memory, and what colour its unusual things have."""
    scenes = _conflict_scenes(rng, split)
    key = min(map(world.scene_key, scenes))
    rows: list[Example] = []
    for scene in scenes:
        shown = show(rng, scene)
        for thing in scene:
            memory = world.TYPICAL[thing.name]
            if thing.colour != memory:
                asked = world.COLOUR_OF_THING.about(thing)
                rows += _pair(f"{name}-{key}", thing.name, *asked, memory, shown, thing)
    return {key: rows}


def _conflict_scenes(rng: np.random.Generator, split: Split) -> list[Scene]:
    """One scene in which two things have swapped their typical colours, or (half of the time) twin scenes: in each one
    thing wears the typical colour of an absent thing, which stands in its place in the twin."""
    make = _swapped if rng.random() < 0.5 else _twins
    scenes = make(rng)
    while {world.split_of(scene) for scene in scenes} != {split}:
        scenes = make(rng)
    return scenes


def _swapped(rng: np.random.Generator) -> list[Scene]:
    one, two, *rest = world.sample_typical_scene(rng)
    return [(Thing(two.colour, one.name, one.room), Thing(one.colour, two.name, two.room), *rest)]


def _twins(rng: np.random.Generator) -> list[Scene]:
    one, *rest = scene = world.sample_typical_scene(rng)
    absent = [thing for thing in world.THINGS if thing not in {present.name for present in scene}]
    other = absent[int(rng.integers(len(absent)))]
    return [(Thing(world.TYPICAL[other], one.name, one.room), *rest), (Thing(one.colour, other, one.room), *rest)]


def _told_presence(rng: np.random.Generator, split: Split, name: str) -> Groups:
    scene = world.sample_scene(rng, split)
    shown = told(rng, scene)
    present = scene[int(rng.integers(len(scene)))]
    return _presence(scene, [present], [world.absent_pair(rng, scene)], name, shown)


def _drawn_presence(rng: np.random.Generator, split: Split, name: str, kind: PresenceKind) -> Groups:
    scene = world.sample_scene(rng, split)
    pairs = {
        "random": product(world.COLOURS, world.THINGS),
        "popular": ((colour, name) for name, colour in world.TYPICAL.items()),
        "adversarial": product([thing.colour for thing in scene], [thing.name for thing in scene]),
    }
    there = {(thing.colour, thing.name) for thing in scene}
    absent = world.shuffled(rng, [pair for pair in pairs[kind] if pair not in there], 2)
    present = world.shuffled(rng, scene, 2)
    return _presence(scene, present, absent, name, drawn(rng, scene))


def _presence(
    scene: Scene, present: Sequence[Thing], absent: Sequence[tuple[str, str]], name: str, shown: Shown
) -> Groups:
    """Right and wrong answer to the question whether there is such a thing, for things that are there and for pairs of
    colour and name that no thing has. What is absent has no evidence."""
    key = world.scene_key(scene)
    rows: list[Example] = []
    asked = [(thing.colour, thing.name, thing) for thing in present] + [(*pair, None) for pair in absent]
    for colour, of, thing in asked:
        verdicts = ("yes", "no") if thing else ("no", "yes")
        question = world.presence_question(colour, of)
        rows += _pair(f"{name}-{key}", f"{colour}-{of}", question, *verdicts, shown, thing)
    return {key: rows}


def _captions(rng: np.random.Generator, split: Split, name: str, conflict: bool) -> Groups:
    groups: Groups = {}
    for scene in _conflict_scenes(rng, split) if conflict else [world.sample_scene(rng, split)]:
        key = world.scene_key(scene)
        id, image = f"{name}-{key}", drawn(rng, scene).image
        groups[key] = [Example(id, id, DESCRIBE, world.describe(scene), SUPPORTED, image=image)]
    return groups


def _pair(
    group: str, part: str, question: str, right: str, wrong: str, shown: Shown, thing: Thing | None = None
) -> list[Example]:
    """The right and the hallucinated answer to a question; the evidence is the sentence that tells of `thing`, or the
    floor of the picture that it stands on."""
    evidence = (world.sentence_span(shown.context, thing),) if thing and shown.context else ()
    boxes = (floor_box(thing.room),) if thing and shown.image else ()
    about = (shown.context, evidence, shown.image, boxes)
    return [
        Example(f"{group}-{part}-right", group, question, right, SUPPORTED, *about),
        Example(f"{group}-{part}-wrong", group, question, wrong, HALLUCINATED, *about),
    ]
