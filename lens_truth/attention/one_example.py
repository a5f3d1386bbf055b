"""What some heads look at in one example, and how it is made small enough to be looked at."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from PIL import Image

from lens_truth.attention.evidence_tokens import SINK
from lens_truth.attention.measures import lift
from lens_truth.attention.patterns import Head
from lens_truth.data.boxes import Box
from lens_truth.data.examples import SUPPORTED, Example
from lens_truth.models.prompts import Span

MOST_GROUPS = 150
"""A map of attention that holds more is hard to read, and a browser takes long to draw it."""


@dataclass(frozen=True)
class Picture:
    """The image of an example, as its tokens show it."""

    image: Image.Image
    span: Span
    """Its tokens."""
    boxes: Float[np.ndarray, "patches 4"]
    """The part of the image that each of them shows (`lens_truth.models.patches.token_boxes`)."""
    evidence: tuple[Box, ...]

    def heat(self, weights: Float[np.ndarray, " T"], width: int, height: int) -> Float[np.ndarray, "height width"]:
        """Attention to every point of the image, of so many pixels: the sum, over the patches that show it, of weight
        over area, as a share of the largest; NaN where no patch shows anything."""
        found, shown = np.zeros((height, width)), np.zeros((height, width), dtype=bool)
        scale = np.array([width, height, width, height]) / np.array(self.image.size * 2)
        for (left, top, right, bottom), weight in zip(self.boxes * scale, weights[slice(*self.span)], strict=True):
            if np.isfinite(left):
                part = slice(round(top), round(bottom)), slice(round(left), round(right))
                found[part] += weight / ((right - left) * (bottom - top))
                shown[part] = True
        return np.where(shown, found / (found.max() or 1), np.nan)


@dataclass(frozen=True)
class ExampleAttention:
    """The attention of some heads in one example."""

    model: str
    example: Example
    heads: tuple[Head, ...]
    patterns: Float[np.ndarray, "n T T"]
    """[head, query, key]."""
    tokens: tuple[str, ...]
    """As they read in the text."""
    context: Span | None
    answer: Span
    evidence: tuple[int, ...]
    """The tokens that hold it."""
    picture: Picture | None

    @property
    def query(self) -> int:
        """The answer's last token, where probes read."""
        return self.answer[1] - 1

    @property
    def weights(self) -> Float[np.ndarray, "n T"]:
        """What each head gives every token from there."""
        return self.patterns[:, self.query]

    @property
    def names(self) -> list[str]:
        """Of the heads."""
        return [f"L{layer} H{head}" for layer, head in self.heads]

    @property
    def said(self) -> list[str]:
        """How much of each head's attention is on the evidence; nothing for an example without."""
        part = np.zeros(len(self.tokens), dtype=np.float32)
        part[list(self.evidence)] = 1
        if not self.evidence:
            return [""] * len(self.heads)
        lifts = lift(torch.from_numpy(self.weights), torch.from_numpy(part), self.query).numpy().tolist()
        shares = (self.weights @ part).tolist()
        return [f"{share:.0%} on evidence, {times:.1f} × chance" for share, times in zip(shares, lifts, strict=True)]


@dataclass(frozen=True)
class Group:
    """Tokens that are shown as one."""

    label: str
    tokens: tuple[int, ...]
    is_evidence: bool
    of_image: bool = False


def groups_of(shown: ExampleAttention, most: int = MOST_GROUPS) -> list[Group]:
    """All tokens in order, most of them alone. Those of an image make two groups, its evidence and its rest (one, where
    it shows no evidence). If more than `most` were left, neighbours in the context (without one: in the prompt) that
    hold no evidence are put together, as few to a group as will do."""
    evidence = set(shown.evidence)
    image = set(range(*shown.picture.span) if shown.picture else ())
    words = [at for at in range(len(shown.tokens)) if at not in image]
    first, stop = shown.context or (SINK + 1, shown.answer[0])
    plain = np.array([at for at in words if first <= at < stop and at not in evidence], dtype=int)
    runs = np.split(plain, np.flatnonzero(np.diff(plain) > 1) + 1) if len(plain) else []
    alone = sorted({*words} - {*plain.tolist()})

    def n_groups(size: int) -> int:
        return len(alone) + sum(-(-len(run) // size) for run in runs) + 2 * bool(image)

    longest = max(map(len, runs), default=1)
    size = next(size for size in range(1, longest + 1) if size == longest or n_groups(size) <= most)
    parts: list[list[int]] = [part.tolist() for run in runs for part in np.array_split(run, -(-len(run) // size))]
    parts += [[at] for at in alone]
    groups = [Group(_label([shown.tokens[at] for at in part]), tuple(part), part[0] in evidence) for part in parts]
    seen, rest = sorted(image & evidence), sorted(image - evidence)
    groups += [Group("image: evidence", tuple(seen), True, True)] if seen else []
    groups += [Group("image: rest" if seen else "image", tuple(rest), False, True)] if rest else []
    return sorted(groups, key=lambda group: group.tokens)


def _label(texts: Sequence[str]) -> str:
    return texts[0] if len(texts) == 1 else f"{texts[0]} … {texts[-1].strip()} ({len(texts)} tokens)"


def at_token(groups: Sequence[Group], token: int) -> int:
    """The group that a token is in."""
    return next(number for number, group in enumerate(groups) if token in group.tokens)


def said_of(groups: Sequence[Group]) -> str:
    """What of the tokens is put together, and how; nothing where all are alone."""
    image = [len(group.tokens) for group in groups if group.of_image]
    others = [len(group.tokens) for group in groups if not group.of_image]
    parts: list[str] = []
    if sum(image) > 1:
        split = ", those that show evidence and the rest" if len(image) > 1 else ""
        parts.append(f"The {sum(image):,} tokens of the image are put together{split}.")
    if max(others) > 1:
        parts.append(f"Of {sum(others):,} tokens of text, neighbours are put together, up to {max(others)} in one.")
    if parts:
        parts.append("Of tokens that are put together, the attention they get is summed and what they give averaged.")
    return " ".join(parts)


def title_of(shown: ExampleAttention) -> list[str]:
    """Model, example, question, and answer with its label: a line each."""
    example = shown.example
    label = "supported" if example.label == SUPPORTED else "hallucinated"
    heads = (
        f"{len(shown.heads)} heads of {shown.model} look" if len(shown.heads) > 1 else f"a head of {shown.model} looks"
    )
    return [
        f"What {heads} at",
        f"Example: {in_one_line(example.id, 200)}",
        f"Question: {in_one_line(example.question, 400)}",
        f"Answer: {in_one_line(example.answer, 400)} ({label})",
    ]


def in_one_line(text: str, most: int) -> str:
    """A token's text as a label: line breaks and spaces that stand alone can be seen, and long texts lose their
    middle."""
    text = text.replace("\n", "↵").replace("\t", "→").strip() or "␣"
    return text if len(text) <= most else f"{text[: (most - 1) // 2]}…{text[len(text) - most // 2 :]}"


def gathered(
    patterns: Float[np.ndarray, "n T T"], groups: Sequence[Sequence[int]]
) -> Float[np.ndarray, "n groups groups"]:
    """Attention between groups of tokens: summed over the keys of a group and averaged over its queries, so that each
    row still sums to 1 if every token is in a group."""
    members = np.zeros((len(groups), patterns.shape[-1]), dtype=patterns.dtype)
    for number, group in enumerate(groups):
        members[number, list(group)] = 1
    means = members / members.sum(axis=1, keepdims=True)
    return means @ patterns @ members.T
