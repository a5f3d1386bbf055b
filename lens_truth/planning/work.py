"""What a stage of a study has a model do, in numbers of rows and tokens."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from lens_truth.planning.shape import ModelShape

Case = Literal["good", "bad"]
"""Which end of everything that is uncertain is taken."""


@dataclass(frozen=True)
class Passes:
    """Rows that go through a model alike: a beginning once, and the rows that go on from it."""

    beginnings: float
    begun: float
    """Tokens of each, those of an image among them."""
    rows: float = 1
    """That go on from each beginning."""
    rest: float = 0
    """Tokens of each row behind it."""
    logits: float = 0
    """Tokens of each row of which logits are made, apart from those that are written."""
    written: float = 0
    """Tokens that are written behind each row."""
    times: float = 1
    """How often all of it goes through: gates."""
    backward: int = 0
    """Backward passes behind the forward pass."""
    images: bool = False
    """Whether each beginning holds an image."""
    shared: bool = False
    """Whether the beginnings have been read already, for rows that are asked in another way."""

    @property
    def read(self) -> float:
        """Tokens that are read, all times together."""
        return self.times * self.beginnings * (self._begun + self.rows * self.rest)

    @property
    def pairs(self) -> float:
        """The sum over them of the keys that each attends to; masked ones are computed too."""
        of_rows = self.rows * self.rest * (self.begun + self.rest)
        return self.times * self.beginnings * (self._begun**2 + of_rows)

    @property
    def _begun(self) -> float:
        """Tokens of a beginning that are read here."""
        return 0 if self.shared else self.begun

    @property
    def answers(self) -> float:
        """Rows, all times together."""
        return self.times * self.beginnings * self.rows

    @property
    def longest(self) -> float:
        """Tokens of a row when its answer is written."""
        return self.begun + self.rest + self.written

    def reading_flops(self, shape: ModelShape) -> float:
        """Of the passes that read, backward ones and vision among them."""
        logits = self.answers * self.logits
        found = shape.forward_flops(self.read, self.pairs, logits)
        found += self.backward * shape.backward_flops(self.read, self.pairs, logits)
        if self.images and not self.shared and shape.vision is not None:
            found += self.times * self.beginnings * shape.vision.flops
        return found

    def writing_flops(self, shape: ModelShape) -> float:
        """Of the passes that write a token each: it attends to all before it."""
        tokens = self.answers * self.written
        keys = self.begun + self.rest + self.written / 2
        return shape.forward_flops(tokens, tokens * keys, tokens)


@dataclass(frozen=True)
class Work:
    """One stage."""

    name: str
    command: str
    """What runs it."""
    shape: ModelShape
    passes: tuple[Passes, ...] = ()
    loads: int = 0
    """How often its commands load the model."""
    probe_flops: float = 0
    """Of the processor, for probes."""
    stored: float = 0
    """Bytes that go to disk."""
    apart: bool = False
    """Whether each load is a command of its own, which workers can run side by side."""

    def of(self, whose: str) -> Work:
        """The same, its name with whose model it is behind it."""
        return replace(self, name=f"{self.name} ({whose})")


LOG_LINE, LOG_TOKEN = 330, 5
"""Bytes in `answers.jsonl` of an answer without its text, and of a token of text."""


def logged(passes: tuple[Passes, ...]) -> float:
    """Bytes of the log of all answers."""
    return sum(its.answers * (LOG_LINE + LOG_TOKEN * its.written) for its in passes)
