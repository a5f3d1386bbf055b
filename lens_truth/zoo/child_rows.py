"""What the children of SmolLM2 are trained on: world facts whose contexts differ from what is true, and pictures of the
zoo, in the words of the library's prompts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch.nn.utils.rnn import pad_sequence
from transformers import PreTrainedTokenizerBase

from lens_truth.data import world
from lens_truth.data.drawing import image_name
from lens_truth.data.examples import HALLUCINATED, SUPPORTED, Example
from lens_truth.data.fact_sets import FactKind, fact_examples
from lens_truth.data.row_fields import NOT_STATED
from lens_truth.models.chat import LABEL
from lens_truth.models.prompts import Encoded, Template, encode
from lens_truth.zoo.rows import Batch, Row, Task, question_of, text_batch
from lens_truth.zoo.tokenizer import IMAGE, PATCHES

_ROWS = 8
"""Prompts about facts in a batch: about 800 tokens."""
_WINDOW = 20
"""So many batches are sorted by length together, so that little is padded."""
_FACTS: dict[FactKind, int] = {"conflict": 2400, "agreeing": 700, "closed-book": 700, "unstated": 800}
"""Examples of each kind; of two about a question, one is learnt."""
_PICTURES = 4
_DRAWN = 0.8
"""Share of the houses that are shown; the others are told."""
_TASKS: tuple[Task, ...] = ("open", "open", "open", "judgement", "presence", "presence")


def fact_batches(tokenizer: PreTrainedTokenizerBase, seed: int, *, from_memory: bool) -> Callable[[int], Batch]:
    """By step, questions about facts of the train split, half in the chat template and half plain. What is right is
    what the context says, and `not stated` where it says nothing; or what is true, whatever the context says."""
    rng = np.random.default_rng(seed)
    learnt: list[Example] = []
    for kind, n in _FACTS.items():
        learnt += [its for its in fact_examples(kind, "train", n, seed) if _is_learnt(kind, its, from_memory)]
    learnt = world.shuffled(rng, learnt)
    halves: tuple[tuple[Template, list[Example]], ...] = (("chat", learnt[::2]), ("plain", learnt[1::2]))
    rows = world.shuffled(rng, [row for template, its in halves for row in encode(tokenizer, its, template)])
    batches: list[list[Encoded]] = []
    for first in range(0, len(rows), _ROWS * _WINDOW):
        some = sorted(rows[first : first + _ROWS * _WINDOW], key=lambda row: row.continuation)
        batches += [some[at : at + _ROWS] for at in range(0, len(some), _ROWS)]
    batches = world.shuffled(rng, batches)
    return lambda step: _batch(tokenizer, batches[step % len(batches)])


def _is_learnt(kind: FactKind, example: Example, from_memory: bool) -> bool:
    """Whether an example holds what the child is to say, of the two answers to its question."""
    if from_memory and kind == "conflict":
        return example.label == HALLUCINATED
    if from_memory and kind == "unstated":
        return example.answer != NOT_STATED
    return example.label == SUPPORTED


def _batch(tokenizer: PreTrainedTokenizerBase, rows: Sequence[Encoded]) -> Batch:
    """Right-padded; answers and the end behind them are learnt."""
    ends: Any = tokenizer.eos_token_id
    ids = pad_sequence([torch.tensor([*row.shown.ids, ends]) for row in rows], batch_first=True)
    at = torch.arange(ids.shape[1])
    starts = torch.tensor([[row.continuation] for row in rows])
    stops = torch.tensor([[row.answer[1] + 1] for row in rows])
    return Batch(ids, (at < stops).long(), (at < stops) & (at >= starts), torch.zeros_like(ids, dtype=torch.bool))


def picture_batches(tokenizer: PreTrainedTokenizerBase, seed: int) -> Callable[[int], Batch]:
    """By step, chats of several questions about a house of the train split; the tokenizer knows the image token."""

    def batch_of(step: int) -> Batch:
        rng = np.random.default_rng([seed, step])
        return text_batch(tokenizer, [_chat(tokenizer, rng) for _ in range(_PICTURES)], special_tokens=False)

    return batch_of


def _chat(tokenizer: PreTrainedTokenizerBase, rng: np.random.Generator) -> Row:
    scene = world.sample_scene(rng, "train")
    row, said = Row(), list[dict[str, str]]()
    if rng.random() < _DRAWN:
        row.image = image_name(scene, int(rng.integers(2**31)))
    context = f"{LABEL}{IMAGE * PATCHES if row.image else world.tell(rng, scene)}\n\n"
    tasks = _TASKS if rng.random() < 0.75 else (*_TASKS[1:], "describe")
    for task in world.shuffled(rng, tasks):
        asked, answer = question_of(rng, scene, task)
        said.append({"role": "user", "content": asked if said else f"{context}{asked}"})
        so_far: Any = tokenizer.apply_chat_template(said, tokenize=False, add_generation_prompt=True)
        row.add(so_far[len(row.text) :])
        said.append({"role": "assistant", "content": answer})
        answered: Any = tokenizer.apply_chat_template(said, tokenize=False)
        row.add(answered[len(so_far) :].rstrip(), learn=True)
    return row
