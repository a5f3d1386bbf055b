"""Where an example's evidence lies among its tokens, and what it is compared with."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from lens_truth.errors import InputError
from lens_truth.examples import Example
from lens_truth.models.images import ImageInput
from lens_truth.models.patches import token_boxes, tokens_showing
from lens_truth.models.prompts import Encoded

SINK = 0
"""The first token, where heads put attention that they have no use for (Xiao et al. 2024)."""


@dataclass(frozen=True)
class EvidenceTokens:
    """One example's tokens, and which of them hold the evidence."""

    row: Encoded
    evidence: Float[np.ndarray, " T"]
    """1 for tokens that hold evidence, 0 for the others."""
    control: Float[np.ndarray, " T"] | None
    """Weights of the tokens around it: the mean over all equally long parts of the same context or image that touch no
    evidence. Their sum is that of `evidence`. None where no part is as long."""
    in_words: bool
    """Whether there is evidence in the text; tokens of an image are no words."""


def locate_evidence(example: Example, row: Encoded, images: ImageInput | None) -> EvidenceTokens:
    """Finds the tokens of an example's evidence.

    Raises:
        InputError: if a box of evidence lies where the model sees nothing of the image.
    """
    regions: list[tuple[list[int], list[int]]] = []  # the tokens among which evidence lies, and the evidence
    if row.evidence:
        assert row.context is not None
        regions.append((_range(*row.context), sorted({at for span in row.evidence for at in _range(*span)})))
    if example.boxes and row.image_span is not None and images is not None:
        boxes = token_boxes(images, example.image)
        wanted = [(float(left), float(top), float(right), float(bottom)) for left, top, right, bottom in example.boxes]
        shown = tokens_showing(boxes, wanted)
        if not shown:
            raise InputError(f"the evidence of example '{example.id}' lies outside what the model sees of its image")
        first = row.image_span[0]
        placed = np.flatnonzero(np.isfinite(boxes).all(1))
        regions.append(([first + int(i) for i in placed], [first + i for i in shown]))
    evidence, control = (np.zeros(len(row.ids), dtype=np.float32) for _ in range(2))
    complete = True
    for region, found in regions:
        region, found = ([at for at in some if at != SINK] for some in (region, found))
        evidence[found] = 1
        for run in _runs(found):
            windows = _windows(region, set(found), len(run))
            complete &= bool(windows)
            for window in windows:
                control[window] += 1 / len(windows)
    return EvidenceTokens(row, evidence, control if complete else None, bool(row.evidence))


def _range(start: int, stop: int) -> list[int]:
    return list(range(start, stop))


def _runs(positions: Sequence[int]) -> list[list[int]]:
    """Positions in runs of neighbours: spans of a text, lines of patches."""
    runs: list[list[int]] = []
    for at in positions:
        if runs and runs[-1][-1] == at - 1:
            runs[-1].append(at)
        else:
            runs.append([at])
    return runs


def _windows(region: Sequence[int], evidence: set[int], length: int) -> list[list[int]]:
    """All runs of that length in a region that touch no evidence."""
    free = _runs([at for at in region if at not in evidence])
    return [run[i : i + length] for run in free for i in range(len(run) - length + 1)]
