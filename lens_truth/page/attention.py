"""What heads looked at in example rows, as the page's script reads it."""

from __future__ import annotations

from dataclasses import asdict
from itertools import chain
from typing import Any

import numpy as np

from lens_truth.attention.record import ShownExample, ShownImage
from lens_truth.data.images import tokens_showing


def script_row(row: ShownExample) -> dict[str, Any]:
    """One example. A head's weights become token, thousandths, token, thousandths, ...: a page holds thousands of
    these lists."""
    image = row.image and {**asdict(row.image), "shows": showing(row.image)}
    heads = {name: list(chain.from_iterable(pairs)) for name, pairs in row.heads.items()}
    return {**vars(row), "image": image, "heads": heads}


def showing(image: ShownImage) -> list[int]:
    """The tokens that show a piece of evidence, as the measures have it."""
    known = np.array([[np.nan] * 4 if box is None else box for box in image.boxes], dtype=float).reshape(-1, 4)
    return [image.span[0] + at for at in tokens_showing(known, image.evidence)]
