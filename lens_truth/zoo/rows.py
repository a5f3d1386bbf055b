"""What the zoo's models are trained on: sequences of text in which some characters are answers; the scene is told, or
drawn in a picture that stands where it would be told."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from numpy.random import Generator
from PIL import Image
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from lens_truth.data import world
from lens_truth.data.drawing import image_name
from lens_truth.data.images import open_image
from lens_truth.data.world import Scene
from lens_truth.data.world_examples import DESCRIBE
from lens_truth.models.prompts import JUDGE_QUESTION
from lens_truth.zoo.tokenizer import IMAGE, PATCHES

Task = Literal["restate", "describe", "open", "judgement", "presence"]
"""Without a scene every task is a closed-book question."""


@dataclass
class Row:
    """Text under construction, with the character spans that the model is to learn to predict."""

    text: str = ""
    spans: list[tuple[int, int]] = field(default_factory=list[tuple[int, int]])
    image: str = ""
    """Name of the picture that the text shows, if any."""

    def add(self, text: str, learn: bool = False) -> None:
        """Appends text, which the model is to `learn` to predict or not."""
        if learn:
            self.spans.append((len(self.text), len(self.text) + len(text)))
        self.text += text


@dataclass(frozen=True)
class Memory:
    """How questions are asked of a model that is to remember the typical colours."""

    colour: float = 0.4
    """Share of the open questions that ask for the colour of a thing: the question that memory can answer too."""
    absent: float = 0.0
    """Share of those whose thing is not in the scene, so that only memory can answer."""


def plain_row(
    rng: Generator, scene: Scene | None, tasks: Sequence[Task], memory: Memory | None = None, *, drawn: bool = False
) -> Row:
    """One scene (none: closed book) and questions about it, in the paper's prompt."""
    row = Row()
    if scene:
        row.add(f"Context:\n{_scene_text(row, rng, scene, drawn)}")
    for task in tasks:
        if row.text:
            row.add("\n\n")
        if task == "restate":
            assert scene
            _restate(row, rng, scene)
            continue
        asked, answer = question_of(rng, scene, task, memory)
        row.add(asked if asked.endswith(JUDGE_QUESTION) else f"{asked}\nAnswer:")
        row.add(f" {answer}", learn=True)
    return row


def chat_row(
    rng: Generator, scene: Scene | None, tasks: Sequence[Task], memory: Memory | None = None, *, drawn: bool = False
) -> Row:
    """The same as turns of a chat, as the zoo's chat template writes them; the scene opens the first turn."""
    row = Row()
    context = f"Context:\n{_scene_text(row, rng, scene, drawn)}\n\n" if scene else ""
    for task in tasks:
        asked, answer = question_of(rng, scene, task, memory)
        row.add(f"USER: {context}{asked}\nASSISTANT:")
        row.add(f" {answer}</s>", learn=True)
        context = ""
    return row


def _scene_text(row: Row, rng: Generator, scene: Scene, drawn: bool) -> str:
    """The scene in English, or one token for every patch of its picture."""
    if not drawn:
        return world.tell(rng, scene)
    row.image = image_name(scene, int(rng.integers(2**31)))
    return IMAGE * PATCHES


def question_of(rng: Generator, scene: Scene | None, task: Task, memory: Memory | None = None) -> tuple[str, str]:
    """The question, with an answer where it is to be judged, and the answer to learn."""
    if scene is None:
        kind = world.CLOSED_BOOK_KINDS[0 if rng.random() < 0.7 else 1]
        question, answer = kind.about(_typical_thing(rng, world.THINGS))
        return f"Question: {question}", answer
    if task == "describe":
        return f"Question: {DESCRIBE}", world.describe(scene)
    if task == "presence":
        if rng.random() < 0.5:
            thing = scene[int(rng.integers(len(scene)))]
            return f"Question: {world.presence_question(thing.colour, thing.name)}", "yes"
        return f"Question: {world.presence_question(*world.absent_pair(rng, scene))}", "no"
    thing = scene[int(rng.integers(len(scene)))]
    kind = world.KINDS[int(rng.integers(len(world.KINDS)))]
    if memory and task == "open" and rng.random() < memory.colour:
        kind = world.COLOUR_OF_THING
        if rng.random() < memory.absent:
            present = {thing.name for thing in scene}
            thing = _typical_thing(rng, [name for name in world.THINGS if name not in present])
    question, right = kind.about(thing)
    if task == "open":
        return f"Question: {question}", right
    shown, verdict = (right, "no") if rng.random() < 0.5 else (world.wrong_answer(rng, scene, kind, thing), "yes")
    return f"Question: {question}\nAnswer: {shown}\n{JUDGE_QUESTION}", verdict


