"""POPE: is such a thing in the image? (Li et al. 2023, Evaluating Object Hallucination in Large VL Models)"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lens_truth.data.examples import SUPPORTED, Example
from lens_truth.data.images import check_images
from lens_truth.data.pope_phd import PopeQuestion, pope_questions, text_of
from lens_truth.errors import InputError, shortened
from lens_truth.evaluate.result import BenchmarkResult
from lens_truth.io.rows import read_rows
from lens_truth.models.prompts import USER_ASSISTANT, Wording

POPE_PARSES = ("pope", "strict")
# TruthProbe's protocol: tokens of an answer, and the question behind the image
N_NEW = 5
WORDING = Wording(lambda e: f"{e.question}\nAnswer the question using a single word or phrase.", USER_ASSISTANT)


def read_questions(path: Path) -> list[PopeQuestion]:
    """A split: JSON lines (a list in POPE's A-OKVQA and GQA files) with `question_id`, `image`, `text` and `label`."""
    return pope_questions(path, read_rows(path))


def read_answers(path: Path, questions: Sequence[PopeQuestion]) -> list[str]:
    """The answers to all questions, in their order, from JSON lines (or a list): with `question_id` and `answer`, or
    `text` as LLaVA and VCD have it; or, as POPE has them, without ids in the order of the questions, which rows may
    repeat as `question`."""
    rows = list(read_rows(path))
    if rows and "question_id" not in rows[0][1]:
        return _in_order(path, rows, questions)
    answers: dict[str, str] = {}
    for place, row in rows:
        where = f"{path}, {place}"
        id, answer = text_of(row, "question_id", where), _answer(row, where)
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


def _in_order(path: Path, rows: Sequence[tuple[str, dict[str, Any]]], questions: Sequence[PopeQuestion]) -> list[str]:
    answers = [_answer(row, f"{path}, {place}") for place, row in rows]
    if len(rows) != len(questions):
        raise InputError(
            f"{path}: its {len(rows)} answers have no question_id, and there are {len(questions)} questions"
        )
    for (place, row), question in zip(rows, questions, strict=True):
        asked = row.get("question", question.text)
        if " ".join(str(asked).split()) != " ".join(question.text.split()):
            raise InputError(
                f"{path}, {place}: answers '{shortened(str(asked))}', and the question of that place is "
                f"'{shortened(question.text)}'"
            )
    return answers


def _answer(row: dict[str, Any], where: str) -> str:
    field = next((field for field in ("answer", "text") if row.get(field) is not None), None)
    if field is None:
        raise InputError(f"{where}: has no field 'answer' or 'text'")
    return text_of(row, field, where)


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
