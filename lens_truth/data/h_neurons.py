"""Replies of a model to questions as H-Neurons publishes them (Gao et al. 2025, arXiv 2512.01797): JSON lines of
`{id: {question, response, tokenized_response, answer_tokens}}`, and beside them the ids of right (`t`) and hallucinated
(`f`) ones, `NAME_answer_tokens_train.jsonl` and `NAME_train_qids.json`.

Rows that `lens-truth neurons sample` writes have more: `judge`, `group`, `context`, the reply's `token_ids`, and which
of its tokens are the answer's, `answer_at`."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from lens_truth.data.data_file import DataFile
from lens_truth.data.examples import Example
from lens_truth.data.marked_tokens import Marked, characters_of, place_of
from lens_truth.data.replies import Reply
from lens_truth.data.row_fields import HALLUCINATED, SUPPORTED, Fields
from lens_truth.errors import InputError, notice
from lens_truth.io.files import write_text
from lens_truth.io.readers import is_list, is_object, read_json

_JUDGED = {"true": SUPPORTED, "false": HALLUCINATED}
ASKED_FOR = "Respond with the answer only, without any explanation."
"""What the published questions end with."""
MARK = "answer_tokens"
"""The field of the tokens that are the answer."""


def read_marked(file: DataFile) -> list[Example]:
    """The examples of `marked_replies`."""
    return file.first([reply.example for reply in marked_replies(file)])


def marked_replies(file: DataFile, labels: Path | None = None) -> list[Reply]:
    """Replies of which is known where their answer lies and whether it is right. All others are left out, and a
    `DataWarning` counts them by what they lack.

    Args:
        labels: the ids of right and of hallucinated replies; by default the file beside that is named like this one,
            or, where there is none, what `judge` in the rows says.

    Raises:
        InputError: names the first bad row; also if no label is known, or no reply is left.
    """
    rows = list(_rows(file))
    known = _labels(file.path, labels, rows)
    replies, lost = list[Reply](), Counter[str]()
    for id, fields in rows:
        if (found := _reply(id, fields, known.get(id), lost)) is not None:
            replies.append(found)
    lost["a label and no row"] = len(known.keys() - {id for id, _ in rows})
    loose, several = lost.pop(_LOOSE, 0), lost.pop(_SEVERAL, 0)
    said = [f"{n} have {what}" for what, n in lost.items() if n]
    if said:
        notice(f"{file.path}: of {len(rows)} replies {len(replies)} are kept; {', '.join(said)}")
    if loose:
        notice(
            f"{file.path}: of {loose} replies the marked tokens do not stand side by side; all from the first to the "
            "last of them count as the answer"
        )
    if several:
        notice(f"{file.path}: in {several} replies the marked tokens stand more than once; the first place counts")
    if not replies:
        raise InputError(f"{file.path}: of none of its {len(rows)} replies are answer and label known")
    return replies[: file.limit]


_LOOSE, _SEVERAL = "loose", "several"


def _rows(file: DataFile) -> Iterator[tuple[str, Fields]]:
    seen: dict[str, str] = {}
    for place, row in file:
        for id, its in row.items():
            where = f"{file.path}, {place}"
            if not is_object(its):
                raise InputError(f"{where}: '{id}' is not an object with a question, a response and its tokens")
            if (first := seen.setdefault(id, place)) != place:
                raise InputError(f"{where}: id '{id}' stands already on {first}")
            yield id, Fields(its, where)


def _reply(id: str, fields: Fields, label: int | None, lost: Counter[str]) -> Reply | None:
    """A reply, or None and what it lacks is counted."""
    text = fields.text("response").strip()
    tokens, marked = _tokens(fields, "tokenized_response"), _tokens(fields, MARK)
    if not marked:
        lost["no answer tokens"] += 1
        return None
    place = _said(fields, tokens, marked) or place_of(tokens, marked)
    span = place and characters_of(tokens, place.first, place.stop, text)
    if place is None or span is None:
        lost["answer tokens that are not among those of the reply, or tokens that do not spell it"] += 1
        return None
    if label is None:
        lost["no label"] += 1
        return None
    lost[_LOOSE] += place.gaps
    lost[_SEVERAL] += place.places > 1
    group, context = fields.word("group", id), fields.text("context", "")
    example = Example(id, group, fields.text("question"), text, label, context, aliases=tuple(fields.texts("aliases")))
    return Reply(example, span, _numbers(fields))


def _said(fields: Fields, tokens: list[str], marked: list[str]) -> Marked | None:
    """Where the row itself says that the marked tokens stand."""
    _, at = fields.value("answer_at")
    if not (is_list(at) and len(at) == 2 and all(type(end) is int for end in at)) or tokens[slice(*at)] != marked:
        return None
    return Marked(at[0], at[1])


def _tokens(fields: Fields, name: str) -> list[str]:
    """Tokens as they are: spaces belong to them."""
    _, value = fields.value(name)
    if not is_list(value) or not all(isinstance(token, str) for token in value):
        raise fields.wrong(f"field '{name}' is not a list of tokens, each a text")
    return value


def _numbers(fields: Fields) -> tuple[int, ...]:
    _, value = fields.value("token_ids")
    if value is not None and not (is_list(value) and all(type(token) is int and token >= 0 for token in value)):
        raise fields.wrong("field 'token_ids' is not a list of numbers of tokens")
    return tuple(value or ())


def labels_beside(path: Path) -> Path:
    """The file of ids that belongs to a file of replies: NAME_train_qids.json to NAME_answer_tokens_train.jsonl."""
    stem = path.name.removesuffix(".gz").removesuffix(".jsonl").removesuffix(".json")
    return path.with_name("_".join(part for part in stem.replace(MARK, "").split("_") if part) + "_qids.json")


def _labels(path: Path, labels: Path | None, rows: list[tuple[str, Fields]]) -> dict[str, int]:
    beside = labels or labels_beside(path)
    if labels is not None or beside.exists():
        return read_labels(beside)
    judged = [(id, fields, fields.word("judge", "")) for id, fields in rows]
    if not any(judge for _, _, judge in judged):
        raise InputError(
            f"{path}: does not say which replies are right; their ids are looked for in {beside} "
            '({"t": [ids], "f": [ids]}), or in a field judge of the rows (true, false)'
        )
    return {id: _JUDGED[judge.lower()] for id, _, judge in judged if judge.lower() in _JUDGED}


def read_labels(path: Path) -> dict[str, int]:
    """1 of the ids in `t` (right), 0 of those in `f` (hallucinated).

    Raises:
        InputError: if the file is missing or of another kind, or an id is in both.
    """
    held: Any = read_json(path)
    if not is_object(held) or not all(is_list(held.get(name)) for name in ("t", "f")):
        raise InputError(f'{path}: is no file of ids of right and hallucinated replies, {{"t": [ids], "f": [ids]}}')
    right, wrong = ([str(id) for id in held[name]] for name in ("t", "f"))
    if both := sorted({*right} & {*wrong}):
        raise InputError(f"{path}: {len(both)} ids are both right and hallucinated (first: '{both[0]}')")
    return dict.fromkeys(right, SUPPORTED) | dict.fromkeys(wrong, HALLUCINATED)


def marked_row(reply: Reply, tokens: Sequence[str], at: tuple[int, int]) -> dict[str, Any]:
    """A row as it is published, and what `marked_replies` reads beyond that.

    Args:
        tokens: the reply's, as the tokenizer writes them.
        at: those of the answer, [first, stop).
    """
    its = reply.example
    row = {
        "question": its.question,
        "response": its.answer,
        "tokenized_response": list(tokens),
        MARK: list(tokens[slice(*at)]),
        "judge": "false" if reply.hallucinated else "true",
        "answer_at": list(at),
        "token_ids": list(reply.tokens),
        "group": its.group,
    }
    return {its.id: {**row, "context": its.context} if its.context else row}


def write_marked(path: Path, rows: Sequence[Mapping[str, Any]]) -> Path:
    """Writes rows, and beside them the ids of right and hallucinated ones, whose path it gives."""
    write_rows(path, rows)
    judges = {id: its["judge"] for row in rows for id, its in row.items()}
    ids = {
        name: [id for id, judge in judges.items() if judge == said] for name, said in (("t", "true"), ("f", "false"))
    }
    write_text(labels_beside(path), json.dumps(ids, indent=4, ensure_ascii=False) + "\n")
    return labels_beside(path)


def write_rows(path: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    """Writes JSON lines."""
    write_text(path, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))
