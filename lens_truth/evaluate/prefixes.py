"""Which prompts share a beginning long enough to be worth computing once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import takewhile

import numpy as np

from lens_truth.models.prompts import PromptTokens


@dataclass(frozen=True)
class Family:
    """Prompts with a common beginning."""

    rows: tuple[int, ...]
    length: int
    """Tokens of the beginning; at least one token of every prompt lies behind it."""


def prompt_families(prompts: Sequence[PromptTokens]) -> list[Family]:
    """Partition of the prompts into families, so that computing each beginning once saves many tokens.

    A family has one image at most, and its beginning holds the whole of it with the token that closes it (from which
    Qwen2.5-Omni counts on): nothing that follows needs pixels.
    """
    by_image: dict[str, list[int]] = {}
    for row, prompt in enumerate(prompts):
        by_image.setdefault(prompt.image, []).append(row)
    families: list[Family] = []
    for rows in by_image.values():
        for family in token_families([prompts[row].ids for row in rows]):
            members = tuple(rows[i] for i in family.rows)
            if _holds_image(prompts[members[0]], family.length):
                families.append(Family(members, family.length))
            else:  # they part before the image
                families += [_alone(row, prompts[row]) for row in members]
    return families


def _alone(row: int, prompt: PromptTokens) -> Family:
    """A prompt by itself, whose beginning is all but its last token."""
    length = len(prompt.ids) - 1
    return Family((row,), length if _holds_image(prompt, length) else 0)


def _holds_image(prompt: PromptTokens, length: int) -> bool:
    return prompt.image_span is None or prompt.image_span[1] < length


def token_families(prompts: Sequence[Sequence[int]]) -> list[Family]:
    """The same for token ids alone.

    Prompts that are alike stand together in sorted order; of all ways to cut that order into families this is the one
    that saves most. What a family shares is the least that neighbours in it share, and the best cut up to each prompt
    follows from the best cuts before it. A prompt alone is a family whose beginning is all but its last token.
    """
    order = sorted(range(len(prompts)), key=lambda row: list(prompts[row]))
    ranked = [prompts[row] for row in order]
    n = len(ranked)
    saved = np.zeros(n + 1, dtype=np.int64)  # by the best cut of the first so many prompts
    start, length = np.zeros(n + 1, dtype=np.int64), np.zeros(n + 1, dtype=np.int64)  # of its last family
    common = np.zeros(n, dtype=np.int64)  # what the prompts from each one up to the present one share
    for stop in range(1, n + 1):
        common[stop - 1] = len(ranked[stop - 1]) - 1
        if stop > 1:
            common[: stop - 1] = np.minimum(common[: stop - 1], _shared(ranked[stop - 2], ranked[stop - 1]))
        gains = saved[:stop] + np.arange(stop - 1, -1, -1) * common[:stop]
        first = stop - 1 - int(gains[::-1].argmax())  # of equals the smallest family
        saved[stop], start[stop], length[stop] = gains[first], first, common[first]
    families: list[Family] = []
    stop = n
    while stop:
        families.append(Family(tuple(order[start[stop] : stop]), int(length[stop])))
        stop = int(start[stop])
    return families[::-1]


def _shared(one: Sequence[int], other: Sequence[int]) -> int:
    """Length of the common beginning, leaving at least one token of each."""
    pairs = zip(one[:-1], other[:-1], strict=False)
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], pairs))
