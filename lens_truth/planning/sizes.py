"""`DataSize`: how many rows and tokens a data set has."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lens_truth.errors import InputError

if TYPE_CHECKING:
    from lens_truth.data.examples import Example

ANSWER_TOKENS = 12
"""Of an answer where nobody says how long answers are."""
_ROOM = 16
"""Tokens beyond the longest right answer that an open question may be answered in (`Benchmark.n_new`)."""


@dataclass(frozen=True)
class DataSize:
    """Rows (answers) and tokens of a data set, as `data_size` counts them.

    >>> size = lens_truth.DataSize("mine", rows=4000, questions=2000, prompt=300, answer=12, longest=600)
    """

    name: str
    rows: int
    """Answers with their questions."""
    questions: int
    prompt: float
    """Mean tokens of a question with its context."""
    answer: float
    """Mean tokens of an answer."""
    longest: int
    """Tokens of the longest row."""
    n_new: int = ANSWER_TOKENS + _ROOM
    """The most tokens that are written to an open question."""
    paired: bool = True
    """Whether questions have answers of both labels, so that one can be chosen and causal scores be taken."""
    beginnings: int | None = None
    """How many beginnings rows share, each of which goes through a model once (a question's, or that of several about
    one context); by default one a question."""
    begun: float | None = None
    """Mean tokens of a beginning; by default all of a question with its context."""
    rest: float | None = None
    """Mean tokens of a row behind its beginning; by default its answer."""
    image_share: float = 0
    """Of the questions that are about an image, whose tokens come on top."""
    source: str = "given"
    """How the numbers are known."""

    @property
    def shared(self) -> tuple[float, float, float]:
        """Beginnings, tokens of each, and tokens of each row behind it.

        >>> n, begun, rest = size.shared
        """
        return (
            self.questions if self.beginnings is None else self.beginnings,
            self.prompt if self.begun is None else self.begun,
            self.answer if self.rest is None else self.rest,
        )

    def times(self, factor: float) -> DataSize:
        """With so many times as many tokens.

        >>> size.times(1.2).prompt
        """
        n, begun, rest = self.shared
        return replace(
            self,
            prompt=self.prompt * factor,
            answer=self.answer * factor,
            longest=round(self.longest * factor),
            n_new=round(self.n_new * factor),
            beginnings=round(n),
            begun=begun * factor,
            rest=rest * factor,
        )


def stated_size(name: str, rows: int, tokens: int) -> DataSize:
    """Of so many rows of so many tokens each, two answers a question, of which nothing else is known."""
    if rows < 1 or tokens < 1:
        raise InputError(f"--rows is {rows} and --tokens {tokens}; both must be at least 1")
    prompt = max(1, tokens - ANSWER_TOKENS)
    said = f"--rows {rows} --tokens {tokens}, of which {min(tokens - 1, ANSWER_TOKENS)} are taken for the answer"
    return DataSize(name, rows, (rows + 1) // 2, prompt, max(0, tokens - prompt), tokens, paired=rows > 1, source=said)


def counted_size(name: str, examples: Sequence[Example], tokenizer: Any) -> DataSize:
    """Of examples as a tokenizer cuts them, under the plain template."""
    from lens_truth.models.prefixes import prompt_families
    from lens_truth.models.prompts import encode

    shown = [replace(example, image="") for example in examples]
    encoded = encode(tokenizer, shown, "plain")
    first = {
        example.group + example.question: row for example, row in zip(reversed(shown), reversed(encoded), strict=True)
    }
    prompts = [row.continuation for row in first.values()]
    answers = [row.n_answer_tokens for row in encoded]
    right = [row.n_answer_tokens for example, row in zip(shown, encoded, strict=True) if example.label]
    families = [
        family if family.length else replace(family, length=encoded[family.rows[0]].continuation)  # alone
        for family in prompt_families([row.shown for row in encoded])
    ]
    behind = sum(len(encoded[row].shown.ids) - family.length for family in families for row in family.rows)
    labels = {(example.group + example.question, example.label) for example in shown}
    return DataSize(
        name=name,
        rows=len(examples),
        questions=len(prompts),
        prompt=sum(prompts) / len(prompts),
        answer=sum(answers) / len(answers),
        longest=max(len(row.ids) for row in encoded),
        n_new=max(right, default=ANSWER_TOKENS) + _ROOM,
        paired=len(labels) > len(prompts),
        beginnings=len(families),
        begun=sum(family.length for family in families) / len(families),
        rest=behind / len(examples),
        image_share=sum(bool(example.image) for example in examples) / len(examples),
        source="counted by the model's tokenizer",
    )


def data_size(
    name: str, model: str, *, limit: int | None = None, tokens: int | None = None, images: Path | None = None
) -> DataSize:
    """Rows and tokens of a data set, counted with the tokenizer of a model, under the paper's prompt.

    >>> lens_truth.data_size("zoo:conflict", "zoo:llama-base", limit=400)

    Args:
        name: as `load_examples` takes it.
        model: whose tokenizer counts.
        limit: only the first so many rows.
        tokens: of a row, instead of counting: then the model needs no tokenizer.
        images: the folder of the image files that rows name; they are not looked at.

    Raises:
        InputError: for an unknown name, or whatever the reader finds wrong; if the model has no tokenizer.
    """
    from lens_truth.data.loading import load_examples
    from lens_truth.planning.llama import LLAMA_2

    examples = load_examples(name, limit=limit, images=images, images_needed=False)
    if tokens is not None:
        return stated_size(name, len(examples), tokens)
    if model in LLAMA_2:
        tokenizer = None
    else:
        from lens_truth.models.loading import load_tokenizer

        tokenizer = load_tokenizer(str(Path(model).parent) if model.endswith(".json") else model)
    if tokenizer is None:
        raise InputError(
            f"'{model}' has no tokenizer, so the tokens of {name} cannot be counted: say how many a row has (--tokens)"
        )
    return counted_size(name, examples, tokenizer)
