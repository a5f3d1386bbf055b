"""Passages that tell a fact, or what is not one, more or less clearly: from one that says it three times to one that
mentions it in passing while another answer is in the air."""

from __future__ import annotations

import json
from functools import cache
from typing import Literal, get_args

import numpy as np

from lens_truth.data.facts import TABLES, Fact
from lens_truth.data.world import shuffled

Difficulty = Literal["repeated", "stated", "passing", "rival"]
DIFFICULTIES: tuple[Difficulty, ...] = get_args(Difficulty)
"""repeated: said in three ways, with one sentence beside them; stated: said once, among two sentences; passing: as an
aside in a sentence about something else, among four; rival: the same, and one of the four mentions another answer
without saying anything about it."""

_SENTENCES: dict[Difficulty, tuple[int, int, int, int]] = {  # claims, asides, neutral sentences, rivals
    "repeated": (3, 0, 1, 0),
    "stated": (1, 0, 2, 0),
    "passing": (0, 1, 4, 0),
    "rival": (0, 1, 3, 1),
}

Passage = tuple[str, tuple[tuple[int, int], ...]]
"""Text, and the characters [start, stop) of the sentences that hold the evidence."""


@cache
def _wordings() -> dict[str, list[str]]:
    return json.loads((TABLES / "passages.json").read_text(encoding="utf-8"))


def passage(rng: np.random.Generator, fact: Fact, rival: str, difficulty: Difficulty) -> Passage:
    """One that tells `fact`; `rival` is the answer that is in the air where the difficulty asks for one."""
    n_claims, n_asides, n_neutral, n_rivals = _SENTENCES[difficulty]
    telling = [fact.say(wording) for wording in shuffled(rng, fact.relation.claims, n_claims)]
    telling += [fact.say(wording) for wording in shuffled(rng, _wordings()["asides"], n_asides)]
    rivals = [wording.format(object=rival) for wording in shuffled(rng, _wordings()["rivals"], n_rivals)]
    return joined(rng, telling, neutral(rng, n_neutral) + rivals)


def mention(rng: np.random.Generator, object: str) -> Passage:
    """Three sentences of which one names an object and says nothing about it."""
    rival = _wordings()["rivals"][int(rng.integers(len(_wordings()["rivals"])))]
    return joined(rng, [], [rival.format(object=object), *neutral(rng, 2)])


def joined(rng: np.random.Generator, telling: list[str], others: list[str]) -> Passage:
    """Sentences in random order; those of `telling` are the evidence."""
    text = ""
    spans: list[tuple[int, int]] = []
    for sentence, tells in shuffled(rng, [*((text, True) for text in telling), *((text, False) for text in others)]):
        text = f"{text} {sentence}".lstrip()
        spans += [(len(text) - len(sentence), len(text))] if tells else []
    return text, tuple(spans)


def neutral(rng: np.random.Generator, n: int) -> list[str]:
    """Sentences that tell nothing about any fact."""
    return shuffled(rng, _wordings()["neutral"], n)
