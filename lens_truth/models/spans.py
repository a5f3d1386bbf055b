"""Where characters of a text lie among its tokens."""

from __future__ import annotations

from collections.abc import Sequence

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
