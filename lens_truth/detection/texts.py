"""Answers with their scores, token by token, as they are written to files; and prompts with answers that have no
labels, as they are read from files."""

from __future__ import annotations

import csv
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from lens_truth.detection.detector import Detector
from lens_truth.errors import InputError, shortened
from lens_truth.io.readers import read_text
from lens_truth.io.rows import read_rows

if TYPE_CHECKING:
    from lens_truth.data.examples import Example
    from lens_truth.detection.reading import AnswerReads

_TOP = 3
"""Heads that are named beside a token."""
_PROMPTS = ("prompt", "question", "input", "instruction")
_ANSWERS = ("answer", "response", "output", "completion", "text")
_CONTEXTS = ("context", "knowledge", "document", "passage")
_TABLES = (".jsonl", ".json", ".csv", ".tsv", ".gz")


@dataclass(frozen=True)
class ScoredToken:
    """One token of an answer."""

    text: str
    score: float
    """As of an answer that ends here."""
    log_prob: float
    """NaN where nothing stands before it."""
    heads: tuple[tuple[int, int, float], ...]
    """Layer, head and what it adds to the score, of the heads that add or take most."""


@dataclass(frozen=True)
class ScoredAnswer:
    """An answer, how far it is supported, and how that came about."""

    id: str
    question: str
    label: int | None
    """None where it is not known."""
    score: float
    """At its last token."""
    probability: float
    """That it is supported."""
    log_prob: float
    """Of the answer after its prompt, in nats."""
    tokens: tuple[ScoredToken, ...]

    @property
    def n_tokens(self) -> int:
        """Of the answer."""
        return len(self.tokens)


def scored_answers(
    detector: Detector, examples: Sequence[Example], read: AnswerReads, *, labelled: bool
) -> list[ScoredAnswer]:
    """Every answer with its score; `read` has the decisions of the detector's heads for every token."""
    found: list[ScoredAnswer] = []
    for example, its in zip(examples, read.tokens, strict=True):
        parts = its.decisions.astype(float) * detector.weights
        scores = parts.sum(1) + detector.offset
        tokens = tuple(
            ScoredToken(text, float(score), float(log_prob), _loudest(detector, part))
            for text, score, log_prob, part in zip(its.texts, scores, its.log_probs, parts, strict=True)
        )
        last = float(scores[-1])
        probability = float(detector.probability(scores[-1:])[0])
        label = example.label if labelled else None
        found.append(ScoredAnswer(example.id, example.question, label, last, probability, its.log_prob, tokens))
    return found


def _loudest(detector: Detector, parts: np.ndarray) -> tuple[tuple[int, int, float], ...]:
    order = np.argsort(-np.abs(parts), kind="stable")[:_TOP].tolist()
    return tuple((*detector.heads[at], float(parts[at])) for at in order)


def scores_csv(answers: Sequence[ScoredAnswer], threshold: float) -> str:
    """A line an answer: what it is called, whether and how far it is supported, and how likely it is."""
    text = StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["id", "label", "score", "probability", "supported", "log_prob", "tokens", "answer"])
    for its in answers:
        label = "" if its.label is None else its.label
        numbers = [f"{value:.6g}" for value in (its.score, its.probability)]
        answer = "".join(token.text for token in its.tokens).strip()
        supported = int(its.score > threshold)
        writer.writerow([its.id, label, *numbers, supported, f"{its.log_prob:.6g}", its.n_tokens, answer])
    return text.getvalue()


def tokens_jsonl(answers: Sequence[ScoredAnswer]) -> str:
    """A line an answer, with each of its tokens."""
    return "".join(json.dumps(_rounded(asdict(its)), ensure_ascii=False) + "\n" for its in answers)


def _rounded(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _rounded(its) for name, its in value.items()}
    if isinstance(value, list | tuple):
        return [_rounded(its) for its in value]
    return (None if np.isnan(value) else float(f"{value:.6g}")) if isinstance(value, float) else value


def read_texts(path: Path) -> list[Example]:
    """Prompts with answers: rows of JSON lines, a JSON list or a table, with a prompt (or question), an answer (or
    response) and perhaps a context and an id; any other file is one text, which nothing was asked about.

    Raises:
        InputError: names file, line and field of the first bad row.
    """
    from lens_truth.data.examples import Example
    from lens_truth.data.row_fields import SUPPORTED

    made: list[Example] = []

    def add(id: str, question: str, answer: str, context: str) -> None:
        # an example has a label; nothing looks at that of a text
        made.append(Example(id, id, question, answer, SUPPORTED, context))

    if not path.name.endswith(_TABLES):
        text = read_text(path).strip()
        if not text:
            raise InputError(f"{path}: the text is empty")
        add(path.name, "", text, "")
        return made
    for number, (place, row) in enumerate(read_rows(path)):
        where = f"{path}, {place}"
        prompt, answer, context = (_first(row, names, where) for names in (_PROMPTS, _ANSWERS, _CONTEXTS))
        if answer is None or not answer.strip():
            raise InputError(f"{where}: has no field 'answer' (or {', '.join(_ANSWERS[1:])}) with a text")
        id = row.get("id")
        add(str(number if id in (None, "") else id), prompt or "", answer, context or "")
    if not made:
        raise InputError(f"{path}: holds no answers")
    ids = [its.id for its in made]
    if twice := [id for id in ids if ids.count(id) > 1][:1]:
        raise InputError(f"{path}: id '{shortened(twice[0])}' stands there twice")
    return made


def _first(row: dict[str, Any], names: Sequence[str], where: str) -> str | None:
    name = next((name for name in names if row.get(name) not in (None, "")), None)
    if name is None:
        return None
    if not isinstance(value := row[name], str):
        raise InputError(f"{where}: field '{name}' is {shortened(repr(value))}, not a text")
    return value

