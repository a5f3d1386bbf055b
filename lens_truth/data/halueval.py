"""HaluEval (Li et al. 2023) as it is released: questions, dialogues and documents with a right and a hallucinated
answer a row; the same with one of the two a row and a verdict (`..._samples`); and ChatGPT's answers to users' queries
(`general_data.json`), which have no context."""

from __future__ import annotations

from lens_truth.data.data_file import DataFile
from lens_truth.data.examples import HALLUCINATED, SUPPORTED, Example, refuse_empty
from lens_truth.data.row_fields import Fields, is_blank

SUMMARIZE = "Summarize the document."
"""What documents are asked, which HaluEval leaves to whoever writes the prompt."""
_VERDICTS = {"yes": HALLUCINATED, "no": SUPPORTED}


def read_pairs(file: DataFile, *, context: str, question: str, right: str, wrong: str) -> list[Example]:
    """Two examples (right, hallucinated) for each row, which share a group; the fields go by these names."""
    examples: list[Example] = []
    empty: list[str] = []
    for place, fields in file.fields():
        its_context, asked = fields.text(context), fields.text(question) if question else SUMMARIZE
        group = f"halueval-{len(examples) // 2}"
        for field, end, label in ((right, "right", SUPPORTED), (wrong, "wrong", HALLUCINATED)):
            answer = _answer(fields, field)
            empty += [] if answer.strip() else [place]
            examples.append(Example(f"{group}-{end}", group, asked, answer, label, its_context))
    refuse_empty(file.path, empty, len(examples))
    return file.first(examples)


def read_judged(
    file: DataFile, *, context: str, question: str, answer: str, verdict: str = "hallucination"
) -> list[Example]:
    """An example for each row, whose verdict is yes (it is hallucinated) or no."""
    examples: list[Example] = []
    empty: list[str] = []
    for place, fields in file.fields():
        its_context = fields.text(context) if context else ""
        asked, said = fields.text(question) if question else SUMMARIZE, _answer(fields, answer)
        empty += [] if said.strip() else [place]
        judged = fields.text(verdict).strip().lower()
        if judged not in _VERDICTS:
            raise fields.wrong(f"field '{verdict}' is '{judged}', not yes or no")
        id = f"halueval-{len(examples)}"
        examples.append(Example(id, id, asked, said, _VERDICTS[judged], its_context))
    refuse_empty(file.path, empty, len(examples))
    return file.first(examples)


def _answer(fields: Fields, name: str) -> str:
    """Text that may be empty, which is counted, but not absent."""
    return "" if is_blank(fields.value(name)[1]) else fields.text(name)
