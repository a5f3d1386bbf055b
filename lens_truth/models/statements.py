"""Statements: rows that ask nothing, as text that goes on by itself."""

from __future__ import annotations

from lens_truth.data.examples import Example
from lens_truth.errors import InputError
from lens_truth.models.spans import Span


def statement_text(example: Example) -> str:
    """The statement alone, as the Geometry of Truth shows it; a context is the text before it."""
    # with the words of a question around it, it would be an answer to that, which is what it is compared with
    statement = example.answer.strip()
    return f"{example.context}\n{statement}" if example.context else statement


def shown_statement(example: Example, template: str) -> tuple[str, int, Span]:
    """Its text, where what stands before it ends, and its span, in characters."""
    if template != "plain":
        raise InputError(
            f"example '{example.id}' is a statement, without a question that a chat could begin with; use the plain "
            "template"
        )
    text, n = statement_text(example), len(example.answer.strip())
    return text, len(text) - n, (len(text) - n, len(text))
