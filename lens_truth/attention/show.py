"""`show_heads`: what some heads look at in one example; and `attention_record`: what all look at in a few."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from operator import index
from typing import SupportsIndex

import numpy as np
import torch
from jaxtyping import Float

from lens_truth.attention.evidence_tokens import EvidenceTokens, locate_evidence
from lens_truth.attention.measuring import Head, lift, patterns, query_row
from lens_truth.attention.one_example import AttentionView, Picture
from lens_truth.attention.record import AttentionRecord, ShownExample, ShownImage, Sides
from lens_truth.data.examples import Example
from lens_truth.data.images import data_url, open_image
from lens_truth.errors import InputError
from lens_truth.io.stages import stage
from lens_truth.models.batches import check_lengths, tokenizer_of
from lens_truth.models.hooks import Hooked, name_of
from lens_truth.models.image_input import ImageInput, images_for
from lens_truth.models.patches import token_boxes
from lens_truth.models.prompts import Encoded, Template, encode
from lens_truth.models.spans import token_texts

_N_HEADS = 4
THRESHOLD = 0.01
"""Smaller weights are left out: a head has at most a hundred others, however long the context."""
_LARGEST = 448
"""Pixels of the longer side of an image on the page."""


def show_heads(
    model: Hooked,
    example: Example,
    heads: Iterable[Iterable[SupportsIndex]] | None = None,
    *,
    template: Template = "plain",
) -> AttentionView:
    """What some heads look at in one example: the weights of the answer's last token over the text and the image, and
    all tokens' patterns in CircuitsVis, with the evidence marked.

    >>> lens_truth.show_heads(model, example, [(5, 3), (4, 1)])

    Args:
        heads: layer and head of each, such as [(5, 3), (4, 1)]; by default the four that look most at the evidence,
            over what its length would give (`lens_truth.attention.measuring.lift`, at the answer's last token).
        template: `plain` for the paper's prompt, `chat` for the model's chat template.

    Raises:
        InputError: if heads are not named in pairs, one is not there, no heads are named for an example without
            evidence, or whatever `capture` refuses.
    """
    named = None if heads is None else _pairs(heads)
    tokenizer, images = tokenizer_of(model), images_for(model, [example])
    (row,) = encode(tokenizer, [example], template, images)
    check_lengths([len(row.ids)], [example.id], model)
    texts = token_texts(tokenizer, row.ids)
    found = locate_evidence(example, row, images, texts)
    shown = _most_evident(model, found) if named is None else named
    return AttentionView(
        model=name_of(model) or "the model",
        example=example,
        heads=shown,
        patterns=patterns(model, row, shown).numpy(),
        tokens=tuple(texts),
        context=row.context,
        answer=row.answer,
        evidence=tuple(np.flatnonzero(found.evidence).tolist()),
        picture=_picture(example, row, images),
    )


def _pairs(heads: Iterable[Iterable[SupportsIndex]]) -> tuple[Head, ...]:
    """Each head once, whatever kind of pairs of whole numbers they are."""
    try:
        pairs = [(index(layer), index(head)) for layer, head in heads]
    except (TypeError, ValueError) as error:
        raise InputError("heads are named as pairs of layer and head, such as heads=[(5, 3), (4, 1)]") from error
    return tuple(dict.fromkeys(pairs))


def _most_evident(model: Hooked, found: EvidenceTokens) -> tuple[Head, ...]:
    """The heads with the largest lift, best first."""
    if not found.evidence.any():
        raise InputError("the example has no evidence to choose heads by; name some: heads=[(layer, head), ...]")
    query = found.row.answer[1] - 1
    weights = query_row(model, found.row, query)
    lifts = lift(weights.flatten(0, 1), torch.from_numpy(found.evidence), query)
    best = lifts.argsort(descending=True, stable=True)[:_N_HEADS]
    return tuple(divmod(int(number), weights.shape[1]) for number in best)


def _picture(example: Example, row: Encoded, images: ImageInput | None) -> Picture | None:
    if images is None or row.image_span is None:
        return None
    return Picture(open_image(example.image), row.image_span, token_boxes(images, example.image), example.boxes)


@stage("examples")
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
                image=_image(_picture(example, row, images)),
                heads={f"{at[0]}.{at[1]}": _kept(found[at]) for at in np.ndindex(found.shape[:2])},
            )
        )
    return AttentionRecord(name_of(model), weights, THRESHOLD, tuple(rows))


def _kept(weights: Float[np.ndarray, " T"]) -> list[list[int]]:
    return [[int(at), round(float(weights[at]) * 1000)] for at in np.flatnonzero(weights >= THRESHOLD)]


def _image(picture: Picture | None) -> ShownImage | None:
    if picture is None:
        return None
    small, (width, height) = picture.image.copy(), picture.image.size
    small.thumbnail((_LARGEST, _LARGEST))
    shown = tuple(_sides(box.round(1)) if np.isfinite(box).all() else None for box in picture.boxes)
    return ShownImage(data_url(small), width, height, picture.span, shown, tuple(map(_sides, picture.evidence)))


def _sides(box: Sequence[float] | Float[np.ndarray, "4"]) -> Sides:
    left, top, right, bottom = (round(float(side), 2) for side in box)
    return left, top, right, bottom
