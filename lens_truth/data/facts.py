"""Facts about the world that small language models know: capitals, symbols, authors, ..., written for this project. The
table has a file for each kind of subject (`world_facts/country.csv`: a row a subject, a column a relation, empty where
the answer is not clear), `relations.json` the phrasings of every relation, and `also.csv` answers that are as right as
the one in the table, or nearly so, which are never said in its place.

A subject belongs to one split, and is paired there with another of its kind. In a pair the two trade places: what is
true of one is what is falsely said of the other, so that each answer is right as often as it is wrong."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from lens_truth.data.world import Split, shuffled
from lens_truth.io.streams import Stream, stream

TABLES = Path(__file__).parent / "world_facts"
_SPLITS: tuple[Split, ...] = ("train", "train", "validation", "test", "test")
"""Of the subjects of a kind, one after the other."""
_LOST = 100
"""What it costs a pair not to differ in a relation: more than any length of words."""


@dataclass(frozen=True)
class Relation:
    """How one relation is put into words; each wording names `{subject}`, and `{object}` where it gives the answer."""

    name: str
    kind: str
    """Of its subjects: the file of the table that it is a column of."""
    noun: str
    """What the object is, as a phrase: the capital of {subject}."""
    claims: tuple[str, ...]
    denial: str
    """The first of the claims, denied."""
    questions: tuple[str, ...]


@dataclass(frozen=True)
class Fact:
    """That a subject's relation holds to an object: the capital of France is Paris."""

    relation: Relation
    subject: str
    object: str
    split: Split

    def told_of(self, object: str) -> Fact:
        """The same said of another object."""
        return Fact(self.relation, self.subject, object, self.split)

    def phrase(self, wording: str) -> str:
        """A wording about this fact, as it stands inside a sentence."""
        noun = self.relation.noun.format(subject=self.subject)
        small = wording[0].lower() + wording[1:]
        return small.format(subject=self.subject, object=self.object, noun=noun)

    def say(self, wording: str) -> str:
        """The same as a sentence."""
        return capital(self.phrase(wording))

    def answer(self, wording: str) -> str:
        """The same as an answer: a sentence, or the object alone as it is written elsewhere."""
        return self.object if wording == "{object}" else self.say(wording)


@dataclass(frozen=True)
class Pair:
    """Two facts of one relation that trade objects."""

    group: str
    """Of all relations of the two subjects."""
    one: Fact
    other: Fact

    def each_way(self) -> Iterator[tuple[Fact, str]]:
        """Either fact, with the object of the other."""
        yield self.one, self.other.object
        yield self.other, self.one.object


@cache
def relations() -> dict[str, Relation]:
    """All relations by name."""
    rows = json.loads((TABLES / "relations.json").read_text(encoding="utf-8"))
    return {
        name: Relation(name, row["kind"], row["noun"], tuple(row["claims"]), row["denial"], tuple(row["questions"]))
        for name, row in rows.items()
    }


@cache
def world_facts() -> tuple[Fact, ...]:
    """The whole table, kind by kind; no subject is of two kinds.

    >>> len(lens_truth.data.world_facts())
    """
    found: list[Fact] = []
    for kind in dict.fromkeys(relation.kind for relation in relations().values()):
        with (TABLES / f"{kind}.csv").open(encoding="utf-8", newline="") as file:
            for number, row in enumerate(csv.DictReader(file)):
                subject = row.pop("subject")
                split = _SPLITS[number % len(_SPLITS)]
                found += [Fact(relations()[name], subject, object, split) for name, object in row.items() if object]
    return tuple(found)


def also_right(fact: Fact) -> tuple[str, ...]:
    """Other objects that are right, or so nearly that they cannot be called wrong."""
    return _also().get((fact.relation.name, fact.subject), ())


@cache
def _also() -> dict[tuple[str, str], tuple[str, ...]]:
    found: dict[tuple[str, str], tuple[str, ...]] = {}
    with (TABLES / "also.csv").open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            place = row["relation"], row["subject"]
            found[place] = (*found.get(place, ()), row["object"])
    return found


def pairs(split: Split, seed: int) -> list[Pair]:
    """The facts of a split in pairs of the same relation, in random order. Subjects are paired once, for all their
    relations, with one of few differences in length; a relation in which what is right of one is right of the other too
    is left out."""
    rng = stream(seed, Stream.FACTS)
    found: list[Pair] = []
    for by_subject in _by_kind(split).values():
        left = shuffled(rng, [*by_subject])
        while len(left) > 1:
            one = left.pop(0)
            other = min(left, key=lambda subject: _difference(by_subject[one], by_subject[subject]))
            left.remove(other)
            shared = by_subject[one].keys() & by_subject[other].keys()
            for name in (name for name in by_subject[one] if name in shared):
                pair = Pair(f"{one} - {other}", by_subject[one][name], by_subject[other][name])
                found += [pair] if _differ(pair.one, pair.other) else []
    return shuffled(rng, found)


def capital(text: str) -> str:
    """The text with a capital letter at its beginning."""
    return text[:1].upper() + text[1:]


def _by_kind(split: Split) -> dict[str, dict[str, dict[str, Fact]]]:
    """By kind and subject, the facts of a split by relation."""
    kinds: dict[str, dict[str, dict[str, Fact]]] = {}
    for fact in world_facts():
        if fact.split == split:
            kinds.setdefault(fact.relation.kind, {}).setdefault(fact.subject, {})[fact.relation.name] = fact
    return kinds


def _differ(one: Fact, other: Fact) -> bool:
    """Whether what is right of either is wrong of the other."""
    return not any(fact.object in (rival.object, *also_right(rival)) for fact, rival in ((one, other), (other, one)))


def _difference(one: dict[str, Fact], other: dict[str, Fact]) -> int:
    """How badly two subjects go together: relations that only one of them has or in which they agree, and differences
    in words and letters of the objects."""
    cost = 0
    for name in one.keys() | other.keys():
        facts = [its[name] for its in (one, other) if name in its]
        if len(facts) < 2 or not _differ(*facts):
            cost += _LOST
        else:
            texts = [fact.object for fact in facts]
            words = [len(text.split()) for text in texts]
            cost += 4 * abs(words[0] - words[1]) + abs(len(texts[0]) - len(texts[1]))
    return cost
