"""Prompts: the answer's tokens decode back to the answer, in the paper's prompt and under chat templates."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from lens_truth.data.examples import Example
from lens_truth.errors import InputError
from lens_truth.models.prompts import JUDGE, default_template, encode, encode_prompts, prompt_of, question_text

EXAMPLE = Example("x", "g", "What colour is the heart?", "coral", 1, "The coral heart is in the attic.")
ODD = [
    EXAMPLE,
    Example("s", "g", "Is it s?", "s", 1, "An s, or </s>."),  # the answer occurs in what a template adds
    Example("u", "g", "Was?", "héllo 漢字", 0, "ctx"),
    Example("w", "g", "Spaces?", "  two words \n", 0, ""),
    Example("t", "g", "Is the shape oval? ", "yes", 1, "Question: Is the shape oval? "),  # as a row of PhD has it
]
TEMPLATES = {
    "zoo": None,
    "chatml": "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}",
    "tags": "{% for m in messages %}<|{{ m['role'] }}|>\n{% if m['role'] == 'assistant' %}<think>\n\n</think>\n\n"
    "{% endif %}{{ m['content'] }}\n{% endfor %}{% if add_generation_prompt %}<|assistant|>\n{% endif %}",
    "trimming": "{% for m in messages %}<|{{ m['role'] }}|>\n\n{{ m['content'] | trim }}<|eot|>{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>\n\n{% endif %}",
    "thinking": "{% for m in messages %}[{{ m['role'] }}] {{ m['content'] }} {% endfor %}"
    "{% if add_generation_prompt %}[assistant] <think></think> {% endif %}",
}


def test_plain_prompt_is_the_papers() -> None:
    text = "Context:\nThe coral heart is in the attic.\n\nQuestion: What colour is the heart?"
    assert question_text(EXAMPLE) == text
    assert question_text(Example("x", "g", "Why?", "so", 1)) == "Question: Why?"


@pytest.mark.parametrize("example", ODD, ids=lambda e: e.id)
def test_plain_answer_span(tokenizer: Any, example: Example) -> None:
    (encoded,) = encode(tokenizer, [example], "plain")
    start, stop = encoded.answer
    assert stop == len(encoded.ids)  # the read position is the last token of all
    assert tokenizer.decode(encoded.ids[start:stop]).strip() == example.answer.strip()
    assert encoded.ids[0] == tokenizer.bos_token_id
    (prompt,) = encode_prompts(tokenizer, [prompt_of(tokenizer, example, "plain")])
    assert encoded.ids[: len(prompt.ids)] == prompt.ids  # what is probed continues what is generated from


@pytest.mark.parametrize("template", TEMPLATES)
@pytest.mark.parametrize("example", ODD, ids=lambda e: e.id)
def test_chat_answer_span(tokenizer: Any, example: Example, template: str) -> None:
    tokenizer = copy.deepcopy(tokenizer)
    tokenizer.chat_template = TEMPLATES[template] or tokenizer.chat_template
    (encoded,) = encode(tokenizer, [example], "chat")
    start, stop = encoded.answer
    assert tokenizer.decode(encoded.ids[start:stop]).strip() == example.answer.strip()
    before, after = tokenizer.decode(encoded.ids[:start]), tokenizer.decode(encoded.ids[stop:])
    assert example.question.strip() in before
    assert example.question.strip() not in after
    assert tokenizer.decode(encoded.ids[slice(*encoded.question)]).strip() == example.question.strip()
    asked = example.question.strip()  # after the context, which may say the same
    assert tokenizer.decode(encoded.ids[: encoded.question[0]]).count(asked) == example.context.count(asked)


@pytest.mark.parametrize("answer", ["think", "th", "n", "assistant"])
def test_words_of_a_template_are_not_taken_for_the_answer(tokenizer: Any, answer: str) -> None:
    tokenizer = copy.deepcopy(tokenizer)
    tokenizer.chat_template = TEMPLATES["tags"]
    (encoded,) = encode(tokenizer, [Example("x", "g", "Why?", answer, 1)], "chat")
    assert tokenizer.decode(encoded.ids[: encoded.answer[0]]).rstrip().endswith("</think>")
    assert tokenizer.decode(encoded.ids[slice(*encoded.answer)]).strip() == answer
    assert tokenizer.decode(encoded.ids[encoded.continuation :]).lstrip().startswith("<think>")


def test_continuation_is_all_that_the_prompt_is_not(tokenizer: Any) -> None:
    """A space before the answer that is a token of its own belongs to what is scored."""
    for answer in ("coral", "7", "the attic", "1990"):
        example = Example("x", "g", "What colour is the heart?", answer, 1)
        (encoded,) = encode(tokenizer, [example], "plain")
        (prompt,) = encode_prompts(tokenizer, [prompt_of(tokenizer, example, "plain")])
        assert encoded.ids[: encoded.continuation] == prompt.ids
        assert tokenizer.decode(encoded.ids[encoded.continuation :]) == f" {answer}"


def test_judge_prompt_shows_the_answer(tokenizer: Any) -> None:
    plain = prompt_of(tokenizer, EXAMPLE, "plain", JUDGE).text
    assert plain.endswith("Question: What colour is the heart?\nAnswer: coral\nIs this answer hallucinated?")
    chat = prompt_of(tokenizer, EXAMPLE, "chat", JUDGE).text
    assert chat == f"<s>USER: {plain}\nASSISTANT:"


def test_default_template(tokenizer: Any) -> None:
    assert default_template(tokenizer) == "chat"
    bare = copy.deepcopy(tokenizer)
    bare.chat_template = None
    assert default_template(bare) == "plain"
    with pytest.raises(InputError, match="no chat template"):
        encode(bare, [EXAMPLE], "chat")


def test_empty_answers_are_counted(tokenizer: Any) -> None:
    empty = Example("e", "g", "q", " ", 1)
    with pytest.raises(InputError, match=r"2 of 3 answers are empty \(first: example 'e'\)"):
        encode(tokenizer, [EXAMPLE, empty, empty], "plain")


def test_a_template_that_hides_the_answer_is_refused(tokenizer: Any) -> None:
    tokenizer = copy.deepcopy(tokenizer)
    tokenizer.chat_template = "{{ messages[0]['content'] }}{% if add_generation_prompt %} more{% endif %}"
    with pytest.raises(InputError, match="does not show the answer of example 'x'"):
        encode(tokenizer, [EXAMPLE], "chat")
    tokenizer.chat_template = "nothing"
    with pytest.raises(InputError, match="does not show the question of example 'x'"):
        encode(tokenizer, [EXAMPLE], "chat")
