"""A miniature world in English: houses of four rooms, each with at most one coloured object.

Every scene belongs to exactly one split, by a hash of its contents, so splits share no scene, whatever is generated
from them. All words that can be an answer have five letters and are one token of the zoo's tokenizer.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal, TypeVar

import numpy as np

COLOURS = ("coral", "white", "black", "brown", "amber", "green", "azure", "lilac")
"""Of things."""
THINGS = ("heart", "pearl", "arrow", "brick", "crown", "wedge", "wheel", "cross")
"""By name."""
ROOMS = ("attic", "study", "foyer", "vault")
"""Of a house, from top to bottom."""
TYPICAL: dict[str, str] = dict(zip(THINGS, COLOURS, strict=True))
"""What the memory models know without any context: the colour that each thing usually has."""

Split = Literal["train", "validation", "test"]
_SHARES: tuple[tuple[float, Split], ...] = ((0.6, "train"), (0.8, "validation"), (1.0, "test"))


@dataclass(frozen=True, order=True)
class Thing:
    """One object of a scene; inside a scene no two share a colour, a name or a room.

    >>> heart = lens_truth.data.Thing("green", "heart", "attic")
    """

    colour: str
    name: str
    room: str


Scene = tuple[Thing, ...]
T = TypeVar("T")


def shuffled(rng: np.random.Generator, items: Sequence[T], n: int | None = None) -> list[T]:
    """The items in random order; only the first so many of them."""
    return [items[int(i)] for i in rng.permutation(len(items))[:n]]


@lru_cache(maxsize=1 << 16)
def split_of(scene: Scene) -> Split:
    """The split that a scene belongs to: a function of what the scene holds, not of the order it is told in."""
    digest = hashlib.blake2b(repr(sorted(scene)).encode(), digest_size=8).digest()
    share = int.from_bytes(digest, "big") / 2**64
    return next(split for bound, split in _SHARES if share < bound)


def sample_scene(rng: np.random.Generator, split: Split) -> Scene:
    """A scene of `split` with 2 to 4 things, all attributes uniform."""
    while True:
        n = int(rng.integers(2, 5))
        scene = tuple(map(Thing, *(shuffled(rng, words, n) for words in (COLOURS, THINGS, ROOMS))))
        if split_of(scene) == split:
            return scene


def sample_typical_scene(rng: np.random.Generator, split: Split | None = None) -> Scene:
    """A scene (of `split`, or of any) that agrees with memory: every thing has its typical colour."""
    while True:
        n = int(rng.integers(2, 5))
        places = zip(shuffled(rng, THINGS, n), shuffled(rng, ROOMS, n), strict=True)
        scene = tuple(Thing(TYPICAL[name], name, room) for name, room in places)
        if split is None or split_of(scene) == split:
            return scene


def scene_key(scene: Scene) -> str:
    """A scene as a name, the same in whatever order its things are given."""
    return "+".join(f"{thing.colour}.{thing.name}.{thing.room}" for thing in sorted(scene))


def sentence(thing: Thing) -> str:
    """What is told of a thing."""
    return f"The {thing.colour} {thing.name} is in the {thing.room}."


def tell(rng: np.random.Generator, scene: Scene) -> str:
    """The scene in English: one sentence a thing, in random order."""
    return " ".join(map(sentence, shuffled(rng, scene)))


def describe(scene: Scene) -> str:
    """The scene in English, from the top of the house to the bottom."""
    return " ".join(map(sentence, sorted(scene, key=lambda thing: ROOMS.index(thing.room))))


def sentence_span(context: str, thing: Thing) -> tuple[int, int]:
    """Character span of the sentence of `context` that tells of `thing`."""
    start = context.index(sentence(thing))
    return start, start + len(sentence(thing))


@dataclass(frozen=True)
class Kind:
    """A kind of open question: which attribute it asks for, and by which attribute it names the thing."""

    asked: Literal["colour", "name", "room"]
    key: Literal["colour", "name", "room"]
    form: str

    def about(self, thing: Thing) -> tuple[str, str]:
        """Question and right answer."""
        return self.form.format(getattr(thing, self.key)), getattr(thing, self.asked)


COLOUR_OF_THING = Kind("colour", "name", "What colour is the {}?")
KINDS = (
    COLOUR_OF_THING,
    Kind("room", "name", "Which room holds the {}?"),
    Kind("name", "room", "What thing is in the {}?"),
    Kind("colour", "room", "What colour is in the {}?"),
    Kind("name", "colour", "What thing is {}?"),
    Kind("room", "colour", "Which room holds the {} thing?"),
)
QUESTION_PARTS = (*dict.fromkeys(kind.form.split(" {}")[0] for kind in KINDS), "Is there")
"""How questions begin, up to the word by which they name the thing."""
CLOSED_BOOK_KINDS = (COLOUR_OF_THING, KINDS[4])
"""The questions that memory alone can answer."""


def presence_question(colour: str, name: str) -> str:
    """Whether there is such a thing in the house."""
    return f"Is there {'an' if colour[0] in 'aeiou' else 'a'} {colour} {name} in the house?"


def absent_pair(rng: np.random.Generator, scene: Scene) -> tuple[str, str]:
    """A colour and a name that no thing of the scene has together: half those of two things, so that neither word alone
    tells; in the others the name or the colour of one thing is any other."""
    one, two = shuffled(rng, scene, 2)
    if rng.random() < 0.5:
        return one.colour, two.name
    if rng.random() < 0.5:
        return one.colour, _other(rng, THINGS, one.name)
    return _other(rng, COLOURS, one.colour), one.name


def _other(rng: np.random.Generator, words: tuple[str, ...], word: str) -> str:
    return words[(words.index(word) + 1 + int(rng.integers(len(words) - 1))) % len(words)]


def wrong_answer(rng: np.random.Generator, scene: Scene, kind: Kind, thing: Thing) -> str:
    """A wrong answer of the right class: mostly (70%) another thing's attribute, otherwise any other word."""
    right = getattr(thing, kind.asked)
    if rng.random() < 0.7:
        others = [other for other in scene if other is not thing]
        return getattr(others[int(rng.integers(len(others)))], kind.asked)
    return _other(rng, {"colour": COLOURS, "name": THINGS, "room": ROOMS}[kind.asked], right)
