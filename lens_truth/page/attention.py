"""What heads looked at in example rows: the `attention.json` of an `evidence` run."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from lens_truth.data.boxes import tokens_showing
from lens_truth.errors import InputError
from lens_truth.io.readers import is_list
from lens_truth.page.fields import Fields

_PICTURE = re.compile(r"data:image/(?:png|jpeg);base64,[A-Za-z0-9+/]+={0,2}")
"""The only kind of address a picture may have: anything else would be fetched."""
Box = list[float]
"""Left, top, right, bottom."""
_HEAD = re.compile(r"\d{1,4}\.\d{1,4}")


@dataclass(frozen=True)
class Attention:
    """Attention weights of the answer's last token, for every head, in some examples."""

    model: str
    weights: str
    """Hash of the model's weights: only maps of the same weights are shown with it."""
    threshold: float
    """Smaller weights were left out."""
    rows: tuple[dict[str, Any], ...]
    """As the page's script reads them."""


def read_attention(record: Fields) -> Attention:
    """Checks everything that the page will show.

    Raises:
        InputError: names the first value that does not fit.
    """
    return Attention(
        model=record["model"].text(),
        weights=record["weights"].text(),
        threshold=record["threshold"].number(),
        rows=tuple(_row(row) for row in record["rows"]),
    )


def _row(row: Fields) -> dict[str, Any]:
    tokens = row["tokens"].texts()
    n = len(tokens)
    evidence = [_span(span, n) for span in row["evidence"]]
    return {
        "id": row["id"].text(),
        "question": row["question"].text(),
        "answer": row["answer"].text(),
        "label": row["label"].whole(2),
        "tokens": tokens,
        "query": row["query"].whole(n),
        "evidence": evidence,
        "context": row.maybe("context", lambda span: _span(span, n)),
        "answer_span": _span(row["answer_span"], n),
        "image": row.maybe("image", lambda image: _image(image, n)),
        "heads": {name: _weights(weights, n) for name, weights in _heads(row["heads"]).items()},
    }


def _span(span: Fields, n: int) -> list[int]:
    start, stop = (end.whole(n + 1) for end in span.items(2))
    if start > stop:
        raise span.wrong("ends before it begins")
    return [start, stop]


def _heads(heads: Fields) -> dict[str, Fields]:
    members = heads.members()
    wrong = next((name for name in members if not _HEAD.fullmatch(name)), None)
    if wrong is not None:
        raise InputError(f"{heads.where} names '{wrong}', which is not layer.head")
    return members


def _weights(pairs: Fields, n: int) -> list[int]:
    """Token, thousandths, token, thousandths, ...: a page holds thousands of these lists."""
    if not is_list(pairs.value):
        raise pairs.wrong("is not a list")
    flat: list[int] = []
    for pair in pairs.value:
        if not (is_list(pair) and len(pair) == 2 and all(type(number) is int for number in pair)):
            raise pairs.wrong("does not hold [token, thousandths]")
        token, weight = pair
        if not (0 <= token < n and 0 <= weight <= 1000):
            raise pairs.wrong(f"holds [{token}, {weight}], which is no token or no share")
        flat += [token, weight]
    return flat


def _image(image: Fields, n: int) -> dict[str, Any]:
    source = image["src"].text()
    if not _PICTURE.fullmatch(source):
        raise image["src"].wrong("is not a picture inside the file (data:image/png;base64,...)")
    span = _span(image["span"], n)
    boxes = [None if box.value is None else _box(box) for box in image["boxes"]]
    if len(boxes) != span[1] - span[0]:
        raise image["boxes"].wrong(f"has {len(boxes)} boxes for {span[1] - span[0]} image tokens")
    evidence = [_box(box) for box in image["evidence"]]
    return {
        "src": source,
        "width": image["width"].whole(),
        "height": image["height"].whole(),
        "span": span,
        "boxes": boxes,
        "evidence": evidence,
        "shows": [span[0] + i for i in showing(boxes, evidence)],
    }


def showing(boxes: Sequence[Box | None], evidence: Sequence[Box]) -> list[int]:
    """The boxes that show a piece of evidence (`lens_truth.data.boxes.tokens_showing`)."""
    known = np.array([[np.nan] * 4 if box is None else box for box in boxes], dtype=float).reshape(-1, 4)
    return tokens_showing(known, [(box[0], box[1], box[2], box[3]) for box in evidence])


def _box(box: Fields) -> Box:
    return [round(side.number(), 2) for side in box.items(4)]
