"""Boxes in a picture, and which patches of it show what lies in them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

Box = tuple[int | float, int | float, int | float, int | float]
"""Left, top, right, bottom in pixels of the picture; right and bottom are not part of it."""


def tokens_showing(boxes: Float[np.ndarray, "n 4"], evidence: Sequence[Box]) -> list[int]:
    """The tokens that show a piece of evidence, in order: those with at least half of their box in it, or, for evidence
    too small for that, the one with the largest overlap. Evidence that no box touches has none."""
    found: set[int] = set()
    area = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    for left, top, right, bottom in evidence:
        across = np.minimum(boxes[:, 2], right) - np.maximum(boxes[:, 0], left)
        down = np.minimum(boxes[:, 3], bottom) - np.maximum(boxes[:, 1], top)
        overlap = np.nan_to_num(across.clip(0) * down.clip(0))
        inside = np.flatnonzero((overlap > 0) & (overlap >= area / 2))
        found.update(inside.tolist() or ([int(overlap.argmax())] if overlap.any() else []))
    return sorted(found)
