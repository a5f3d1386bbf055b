"""What stands on both sides: ids, questions, subjects, images and contexts in several splits of a file, and in several
groups of its examples, between which folds are cut."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from lens_truth.confounds.findings import Finding, Level
from lens_truth.data.examples import Example
from lens_truth.data.images import is_made
from lens_truth.data.subjects import subject_in, subject_of
from lens_truth.data.surface_features import plain
from lens_truth.errors import shortened
from lens_truth.io.readers import is_object

_NAMES = re.compile(
    r"(?:data_?|cv_?|row_?)?(?:split|fold|subset|partition|set|part)(?:_?(?:name|id|idx|index))?", re.IGNORECASE
)
"""Columns whose value is the name of a row's split, if there are few."""
_PART = r"train(?:ing)?|test|val(?:id(?:ation)?)?|dev|cal(?:ibration)?|eval|held_?out"
_FLAG = re.compile(rf"(?:(?:in|is)_)?({_PART})(?:_object|_set)?$", re.IGNORECASE)
_MOST = 20
"""Splits of a file; a column with more values names something else."""
_SOME = 0.02
"""Fewer are slips of whoever finds subjects and questions."""
_ON, _OFF = ("1", "1.0", "true", "yes"), ("0", "0.0", "false", "no")
_IDS = {
    "groups": ("group", "group_id"),
    "ids": ("id", "example_id"),
    "question ids": ("qid", "question_id", "item_id"),
}
_IMAGES = ("image", "image_id", "image_path")
_TEXTS = {"questions": ("question", "raw_question", "user_query", "prompt"), "contexts": ("context", "knowledge")}
Named = Callable[[Example], str]


def split_findings(rows: Iterable[Mapping[str, Any]]) -> list[Finding]:
    """What rows of different splits of one file share, for files with a column `split` (`fold`, `subset`, ...) or flags
    `in_train`, `in_test`, ..."""
    places: dict[str, defaultdict[str, set[str]]] = defaultdict(lambda: defaultdict(set))
    seen: set[str] = set()
    for row in rows:
        splits = _splits_of(row)
        seen |= splits
        for kind, name in _things(row):
            places[kind][name] |= splits
    if not 2 <= len(seen) <= _MOST:
        return []
    found: list[Finding] = []
    for kind, its in places.items():
        across = {name: splits for name, splits in its.items() if len(splits) > 1}
        if across:
            name, splits = next(iter(across.items()))
            found.append(
                Finding(
                    f"{kind} across splits",
                    "leak",
                    f"{len(across)} of {len(its)} {kind} stand in more than one of the splits "
                    f"({', '.join(sorted(seen))}): what is fitted on one has seen them before it is tested",
                    len(across),
                    len(its),
                    f"'{shortened(name)}' in {' and '.join(sorted(splits))}",
                    f"Split by {_ONE[kind]}, or give rows of one {_ONE[kind]} one group (column 'group') and use folds",
                )
            )
    return found


_ONE = {
    "ids": "id",
    "question ids": "question",
    "questions": "question",
    "subjects": "subject",
    "images": "image",
    "contexts": "context",
    "groups": "group",
}


def names_split(row: Mapping[str, Any]) -> bool:
    """Whether a row says of which split it is."""
    return bool(_splits_of(row))


def _splits_of(row: Mapping[str, Any]) -> set[str]:
    """What columns call it, and the flags that are set; where none is, the split that is not the flag's."""
    found: set[str] = set()
    off: set[str] = set()
    for column, value in row.items():
        text = str(value).strip().lower()
        if flag := _FLAG.match(column):
            if text in (*_ON, *_OFF):
                (found if text in _ON else off).add(flag[1].lower() if text in _ON else f"not {flag[1].lower()}")
        elif _NAMES.fullmatch(column) and 0 < len(text) <= _MOST:
            found.add(text)
    return found or off


def _things(row: Mapping[str, Any]) -> Iterable[tuple[str, str]]:
    statement = row.get("statement")
    if isinstance(statement, str) and statement.strip():
        yield "subjects", subject_of(statement, subject_in(row))
    elif subject := subject_in(row):
        yield "subjects", subject.casefold()
    for kind, columns in _IDS.items():
        for column in columns:
            if column in row and not is_object(row[column]) and row[column] not in (None, ""):
                yield kind, str(row[column])
                break
    for column in _IMAGES:
        if isinstance(row.get(column), str | int) and row[column] != "":
            yield "images", Path(str(row[column])).name
            break
    for kind, columns in _TEXTS.items():
        for column in columns:
            if isinstance(row.get(column), str) and row[column].strip():
                yield kind, plain(row[column])
                break


def group_findings(examples: Sequence[Example]) -> list[Finding]:
    """What examples of different groups share: folds are cut between groups, so it stands in training and in test."""
    found: list[Finding] = []
    for kind, named, level, cure in _SHARED:
        groups: dict[int, str] = {}  # the first group by the hash of a name, which may be long
        across: dict[int, list[Example]] = {}
        for example in examples:
            if name := named(example):
                first = groups.setdefault(hash(name), example.group)
                if example.group != first:
                    across.setdefault(hash(name), []).append(example)
        if not across or len(across) < _SOME * len(groups):
            continue
        key, (other, *_) = max(across.items(), key=lambda item: len(item[1]))
        first = groups[key], other.group
        found.append(
            Finding(
                f"{kind} across groups",
                level,
                f"{len(across)} of {len(groups)} {kind} stand in more than one group, so folds cut through them",
                len(across),
                len(groups),
                f"'{shortened(named(other))}' in groups '{shortened(first[0])}' and '{shortened(first[1])}'",
                cure,
            )
        )
    return found


def question_of(example: Example) -> str:
    """The question with what it is about; nothing for a statement."""
    asked = plain(example.question)
    return f"{asked} | {image_of(example)} | {plain(example.context)}".strip(" |") if asked else ""


def subject_named(example: Example) -> str:
    """What a statement is about; nothing for an answer to a question."""
    return subject_of(example.answer) if example.is_statement else ""


def image_of(example: Example) -> str:
    """The image, a file's by its name; nothing where there is none, or a plain one for all."""
    if is_made(example.image):
        return example.image if "#" in example.image else ""
    return Path(example.image).name


def context_of(example: Example) -> str:
    """The context as words."""
    return plain(example.context)


_SHARED: tuple[tuple[str, Named, Level, str], ...] = (
    ("questions", question_of, "leak", "Give the answers to one question one group"),
    ("subjects", subject_named, "leak", "Group by subject: leave the column 'group' away, and rows are grouped so"),
    ("images", image_of, "leak", "Group by image: leave the column 'group' away, and rows are grouped so"),
    ("contexts", context_of, "note", "Group by context, if answers to other questions about it could tell"),
)
