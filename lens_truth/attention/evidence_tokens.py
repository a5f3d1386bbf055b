"""Where an example's evidence lies among its tokens, and what it is compared with."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int
from numpy.lib.stride_tricks import sliding_window_view

from lens_truth.data.examples import Example
from lens_truth.data.images import tokens_showing
from lens_truth.errors import InputError
from lens_truth.models.image_input import ImageInput
from lens_truth.models.patches import token_boxes
from lens_truth.models.prompts import Encoded

SINK = 0
"""The first token, where heads put attention that they have no use for (Xiao et al. 2024)."""

Positions = Int[np.ndarray, " _"]


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
    words: Int[np.ndarray, " T"]
    """A number for each token's text without the space around it: equal where tokens read alike."""


def locate_evidence(example: Example, row: Encoded, images: ImageInput | None, texts: Sequence[str]) -> EvidenceTokens:
    """Finds the tokens of an example's evidence.

    Args:
        texts: of the row's tokens.

    Raises:
        InputError: if a box of evidence lies where the model sees nothing of the image.
    """
    # The tokens among which evidence lies, line by line (a text is one line), and the evidence.
    regions: list[tuple[list[Positions], Positions]] = []
    if row.evidence:
        assert row.context is not None
        regions.append(([np.arange(*row.context)], np.concatenate([np.arange(*span) for span in row.evidence])))
    if example.boxes and row.image_span is not None and images is not None:
        boxes = token_boxes(images, example.image)
        shown = tokens_showing(boxes, example.boxes)
        if not shown:
            raise InputError(f"the evidence of example '{example.id}' lies outside what the model sees of its image")
        seen = np.flatnonzero(np.isfinite(boxes).all(1))
        ends = np.flatnonzero((np.diff(seen) > 1) | (np.diff(boxes[seen, 0]) <= 0)) + 1  # lines go from left to right
        first = row.image_span[0]
        regions.append((np.split(first + seen, ends), first + np.array(shown)))
    evidence, control = (np.zeros(len(row.ids), dtype=np.float32) for _ in range(2))
    complete = True
    for lines, found in regions:
        lines, found = [line[line != SINK] for line in lines], found[found != SINK]
        evidence[found] = 1
        free = [run for line in lines for run in _runs(line[~np.isin(line, found)])]
        for size in (len(run) for line in lines for run in _runs(line[np.isin(line, found)]) if len(run)):
            windows = [window for run in free if len(run) >= size for window in sliding_window_view(run, size)]
            complete &= bool(windows)
            for window in windows:
                control[window] += 1 / len(windows)
    words = np.unique([text.strip() for text in texts], return_inverse=True)[1]
    return EvidenceTokens(row, evidence, control if complete else None, bool(row.evidence), words)


def _runs(positions: Positions) -> list[Positions]:
    """Runs of neighbours: spans of a text, lines of patches."""
    return np.split(positions, np.flatnonzero(np.diff(positions) > 1) + 1)
