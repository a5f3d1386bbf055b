"""Examples of the miniature world: `zoo:text`, `zoo:conflict` and the questions of the zoo's benchmarks.

Right and hallucinated answers are matched exactly: whenever a word is the right answer of one question, the same
word is the hallucinated answer of the sister question in the same group. So no property of the answer alone, and
no linear function of a bag of words, separates the labels. In `zoo:text` question and answer together do not either.
In `zoo:conflict` they do, for one who knows which colours are usual: there the hallucination is what memory says.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

import numpy as np

from lens_truth.data import world
from lens_truth.data.drawing import floor_box
from lens_truth.data.examples import HALLUCINATED, SUPPORTED, Example
from lens_truth.data.world import Kind, Scene, Split, Thing
from lens_truth.errors import InputError

Rows = Iterator[tuple[str, list[Example]]]
"""(what may occur once only, the examples of one group)"""
Groups = Callable[[np.random.Generator, Split, str], Rows]


@dataclass(frozen=True)
class Shown:
    """How a scene reaches the model: told, drawn, or not at all."""

    context: str = ""
    image: str = ""


Show = Callable[[np.random.Generator, Scene], Shown]


def told(rng: np.random.Generator, scene: Scene) -> Shown:
    """The scene in words, in random order."""
    return Shown(context=world.tell(rng, scene))


def text_examples(split: Split, n: int, seed: int) -> list[Example]:
    """`zoo:text`: questions of all kinds; the hallucinated answer belongs to another thing of the same scene."""
    return take(text_groups, f"text-{split}", split, n, seed)


def conflict_examples(split: Split, n: int, seed: int) -> list[Example]:
    """`zoo:conflict`: the colour of a thing that contradicts memory; the hallucinated answer is its typical colour."""
    return take(conflict_groups, f"conflict-{split}", split, n, seed)


def agreeing_examples(split: Split, n: int, seed: int) -> list[Example]:
    """The colour questions of `zoo:conflict` on scenes that agree with memory."""
    return take(agreeing_groups, f"agreeing-{split}", split, n, seed)


def presence_examples(split: Split, n: int, seed: int) -> list[Example]:
    """POPE in miniature: is there such a thing in the house? Half of the true answers are yes."""
    return take(_presence_groups, f"presence-{split}", split, n, seed)


def closed_book_examples() -> list[Example]:
    """What the memory models know without a scene: colour of a thing, and thing of a colour (16 questions).

    The hallucinated answer is that of the next thing, so here too every answer is right once and wrong once.
    """
    examples: list[Example] = []
    for kind in world.CLOSED_BOOK_KINDS:
        things = [Thing(colour, name, "") for name, colour in world.TYPICAL.items()]
        for thing, other in zip(things, things[1:] + things[:1], strict=True):
            question, right = kind.about(thing)
            group = f"closed-book-{thing.name}"
            examples += pair_of(f"{group}-{kind.asked}", group, question, right, getattr(other, kind.asked), Shown())
    return examples


def take(groups: Groups, name: str, split: Split, n: int, seed: int) -> list[Example]:
    """The first `n` examples, from groups that do not repeat a scene.

    Raises:
        InputError: if `n` is not positive, or there are not so many scenes.
    """
    if n < 1:
        raise InputError(f"zoo:{name}: {n} examples were asked for; at least 1 is needed")
    rng = np.random.default_rng([seed, sum(name.encode())])

    def fresh() -> Iterator[Example]:
        seen: set[str] = set()
        misses = 0
        for key, examples in groups(rng, split, name):
            if key in seen:
                misses += 1
                if misses > 2000:
                    raise InputError(f"zoo:{name} has no more than {len(seen)} different scenes; ask for fewer")
                continue
            misses = 0
            seen.add(key)
            yield from examples

    return list(islice(fresh(), n))


def pair_of(
    id: str, group: str, question: str, right: str, wrong: str, shown: Shown, thing: Thing | None = None
) -> list[Example]:
    """The right and the hallucinated answer to a question; the evidence is the sentence that tells of `thing`, or the
    floor of the picture that it stands on."""
    evidence = (world.sentence_span(shown.context, thing),) if thing and shown.context else ()
    boxes = (floor_box(thing.room),) if thing and shown.image else ()
    return [
        Example(f"{id}-right", group, question, right, SUPPORTED, shown.context, evidence, shown.image, boxes),
        Example(f"{id}-wrong", group, question, wrong, HALLUCINATED, shown.context, evidence, shown.image, boxes),
    ]


def text_groups(rng: np.random.Generator, split: Split, name: str, show: Show = told) -> Rows:
    """Without end: a scene of the split, and one question about two of its things."""
    while True:
        scene = world.sample_scene(rng, split)
        kind = world.KINDS[int(rng.integers(len(world.KINDS)))]
        yield world.scene_key(scene), _sisters(scene, kind, f"{name}-{world.scene_key(scene)}", show(rng, scene))


def _sisters(scene: Scene, kind: Kind, group: str, shown: Shown) -> list[Example]:
    """The same question about two things of a scene: what is right for one is the hallucination for the other."""
    one, two = scene[:2]
    examples: list[Example] = []
    for thing, other in ((one, two), (two, one)):
        question, right = kind.about(thing)
        wrong = getattr(other, kind.asked)
        examples += pair_of(f"{group}-{thing.name}", group, question, right, wrong, shown, thing)
    return examples


def conflict_groups(rng: np.random.Generator, split: Split, name: str, show: Show = told) -> Rows:
    """Without end: a scene (or twins) that contradicts memory, and what colour its unusual things have."""
    while True:
        scenes = conflict_scenes(rng, split)
        key = min(world.scene_key(scene) for scene in scenes)
        yield key, [row for scene in scenes for row in _conflict_rows(scene, f"{name}-{key}", show(rng, scene))]


def conflict_scenes(rng: np.random.Generator, split: Split) -> list[Scene]:
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
    scene = world.sample_typical_scene(rng)
    absent = [thing for thing in world.THINGS if thing not in {present.name for present in scene}]
    other = absent[int(rng.integers(len(absent)))]
    one, *rest = scene
    return [
        (Thing(world.TYPICAL[other], one.name, one.room), *rest),
        (Thing(one.colour, other, one.room), *rest),
    ]


def _conflict_rows(scene: Scene, group: str, shown: Shown) -> list[Example]:
    rows: list[Example] = []
    for thing in scene:
        if thing.colour != world.TYPICAL[thing.name]:
            question, right = world.COLOUR_OF_THING.about(thing)
            memory = world.TYPICAL[thing.name]
            rows += pair_of(f"{group}-{thing.name}", group, question, right, memory, shown, thing)
    return rows


def agreeing_groups(rng: np.random.Generator, split: Split, name: str, show: Show = told) -> Rows:
    """Without end: a scene that agrees with memory, and what colour two of its things have."""
    while True:
        scene = world.sample_typical_scene(rng, split)
        group = f"{name}-{world.scene_key(scene)}"
        yield world.scene_key(scene), _sisters(scene, world.COLOUR_OF_THING, group, show(rng, scene))


def _presence_groups(rng: np.random.Generator, split: Split, name: str) -> Rows:
    while True:
        scene = world.sample_scene(rng, split)
        shown, group = told(rng, scene), f"{name}-{world.scene_key(scene)}"
        present = scene[int(rng.integers(len(scene)))]
        absent = world.absent_pair(rng, scene)
        yield world.scene_key(scene), presence_rows([present], [absent], group, shown)


def presence_rows(
    present: Sequence[Thing], absent: Sequence[tuple[str, str]], group: str, shown: Shown
) -> list[Example]:
    """Right and wrong answer to the question whether there is such a thing, for things that are there and for pairs of
    colour and name that no thing has. What is absent has no evidence."""
    asked = [(thing.colour, thing.name, thing) for thing in present] + [(*pair, None) for pair in absent]
    rows: list[Example] = []
    for colour, name, thing in asked:
        right, wrong = ("yes", "no") if thing else ("no", "yes")
        question = world.presence_question(colour, name)
        rows += pair_of(f"{group}-{colour}-{name}", group, question, right, wrong, shown, thing)
    return rows