def _typical_thing(rng: Generator, names: Sequence[str]) -> world.Thing:
    name = names[int(rng.integers(len(names)))]
    return world.Thing(world.TYPICAL[name], name, "")


def _restate(row: Row, rng: Generator, scene: Scene) -> None:
    """The scene once more, in another order: the first attribute of a sentence is free, the others must be found."""
    row.add("Summary:")
    for thing in world.shuffled(rng, scene):
        row.add(f" The {thing.colour}")
        row.add(f" {thing.name}", learn=True)
        row.add(" is in the")
        row.add(f" {thing.room}", learn=True)
        row.add(".")


@dataclass(frozen=True)
class Batch:
    """Right-padded tokens; `learn` marks the tokens to be predicted, `rest` the other real tokens of text."""

    ids: Int[Tensor, "B T"]
    mask: Int[Tensor, "B T"]
    learn: Bool[Tensor, "B T"]
    rest: Bool[Tensor, "B T"]
    pixels: Float[Tensor, "I 3 48 48"] | None = None
    """The pictures of the rows that have one."""


def pixels_of(pictures: Sequence[Image.Image]) -> Float[Tensor, "I 3 48 48"]:
    """Pictures of the zoo as its image processor makes them, bit for bit, but quicker."""
    stacked = torch.from_numpy(np.stack([np.asarray(picture) for picture in pictures]))
    return (stacked.permute(0, 3, 1, 2).float() / 255 - 0.5) / 0.5


def text_batch(tokenizer: PreTrainedTokenizerBase, rows: Sequence[Row], *, special_tokens: bool = True) -> Batch:
    """Rows as tokens; a token is learnt if any of its characters is. The tokenizer adds its own special tokens, unless
    a chat template has written them."""
    padded: Any = {"padding": True, "padding_side": "right", "add_special_tokens": special_tokens}
    encoded = tokenizer([row.text for row in rows], **padded, return_offsets_mapping=True, return_tensors="pt")
    offsets = encoded["offset_mapping"]
    learn = torch.zeros(offsets.shape[:2], dtype=torch.bool)
    for i, row in enumerate(rows):
        for start, stop in row.spans:
            learn[i] |= (offsets[i, :, 0] < stop) & (offsets[i, :, 1] > start)
    ids, mask = encoded["input_ids"], encoded["attention_mask"]
    rest = (mask == 1) & ~learn
    pictures = [open_image(row.image) for row in rows if row.image]
    if not pictures:
        return Batch(ids, mask, learn, rest)
    patch = ids == tokenizer.convert_tokens_to_ids(IMAGE)
    return Batch(ids, mask, learn, rest & ~patch, pixels_of(pictures))


def copy_batch(rng: Generator, words: np.ndarray, batch_size: int, length: int = 20) -> Batch:
    """Unique random tokens, then the same rotated by a random amount: only induction can predict the copy.

    A copy at a fixed distance would be learnt by position and transfer nothing.
    """
    tokens = np.stack([rng.permutation(words)[:length] for _ in range(batch_size)])
    rotated = np.stack([np.roll(row, -int(rng.integers(length))) for row in tokens])
    bos = np.ones((batch_size, 1), dtype=tokens.dtype)
    ids = torch.from_numpy(np.concatenate([bos, tokens, rotated], axis=1))
    learn = torch.zeros_like(ids, dtype=torch.bool)
    learn[:, length + 2 :] = True  # the rotation shows with the copy's first token
    return Batch(ids, torch.ones_like(ids), learn, torch.zeros_like(learn))
