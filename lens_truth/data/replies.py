"""`Reply`: what a model wrote to a question, and where in it the answer lies."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from lens_truth.data.examples import Example
from lens_truth.data.row_fields import HALLUCINATED, SUPPORTED
from lens_truth.errors import InputError
from lens_truth.io.files import hash_of


@dataclass(frozen=True)
class Reply:
    """A reply of a model. Its example's `answer` is all that was written, `label` whether that is right (1) or
    hallucinated (0), `group` its question.

    >>> asked = lens_truth.Example("1", "1", "What is the capital of France?", "It is Paris.", 1)
    >>> lens_truth.Reply(asked, (6, 11)).answer
    'Paris'
    """

    example: Example
    span: tuple[int, int]
    """Characters [start, stop) of `example.answer` that are the answer itself."""
    tokens: tuple[int, ...] = ()
    """The reply's tokens as the model wrote them; empty where only the text is known."""

    def __post_init__(self) -> None:
        start, stop = self.span
        if not 0 <= start < stop <= len(self.example.answer):
            raise InputError(
                f"reply '{self.example.id}': its answer is said to be characters {start} to {stop} of "
                f"{len(self.example.answer)}"
            )

    @property
    def answer(self) -> str:
        """The answer itself."""
        return self.example.answer[slice(*self.span)]

    @property
    def hallucinated(self) -> bool:
        """Whether it is wrong."""
        return self.example.label == HALLUCINATED


def spans_hash(replies: Sequence[Reply]) -> str:
    """Of where the answers lie, and of the tokens of which the replies are."""
    return hash_of(*(f"{reply.span} {reply.tokens}" for reply in replies))


def whole_replies(examples: Sequence[Example]) -> list[Reply]:
    """Labelled answers as replies that are nothing but their answer.

    >>> replies = lens_truth.whole_replies(lens_truth.load_examples("facts:closed-book"))

    Raises:
        InputError: if an answer is empty, or a label is neither 0 nor 1.
    """
    if empty := [example.id for example in examples if not example.answer.strip()]:
        raise InputError(f"{len(empty)} of {len(examples)} answers are empty (first: example '{empty[0]}')")
    if wrong := [example for example in examples if example.label not in (SUPPORTED, HALLUCINATED)]:
        raise InputError(f"example '{wrong[0].id}': its label is {wrong[0].label}; only 1 and 0 are known")
    return [Reply(example, (0, len(example.answer))) for example in examples]
