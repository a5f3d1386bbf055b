"""Which prompts share a beginning long enough to be worth computing once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise, takewhile


@dataclass(frozen=True)
class Family:
    """Prompts with a common beginning."""

    rows: tuple[int, ...]
    length: int
    """Tokens of the beginning; at least one token of every prompt lies behind it."""


@dataclass
class _Run:
    """Neighbours in sorted order, with the best way to cut them into families."""

    start: int
    stop: int
    saved: int
    """Tokens that need not be computed again."""
    cuts: list[tuple[int, int, int]]
    """(start, stop, length) of each family."""


def prompt_families(prompts: Sequence[Sequence[int]]) -> list[Family]:
    """Partition of the prompts into families, such that the most tokens are saved by computing each beginning once.

    Prompts that are alike stand together in sorted order, so families are runs of neighbours, and the common beginning
    of a run is the smallest between neighbours. Joining neighbours from the longest common beginning down and keeping
    at each join the better of "one family" and "as before" finds the best partition. A prompt alone is a family whose
    beginning is all but its last token.
    """
    order = sorted(range(len(prompts)), key=lambda row: list(prompts[row]))
    ranked = [prompts[row] for row in order]
    runs = {i: _Run(i, i + 1, 0, [(i, i + 1, len(prompt) - 1)]) for i, prompt in enumerate(ranked)}
    ends = {run.stop: run for run in runs.values()}
    shared = [_shared(one, other) for one, other in pairwise(ranked)]
    for right in sorted(range(1, len(ranked)), key=lambda i: -shared[i - 1]):
        before, after = ends[right], runs[right]
        joined = _Run(before.start, after.stop, before.saved + after.saved, before.cuts + after.cuts)
        together = (joined.stop - joined.start - 1) * shared[right - 1]
        if together > joined.saved:
            joined.saved, joined.cuts = together, [(joined.start, joined.stop, shared[right - 1])]
        runs[joined.start] = ends[joined.stop] = joined
    cuts = runs[0].cuts if ranked else []
    return [Family(tuple(order[start:stop]), length) for start, stop, length in cuts]


def _shared(one: Sequence[int], other: Sequence[int]) -> int:
    """Length of the common beginning, leaving at least one token of each."""
    pairs = zip(one[:-1], other[:-1], strict=False)
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], pairs))
