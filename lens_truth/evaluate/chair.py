"""CHAIR: which objects a caption mentions that are not in its image (Rohrbach et al. 2018, Section 3), by the rules of
its authors' scorer. Instead of taking every word back to its stem, all forms of names are made beforehand (`inflect`).
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
from jaxtyping import Float

from lens_truth.errors import InputError
from lens_truth.io.readers import open_input
from lens_truth.io.stages import bar, stage
from lens_truth.stats.paired import ratio_interval

_NO_CLASS = ""
_ANIMALS = ["bird", "cat", "dog", "horse", "sheep", "cow", "elephant", "bear", "zebra", "giraffe", "animal", "cub"]
_DOUBLE_WORDS = {
    **{f"{age} {animal}": animal for age in ("baby", "adult") for animal in _ANIMALS},  # no person
    **{name: name for name in ("home plate", "train track")},  # no objects, and neither is the plate or train in them
    **{"passenger jet": "jet", "passenger train": "train", "bow tie": "tie", "toilet seat": "toilet"},
}
# The published scorer takes verbs back to their stem, so that 'a man skiing' mentions skis. For names of other classes
# that finds what nobody means ('seated', 'booked'), and so it does for these two.
_RIDDEN = frozenset({"skis", "snowboard", "skateboard", "surfboard", "bicycle", "boat"})
_NOT_RIDDEN = frozenset({"ship", "barge"})
_TOKEN = re.compile(r"'s\b|\d+(?:[.,:]\d+)+|[^\W_]+(?:[-'](?!s\b)[^\W_]+)*|([-.'`])\1+|[^\w\s]|_")


@dataclass(frozen=True)
class Mention:
    """An object that a caption names: the name in the table, in its basic form, and the class that it stands for."""

    word: str
    name: str


@dataclass(frozen=True)
class ObjectNames:
    """Classes of objects, the names that each goes by, and all forms of those names."""

    class_of: Mapping[str, str]
    """From name to class; to the empty text where the name is no object and only hides the names in it."""
    forms: Mapping[tuple[str, ...], str]
    """From the tokens of a form to the name: ('wine', 'glasses') to 'wine glass'."""
    classes: frozenset[str]
    longest: int
    """The most tokens in a form; the longest form that fits counts."""

    def words(self, caption: str) -> list[str]:
        """The tokens of a caption, each name as one word in its basic form."""
        tokens = tokenize(caption)
        words: list[str] = []
        while tokens:
            lengths = range(min(self.longest, len(tokens)), 0, -1)
            n = next((n for n in lengths if tuple(tokens[:n]) in self.forms), 1)
            words.append(self.forms.get(tuple(tokens[:n]), tokens[0]))
            del tokens[:n]
        return words

    def mentions(self, words: Sequence[str]) -> list[Mention]:
        """The objects among words that `words` returned, in order, with repeats."""
        no_chair = "seat" if "toilet" in words and "seat" in words else None  # 'the seat of the toilet'
        named = (Mention(word, self.class_of.get(word, _NO_CLASS)) for word in words if word != no_chair)
        return [mention for mention in named if mention.name != _NO_CLASS]


def tokenize(text: str) -> list[str]:
    """Words in lower case and punctuation marks, much as NLTK's: hyphens stay in a word, a possessive 's leaves it."""
    return [match[0] for match in _TOKEN.finditer(text.lower().replace("’", "'"))]


def objects_in(caption: str, names: ObjectNames) -> list[Mention]:
    """The objects that a caption mentions, in order, with repeats."""
    return names.mentions(names.words(caption))


def read_synonyms(path: Path | None = None) -> ObjectNames:
    """The table of object names: a class on each line, its names separated by commas, the class's own name first.

    Beyond the official format, a class in brackets (`[orange]`) is not itself a name, and `[]` begins names that are no
    objects and hide those in them (`ski lift`). Without a path, the package's own table of COCO's 80 classes is read.
    In a given table two words at most make a name, as in the published scorer, which so counts a 'stove' and an 'oven'
    in a 'stove top oven' that stands in the official list as one.
    """
    longest = 2 if path else None
    path = path or Path(__file__).with_name("coco_objects.txt")
    class_of: dict[str, str] = {}
    classes: set[str] = set()
    for line, text in enumerate(open_input(path), start=1):
        if not text.strip():
            continue
        first, *others = (" ".join(name.lower().split()) for name in text.split(","))
        name = first.removeprefix("[").removesuffix("]").strip()
        bracketed = first.startswith("[") and first.endswith("]")
        for word in others if bracketed else [first, *others]:
            if not word:
                raise InputError(f"{path}, line {line}: a name is empty")
            if class_of.setdefault(word, name) != name:
                raise InputError(f"{path}, line {line}: '{word}' stands under '{name}' and under '{class_of[word]}'")
        classes |= {name} - {_NO_CLASS}
    if not classes:
        raise InputError(f"{path}: holds no object names")
    names = object_names(class_of)
    return replace(names, longest=min(longest, names.longest)) if longest else names


def object_names(class_of: Mapping[str, str]) -> ObjectNames:
    """A table of names, from each name's class, with all their forms; a form found earlier stays what it is."""
    import inflect  # takes two seconds

    engine = inflect.engine()
    names = {**_DOUBLE_WORDS, **{word: word for word in class_of}}
    forms = {tuple(tokenize(word)): word for word in class_of}
    for word, meant in names.items():
        forms.setdefault(tuple(tokenize(word)), meant)
    for word, meant in names.items():
        *start, last = tokenize(word)
        forms.setdefault((*start, engine.plural_noun(last)), meant)
        if last.endswith("o"):
            forms.setdefault((*start, f"{last}s"), meant)  # inflect knows flamingoes alone
    for word in class_of:
        if class_of[word] in _RIDDEN and word not in _NOT_RIDDEN and " " not in word:
            ride = f"{word}ing" if word.endswith("oe") else engine.present_participle(word)
            forms.setdefault((ride,), word)
    return ObjectNames(class_of, forms, frozenset(class_of.values()) - {_NO_CLASS}, max(map(len, forms)))


