"""TriviaQA (Joshi et al. 2017) as it is released, one JSON object with all questions in `Data`, and as rows on the
Hugging Face hub. An answer has aliases, any of which is right; there are no hallucinated ones.

Questions are closed-book: the documents that come with them were found by search, are thousands of words long and need
not hold the answer."""

from __future__ import annotations

from collections.abc import Iterator

from lens_truth.data.data_file import DataFile
from lens_truth.data.examples import SUPPORTED, Example
from lens_truth.data.row_fields import Fields
from lens_truth.errors import InputError, notice
from lens_truth.io.readers import is_list, is_object

_RELEASED = {"question": "Question", "question_id": "QuestionId", "answer": "Answer"}
_OF_ANSWER = {"value": "Value", "aliases": "Aliases", "normalized_aliases": "NormalizedAliases"}
_HUMAN = {"human_answers": "HumanAnswers"}
_HIDDEN = (None, "", "<unk>")
"""What stands for the answers to the test questions."""


def read_trivia(file: DataFile) -> list[Example]:
    """An example for each question, with the answer and all its aliases. Of questions with one id, which stand in the
    parts about the web and about Wikipedia, the first counts, and a `DataWarning` counts the others."""
    examples: dict[str, Example] = {}
    n = 0
    for n, (fields, names) in enumerate(_questions(file), start=1):
        field, answer = fields.value("answer")
        its = fields.of(answer if is_object(answer) else {}, names)
        if its.value("value")[1] in _HIDDEN:
            raise fields.wrong(f"field '{field}' holds no answer, as in TriviaQA's test questions")
        right = [its.text("value"), *(alias for name in (_OF_ANSWER | _HUMAN) for alias in its.texts(name))]
        id = f"triviaqa-{fields.word('question_id', str(n))}"
        aliases = tuple(alias for alias in dict.fromkeys(right) if alias != right[0])
        examples.setdefault(id, Example(id, id, fields.text("question"), right[0], SUPPORTED, aliases=aliases))
    if n > len(examples):
        notice(
            f"{n - len(examples)} of {n} questions of {file.path} stand there twice and are left out the second time"
        )
    file.n_rows = n
    return file.first([*examples.values()])


def _questions(file: DataFile) -> Iterator[tuple[Fields, dict[str, str]]]:
    """Every question, and what the fields of its answer are called."""
    for place, row in file:
        if "Data" not in row:
            yield Fields(row, f"{file.path}, {place}"), {}
            continue
        if not is_list(row["Data"]):
            raise InputError(f"{file.path}: field 'Data' is not a list")
        for number, question in enumerate(row["Data"], start=1):
            its = question if is_object(question) else {}
            yield Fields(its, f"{file.path}, question {number}", _RELEASED), _OF_ANSWER | _HUMAN
