"""TruthfulQA (Lin et al. 2022) as it is released: `TruthfulQA.csv`, whose answers are separated by semicolons,
`mc_task.json`, and the rows of both on the Hugging Face hub. Questions have no context: right is what is true."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

from lens_truth.data.data_file import DataFile
from lens_truth.data.examples import HALLUCINATED, SUPPORTED, Example
from lens_truth.data.row_fields import Fields
from lens_truth.io.readers import is_list, is_object


def read_answers(file: DataFile, *, question: str, right: tuple[str, ...], wrong: tuple[str, ...]) -> list[Example]:
    """An example for each true and each false reference answer, each once and the best one first; those of a question
    share a group."""
    examples: list[Example] = []
    for number, (_, fields) in enumerate(file.fields()):
        answers = {answer: HALLUCINATED for field in wrong for answer in _listed(fields, field)}
        answers = {answer: SUPPORTED for field in right for answer in _listed(fields, field)} | answers
        examples += _examples(fields, fields.text(question), f"truthfulqa-{number}", answers)
    return file.first(examples)


def read_choices(file: DataFile) -> list[Example]:
    """The same from multiple choice: of `mc2_targets`, all true and all false choices, first the one true choice of
    `mc1_targets`, which is the best answer."""
    examples: list[Example] = []
    for number, (_, fields) in enumerate(file.fields()):
        best, choices = _choices(fields, "mc1_targets"), _choices(fields, "mc2_targets")
        first = [answer for answer, label in best.items() if label and answer in choices]
        ordered = {answer: choices[answer] for answer in (*first, *choices)}
        examples += _examples(fields, fields.text("question"), f"truthfulqa-{number}", ordered)
    return file.first(examples)


def _examples(fields: Fields, question: str, group: str, answers: Mapping[str, int]) -> list[Example]:
    if set(answers.values()) != {SUPPORTED, HALLUCINATED}:
        raise fields.wrong("has no answers of both kinds, true and false")
    return [
        Example(f"{group}-{number}", group, question, answer, label)
        for number, (answer, label) in enumerate(answers.items())
    ]


def _listed(fields: Fields, field: str) -> list[str]:
    """Answers as a list, or as a text with semicolons between them; none where the field is absent or empty."""
    name, value = fields.value(field)
    answers: Any = value.split(";") if isinstance(value, str) else value or []
    if not is_list(answers) or not all(isinstance(answer, str) for answer in answers):
        raise fields.wrong(f"field '{name}' is neither a text nor a list of texts")
    return [answer.strip() for answer in answers if answer.strip()]


def _choices(fields: Fields, field: str) -> dict[str, int]:
    """`{answer: 1 or 0}` as the authors have it, or `{"choices": [...], "labels": [...]}` as the hub has it."""
    name, value = fields.value(field)
    if is_object(value) and set(value) == {"choices", "labels"} and all(is_list(part) for part in value.values()):
        pairs = list(zip(value["choices"], value["labels"], strict=False))
        fits = len(value["choices"]) == len(value["labels"])
    else:
        pairs, fits = list(cast("dict[Any, Any]", value).items()) if is_object(value) else [], is_object(value)
    if not fits or not all(isinstance(answer, str) and answer.strip() and label in (0, 1) for answer, label in pairs):
        raise fields.wrong(f"field '{name}' is neither {{answer: 1 or 0}} nor {{'choices': [...], 'labels': [1 or 0]}}")
    return {answer.strip(): int(label) for answer, label in pairs}
