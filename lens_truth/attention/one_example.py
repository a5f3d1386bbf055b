"""What some heads look at in one example, and how it is made small enough to be looked at."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from jaxtyping import Float
from PIL import Image

from lens_truth.attention.evidence_tokens import SINK
from lens_truth.attention.measuring import Head, lift
from lens_truth.data.drawing import Box
from lens_truth.data.examples import SUPPORTED, Example
from lens_truth.errors import InputError
from lens_truth.io.files import write_text
from lens_truth.models.prompts import Span

if TYPE_CHECKING:
    from matplotlib.figure import Figure

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


@dataclass(frozen=True, repr=False)
class AttentionView:
    """The attention of some heads in one example: a notebook displays it, `plot` draws it, `save` writes it."""

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

    def __repr__(self) -> str:
        return f"<attention of {', '.join(self.names)} of {self.model} in example {self.example.id}>"

    def _repr_html_(self) -> str:
        from lens_truth.attention.view_page import attention_page

        return attention_page(self, standalone=False)

    def plot(self) -> Figure:
        """Attention of the answer's last token: over the image, and over all tokens, a line a head:
        `lens_truth.show_heads(model, example).plot()`."""
        from lens_truth.attention.strips import attention_strips

        return attention_strips(self)

    def save(self, path: str | Path) -> None:
        """Writes a page (`.html`), which needs nothing else to be opened, or a picture (`.png`, with a PDF beside it):
        `lens_truth.show_heads(model, example).save("attention.html")`.

        Raises:
            InputError: if the name ends otherwise.
        """
        from lens_truth.attention.view_page import attention_page
        from lens_truth.plots import save

        path = Path(path)
        if path.suffix not in (".html", ".png"):
            raise InputError(f"{path}: attention is saved as .html or as .png")
        if path.suffix == ".html":
            write_text(path, attention_page(self))
        else:
            save(self.plot(), path)


@dataclass(frozen=True)
class Group:
    """Tokens that are shown as one."""

    label: str
    tokens: tuple[int, ...]
    is_evidence: bool
    of_image: bool = False

    def marked(self, longest: int) -> str:
        """Its label in one line; evidence can be told without its colour."""
        label = in_one_line(self.label, longest)
        return f"«{label}»" if self.is_evidence else label


def groups_of(shown: AttentionView, most: int = MOST_GROUPS) -> list[Group]:
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
    groups: list[Group] = []
    for part in parts:
        label, last = shown.tokens[part[0]], shown.tokens[part[-1]].strip()
        label += f" … {last} ({len(part)} tokens)" if len(part) > 1 else ""
        groups.append(Group(label, tuple(part), part[0] in evidence))
    seen, rest = sorted(image & evidence), sorted(image - evidence)
    groups += [Group("image: evidence", tuple(seen), True, True)] if seen else []
    groups += [Group("image: rest" if seen else "image", tuple(rest), False, True)] if rest else []
    return sorted(groups, key=lambda group: group.tokens)


def said_of(groups: Sequence[Group]) -> str:
    """What of the tokens is put together, and how; nothing where all are alone."""
    image, others = ([len(its.tokens) for its in groups if its.of_image == wanted] for wanted in (True, False))
    parts: list[str] = []
    if sum(image) > 1:
        split = ", those that show evidence and the rest" if len(image) > 1 else ""
        parts.append(f"The {sum(image):,} tokens of the image are put together{split}.")
    if max(others) > 1:
        parts.append(f"Of {sum(others):,} tokens of text, neighbours are put together, up to {max(others)} in one.")
    if parts:
        parts.append("Of tokens that are put together, the attention they get is summed and what they give averaged.")
    return " ".join(parts)


def title_of(shown: AttentionView) -> list[str]:
    """Model, example, question, and answer with its label: a line each."""
    example = shown.example
    label = "supported" if example.label == SUPPORTED else "hallucinated"
    n = len(shown.heads)
    return [
        f"What {n} heads of {shown.model} look at" if n > 1 else f"What a head of {shown.model} looks at",
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
    members = np.stack([np.bincount(group, minlength=patterns.shape[-1]) for group in groups]).astype(patterns.dtype)
    return members / members.sum(axis=1, keepdims=True) @ patterns @ members.T
