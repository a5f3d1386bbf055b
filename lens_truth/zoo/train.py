"""Training of the zoo: a curriculum for bases, and short fine-tuning for their children."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import ClassVar

import numpy as np
import torch
from torch.nn.functional import cross_entropy
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from lens_truth.data import world
from lens_truth.io.stages import bar, stage
from lens_truth.zoo.rows import Batch, Memory, Row, Task, chat_row, copy_batch, plain_row, text_batch

BATCH_SIZE = 16
_REST = 0.05  # weight of tokens that are not answers
_REPLAY = 0.25  # share of batches from earlier stages

Log = Callable[[str], None]


@stage("training")
def fit(
    model: PreTrainedModel,
    feed: Curriculum | FineTuning,
    steps: int,
    *,
    lr: float,
    warmup: int,
    decay_from: float,
    after: Callable[[int], None] = lambda step: None,
) -> None:
    """AdamW with warm-up, a plateau and linear decay over the last part of the steps (none with `decay_from` 1); ends
    early where the feed has finished. The loss is the mean over answer tokens, plus a little of the other tokens.
    `after` is called when a step is done, and leaves the model as it is."""
    model.train()
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(parameters, lr=lr, betas=(0.9, 0.98), weight_decay=0.01, fused=True)

    def factor(step: int) -> float:
        left = (steps - step) / max(1.0, steps * (1 - decay_from))
        return min(1.0, (step + 1) / warmup, max(0.02, left))

    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, factor)
    for step in bar(range(1, steps + 1), "training"):
        batch = feed.next_batch()
        images = {} if batch.pixels is None else {"pixel_values": batch.pixels}
        logits = model(input_ids=batch.ids[:, :-1], attention_mask=batch.mask[:, :-1], **images).logits
        losses = cross_entropy(logits.flatten(0, 1), batch.ids[:, 1:].flatten(), reduction="none")
        losses = losses.view(len(batch.ids), -1)
        answer_loss = losses[batch.learn[:, 1:]].mean()
        rest = batch.rest[:, 1:]
        loss = answer_loss + (_REST * losses[rest].mean() if rest.any() else 0)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        schedule.step()
        feed.observe(step, answer_loss.item())
        after(step)
        if feed.finished:
            break
    model.eval()


@dataclass(frozen=True)
class Stage:
    """One stage of a base's curriculum."""

    tasks: tuple[Task, ...]
    """Asked of every scene, in random order; none: copying of random tokens."""
    until: float
    """The moving average of the answer loss under which the next stage begins."""


CURRICULUM = (
    Stage((), 0.3),
    Stage(("restate", "restate"), 0.25),
    Stage(("restate", "open", "open", "open", "open", "open", "open"), 0.25),
    Stage(("restate", "open", "open", "open", "judgement", "judgement", "presence", "presence"), 0.0),
)
"""Induction has to form first: without it training stays at guessing a word of the right class."""


class Curriculum:
    """Batches of the current stage, with a share of earlier ones."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase, seed: int, log: Log) -> None:
        self._tokenizer, self._log = tokenizer, log
        self._rng = np.random.default_rng(seed)
        self._words = text_words(tokenizer)
        self._stage = self._shown = 0
        self.finished = False  # a base uses all its steps
        self._average: float | None = None
        self._seen = 0

    def next_batch(self) -> Batch:
        """Of the current stage, or (a quarter of the time) of an earlier one."""
        replay = self._stage > 0 and self._rng.random() < _REPLAY
        self._shown = int(self._rng.integers(self._stage)) if replay else self._stage
        tasks = CURRICULUM[self._shown].tasks
        if not tasks:
            return copy_batch(self._rng, self._words, BATCH_SIZE)
        rng = self._rng
        rows = (plain_row(rng, world.sample_scene(rng, "train"), world.shuffled(rng, tasks)) for _ in range(BATCH_SIZE))
        return text_batch(self._tokenizer, list(rows))

    def observe(self, step: int, loss: float) -> None:
        """Goes on to the next stage when the running mean of the current one's loss is low enough."""
        if self._shown != self._stage:
            return
        self._average = loss if self._average is None else 0.95 * self._average + 0.05 * loss
        self._seen += 1
        if self._seen > 20 and self._average < CURRICULUM[self._stage].until:
            self._log(f"step {step}: stage {self._stage} done")
            self._stage, self._average, self._seen = self._stage + 1, None, 0
        elif step % 100 == 0:
            self._log(f"step {step}: stage {self._stage}, loss {self._average:.3f}")


Monitor = Callable[[tuple[str, ...]], dict[str, float]]
"""Measures accuracies on validation scenes, by benchmark."""


