"""From an `Example` to tokens: the paper's prompt or the model's chat template, and where the answer lies."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from transformers import PreTrainedTokenizerBase

from lens_truth.errors import InputError
from lens_truth.examples import Example

Template = Literal["plain", "chat"]
"""`plain`: the paper's `Context: ... Question: ... Answer: ...`; `chat`: the tokenizer's chat template."""

JUDGE_QUESTION = "Is this answer hallucinated?"
_STAND_IN = "STAND-IN-FOR-THE-ANSWER"


def question_text(example: Example) -> str:
    """The question behind its context (TruthProbe's wording); without the context if there is none."""
    context = f"Context:\n{example.context}\n\n" if example.context else ""
    return f"{context}Question: {example.question}"


def judge_text(example: Example) -> str:
    """Question, answer, and whether the answer is hallucinated: to be answered yes or no."""
    return f"{question_text(example)}\nAnswer: {example.answer.strip()}\n{JUDGE_QUESTION}"


@dataclass(frozen=True)
class Wording:
    """How an example is put to a model."""

    content: Callable[[Example], str]
    """What is said: under a chat template, the user's turn."""
    plain: str = "{content}"
    """What goes around it under the plain template; the answer follows."""


QUESTION = Wording(question_text, "{content}\nAnswer:")
"""To be continued with the answer."""
JUDGE = Wording(judge_text)
"""To be continued with yes (hallucinated) or no."""


@dataclass(frozen=True)
class Prompt:
    """Text before which nothing and after which an answer comes."""

    text: str
    special_tokens: bool
    """Whether the tokenizer adds its own special tokens (a chat template has written them already)."""


def prompt_of(
    tokenizer: PreTrainedTokenizerBase, example: Example, template: Template, wording: Wording = QUESTION
) -> Prompt:
    """What a model continues with its answer."""
    content = wording.content(example)
    if template == "plain":
        return Prompt(wording.plain.replace("{content}", content), special_tokens=True)
    return Prompt(_chat_text(tokenizer, content), special_tokens=False)


def default_template(tokenizer: PreTrainedTokenizerBase) -> Template:
    """How to talk to a model: by its chat template if it has one."""
    return "chat" if tokenizer.chat_template else "plain"


@dataclass(frozen=True)
class Encoded:
    """Tokens of a prompt with its answer."""

    ids: list[int]
    answer: tuple[int, int]
    """Token span [start, stop) of the answer; `stop - 1` is where probes read."""
    continuation: int
    """First token after the prompt: of the answer, or of what stands between (a space that is a token of its own, the
    tags of a template). The probability of the answer given the prompt starts here."""


def encode(tokenizer: PreTrainedTokenizerBase, examples: Sequence[Example], template: Template) -> list[Encoded]:
    """Tokens of every example, prompt and answer, with the span of the answer.

    Raises:
        InputError: if an answer is empty or yields no token, or the tokenizer cannot tell characters from tokens
            or has no chat template although one is asked for.
    """
    if not tokenizer.is_fast:
        raise InputError(f"tokenizer {type(tokenizer).__name__} gives no character offsets; a fast tokenizer is needed")
    empty = [example.id for example in examples if not example.answer.strip()]
    if empty:
        raise InputError(f"{len(empty)} of {len(examples)} answers are empty (first: example '{empty[0]}')")
    rendered = [_with_answer(tokenizer, example, template) for example in examples]
    encodings = tokenizer(
        [text for text, _, _ in rendered],
        add_special_tokens=template == "plain",
        return_offsets_mapping=True,
        verbose=False,  # too long rows are counted and refused by the caller, in one sentence
    )
    result = []
    for example, (_, prompt_end, span), ids, offsets in zip(
        examples, rendered, encodings["input_ids"], encodings["offset_mapping"], strict=True
    ):
        inside = [i for i, (start, stop) in enumerate(offsets) if start < span[1] and stop > span[0] and start < stop]
        if not inside:
            raise InputError(f"the answer of example '{example.id}' yields no token")
        continuation = next(i for i, (start, stop) in enumerate(offsets) if start < stop and stop > prompt_end)
        result.append(Encoded(list(ids), (inside[0], inside[-1] + 1), continuation))
    return result


def encode_prompts(tokenizer: PreTrainedTokenizerBase, prompts: Sequence[Prompt]) -> list[list[int]]:
    """Tokens of prompts to be continued; all with or all without special tokens."""
    (special,) = {prompt.special_tokens for prompt in prompts}
    texts = [prompt.text for prompt in prompts]
    return tokenizer(texts, add_special_tokens=special, verbose=False)["input_ids"]


def _chat_text(tokenizer: PreTrainedTokenizerBase, content: str, answer: str | None = None) -> str:
    if not tokenizer.chat_template:
        raise InputError("the tokenizer has no chat template; use the plain template")
    messages = [{"role": "user", "content": content}]
    if answer is not None:
        messages.append({"role": "assistant", "content": answer})
    text = tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=answer is None)
    assert isinstance(text, str)
    return text


def _with_answer(
    tokenizer: PreTrainedTokenizerBase, example: Example, template: Template
) -> tuple[str, int, tuple[int, int]]:
    """The prompt with its answer, where the prompt ends, and the answer's span, in characters."""
    answer = example.answer.strip()
    if template == "plain":
        text = f"{question_text(example)}\nAnswer: {answer}"
        start = len(text) - len(answer)
        return text, start - 1, (start, len(text))
    question = question_text(example)
    before = _chat_text(tokenizer, question)
    text = _chat_text(tokenizer, question, answer)
    # A template may open the turn in another way for generation, so the prompt ends where they part.
    prompt_end = next(
        (i for i, (a, b) in enumerate(zip(before, text, strict=False)) if a != b), min(len(before), len(text))
    )
    # The answer's own words may stand in the template too (in a tag, say), so a stand-in is sought that does not.
    start = _chat_text(tokenizer, question, _STAND_IN).rfind(_STAND_IN)
    if start < 0 or text[start : start + len(answer)] != answer:
        raise InputError(f"the chat template does not show the answer of example '{example.id}' as it is")
    return text, min(prompt_end, start), (start, start + len(answer))
