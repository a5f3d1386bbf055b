"""HaluEval QA (Li et al. 2023): every row of the file gives a right and a hallucinated answer to one question."""

from __future__ import annotations

from pathlib import Path

from lens_truth.data.example_files import refuse_empty
from lens_truth.data.examples import HALLUCINATED, SUPPORTED, Example
from lens_truth.errors import InputError
from lens_truth.io.readers import read_csv

_FIELDS = ("knowledge", "raw_question", "correct_answer", "hallucinated_answer")


def read_halueval(path: str | Path) -> list[Example]:
    """Two examples (right, hallucinated) for each row of the csv file; they share a group.

    Raises:
        InputError: names file, line and field of the first row that lacks one; counts empty answers; also for a
            missing or empty file.
    """
    path = Path(path)
    examples: list[Example] = []
    empty: list[int] = []
    for line, row in read_csv(path):
        for field in _FIELDS:
            if field not in row:
                raise InputError(f"{path}: has no column '{field}' (HaluEval QA has {', '.join(_FIELDS)})")
            if not row[field].strip() and not field.endswith("answer"):
                raise InputError(f"{path}, line {line}: field '{field}' is empty")
        knowledge, question, right, wrong = (row[field] for field in _FIELDS)
        empty += [line for answer in (right, wrong) if not answer.strip()]
        group = f"halueval-{len(examples) // 2}"
        examples.append(Example(f"{group}-right", group, question, right, SUPPORTED, knowledge))
        examples.append(Example(f"{group}-wrong", group, question, wrong, HALLUCINATED, knowledge))
    if not examples:
        raise InputError(f"{path}: holds no rows")
    refuse_empty(path, empty, len(examples))
    return examples
