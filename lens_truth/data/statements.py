"""Statements that are true or false by themselves, as they are published: a statement and its label a row (the Geometry
of Truth, Marks and Tegmark 2023; Bürger et al. 2024), with flags for parts and for made-up objects (Representational
Stability of Truth, Dies et al. 2025, arXiv 2511.19166); a claim and its negation a row (Truthfulness Spectrum, arXiv
2602.20273)."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

from lens_truth.data.data_file import DataFile
from lens_truth.data.examples import HALLUCINATED, SUPPORTED, Example, examples_of
from lens_truth.data.row_fields import Fields
from lens_truth.data.subjects import subject_in, subject_of
from lens_truth.errors import InputError, notice

_PARTS = ("train", "cal", "test")
_REAL = "real_object"


def read_statements(file: DataFile, *, label: str = "label") -> list[Example]:
    """An example for each row, grouped by what it is about. Of a file in parts, only the part that is named: rows whose
    flag `in_NAME` or `NAME_object` is 1. `DataWarning`s count statements about what does not exist, which are neither
    true nor false, and subjects that stand in several parts."""
    stem = file.path.name.partition(".")[0]
    rows: list[tuple[str, dict[str, Any]]] = []
    subjects: defaultdict[str, set[str]] = defaultdict(set)
    n_neither = 0
    for number, (place, row) in enumerate(file):
        fields = Fields(row, f"{file.path}, {place}")
        if file.part:
            subjects[subject_of(fields.text("statement"), subject_in(row))] |= {
                part for part in _PARTS if f"in_{part}" in row and fields.flag(f"in_{part}")
            }
            if not fields.flag(_column(file, row)):
                continue
        n_neither += _REAL in row and not fields.flag(_REAL)
        more = {"id": fields.word("id", f"{stem}-{number}"), "label": row.get(label)}
        rows.append((place, {**row, **more}))
    if n_neither:
        notice(
            f"{n_neither} of the {len(rows)} statements of {file.path} are about objects that do not exist, so neither "
            "true nor false; they keep the labels that they were published with"
        )
    several = sum(len(parts) > 1 for parts in subjects.values())
    if several and file.part in _PARTS:
        notice(
            f"{several} of the {len(subjects)} subjects of {file.path} stand in more than one of its parts, so a probe "
            "that was fitted on one part has seen subjects of the others"
        )
    if file.part and not rows:
        raise InputError(f"{file.path}: part '{file.part}' holds no statement")
    return examples_of(file.path, rows, file.images, file.limit)


def _column(file: DataFile, row: dict[str, Any]) -> str:
    """The flag that says whether a row belongs to the part."""
    columns = (f"in_{file.part}", f"{file.part}_object")
    column = next((column for column in columns if column in row), None)
    if column is None:
        raise InputError(
            f"{file.path}: has no part '{file.part}', which a column '{columns[0]}' or '{columns[1]}' says"
        )
    return column


def read_claims(file: DataFile) -> list[Example]:
    """Two examples a row, the claim (true) and its negation (false), grouped by what the claim is about."""
    stem = file.path.name.partition(".")[0]
    examples: list[Example] = []
    for number, (_, fields) in enumerate(file.fields()):
        claim, negated = fields.text("Claim"), fields.text("Negated Claim")
        group = subject_of(claim)
        examples.append(Example(f"{stem}-{number}-claim", group, "", claim, SUPPORTED))
        examples.append(Example(f"{stem}-{number}-negated", group, "", negated, HALLUCINATED))
    return file.first(examples)
