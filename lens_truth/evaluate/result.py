"""What came out of a benchmark: what was answered, and how right that is by every way to read it, or by likelihood."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from jaxtyping import Float

from lens_truth.evaluate import answers as reading
from lens_truth.evaluate.answers import MATCHES, BinaryMetrics, MarginMetrics, Mode, first_line
from lens_truth.evaluate.chair import CHAIR_MEASURES, Caption, ChairScore
from lens_truth.evaluate.choices import Choice, Choices
from lens_truth.io.numbers import interval, number
from lens_truth.io.results import Result
from lens_truth.io.tables import Table, row, table
from lens_truth.stats.paired import group_interval

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MARGIN = "logit margin"
"""Among the ways to read yes or no: the sign of the margin, which is there whatever a model writes."""


@dataclass(frozen=True, eq=False)
class BenchmarkResult(Result):
    """The answers to a benchmark's questions, marked; N questions.

    >>> lens_truth.BenchmarkResult.load("runs/evaluate-pope").by_parse["strict"].f1
    """

    command: ClassVar[str] = "evaluate"
    part: ClassVar[str] = "benchmark"

    name: str
    mode: Mode
    ids: tuple[str, ...]
    """Of the examples, or the images of captions."""
    groups: tuple[str, ...]
    """Questions of one group (an image, a scene) may be right or wrong together; intervals are over groups."""
    wanted: tuple[str, ...]
    """The right answers; of captions what is there."""
    texts: tuple[str, ...]
    """As the model wrote them; the likelier answers, where it had to choose."""
    parses: tuple[str, ...] = ("strict",)
    """How answers are read; the first counts. Yes or no: names in `PARSES`, or `logit margin`, the sign of `margins`.
    Open answers: `strict` (the first line is the answer), `contains` (the answer is in it). Choices: `total` and `per
    token` log-probabilities."""
    splits: tuple[str, ...] = ()
    """The part of the benchmark that each question belongs to, if it has any."""
    margins: Float[np.ndarray, " N"] | None = None
    """log p(yes) - log p(no) at the first token (nats), where it was asked for."""
    chair: ChairScore | None = None
    """Of captions."""
    choices: tuple[Choice, ...] = ()
    """Of questions whose answers were ranked."""
    seed: int = 0
    """Of the bootstrap behind intervals."""
    also: tuple[tuple[str, ...], ...] = ()
    """Other right answers to each open question."""

    @cached_property
    def correct(self) -> Float[np.ndarray, " N"]:
        """1 where the answer is right (one that cannot be read is wrong), else 0."""
        return self._correct(self.parses[0])

    @property
    def accuracy(self) -> float:
        """Share of right answers."""
        return float(self.correct.mean())

    @property
    def accuracy_interval(self) -> tuple[float, float]:
        """95% bootstrap interval of the accuracy, over groups."""
        return self.interval_of(self.parses[0])

    def interval_of(self, parse: str) -> tuple[float, float]:
        """The same of answers read in one way, as `metrics` has them.

        >>> result.interval_of("strict")
        """
        return group_interval(self._correct(parse), self.groups, self.seed)

    @property
    def by_reading(self) -> dict[str, float]:
        """Share of right answers, read in each of the ways."""
        return {parse: float(self._correct(parse).mean()) for parse in self.parses}

    @property
    def chance(self) -> float:
        """What a guess reaches: the more frequent of yes and no; any of a question's answers; 0 of open answers and
        captions."""
        if self.choices:
            return self.ranked.chance
        return max(map(self.wanted.count, ("yes", "no"))) / len(self.wanted) if self.is_yes_no else 0.0

    @property
    def ranked(self) -> Choices:
        """The choices, with what length alone reaches."""
        return Choices(self.choices, self.seed)

    @property
    def f1(self) -> float:
        """Of the answer yes; for open answers SQuAD's mean F1 of words (with the right answer that it is highest with),
        for captions that of the objects."""
        if self.chair is not None:
            precision, recall = self.chair.precision or 0.0, self.chair.recall or 0.0
            return 2 * precision * recall / (precision + recall) if precision + recall else 0.0
        if self.mode == "answer":
            best = (
                max(reading.token_f1(s, w) for w in right) for s, right in zip(self.answers, self._right, strict=True)
            )
            return float(np.mean([*best]))
        return (self.metrics(self.parses[0]).f1 or 0.0) if self.is_yes_no else self.accuracy

    @property
    def unparsed(self) -> float:
        """Share of answers that begin with neither yes nor no (open answers and captions: that are empty)."""
        if self.is_yes_no:
            return self.metrics("strict").unparsed
        return float(np.mean([not answer for answer in self.answers]))

    @property
    def answers(self) -> tuple[str, ...]:
        """Their first lines."""
        return tuple(first_line(text) for text in self.texts)

    @property
    def answer_words(self) -> float:
        """Mean number of words the model wrote."""
        return float(np.mean([len(text.split()) for text in self.texts]))

    @property
    def is_yes_no(self) -> bool:
        """Whether answers are yes or no."""
        return self.mode in ("yes-no", "judge")

    def metrics(self, parse: str) -> BinaryMetrics:
        """Of the answer yes, read in one way.

        >>> result.metrics("strict").unparsed
        """
        return reading.binary_metrics(self._said(parse), self.wanted)

    @property
    def by_parse(self) -> dict[str, BinaryMetrics]:
        """The same answers read in each of the ways."""
        return {parse: self.metrics(parse) for parse in self.parses} if self.is_yes_no else {}

    @property
    def by_margin(self) -> MarginMetrics | None:
        """Of the log-odds, which are there whatever the model writes."""
        return None if self.margins is None else reading.margin_metrics(self.margins.tolist(), self.wanted)

    @property
    def by_split(self) -> dict[str, BenchmarkResult]:
        """The result of each split; none if there are no splits."""
        return {split: self._only(split) for split in dict.fromkeys(self.splits)}

    def summary(self) -> dict[str, Any]:
        """What it says in numbers, by name: those of `tables`, not rounded: `result.summary()["accuracy"]`."""
        if (its := self.chair) is not None:
            measures = {name: getattr(its, name) for name in CHAIR_MEASURES}
            ends = {f"{name}_ci": ends for name, ends in its.intervals(self.seed).items()}
            return measures | ends | {"n": its.n, "n_images": its.n_images, "without_mention": its.n_without_mention}
        if self.choices:
            return self.ranked.summary()
        if not self.is_yes_no:
            of_answers: dict[str, Any] = {"n": len(self.texts), "accuracy": self.accuracy, "f1": self.f1}
            of_answers["readings"] = self.by_reading
        else:
            of_answers = asdict(self.metrics(self.parses[0]))
            of_answers |= {"parse": self.parses[0], "parses": {name: asdict(m) for name, m in self.by_parse.items()}}
        of_answers |= {"unparsed": self.unparsed, "accuracy_ci": self.accuracy_interval}
        of_answers["answer_words"] = self.answer_words
        if self.by_margin is not None:
            of_answers["margin"] = asdict(self.by_margin)
        if self.splits:
            of_answers["splits"] = {
                name: {parse: asdict(m) for parse, m in split.by_parse.items()} for name, split in self.by_split.items()
            }
        if self.mode == "judge":
            of_answers["hallucinated_shown"] = self.wanted.count("yes")
        return of_answers

    def tables(self) -> list[Table]:
        """How right the answers are by every way to read them, and by split where there are several; of captions CHAIR.

        >>> lens_truth.BenchmarkResult.load("runs/evaluate-judge").tables()[0]
        """
        n = f"n = {len(self.texts)}"
        if self.chair is not None:
            values = {name: getattr(self.chair, name) for name in CHAIR_MEASURES}
            intervals = self.chair.intervals(self.seed).items()
            p = _places(self)
            rows = [
                row(name, number(values[name], p), f"{low:.{p}f} to {high:.{p}f}") for name, (low, high) in intervals
            ]
            return [table(f"CHAIR of {self.name}", ("CHAIR", n, "95% interval over images"), rows)]
        if self.choices:
            return self.ranked.tables()
        if not self.is_yes_no:
            rest = (number(self.f1, 3), number(self.unparsed, 3), number(self.answer_words, 1))
            rows = [
                row(parse, number(accuracy), interval(self.interval_of(parse)), *rest)
                for parse, accuracy in self.by_reading.items()
            ]
            return [table(f"{self.name}, {n}", ("read by", "accuracy", "95%", "F1", "empty", "words"), rows)]
        rows = _lines(self)
        if (m := self.by_margin) is not None:
            of_margin = [number(value, _places(self)) for value in (m.precision, m.recall, m.f1, m.yes_ratio)]
            auroc = f"AUROC {number(m.auroc)}" if m.auroc is not None else ""
            rows.append([MARGIN, number(m.accuracy, _places(self)), "", *of_margin, auroc])
        tables = [table(f"{self.name}, {n}", _COLUMNS, (row(*line) for line in rows))]
        if len(by_split := {**self.by_split, "pooled": self}) > 2:
            split = (row(name, *line) for name, its in by_split.items() for line in _lines(its))
            tables.append(table(f"{self.name} by split", ("split", *_COLUMNS), split))
        return tables

    def plot(self) -> Figure:
        """Accuracy with its interval by every split and way to read the answers; of captions CHAIR's measures.

        >>> lens_truth.BenchmarkResult.load("runs/evaluate-pope").plot().savefig("pope.png")
        """
        from lens_truth.evaluate.figures import benchmark_dots

        return benchmark_dots(self)

    @property
    def _right(self) -> list[tuple[str, ...]]:
        """All right answers to each question."""
        return [(its, *more) for its, more in zip(self.wanted, self.also or [()] * len(self.wanted), strict=True)]

    def _said(self, parse: str) -> list[str | None]:
        if parse == MARGIN and self.margins is not None:
            return ["yes" if margin > 0 else "no" for margin in self.margins.tolist()]
        return [reading.PARSES[parse](text) for text in self.texts]

    def _correct(self, parse: str) -> Float[np.ndarray, " N"]:
        if self.chair is not None:
            return np.array([not caption.hallucinated for caption in self.chair.captions], dtype=float)
        if self.choices:
            return self.ranked.measures["accuracy" if parse == "total" else "accuracy_per_token"]
        if self.is_yes_no:
            right = [said == wanted for said, wanted in zip(self._said(parse), self.wanted, strict=True)]
        else:
            match = MATCHES[parse]
            right = [any(match(text, its) for its in all_) for text, all_ in zip(self.texts, self._right, strict=True)]
        return np.array(right, dtype=float)

    def _only(self, split: str) -> BenchmarkResult:
        rows = [row for row, its in enumerate(self.splits) if its == split]
        fields = ("ids", "groups", "wanted", "texts", *(["also"] if self.also else []))
        some: dict[str, Any] = {field: tuple(getattr(self, field)[row] for row in rows) for field in fields}
        margins = None if self.margins is None else self.margins[rows]
        return replace(self, name=split, splits=(), margins=margins, **some)


_COLUMNS = ("read by", "accuracy", "95%", "precision", "recall", "F1", "yes", "unparsed")


def _places(result: BenchmarkResult) -> int:
    """Four, as published tables have them, where there are answers enough for that."""
    return 4 if len(result.texts) >= 100 else 3


def _lines(result: BenchmarkResult) -> list[list[str]]:
    """Of `_COLUMNS`, one a way to read the answers."""
    places = _places(result)
    return [
        [parse, number(m.accuracy, places), interval(result.interval_of(parse))]
        + [number(value, places) for value in (m.precision, m.recall, m.f1, m.yes_ratio, m.unparsed)]
        for parse, m in result.by_parse.items()
    ]


def caption_result(name: str, captions: Sequence[Caption], score: ChairScore, seed: int = 0) -> BenchmarkResult:
    """Captions with their score, as the result of a benchmark."""
    images, texts = tuple(caption.image for caption in captions), tuple(caption.text for caption in captions)
    there = tuple(", ".join(caption.true) for caption in score.captions)
    return BenchmarkResult(name, "caption", images, images, there, texts, chair=score, seed=seed)
