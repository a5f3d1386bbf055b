"""`attention_record`: what every head looks at in a few examples."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from lens_truth.attention.patterns import query_row
from lens_truth.attention.record import AttentionRecord, ShownExample, ShownImage, Sides
from lens_truth.data.examples import Example
from lens_truth.data.images import data_url, open_image
from lens_truth.models.batches import tokenizer_of
from lens_truth.models.hooks import Hooked
from lens_truth.models.image_input import ImageInput, images_for
from lens_truth.models.patches import token_boxes
from lens_truth.models.prompts import Encoded, Template, encode, token_texts
from lens_truth.models.provenance import name_of

THRESHOLD = 0.01
"""Smaller weights are left out: a head has at most a hundred others, however long the context."""
_LARGEST = 448
"""Pixels of the longer side of an image on the page."""


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
