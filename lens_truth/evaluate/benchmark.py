"""A benchmark is questions with known answers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from lens_truth.data.examples import HALLUCINATED, SUPPORTED, Example
from lens_truth.errors import InputError
from lens_truth.evaluate.answers import Answer, Mode
from lens_truth.evaluate.chair import Caption, ObjectNames, objects_described, score_captions
from lens_truth.evaluate.result import BenchmarkResult
from lens_truth.models.prompts import JUDGE, QUESTION, Wording


@dataclass(frozen=True)
class Benchmark:
    """Questions of one kind.

    >>> benchmark = lens_truth.benchmark_of("mine", "answer", lens_truth.load_examples("my-rows.jsonl"))
    >>> asked = lens_truth.Benchmark("first", benchmark.mode, benchmark.examples[:50])
    """

    name: str
    mode: Mode
    """`answer`: the answer must equal the supported one; `yes-no`: the same, and the answer is yes or no; `judge`:
    the model is shown an answer and says whether it is hallucinated (yes) or not (no); `caption`: what the supported
    answer mentions is there, and a caption is right if it mentions nothing else (CHAIR)."""
    examples: tuple[Example, ...]
    """Supported examples only, except for `judge`, which shows answers of both labels."""
    wording: Wording = QUESTION
    n_new: int | None = None
    """The most tokens of an answer; by default one more than the longest right answer has."""
    objects: ObjectNames | None = None
    """What captions can mention."""
    parses: tuple[str, ...] = ("strict",)
    """How answers yes or no are read (names in `PARSES`); the first counts."""
    splits: tuple[str, ...] = ()
    """The part that each question belongs to, if results are wanted for each part too."""

    @property
    def wanted(self) -> tuple[str, ...]:
        """The right answers."""
        if self.mode == "judge":
            return tuple("yes" if e.label == HALLUCINATED else "no" for e in self.examples)
        return tuple(e.answer for e in self.examples)


def benchmark_of(
    name: str,
    mode: Mode,
    examples: Sequence[Example],
    wording: Wording | None = None,
    n_new: int | None = None,
    *,
    objects: ObjectNames | None = None,
    parses: tuple[str, ...] = ("strict",),
) -> Benchmark:
    """A benchmark from labelled examples; unless it is to be judged, a question is asked once for its supported answer.

    >>> benchmark = lens_truth.benchmark_of("mine", "judge", lens_truth.load_examples("my-rows.jsonl"))

    Args:
        objects: what captions can mention; an example's answer mentions all that is there.

    Raises:
        InputError: if no example is left, or a yes-or-no question has another answer.
    """
    kept = tuple(e for e in examples if mode == "judge" or e.label == SUPPORTED)
    if not kept:
        raise InputError(f"benchmark '{name}' has no supported example")
    if mode == "yes-no" and (other := [e for e in kept if e.answer.strip().lower() not in ("yes", "no")]):
        raise InputError(
            f"benchmark '{name}': {len(other)} of {len(kept)} questions have an answer that is not yes or no "
            f"(first: example '{other[0].id}' with '{other[0].answer}')"
        )
    return Benchmark(name, mode, kept, wording or (JUDGE if mode == "judge" else QUESTION), n_new, objects, parses)


def marked(benchmark: Benchmark, answers: Sequence[Answer]) -> BenchmarkResult:
    """The answers to a benchmark's questions, as its result."""
    margins = [answer.margin for answer in answers]
    result = BenchmarkResult(
        name=benchmark.name,
        mode=benchmark.mode,
        ids=tuple(example.id for example in benchmark.examples),
        groups=tuple(example.group for example in benchmark.examples),
        wanted=benchmark.wanted,
        texts=tuple(answer.text for answer in answers),
        parses=benchmark.parses,
        splits=benchmark.splits,
        margins=None if None in margins else np.array(margins, dtype=float),
    )
    if benchmark.objects is None:
        return replace(result, wanted=tuple(w.strip().lower() for w in result.wanted)) if result.is_yes_no else result
    there = objects_described(benchmark.name, dict(zip(result.ids, result.wanted, strict=True)), benchmark.objects)
    captions = [Caption(id, answer) for id, answer in zip(result.ids, result.answers, strict=True)]
    return replace(result, chair=score_captions(captions, there, benchmark.objects))
