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
        if not _PICTURE.fullmatch(self.src):
            raise MisfitError(["src"], "is not a picture inside the file (data:image/png;base64,...)")
        for name, size in (("width", self.width), ("height", self.height)):
            if not 0 < size < 1 << 20:
                raise MisfitError([name], "is not a number of pixels")
        for name, boxes in (("boxes", self.boxes), ("evidence", self.evidence)):
            for number, box in enumerate(boxes):
                if box is not None and not all(map(math.isfinite, box)):
                    raise MisfitError([name, number], "is not a box of four numbers")
        if len(self.boxes) != self.span[1] - self.span[0]:
            n = self.span[1] - self.span[0]
            raise MisfitError(["boxes"], f"has {len(self.boxes)} boxes for {n} image tokens")


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
            if not 0 <= value < stop:
                raise MisfitError([name], f"is not a whole number from 0 to {stop - 1}")
        spans: dict[tuple[str | int, ...], Span | None] = {
            **{("evidence", number): span for number, span in enumerate(self.evidence)},
            ("context",): self.context,
            ("answer_span",): self.answer_span,
            ("image", "span"): self.image and self.image.span,
        }
        for path, span in spans.items():
            if span is not None and not 0 <= span[0] <= span[1] <= n:
                raise MisfitError(path, f"is {list(span)}, which is no span of {n} tokens")
        for name, pairs in self.heads.items():
            if not _HEAD.fullmatch(name):
                raise MisfitError(["heads"], f"names '{name}', which is not layer.head")
            _check_weights(pairs, n, name)


def _check_weights(pairs: Any, n_tokens: int, head: str) -> None:
    """By hand: a record holds a hundred thousand pairs, for which cattrs takes seconds."""
    for pair in pairs if is_list(pairs) else [None]:
        if not (is_list(pair) and len(pair) == 2 and all(type(number) is int for number in pair)):
            raise MisfitError(["heads", head], "does not hold [token, thousandths]")
        if not (0 <= pair[0] < n_tokens and 0 <= pair[1] <= 1000):
            raise MisfitError(["heads", head], f"holds {pair}, which is no token or no share")


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
        if not math.isfinite(self.threshold):
            raise MisfitError(["threshold"], "is not a number")
