"""Rows as they stand in a file, whose answers are called right without a label of their own: beside a statement, to
which the label belongs, or under names such as `correct_answer` and `incorrect_answer`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from lens_truth.confounds.claims import claim_findings, computed
from lens_truth.confounds.findings import Finding, shown
from lens_truth.data.examples import HALLUCINATED, SUPPORTED, Example

_QUESTIONS = ("question", "raw_question", "prompt", "query", "q")
_RIGHT = ("answer", "correct_answer", "right_answer", "best_answer", "gold_answer", "true_answer", "a")
_TRUE = ("1", "1.0", "true", "True")
_WRONG = ("incorrect_answer", "wrong_answer", "hallucinated_answer", "false_answer")


def answers_in(row: Mapping[str, object]) -> Iterator[tuple[str, str, int]]:
    """Question, answer and what it is called (1 right, 0 wrong), for each answer that a row has no label for."""
    held = {name.strip().lower().replace(" ", "_"): value for name, value in row.items()}
    question = next((value for name in _QUESTIONS if isinstance(value := held.get(name), str) and value.strip()), "")
    if not question:
        return
    for names, label in ((_RIGHT, SUPPORTED), (_WRONG, HALLUCINATED)):
        for name in names:
            value = held.get(name)
            labelled = name == "answer" and "label" in held and "statement" not in held
            if isinstance(value, str | int | float) and str(value).strip() and not labelled:
                yield question, str(value), label


def row_findings(rows: Sequence[Mapping[str, object]]) -> list[Finding]:
    """Answers that are called right (or wrong), and statements beside them, where arithmetic or the calendar says
    otherwise."""
    if has_statements(rows):
        stated = [
            Example(str(row.get("id", number)), "", "", str(row["statement"]), int(str(row["label"]).strip() in _TRUE))
            for number, row in enumerate(rows)
            if "statement" in row and "label" in row
        ]
        return [*claim_findings(stated), *_of_answers(rows)]
    return _of_answers(rows)


def has_statements(rows: Sequence[Mapping[str, object]]) -> bool:
    """Whether statements stand beside questions and answers, so that a column `label` is theirs."""
    return bool(rows) and "statement" in rows[0] and any(True for _ in answers_in(rows[0]))


def _of_answers(rows: Sequence[Mapping[str, object]]) -> list[Finding]:
    asked = wrong = 0
    first = ""
    for number, row in enumerate(rows):
        for question, answer, label in answers_in(row):
            example = Example(str(row.get("id", number)), "", question, answer, label)
            if (found := computed(example)) is not None:
                asked += 1
                if found.label != label:
                    wrong += 1
                    first = first or f"{shown(example)} -- {found.how}"
    if not wrong:
        return []
    return [
        Finding(
            "arithmetic of answers",
            "wrong",
            f"{wrong} of {asked} answers that can be computed are not what the file calls them",
            wrong,
            asked,
            first,
            "Mend these answers, or leave their rows out; labels of statements beside them are another thing",
        )
    ]
