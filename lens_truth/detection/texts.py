"""Answers with their scores, token by token, as they are written to files; and prompts with answers that have no
labels, as they are read from files."""

from __future__ import annotations

import csv
import json
import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from lens_truth.errors import InputError, shortened
from lens_truth.io.numbers import count, number
from lens_truth.io.readers import read_text
from lens_truth.io.results import Result
from lens_truth.io.rows import read_rows
from lens_truth.io.tables import Table, row, table
from lens_truth.scoring.detector import Detector

if TYPE_CHECKING:
    from lens_truth.data.examples import Example
    from lens_truth.detection.reading import AnswerReads

SHOWN = 12
"""Answers that a result keeps token by token."""
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


@dataclass(frozen=True, eq=False)
class ScoredTexts(Result):
    """Answers without labels, scored: `ScoredTexts.load("runs/detect").answers[0].probability`."""

    command: ClassVar[str] = "detect"
    part: ClassVar[str] = "texts"

    detector: Detector
    n: int
    n_supported: int
    """How many are above the threshold."""
    answers: tuple[ScoredAnswer, ...]
    """The first of them; all are in texts.jsonl."""
    provenance: dict[str, Any] = field(default_factory=dict[str, Any])

    def tables(self) -> list[Table]:
        """The answers that are kept here, each with its score.

        >>> lens_truth.ScoredTexts.load("runs/detect").tables()[0]
        """
        note = f"{self.n_supported} of {count(self.n, 'answer')} are above {number(self.detector.threshold)}."
        note += "" if self.n == len(self.answers) else f" The first {len(self.answers)} are shown."
        rows = [
            row(its.id, number(its.score), number(its.probability), number(its.log_prob, 1), in_one_line(its))
            for its in self.answers
        ]
        return [table("Answers without labels", ("answer", "score", "P(supported)", "log p", "text"), rows, note)]


def in_one_line(answer: ScoredAnswer) -> str:
    """The beginning of its text."""
    return shortened(" ".join("".join(token.text for token in answer.tokens).split()))


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
    order: list[int] = np.argsort(-np.abs(parts), kind="stable")[:_TOP].tolist()
    return tuple((detector.heads[at][0], detector.heads[at][1], float(parts[at])) for at in order)


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
    return "".join(json.dumps(_row(its), ensure_ascii=False) + "\n" for its in answers)


def _row(answer: ScoredAnswer) -> dict[str, Any]:
    tokens = [
        {
            "text": token.text,
            "score": _short(token.score),
            "log_prob": _short(token.log_prob),
            "heads": [[layer, head, _short(part)] for layer, head, part in token.heads],
        }
        for token in answer.tokens
    ]
    numbers = {name: _short(getattr(answer, name)) for name in ("score", "probability", "log_prob")}
    return {"id": answer.id, "question": answer.question, "label": answer.label, **numbers, "tokens": tokens}


def _short(value: float) -> float | None:
    return None if math.isnan(value) else float(f"{value:.6g}")


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
    for at, (place, its) in enumerate(read_rows(path)):
        where = f"{path}, {place}"
        prompt, answer, context = (_first(its, names, where) for names in (_PROMPTS, _ANSWERS, _CONTEXTS))
        if answer is None or not answer.strip():
            raise InputError(f"{where}: has no field 'answer' (or {', '.join(_ANSWERS[1:])}) with a text")
        id = its.get("id")
        add(str(at if id in (None, "") else id), prompt or "", answer, context or "")
    if not made:
        raise InputError(f"{path}: holds no answers")
    twice = next((id for id, n in Counter(one.id for one in made).items() if n > 1), None)
    if twice is not None:
        raise InputError(f"{path}: id '{shortened(twice)}' stands there twice")
    return made


def _first(fields: dict[str, Any], names: Sequence[str], where: str) -> str | None:
    name = next((name for name in names if fields.get(name) not in (None, "")), None)
    if name is None:
        return None
    if not isinstance(value := fields[name], str):
        raise InputError(f"{where}: field '{name}' is {shortened(repr(value))}, not a text")
    return value
