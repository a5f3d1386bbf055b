"""Prompts: the answer's tokens decode back to the answer, in the paper's prompt and under chat templates."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from conftest import build
from tokenizers.processors import TemplateProcessing

from lens_truth.data.examples import Example
from lens_truth.errors import InputError
from lens_truth.models.loading import load
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
    said = "Context:\nThe coral heart is in the attic.\n\nQuestion: What colour is the heart?\nAnswer: coral"
    asked = f"{said}\nIs this answer hallucinated?"
    # Without the cue a base model goes on with a line break and "Answer:", which is neither yes nor no.
    assert prompt_of(tokenizer, EXAMPLE, "plain", JUDGE).text == f"{asked}\nAnswer:"
    assert prompt_of(tokenizer, EXAMPLE, "chat", JUDGE).text == f"<s>USER: {asked}\nASSISTANT:"


def with_special_tokens(tokenizer: Any, pattern: str) -> Any:
    """One that puts tokens of its own around every text."""
    tokenizer = copy.deepcopy(tokenizer)
    special = [(token, tokenizer.convert_tokens_to_ids(token)) for token in ("<s>", "</s>")]
    tokenizer.backend_tokenizer.post_processor = TemplateProcessing(single=pattern, special_tokens=special)
    return tokenizer


@pytest.mark.parametrize("pattern", ["$A", "<s> $A", "$A </s>", "<s> $A </s>"])
def test_text_for_generation_is_read_as_the_tokenizer_reads_it(tokenizer: Any, pattern: str) -> None:
    """`model.generate(text)` puts no token in front that the tokenizer does not, and no sign of the end behind."""
    tokenizer = with_special_tokens(tokenizer, pattern)
    model = load(build("llama", len(tokenizer)), tokenizer=tokenizer)
    words = tokenizer.encode("The coral crown is in the", add_special_tokens=False)
    begins = [tokenizer.bos_token_id] * pattern.startswith("<s>")
    assert model.to_tokens("The coral crown is in the")[0].tolist() == begins + words


@pytest.mark.parametrize(
    ("pattern", "begins", "ends"),
    [("$A", 0, 0), ("<s> $A", 1, 0), ("$A </s>", 0, 1), ("<s> $A </s>", 1, 1), ("<s> $A </s> </s>", 1, 2)],
)
def test_nothing_stands_between_a_prompt_and_its_answer(tokenizer: Any, pattern: str, begins: int, ends: int) -> None:
    """A tokenizer with `add_eos_token` ends every text; a prompt is to be continued."""
    tokenizer = with_special_tokens(tokenizer, pattern)
    words = tokenizer.encode(question_text(EXAMPLE) + "\nAnswer:", add_special_tokens=False)
    assert len(tokenizer.encode(question_text(EXAMPLE) + "\nAnswer:")) == begins + len(words) + ends
    (prompt,) = encode_prompts(tokenizer, [prompt_of(tokenizer, EXAMPLE, "plain")])
    assert prompt.ids == [tokenizer.bos_token_id] * begins + words
    (encoded,) = encode(tokenizer, [EXAMPLE], "plain")
    assert encoded.ids[: len(prompt.ids)] == prompt.ids


SWITCHED = (  # as Qwen3's and Granite's templates do; the second line as SmolLM3's
    "{% for m in messages %}[{{ m.role }}] {{ m.content }} {% endfor %}{% if add_generation_prompt %}[assistant] "
    "{% if enable_thinking is defined and enable_thinking is false %}<think>\n\n</think>\n\n{% endif %}{% endif %}",
    "{% if thinking | default(true) %}[system] /think {% else %}[system] /no_think {% endif %}"
    "{% for m in messages %}[{{ m.role }}] {{ m.content }} {% endfor %}{% if add_generation_prompt %}[assistant] "
    "{% endif %}",
)


def test_a_model_that_could_think_is_asked_for_an_answer(tokenizer: Any) -> None:
    tokenizer = copy.deepcopy(tokenizer)
    tokenizer.chat_template = SWITCHED[0]
    assert prompt_of(tokenizer, EXAMPLE, "chat").text.endswith("[assistant] <think>\n\n</think>\n\n")
    tokenizer.chat_template = SWITCHED[1]
    assert prompt_of(tokenizer, EXAMPLE, "chat").text.startswith("[system] /no_think [user] Context:")
    tokenizer.chat_template = TEMPLATES["thinking"].replace("<think></think> ", "<think>\n")  # as DeepSeek-R1's
    assert prompt_of(tokenizer, EXAMPLE, "chat").text.endswith("[assistant] <think>\n\n</think>\n\n")
    (encoded,) = encode(tokenizer, [EXAMPLE], "chat")
    assert tokenizer.decode(encoded.ids[slice(*encoded.answer)]).strip() == "coral"


def test_a_template_that_writes_the_date_writes_the_same_tomorrow(tokenizer: Any) -> None:
    tokenizer = copy.deepcopy(tokenizer)
    dated = "{% if strftime_now is defined %}Today Date: {{ strftime_now('%d %b %Y') }} {% endif %}"
    tokenizer.chat_template = dated + TEMPLATES["chatml"]
    assert prompt_of(tokenizer, EXAMPLE, "chat").text.startswith("Today Date: 26 Jul 2024 <|im_start|>user")


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


STATEMENT = Example("s", "g", "", "The moss is green. ", 1)


def test_a_statement_is_shown_alone(tokenizer: Any) -> None:
    (row,) = encode(tokenizer, [STATEMENT], "plain")
    assert row.ids == tokenizer("The moss is green.")["input_ids"]
    assert (row.answer, row.continuation) == ((1, len(row.ids)), 1)
    behind = Example("c", "g", "", "It is wet.", 1, "The moss is green.", ((4, 8),))
    (row,) = encode(tokenizer, [behind], "plain")
    assert row.ids == tokenizer("The moss is green.\nIt is wet.")["input_ids"]
    assert row.context is not None and tokenizer.decode(row.ids[slice(*row.context)]).strip() == "The moss is green."
    assert [tokenizer.decode(row.ids[slice(*span)]).strip() for span in row.evidence] == ["moss"]
    assert tokenizer.decode(row.ids[slice(*row.answer)]).strip() == "It is wet."


def test_without_a_first_token_a_statement_is_told_from_its_second_on(tokenizer: Any) -> None:
    bare = copy.deepcopy(tokenizer)
    bare.backend_tokenizer.post_processor = TemplateProcessing(single="$A", pair="$A $B", special_tokens=[])
    (row,) = encode(bare, [STATEMENT], "plain")
    assert (row.answer[0], row.continuation) == (0, 1)


def test_a_statement_asks_nothing(tokenizer: Any) -> None:
    with pytest.raises(InputError, match="example 's' is a statement, without a question .*; use the plain template"):
        encode(tokenizer, [STATEMENT], "chat")
    with pytest.raises(InputError, match="example 's' is a statement: there is no question that a model could answer"):
        prompt_of(tokenizer, STATEMENT, "plain")
    judged = prompt_of(tokenizer, STATEMENT, "plain", JUDGE)
    assert judged.text == "The moss is green.\nIs this statement false?\nAnswer:"
