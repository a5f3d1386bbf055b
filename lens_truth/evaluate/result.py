"""What came out of a benchmark: what a model wrote, marked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from lens_truth.evaluate.answers import first_line, normalized, token_f1, yes_or_no
from lens_truth.evaluate.benchmark import Benchmark
from lens_truth.evaluate.binary import binary_metrics
from lens_truth.evaluate.chair import Caption, ChairScore, objects_described, score_captions
from lens_truth.evaluate.generate import Answer


@dataclass(frozen=True)
class BenchmarkResult:
    """What came out of one benchmark."""

    correct: Float[np.ndarray, " N"]
    """1 where the answer is right (an answer that cannot be parsed is wrong)."""
    groups: tuple[str, ...]
    f1: float
    """Of the answer yes; for open answers SQuAD's mean F1 of words, for captions that of the objects."""
    yes_ratio: float | None
    """Share of yes among all answers; None for open answers."""
    unparsed: float
    """Share of answers that are neither yes nor no (open answers and captions: that are empty)."""
    texts: tuple[str, ...]
    """As the model wrote them."""
    margins: Float[np.ndarray, " N"] | None = None
    """log p(yes) - log p(no), where it was asked for."""
    chair: ChairScore | None = None
    """Of captions."""

    @property
    def accuracy(self) -> float:
        """Share of right answers."""
        return float(self.correct.mean())

    @property
    def answers(self) -> tuple[str, ...]:
        """Their first lines."""
        return tuple(first_line(text) for text in self.texts)

    @property
    def answer_words(self) -> float:
        """Mean number of words the model wrote."""
        return float(np.mean([len(text.split()) for text in self.texts]))


def marked(benchmark: Benchmark, answers: Sequence[Answer]) -> BenchmarkResult:
    texts, gold = tuple(answer.text for answer in answers), benchmark.wanted
    groups = tuple(example.group for example in benchmark.examples)
    if benchmark.mode == "caption":
        return _mark_captions(benchmark, texts, groups)
    if benchmark.mode == "answer":
        lines = [first_line(text) for text in texts]
        correct = np.array([normalized(s) == normalized(g) for s, g in zip(lines, gold, strict=True)], dtype=float)
        f1 = float(np.mean([token_f1(s, g) for s, g in zip(lines, gold, strict=True)]))
        return BenchmarkResult(correct, groups, f1, None, float(np.mean([not line for line in lines])), texts)
    said, wanted = [yes_or_no(text) for text in texts], [answer.strip().lower() for answer in gold]
    metrics = binary_metrics(said, wanted)
    return BenchmarkResult(
        correct=np.array([s == w for s, w in zip(said, wanted, strict=True)], dtype=float),
        groups=groups,
        f1=metrics.f1 or 0.0,
        yes_ratio=metrics.yes_ratio,
        unparsed=metrics.unparsed,
        texts=texts,
        margins=np.array([answer.margin for answer in answers], dtype=float) if answers[0].margin is not None else None,
    )


def _mark_captions(benchmark: Benchmark, texts: tuple[str, ...], groups: tuple[str, ...]) -> BenchmarkResult:
    names = benchmark.objects
    assert names is not None  # `caption_benchmark` has seen to it
    lines = [first_line(text) for text in texts]
    there = objects_described(benchmark.name, {e.id: e.answer for e in benchmark.examples}, names)
    captions = [Caption(e.id, line) for e, line in zip(benchmark.examples, lines, strict=True)]
    score = score_captions(captions, there, names)
    precision, recall = score.precision or 0.0, score.recall or 0.0
    return BenchmarkResult(
        correct=np.array([not caption.hallucinated for caption in score.captions], dtype=float),
        groups=groups,
        f1=2 * precision * recall / (precision + recall) if precision + recall else 0.0,
        yes_ratio=None,
        unparsed=float(np.mean([not line for line in lines])),
        texts=texts,
        chair=score,
    )
