"""POPE: is such a thing in the image? (Li et al. 2023, Evaluating Object Hallucination in Large VL Models)"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lens_truth.data.examples import SUPPORTED, Example
from lens_truth.data.images import check_images
from lens_truth.errors import InputError
from lens_truth.evaluate.result import BenchmarkResult
from lens_truth.io.readers import read_rows
from lens_truth.models.prompts import USER_ASSISTANT, Wording

POPE_PARSES = ("pope", "strict")
# TruthProbe's protocol: tokens of an answer, and the question behind the image
N_NEW = 5
WORDING = Wording(lambda e: f"{e.question}\nAnswer the question using a single word or phrase.", USER_ASSISTANT)


@dataclass(frozen=True)
class PopeQuestion:
    """One question about one image, whose answer (the label) is `yes` or `no`."""

    id: str
    image: str
    text: str
    label: str


def read_questions(path: Path) -> list[PopeQuestion]:
    """A split: JSON lines (a list in POPE's A-OKVQA and GQA files) with `question_id`, `image`, `text` and `label`."""
    questions: dict[str, PopeQuestion] = {}
    wrong: list[str] = []
    for place, row in read_rows(path):
        where = f"{path}, {place}"
        id, image, text, label = (_text(row, field, where) for field in ("question_id", "image", "text", "label"))
        if id in questions:
            raise InputError(f"{where}: question_id {id} stands there already")
        questions[id] = PopeQuestion(id, image, text, label.strip().lower())
        if questions[id].label not in ("yes", "no"):
            wrong.append(f"question {id} with '{label}'")
    if not questions:
        raise InputError(f"{path}: holds no questions")
    if wrong:
        raise InputError(f"{path}: {len(wrong)} of {len(questions)} labels are not yes or no (first: {wrong[0]})")
    return list(questions.values())


def read_answers(path: Path, questions: Sequence[PopeQuestion]) -> list[str]:
    """The answers to all questions, in their order, from JSON lines (or a list) with `question_id` and `answer`."""
    answers: dict[str, str] = {}
    for place, row in read_rows(path):
        where = f"{path}, {place}"
        id, answer = _text(row, "question_id", where), _text(row, "answer", where)
        if id in answers:
            raise InputError(f"{where}: question {id} is answered already")
        answers[id] = answer
    known = {question.id for question in questions}
    unknown = [id for id in answers if id not in known]
    missing = [question.id for question in questions if question.id not in answers]
    faults: list[str] = []
    if unknown:
        faults.append(f"{len(unknown)} of {len(answers)} answers are to unknown questions (first: {unknown[0]})")
    if missing:
        faults.append(f"{len(missing)} of {len(known)} questions have no answer (first: {missing[0]})")
    if faults:
        raise InputError(f"{path}: {'; '.join(faults)}")
    return [answers[question.id] for question in questions]


def pope_result(splits: Mapping[str, tuple[Sequence[PopeQuestion], Sequence[str]]], seed: int = 0) -> BenchmarkResult:
    """Of answers that exist already: by split its questions with their answers, read by POPE's and the strict parse."""
    rows = [(f"{split}/{q.id}", q, text, split) for split, its in splits.items() for q, text in zip(*its, strict=True)]
    ids, questions, texts, of = (tuple(column) for column in zip(*rows, strict=True))
    images, labels = tuple(q.image for q in questions), tuple(q.label for q in questions)
    return BenchmarkResult("pope", "yes-no", ids, images, labels, texts, POPE_PARSES, of, seed=seed)


def count_duplicates(questions: Sequence[PopeQuestion]) -> int:
    """How many questions were asked before, about the same image in the same words."""
    return len(questions) - len({(question.image, question.text) for question in questions})


def pope_examples(split: str, questions: Sequence[PopeQuestion], images: Path) -> list[Example]:
    """The questions as examples about image files in a folder, with the label as the supported answer."""
    if not images.is_dir():
        raise InputError(f"{images}: there is no such folder of images")
    check_images(str(images / question.image) for question in questions)
    return [
        Example(f"{split}/{q.id}", q.image, q.text, q.label, SUPPORTED, image=str(images / q.image)) for q in questions
    ]


def _text(row: dict[str, Any], field: str, where: str) -> str:
    value = row.get(field)
    if value is None:
        raise InputError(f"{where}: has no field '{field}'")
    if isinstance(value, float) and value.is_integer():
        value = int(value)  # as some libraries write whole numbers
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise InputError(f"{where}: field '{field}' is not text")
    return str(value)