@dataclass(frozen=True)
class Caption:
    """What a model wrote about an image; messages name its place in a file (`line 7`)."""

    image: str
    text: str
    where: str = ""


@dataclass(frozen=True)
class TrueObjects:
    """The classes of the objects that are in each image; messages name their source."""

    source: str
    of_image: Mapping[str, frozenset[str]]


@dataclass(frozen=True)
class CaptionScore:
    """What one caption mentions, in order and with repeats, and what is in its image."""

    image: str
    mentions: tuple[Mention, ...]
    true: tuple[str, ...]
    """The classes that are in the image, in the order of their names."""
    length: int
    """Words and punctuation marks, a name of several words counting once."""

    @property
    def hallucinated(self) -> tuple[Mention, ...]:
        """Mentions, with repeats, of what is not in the image."""
        return tuple(mention for mention in self.mentions if mention.name not in self.true)

    @property
    def named(self) -> frozenset[str]:
        """The classes that are mentioned, in the image or not."""
        return frozenset(mention.name for mention in self.mentions)


@dataclass(frozen=True)
class ChairScore:
    """CHAIR of one or more captions; the same one may come several times."""

    captions: tuple[CaptionScore, ...]

    @property
    def n(self) -> int:
        """Captions."""
        return len(self.captions)

    @property
    def n_images(self) -> int:
        """Images, of which each has one caption or more."""
        return len({caption.image for caption in self.captions})

    @property
    def n_without_mention(self) -> int:
        """Captions that mention no object."""
        return sum(not caption.mentions for caption in self.captions)

    @property
    def chair_s(self) -> float:
        """Share of captions with at least one hallucinated object."""
        return self._measure("chair_s") or 0.0

    @property
    def chair_i(self) -> float | None:
        """Hallucinated mentions / mentions; None if nothing is mentioned."""
        return self._measure("chair_i")

    @property
    def recall(self) -> float | None:
        """Classes that are both in the image and mentioned / classes in the image; None if the images hold nothing."""
        return self._measure("recall")

    @property
    def precision(self) -> float | None:
        """Classes that are both in the image and mentioned / classes mentioned; None if nothing is mentioned."""
        return self._measure("precision")

    @property
    def length(self) -> float:
        """Mean length of the captions (the published scorer prints a hundredth of it)."""
        return self._measure("length") or 0.0

    def intervals(self, seed: int) -> dict[str, tuple[float, float]]:
        """95% bootstrap intervals over images of those measures that are defined."""
        images = [caption.image for caption in self.captions]
        sides = self._sides.items()
        return {name: ratio_interval(part, whole, images, seed) for name, (part, whole) in sides if whole.any()}

    @cached_property
    def _sides(self) -> dict[str, Float[np.ndarray, "2 N"]]:
        """By measure, what each caption adds to both sides of the ratio that it is."""
        counts: list[list[tuple[int, int]]] = []
        for c in self.captions:
            wrong, found = len(c.hallucinated), len(c.named.intersection(c.true))
            counts.append([(wrong > 0, 1), (wrong, len(c.mentions)), (found, len(c.true)), (found, len(c.named))])
            counts[-1].append((c.length, 1))
        return dict(zip(CHAIR_MEASURES, np.array(counts, dtype=float).transpose(1, 2, 0), strict=True))

    def _measure(self, name: str) -> float | None:
        part, whole = self._sides[name].sum(1).tolist()
        return part / whole if whole else None


CHAIR_MEASURES = ("chair_s", "chair_i", "recall", "precision", "length")


def objects_described(source: str, descriptions: Mapping[str, str], names: ObjectNames) -> TrueObjects:
    """What is in each image, from a true description of it."""
    of_image = {image: frozenset(m.name for m in objects_in(text, names)) for image, text in descriptions.items()}
    return TrueObjects(source, of_image)


@stage("captions")
def score_captions(captions: Sequence[Caption], objects: TrueObjects, names: ObjectNames) -> ChairScore:
    """CHAIR of the captions, all of which must be of images whose objects are known."""
    if not captions:
        raise InputError("there are no captions to score")
    if unknown := [caption for caption in captions if caption.image not in objects.of_image]:
        first = ", ".join(filter(None, (f"image {unknown[0].image}", unknown[0].where)))
        counts = f"{len(unknown)} of {len(captions)} captions"
        raise InputError(f"{counts} are of images that {objects.source} does not know (first: {first})")
    scores: list[CaptionScore] = []
    for caption in bar(captions, "captions"):
        words, true = names.words(caption.text), tuple(sorted(objects.of_image[caption.image]))
        scores.append(CaptionScore(caption.image, tuple(names.mentions(words)), true, len(words)))
    return ChairScore(tuple(scores))