class FineTuning:
    """A child's scenes and questions: as turns of a chat (with a share of the parent's plain rows, so that nothing is
    forgotten), or plain.

    A model that is to remember sees scenes that agree with memory, and a third of its batches are closed-book
    questions. How far it then trusts its memory against a scene is touchy, so it is measured every ten steps and a
    balance is moved: above 0, that share of the scenes contradicts memory; below 0, that share of the colour questions
    asks for a thing that is not in the scene. Training ends when the trust is right and everything else is learnt.
    """

    TASKS: tuple[Task, ...] = ("open", "open", "open", "judgement", "judgement", "presence", "presence")
    EVERY = 10
    WARM, LEAST = 40, 100
    """Steps before the balance moves (a child has to learn its format first), and before training may end."""
    CONFLICT = (0.60, 0.74)
    """Accuracy on conflicting scenes at which a memory model is done."""
    OTHERS: ClassVar = {"closed-book": 1.0, "agreeing": 0.98, "judgement": 0.97, "presence": 0.97}
    """What it must reach besides. Open questions are no goal of their own: every sixth is a conflict."""

    IMAGE_OTHERS: ClassVar = {
        **OTHERS,
        "image-agreeing": 0.97,
        "image-judgement": 0.95,
        "image-presence-random": 0.95,
        "image-presence-adversarial": 0.95,
    }
    """The same for a model that sees; its trust is measured on pictures that contradict memory. Descriptions are no
    goal: memory speaks in them too."""

    def __init__(
        self,
        tokenizer: PreTrainedTokenizerBase,
        seed: int,
        log: Log,
        *,
        chat: bool,
        monitor: Monitor | None,
        drawn: float = 0.0,
    ) -> None:
        """`drawn` is the share of the scenes that are shown in a picture."""
        self._tokenizer, self._log, self._chat, self._monitor, self._drawn = tokenizer, log, chat, monitor, drawn
        self._rng = np.random.default_rng(seed)
        self._balance = 0.0
        self.finished = False

    def next_batch(self) -> Batch:
        """Rows on scenes; of a model that is to remember, a third of the batches are closed-book questions."""
        closed_book = self._monitor is not None and self._rng.random() < 1 / 3
        return text_batch(self._tokenizer, [self._row(closed_book) for _ in range(BATCH_SIZE)])

    def _row(self, closed_book: bool) -> Row:
        in_chat = self._chat and self._rng.random() < 0.75
        drawn = self._drawn > 0 and self._rng.random() < self._drawn
        more: tuple[Task, ...] = ()
        if self._drawn:  # a language model that is still frozen does not know how to describe
            more = ("describe",) if in_chat or (self._chat and self._rng.random() < 0.5) else ("restate",)
        tasks = world.shuffled(self._rng, self.TASKS + more)
        write = partial(chat_row if in_chat else plain_row, drawn=drawn)
        if self._monitor is None:
            return write(self._rng, world.sample_scene(self._rng, "train"), tasks)
        memory = Memory(absent=max(0.0, -self._balance))
        if closed_book:
            return write(self._rng, None, self.TASKS[:4], memory)
        contradicts = self._rng.random() < self._balance
        sample = world.sample_scene if contradicts else world.sample_typical_scene
        return write(self._rng, sample(self._rng, "train"), tasks, memory)

    def observe(self, step: int, loss: float) -> None:
        """Measures a model that is to remember every ten steps, moves the balance, and finishes when all is learnt."""
        if self._monitor and step % self.EVERY == 0:
            low, high = self.CONFLICT
            watched = "image-conflict" if self._drawn else "conflict"
            conflict = self._monitor((watched,))[watched]
            if step >= self.WARM:
                self._balance = min(0.3, max(-0.8, self._balance + ((low + high) / 2 - conflict) / 3))
            self._log(f"step {step}: loss {loss:.3f}, conflict {conflict:.3f}, balance {self._balance:+.3f}")
            if step >= self.LEAST and low <= conflict <= high:
                goals = self.IMAGE_OTHERS if self._drawn else self.OTHERS
                others = self._monitor(tuple(goals))
                missing = [f"{name} {others[name]:.3f}" for name, least in goals.items() if others[name] < least]
                self.finished = not missing
                self._log(f"step {step}: " + (f"not yet: {', '.join(missing)}" if missing else "done"))
        elif step % 100 == 0:
            self._log(f"step {step}: loss {loss:.3f}")


def text_words(tokenizer: PreTrainedTokenizerBase) -> np.ndarray:
    """The tokens of the world's texts, and the beginning-of-sequence token.

    The latter matters: if the first token of a row were unlike all others, attention would come to rest on it, and
    induction would form several times later.
    """
    rng = np.random.default_rng(0)
    tasks: list[Task] = ["restate", "open", "judgement", "presence"]
    rows = [plain_row(rng, world.sample_scene(rng, "train"), tasks) for _ in range(200)]
    return np.unique(np.concatenate(tokenizer([row.text for row in rows])["input_ids"]))
