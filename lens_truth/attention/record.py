"""Attention of every head on a few example rows, small enough for a page: `attention.json` beside an evidence run."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from lens_truth.io.readers import is_list
from lens_truth.io.results import MisfitError

_PICTURE = re.compile(r"data:image/(?:png|jpeg);base64,[A-Za-z0-9+/]+={0,2}")
"""The only kind of address a picture may have: anything else would be fetched."""
_HEAD = re.compile(r"\d{1,4}\.\d{1,4}")

Span = tuple[int, int]
"""First and one past the last token; as in `lens_truth.models.prompts`, which the page does without."""
Sides = tuple[float, float, float, float]
"""Left, top, right, bottom."""


@dataclass(frozen=True)
class ShownImage:
    """The image of an example."""

    src: str
    """A data URL."""
    width: int
    height: int
    """Of the image as it was given, in whose pixels the boxes are."""
    span: Span
    """Its tokens."""
    boxes: tuple[Sides | None, ...]
    """What each of them shows."""
    evidence: tuple[Sides, ...]

    def __post_init__(self) -> None:
        n = self.span[1] - self.span[0]
        _check(_PICTURE.fullmatch(self.src), "is not a picture inside the file (data:image/png;base64,...)", "src")
        for name, size in (("width", self.width), ("height", self.height)):
            _check(0 < size < 1 << 20, "is not a number of pixels", name)
        for name, boxes in (("boxes", self.boxes), ("evidence", self.evidence)):
            for number, box in enumerate(boxes):
                _check(all(map(math.isfinite, box or ())), "is not a box of four numbers", name, number)
        _check(len(self.boxes) == n, f"has {len(self.boxes)} boxes for {n} image tokens", "boxes")


@dataclass(frozen=True)
class ShownExample:
    """What every head looks at from the last token of an example's answer. Spans are of tokens."""

    id: str
    question: str
    answer: str
    label: int
    tokens: tuple[str, ...]
    """As they read in the text."""
    query: int
    """The token whose attention it is."""
    evidence: tuple[Span, ...]
    context: Span | None
    answer_span: Span
    image: ShownImage | None
    heads: Mapping[str, Any]
    """By "layer.head" a list of [token, weight in thousandths], without those under the threshold."""

    def __post_init__(self) -> None:
        n = len(self.tokens)
        for name, value, stop in (("label", self.label, 2), ("query", self.query, n)):
            _check(0 <= value < stop, f"is not a whole number from 0 to {stop - 1}", name)
        spans: dict[tuple[str | int, ...], Span | None] = {
            **{("evidence", number): span for number, span in enumerate(self.evidence)},
            ("context",): self.context,
            ("answer_span",): self.answer_span,
            ("image", "span"): self.image and self.image.span,
        }
        for path, (start, stop) in ((path, span) for path, span in spans.items() if span is not None):
            _check(0 <= start <= stop <= n, f"is {[start, stop]}, which is no span of {n} tokens", *path)
        for name, pairs in self.heads.items():
            _check(_HEAD.fullmatch(name), f"names '{name}', which is not layer.head", "heads")
            # By hand: a record holds a hundred thousand pairs, for which cattrs takes seconds.
            for pair in pairs if is_list(pairs) else [None]:
                if not (is_list(pair) and len(pair) == 2 and all(type(number) is int for number in pair)):
                    raise MisfitError(["heads", name], "does not hold [token, thousandths]")
                if not (0 <= pair[0] < n and 0 <= pair[1] <= 1000):
                    raise MisfitError(["heads", name], f"holds {pair}, which is no token or no share")


@dataclass(frozen=True)
class AttentionRecord:
    """`attention.json`, which `dataclasses.asdict` writes and `lens_truth.io.results.structured` reads."""

    model: str
    weights: str
    """Hash of the model's weights: only maps of the same weights are shown with it."""
    threshold: float
    """Smaller weights were left out."""
    rows: tuple[ShownExample, ...]

    def __post_init__(self) -> None:
        _check(math.isfinite(self.threshold), "is not a number", "threshold")


def _check(holds: object, why: str, *path: str | int) -> None:
    if not holds:
        raise MisfitError(path, why)
