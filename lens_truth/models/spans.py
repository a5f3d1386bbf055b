"""Where characters of a text lie among its tokens, and how each token reads."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

Span = tuple[int, int]
"""First and one past the last position."""


def tokens_in(offsets: Sequence[Span], span: Span) -> Span | None:
    """Tokens that hold characters of a span; None if there are none."""
    inside = [i for i, (start, stop) in enumerate(offsets) if start < span[1] and stop > span[0] and start < stop]
    return (inside[0], inside[-1] + 1) if inside else None


def is_cut(text: str, offsets: Sequence[Span], span: Span) -> bool:
    """Whether a token holds characters on both sides of an end of the span; white space does not count."""
    first, last = span
    touching = [(start, stop) for start, stop in offsets if start < last and stop > first]
    return any((text[start : min(stop, first)] + text[max(start, last) : stop]).strip() for start, stop in touching)


def token_texts(tokenizer: Any, ids: Sequence[int]) -> list[str]:
    """Each token as it reads in the text behind the one before it; a part of a character reads as U+FFFD."""
    pairs = [list(ids[max(0, i - 1) : i + 1]) for i in range(len(ids))]
    alone, both = (
        tokenizer.batch_decode(some, clean_up_tokenization_spaces=False) for some in ([[i] for i in ids], pairs)
    )
    before = ["", *alone]
    return [
        pair[len(previous) :] if pair.startswith(previous) and len(pair) > len(previous) else single
        for pair, previous, single in zip(both, before, alone, strict=False)
    ]
