"""Attention of every head on a few example rows, small enough for a page: `attention.json` beside an evidence run."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float

from lens_truth.attention.patterns import query_row
from lens_truth.data.examples import Example
from lens_truth.data.images import data_url, open_image
from lens_truth.io.readers import is_list
from lens_truth.io.results import MisfitError
from lens_truth.models.batches import tokenizer_of
from lens_truth.models.hooks import Hooked
from lens_truth.models.image_input import ImageInput, images_for
from lens_truth.models.patches import token_boxes
from lens_truth.models.prompts import Encoded, Span, Template, encode, token_texts
from lens_truth.models.provenance import name_of

THRESHOLD = 0.01
"""Smaller weights are left out: a head has at most a hundred others, however long the context."""
_LARGEST = 448
"""Pixels of the longer side of an image on the page."""
_PICTURE = re.compile(r"data:image/(?:png|jpeg);base64,[A-Za-z0-9+/]+={0,2}")
"""The only kind of address a picture may have: anything else would be fetched."""
_HEAD = re.compile(r"\d{1,4}\.\d{1,4}")

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


def attention_record(model: Hooked, examples: Sequence[Example], template: Template, weights: str) -> AttentionRecord:
    """What every head looks at from the last token of each example's answer.

    Args:
        weights: the model's hash, which takes a while to compute.
    """
    tokenizer, images = tokenizer_of(model), images_for(model, examples)
    rows: list[ShownExample] = []
    for example, row in zip(examples, encode(tokenizer, examples, template, images), strict=True):
        query = row.answer[1] - 1
        found = query_row(model, row, query).numpy()
        rows.append(
            ShownExample(
                id=example.id,
                question=example.question,
                answer=example.answer,
                label=example.label,
                tokens=tuple(token_texts(tokenizer, row.ids)),
                query=query,
                evidence=row.evidence,
                context=row.context,
                answer_span=row.answer,
                image=_image(images, example, row),
                heads={f"{at[0]}.{at[1]}": _kept(found[at]) for at in np.ndindex(found.shape[:2])},
            )
        )
    return AttentionRecord(name_of(model), weights, THRESHOLD, tuple(rows))


def _kept(weights: Float[np.ndarray, " T"]) -> list[list[int]]:
    return [[int(at), round(float(weights[at]) * 1000)] for at in np.flatnonzero(weights >= THRESHOLD)]


def _image(images: ImageInput | None, example: Example, row: Encoded) -> ShownImage | None:
    if images is None or row.image_span is None:
        return None
    picture = open_image(example.image)
    width, height = picture.size
    picture.thumbnail((_LARGEST, _LARGEST))
    boxes = token_boxes(images, example.image)
    shown = tuple(_sides(box.round(1)) if np.isfinite(box).all() else None for box in boxes)
    return ShownImage(data_url(picture), width, height, row.image_span, shown, tuple(map(_sides, example.boxes)))


def _sides(box: Sequence[float] | Float[np.ndarray, "4"]) -> Sides:
    left, top, right, bottom = (round(float(side), 2) for side in box)
    return left, top, right, bottom
