"""`Example`: one answer to one question, labelled by whether its context supports it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from lens_truth.data.boxes import Box
from lens_truth.data.images import image_hash
from lens_truth.errors import InputError
from lens_truth.io.files import hash_of
from lens_truth.io.streams import Stream, stream

SUPPORTED, HALLUCINATED = 1, 0


@dataclass(frozen=True)
class Example:
    """One question, one answer and its label."""

    id: str
    """Unique name of the row."""
    group: str
    """Rows of one question, scene or image share a group; a group is never split between folds."""
    question: str
    answer: str
    label: int
    """1 if the context supports the answer, 0 if it is hallucinated."""
    context: str = ""
    """What the answer must rest on; empty for a closed-book question."""
    evidence: tuple[tuple[int, int], ...] = ()
    """Character spans [start, stop) of `context` that hold the evidence."""
    image: str = ""
    """The image that the answer must rest on, as `lens_truth.data.images.open_image` knows it; empty for none."""
    boxes: tuple[Box, ...] = ()
    """Boxes of `image`, in pixels as `open_image` gives it, that show the evidence."""

    @property
    def has_evidence(self) -> bool:
        """Whether it is known what the answer rests on, in the context or in the image."""
        return bool(self.evidence or self.boxes)


def examples_hash(examples: Sequence[Example]) -> str:
    """A hash of all fields of all rows, in order; of an image what is in it counts, not where it lies.

    Raises:
        InputError: names an image that is missing.
    """
    return hash_of(*(json.dumps(_content(example), sort_keys=True) for example in examples))


def _content(example: Example) -> dict[str, Any]:
    fields = example_fields(example)
    image = fields.pop("image")
    return {**fields, "image": image_hash(image)} if image else fields


def example_fields(example: Example) -> dict[str, Any]:
    """What an example holds, for JSON; boxes only if there are any, and as floats, so that 1 and 1.0 are the same."""
    fields = asdict(example)
    boxes = fields.pop("boxes")
    return {**fields, "boxes": [[float(edge) for edge in box] for box in boxes]} if boxes else fields


def labels_of(examples: Sequence[Example]) -> list[int]:
    """The label of each example: 1 supported, 0 hallucinated."""
    return [example.label for example in examples]


def rows_by_question(examples: Sequence[Example]) -> list[list[int]]:
    """Row numbers of each question's answers.

    A question is identified by group, image, context and question text; the order is that of first appearance.
    """
    questions: dict[tuple[str, str, str, str], list[int]] = {}
    for row, example in enumerate(examples):
        questions.setdefault((example.group, example.image, example.context, example.question), []).append(row)
    return list(questions.values())


def question_pairs(examples: Sequence[Example]) -> list[tuple[list[int], list[int]]]:
    """Row numbers of the supported and of the hallucinated answers, for every question that has both.

    Raises:
        InputError: if no question has answers of both labels.
    """
    sides = [
        tuple([row for row in rows if examples[row].label == label] for label in (SUPPORTED, HALLUCINATED))
        for rows in rows_by_question(examples)
    ]
    pairs = [(supported, hallucinated) for supported, hallucinated in sides if supported and hallucinated]
    if not pairs:
        raise InputError(
            "no question has both a supported and a hallucinated answer, so an answer margin is not defined"
        )
    return pairs


def split_groups(examples: Sequence[Example], shares: Sequence[float], seed: int) -> list[list[Example]]:
    """Parts of about the given shares; all rows of a group go to the same part, and rows keep their order.

    Raises:
        InputError: if a part would be empty.
    """
    groups = list(dict.fromkeys(example.group for example in examples))
    order = stream(seed, Stream.SPLIT).permutation(len(groups))
    bounds = np.rint(np.cumsum(shares) / sum(shares) * len(groups))
    part_of = {groups[int(g)]: int(np.searchsorted(bounds, rank, side="right")) for rank, g in enumerate(order)}
    parts: list[list[Example]] = [[] for _ in shares]
    for example in examples:
        parts[part_of[example.group]].append(example)
    if not all(parts):
        raise InputError(f"{len(groups)} groups are too few to be split into {len(shares)} parts")
    return parts
