"""Attention of every head on a few example rows, small enough for a page: `attention.json` beside an evidence run."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Float

from lens_truth.attention.patterns import query_row
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


def attention_record(
    model: Hooked, examples: Sequence[Example], template: Template, weights_hash: str
) -> dict[str, Any]:
    """What every head looks at from the last token of each example's answer.

    Args:
        weights_hash: of the model, which takes a while to compute.

    Returns:
        For JSON: the model, and a row an example: its tokens as text; spans of evidence, context and answer in tokens;
        the image; and by "layer.head" a list of [token, weight in thousandths], without those under `THRESHOLD`.
    """
    tokenizer, images = tokenizer_of(model), images_for(model, examples)
    rows: list[dict[str, Any]] = []
    for example, row in zip(examples, encode(tokenizer, examples, template, images), strict=True):
        query = row.answer[1] - 1
        weights = query_row(model, row, query).numpy()
        rows.append(
            {
                "id": example.id,
                "question": example.question,
                "answer": example.answer,
                "label": example.label,
                "tokens": token_texts(tokenizer, row.ids),
                "query": query,
                "evidence": row.evidence,
                "context": row.context,
                "answer_span": row.answer,
                "image": _image(images, example, row),
                "heads": {f"{at[0]}.{at[1]}": _kept(weights[at]) for at in np.ndindex(weights.shape[:2])},
            }
        )
    return {"model": name_of(model), "weights": weights_hash, "threshold": THRESHOLD, "rows": rows}


def _kept(weights: Float[np.ndarray, " T"]) -> list[list[int]]:
    return [[int(at), round(float(weights[at]) * 1000)] for at in np.flatnonzero(weights >= THRESHOLD)]


def _image(images: ImageInput | None, example: Example, row: Encoded) -> dict[str, Any] | None:
    if images is None or row.image_span is None:
        return None
    picture = open_image(example.image)
    width, height = picture.size
    picture.thumbnail((_LARGEST, _LARGEST))
    boxes = token_boxes(images, example.image)
    return {
        "src": data_url(picture),
        "width": width,
        "height": height,
        "span": row.image_span,
        "boxes": [box.round(1).tolist() if np.isfinite(box).all() else None for box in boxes],
        "evidence": example.boxes,
    }
