"""From an `Example` to tokens: the paper's prompt or the model's chat template, and where each part of it lies."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, TypeVar

from transformers import PreTrainedTokenizerBase as Tokenizer

from lens_truth.data.examples import Example
from lens_truth.data.images import image_hash
from lens_truth.errors import InputError
from lens_truth.models.chat import IMAGE, LABEL, chat_text
from lens_truth.models.image_input import ImageInput
from lens_truth.models.spans import Span, is_cut, tokens_in
from lens_truth.models.statements import shown_statement, statement_text

Template = Literal["plain", "chat"]
"""`plain`: the paper's `Context: ... Question: ... Answer: ...`; `chat`: the tokenizer's chat template."""

JUDGE_QUESTION, JUDGE_STATEMENT = "Is this answer hallucinated?", "Is this statement false?"
_STAND_IN = "STAND-IN-FOR-THE-ANSWER"
Row = TypeVar("Row", bound="PromptTokens")


def question_text(example: Example) -> str:
    """The question behind its context (TruthProbe's wording), without the context if there is none. An image stands
    where the context would, before it if there are both. Of a statement, its context alone."""
    if example.is_statement:
        return example.context
    context = "\n".join(part for part in (IMAGE if example.image else "", example.context) if part)
    return f"{LABEL}{context}\n\nQuestion: {example.question}" if context else f"Question: {example.question}"


def judge_text(example: Example) -> str:
    """Question, answer, and whether the answer is hallucinated: to be answered yes or no."""
    if example.is_statement:
        return f"{statement_text(example)}\n{JUDGE_STATEMENT}"
    return f"{question_text(example)}\nAnswer: {example.answer.strip()}\n{JUDGE_QUESTION}"


@dataclass(frozen=True)
class Wording:
    """How an example is put to a model."""

    content: Callable[[Example], str]
    """What is said, with `IMAGE` where an image stands if not before all: under a chat template, the user's turn."""
    plain: str = "{content}"
    """What goes around it under the plain template; the answer follows."""


USER_ASSISTANT = "USER: {content} ASSISTANT:"
"""What TruthProbe writes around its evaluation prompts."""
QUESTION = Wording(question_text, "{content}\nAnswer:")  # to be continued with the answer
JUDGE = Wording(judge_text, "{content}\nAnswer:")  # to be continued with yes (hallucinated) or no


@dataclass(frozen=True)
class Prompt:
    """Text before which nothing and after which an answer comes, the image it speaks of, and its example's id."""

    text: str
    special_tokens: bool
    """Whether the tokenizer adds its own special tokens (a chat template has written them already)."""
    image: str = ""
    id: str = ""


@dataclass(frozen=True)
class PromptTokens:
    """Tokens of a prompt, those of its image among them (if it has one)."""

    ids: list[int]
    image: str = ""
    image_span: Span | None = None
    id: str = ""
    """Of its example."""

    @property
    def content(self) -> str:
        """What a model is shown, as a key."""
        return f"{self.ids!r} {image_hash(self.image)}" if self.image else repr(self.ids)

    @property
    def prompt(self) -> PromptTokens:
        """What an answer comes after."""
        return self

    @property
    def shown(self) -> PromptTokens:
        """What a model has to be shown: nothing behind an answer."""
        return self


@dataclass(frozen=True)
class Encoded(PromptTokens):
    """Tokens of a prompt with its answer."""

    question: Span = (0, 0)
    answer: Span = (0, 0)
    """`answer[1] - 1` is where probes read."""
    continuation: int = 0
    """First token after the prompt, of the answer or of what stands between (a space that is a token of its own, the
    tags of a template): the probability of the answer given the prompt starts here."""
    context: Span | None = None
    """None where there is no context, or the chat template does not show it as it is."""
    evidence: tuple[Span, ...] = ()
    """Tokens that hold characters of the example's evidence."""
    n_cut: int = 0
    """Spans of evidence that begin or end inside a token, which counts as evidence whole."""

    @property
    def prompt(self) -> PromptTokens:
        """What the answer comes after."""
        return PromptTokens(self.ids[: self.continuation], self.image, self.image_span)

    @property
    def shown(self) -> Encoded:
        """Without what stands behind the answer."""
        return replace(self, ids=self.ids[: self.answer[1]])

    @property
    def n_answer_tokens(self) -> int:
        """Tokens whose probability is that of the answer."""
        return self.answer[1] - self.continuation


def default_template(tokenizer: Tokenizer) -> Template:
    """How to talk to a model: by its chat template if it has one."""
    return "chat" if tokenizer.chat_template else "plain"


def prompt_of(
    tokenizer: Tokenizer,
    example: Example,
    template: Template,
    wording: Wording = QUESTION,
    images: ImageInput | None = None,
) -> Prompt:
    """What a model continues with its answer; `images` says how it is shown the example's image."""
    if wording is QUESTION and example.is_statement:
        raise InputError(f"example '{example.id}' is a statement: there is no question that a model could answer")
    text, _ = _rendered(tokenizer, example, template, wording, images)
    return Prompt(text, template == "plain", example.image, example.id)


def encode_prompts(
    tokenizer: Tokenizer, prompts: Sequence[Prompt], images: ImageInput | None = None
) -> list[PromptTokens]:
    """Tokens of prompts to be continued; all with or all without special tokens. What the tokenizer would add behind
    them is left out (a sign of the end, with `add_eos_token`): behind it a model begins another text."""
    (special,) = {prompt.special_tokens for prompt in prompts}
    texts = [prompt.text for prompt in prompts]
    encoded = tokenizer(texts, add_special_tokens=special, return_special_tokens_mask=True, verbose=False)
    rows: list[PromptTokens] = []
    for ids, added, prompt in zip(encoded["input_ids"], encoded["special_tokens_mask"], prompts, strict=True):
        stop = len(ids) - next((i for i, is_added in enumerate(reversed(added)) if not is_added), 0)
        rows.append(_with_image(PromptTokens(list(ids[:stop]), prompt.image, id=prompt.id), images))
    return rows


def encode(
    tokenizer: Tokenizer,
    examples: Sequence[Example],
    template: Template,
    images: ImageInput | None = None,
    wording: Wording = QUESTION,
) -> list[Encoded]:
    """Tokens of every example, prompt and answer, with the spans of image, question, answer, context and evidence.

    `images` says how the model is shown images (`images_for`); a `wording` has what `question_text` says in it. An
    InputError says what cannot be found in the tokens.
    """
    if not tokenizer.is_fast:
        raise InputError(f"tokenizer {type(tokenizer).__name__} gives no character offsets; a fast tokenizer is needed")
    empty = [example.id for example in examples if not example.answer.strip()]
    if empty:
        raise InputError(f"{len(empty)} of {len(examples)} answers are empty (first: example '{empty[0]}')")
    rendered = [_with_answer(tokenizer, example, template, images, wording) for example in examples]
    encodings = tokenizer(
        [text for text, _, _ in rendered],
        add_special_tokens=template == "plain",
        return_offsets_mapping=True,
        verbose=False,  # too long rows are counted and refused by the caller, in one sentence
    )
    result: list[Encoded] = []
    for example, (text, prompt_end, span), ids, offsets in zip(
        examples, rendered, encodings["input_ids"], encodings["offset_mapping"], strict=True
    ):
        asked, question = (span[0], (0, 0)) if example.is_statement else _asked(text[: span[0]], offsets, example)
        if (answer := tokens_in(offsets, span)) is None:
            raise InputError(f"the answer of example '{example.id}' yields no token")
        if asked < 0 or question is None:
            raise InputError(f"the chat template does not show the question of example '{example.id}' as it is")
        continuation = next(i for i, (start, stop) in enumerate(offsets) if start < stop and stop > prompt_end)
        continuation = max(continuation, int(example.is_statement))  # nothing stands before a text's first token
        start = 0 if example.is_statement else max(0, asked - len(f"{example.context}\n\n"))
        shown = bool(example.context) and text.startswith(example.context, start)
        context = tokens_in(offsets, (start, start + len(example.context))) if shown else None
        spans = [(start + first, start + stop) for first, stop in example.evidence]
        if spans and context is None:
            raise InputError(f"the chat template does not show the context of example '{example.id}' as it is")
        evidence = [tokens_in(offsets, span) if text[slice(*span)].strip() else None for span in spans]
        if None in evidence:
            raise InputError(f"evidence {evidence.index(None)} of example '{example.id}' yields no token")
        held = tuple(tokens for tokens in evidence if tokens)
        n_cut = sum(is_cut(text, offsets, span) for span in spans)
        row = Encoded(list(ids), example.image, None, example.id, question, answer, continuation, context, held, n_cut)
        result.append(_with_image(row, images))
    return result


def _asked(before: str, offsets: Sequence[Span], example: Example) -> tuple[int, Span | None]:
    """Where the question's label stands in the text before its answer (-1 if nowhere), and the question's tokens."""
    asked = before.rfind(marked := f"Question: {example.question.rstrip()}")  # templates may trim
    return asked, tokens_in(offsets, (asked + len("Question: "), asked + len(marked)))


def _with_image(row: Row, images: ImageInput | None) -> Row:
    """The row with as many image tokens as the model makes features of its image; what lies behind moves."""
    if images is None:
        return row
    places = [i for i, token in enumerate(row.ids) if token == images.token_id]
    wanted = 1 if row.image else 0
    if len(places) != wanted:
        raise InputError(
            f"example '{row.id}': its text holds {len(places)} tokens {images.token}, which stand for images, where "
            f"{wanted} belong"
        )
    if not places:
        return row
    at, n = places[0], images.n_tokens(row.image)
    made: dict[str, Any] = {"ids": [*row.ids[:at], *[images.token_id] * n, *row.ids[at + 1 :]]}

    def moved(span: Span) -> Span:
        return (span[0] + n - 1, span[1] + n - 1) if span[0] > at else span

    if isinstance(row, Encoded):
        made |= {"question": moved(row.question), "answer": moved(row.answer)}
        made["continuation"] = row.continuation + (n - 1) * (row.continuation > at)
        made["context"] = row.context and moved(row.context)
        made["evidence"] = tuple(map(moved, row.evidence))
    return replace(row, **made, image_span=(at, at + n))


def _with_answer(
    tokenizer: Tokenizer, example: Example, template: Template, images: ImageInput | None, wording: Wording
) -> tuple[str, int, Span]:
    """The prompt with its answer, where the prompt ends, and the answer's span, in characters."""
    answer = example.answer.strip()
    if example.is_statement:
        return shown_statement(example, template)
    before, as_list = _rendered(tokenizer, example, template, wording, images)
    if template == "plain":
        return f"{before} {answer}", len(before), (len(before) + 1, len(before) + 1 + len(answer))
    asked, shown_by = wording.content(example), images if example.image else None
    text, marked = (chat_text(tokenizer, asked, shown_by, as_list, words) or "" for words in (answer, _STAND_IN))
    # A template may open the turn in another way for generation, so the prompt ends where they part.
    parted = (i for i, (a, b) in enumerate(zip(before, text, strict=False)) if a != b)
    prompt_end = next(parted, min(len(before), len(text)))
    # The answer's own words may stand in the template too (in a tag, say), so a stand-in is sought that does not.
    start = marked.rfind(_STAND_IN)
    if start < 0 or text[start : start + len(answer)] != answer:
        raise InputError(f"the chat template does not show the answer of example '{example.id}' as it is")
    return text, min(prompt_end, start), (start, start + len(answer))


def _rendered(
    tokenizer: Tokenizer, example: Example, template: Template, wording: Wording, images: ImageInput | None
) -> tuple[str, bool]:
    """The prompt, and whether the chat template wants lists of contents."""
    content = wording.content(example)
    if example.image and IMAGE not in content:  # wordings that say nothing of a context show the image first
        content = f"{IMAGE}\n{content}"
    images = images if example.image else None
    if example.image and images is None:
        raise InputError(f"example '{example.id}' holds an image, and the model can be shown none")
    if images is not None and content.count(IMAGE) != 1:
        raise InputError(f"example '{example.id}': its text holds the character U+FFFC, which stands for the image")
    if template == "plain":
        return wording.plain.replace(
            "{content}", content.replace(IMAGE, images.placeholder) if images else content
        ), False
    if not tokenizer.chat_template:
        raise InputError("the tokenizer has no chat template; use the plain template")
    for as_list in (False, True):
        if (text := chat_text(tokenizer, content, images, as_list)) is not None:
            return text, as_list
    raise InputError(f"the chat template does not show the question of example '{example.id}' as it is")
