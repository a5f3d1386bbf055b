"""`show_heads`: what some heads look at in one example; for a notebook, as a page, or as a picture."""

from __future__ import annotations

from collections.abc import Iterable
from operator import index
from pathlib import Path
from typing import SupportsIndex

import numpy as np
import torch
from matplotlib.figure import Figure

from lens_truth.attention.evidence_tokens import EvidenceTokens, locate_evidence
from lens_truth.attention.measures import lift
from lens_truth.attention.one_example import ExampleAttention, Picture
from lens_truth.attention.patterns import Head, patterns, query_row
from lens_truth.attention.strips import attention_strips
from lens_truth.attention.view_page import attention_fragment, attention_page
from lens_truth.data.examples import Example
from lens_truth.data.images import open_image
from lens_truth.errors import InputError
from lens_truth.io.files import write_text
from lens_truth.models.batches import check_lengths, tokenizer_of
from lens_truth.models.hooks import Hooked
from lens_truth.models.image_input import ImageInput, images_for
from lens_truth.models.patches import token_boxes
from lens_truth.models.prompts import Encoded, Template, encode, token_texts
from lens_truth.models.provenance import name_of
from lens_truth.plots.style import save

_N_HEADS = 4


class AttentionView(ExampleAttention):
    """What `show_heads` gives: a notebook displays it, `plot` draws it, `save` writes it."""

    def __repr__(self) -> str:
        return f"<attention of {', '.join(self.names)} of {self.model} in example {self.example.id}>"

    def _repr_html_(self) -> str:
        return attention_fragment(self)

    def plot(self) -> Figure:
        """Attention of the answer's last token: over the image, and over all tokens, a line a head:
        `lens_truth.show_heads(model, example).plot()`."""
        return attention_strips(self)

    def save(self, path: str | Path) -> None:
        """Writes a page (`.html`), which needs nothing else to be opened, or a picture (`.png`, with a PDF beside it):
        `lens_truth.show_heads(model, example).save("attention.html")`.

        Raises:
            InputError: if the name ends otherwise.
        """
        path = Path(path)
        if path.suffix == ".html":
            write_text(path, attention_page(self))
        elif path.suffix == ".png":
            save(self.plot(), path)
        else:
            raise InputError(f"{path}: attention is saved as .html or as .png")


def show_heads(
    model: Hooked,
    example: Example,
    heads: Iterable[Iterable[SupportsIndex]] | None = None,
    *,
    template: Template = "plain",
) -> AttentionView:
    """What some heads look at in one example: the weights of the answer's last token over the text and the image, and
    all tokens' patterns in CircuitsVis, with the evidence marked.

    ```python
    lens_truth.show_heads(model, example, [(5, 3), (4, 1)])
    ```

    Args:
        heads: layer and head of each, such as [(5, 3), (4, 1)]; by default the four that look most at the evidence,
            over what its length would give (`lens_truth.attention.measures.lift`, at the answer's last token).
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
