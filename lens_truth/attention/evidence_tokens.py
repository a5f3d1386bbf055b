"""Where an example's evidence lies among its tokens, and what it is compared with."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from lens_truth.data.boxes import tokens_showing
from lens_truth.data.examples import Example
from lens_truth.errors import InputError
from lens_truth.models.image_input import ImageInput
from lens_truth.models.patches import token_boxes
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
    words: Int[np.ndarray, " T"]
    """A number for each token's text without the space around it: equal where tokens read alike."""


def locate_evidence(example: Example, row: Encoded, images: ImageInput | None, texts: Sequence[str]) -> EvidenceTokens:
    """Finds the tokens of an example's evidence.

    Args:
        texts: of the row's tokens.

    Raises:
        InputError: if a box of evidence lies where the model sees nothing of the image.
    """
    # The tokens among which evidence lies, line by line, and the evidence. A text is one line.
    regions: list[tuple[list[list[int]], set[int]]] = []
    if row.evidence:
        assert row.context is not None
        regions.append(([_range(*row.context)], {at for span in row.evidence for at in _range(*span)}))
    if example.boxes and row.image_span is not None and images is not None:
        boxes = token_boxes(images, example.image)
        shown = tokens_showing(boxes, example.boxes)
        if not shown:
            raise InputError(f"the evidence of example '{example.id}' lies outside what the model sees of its image")
        first = row.image_span[0]
        lines = [[first + i for i in line] for line in _patch_lines(boxes)]
        regions.append((lines, {first + i for i in shown}))
    evidence, control = (np.zeros(len(row.ids), dtype=np.float32) for _ in range(2))
    complete = True
    for lines, found in regions:
        lines, found = [[at for at in line if at != SINK] for line in lines], found - {SINK}
        evidence[sorted(found)] = 1
        for run in (run for line in lines for run in _runs([at for at in line if at in found])):
            windows = [window for line in lines for window in _windows(line, found, len(run))]
            complete &= bool(windows)
            for window in windows:
                control[window] += 1 / len(windows)
    words = np.unique([text.strip() for text in texts], return_inverse=True)[1]
    return EvidenceTokens(row, evidence, control if complete else None, bool(row.evidence), words)


def _patch_lines(boxes: Float[np.ndarray, "n 4"]) -> list[list[int]]:
    """The patches that show some of an image, in lines from left to right."""
    lines: list[list[int]] = []
    for at in np.flatnonzero(np.isfinite(boxes).all(1)).tolist():
        before = lines[-1][-1] if lines else None
        if before == at - 1 and boxes[at, 0] > boxes[before, 0]:
            lines[-1].append(at)
        else:
            lines.append([at])
    return lines


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


def _windows(line: Sequence[int], evidence: set[int], length: int) -> list[list[int]]:
    """All runs of that length in a line that touch no evidence."""
    free = _runs([at for at in line if at not in evidence])
    return [run[i : i + length] for run in free for i in range(len(run) - length + 1)]
