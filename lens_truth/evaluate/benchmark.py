"""A benchmark is questions with known answers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from lens_truth.data.examples import HALLUCINATED, SUPPORTED, Example, question_pairs, rows_by_question
from lens_truth.errors import InputError
from lens_truth.evaluate.answers import Answer, Mode
from lens_truth.evaluate.chair import Caption, ObjectNames, objects_described, score_captions
from lens_truth.evaluate.choices import Choice
from lens_truth.evaluate.result import BenchmarkResult
from lens_truth.models.prompts import JUDGE, QUESTION, Wording

_PARSES: dict[Mode, tuple[str, ...]] = {"answer": ("strict", "contains"), "choose": ("total", "per token")}


@dataclass(frozen=True)
class Benchmark:
    """Questions of one kind.

    >>> benchmark = lens_truth.benchmark_of("mine", "answer", lens_truth.load_examples("my-rows.jsonl"))
    >>> asked = lens_truth.Benchmark("first", benchmark.mode, benchmark.examples[:50])
    """

    name: str
    mode: Mode
    """`answer`: the answer must be the supported one; `choose`: of a question's answers the supported one must be the
    likelier, nothing is written; `yes-no`: the answer is yes or no; `judge`: the model is shown an answer and says
    whether it is hallucinated (yes) or not (no); `caption`: what the supported answer mentions is there, and a caption
    is right if it mentions nothing else (CHAIR)."""
    examples: tuple[Example, ...]
    """Supported examples only, except for `judge` and `choose`, which show answers of both labels."""
    wording: Wording = QUESTION
    n_new: int | None = None
    """The most tokens of an answer; by default 16 more than the longest right answer has, which leaves room for a
    sentence, 4 more for yes or no, and 1 more for captions."""
    objects: ObjectNames | None = None
    """What captions can mention."""
    parses: tuple[str, ...] = ("strict",)
    """How answers are read, as in `BenchmarkResult`; the first counts."""
    splits: tuple[str, ...] = ()
    """The part that each question belongs to, if results are wanted for each part too."""

    @property
    def wanted(self) -> tuple[str, ...]:
        """The right answers."""
        if self.mode == "choose":
            return tuple(self.examples[right[0]].answer for right, _ in question_pairs(self.examples))
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
    parses: tuple[str, ...] = (),
) -> Benchmark:
    """A benchmark from labelled examples; unless it is to be judged or chosen from, only for supported answers. To an
    open question (`answer`), which is asked once, any of its supported answers is right, and any of their aliases.

    >>> benchmark = lens_truth.benchmark_of("mine", "judge", lens_truth.load_examples("my-rows.jsonl"))

    Args:
        objects: what captions can mention; an example's answer mentions all that is there.
        parses: by default open answers are read by `strict` and `contains`, choices by `total` and `per token`.

    Raises:
        InputError: if no example is left, a yes-or-no question has another answer, or no question has answers of both
            labels to choose from.
    """
    kept = tuple(e for e in examples if mode in ("judge", "choose") or e.label == SUPPORTED)
    if not kept:
        raise InputError(f"benchmark '{name}' has no supported example")
    if mode == "yes-no" and (other := [e for e in kept if e.answer.strip().lower() not in ("yes", "no")]):
        raise InputError(
            f"benchmark '{name}': {len(other)} of {len(kept)} questions have an answer that is not yes or no "
            f"(first: example '{other[0].id}' with '{other[0].answer}')"
        )
    if mode == "choose":
        kept = tuple(kept[row] for row in sorted(row for pair in question_pairs(kept) for side in pair for row in side))
    if mode == "answer":
        kept = tuple(_asked_once([kept[row] for row in rows]) for rows in rows_by_question(kept))
    parses = parses or _PARSES.get(mode, ("strict",))
    return Benchmark(name, mode, kept, wording or (JUDGE if mode == "judge" else QUESTION), n_new, objects, parses)


def _asked_once(rows: Sequence[Example]) -> Example:
    """The first of a question's rows, with all other answers as its aliases."""
    first, answers = rows[0], dict.fromkeys(answer for row in rows for answer in (row.answer, *row.aliases))
    return replace(first, aliases=tuple(answer for answer in answers if answer != first.answer))


def marked(benchmark: Benchmark, answers: Sequence[Answer]) -> BenchmarkResult:
    """The answers to a benchmark's questions, as its result."""
    margins = [answer.margin for answer in answers]
    also = tuple(example.aliases for example in benchmark.examples)
    result = BenchmarkResult(
        name=benchmark.name,
        mode=benchmark.mode,
        ids=tuple(example.id for example in benchmark.examples),
        groups=tuple(example.group for example in benchmark.examples),
        wanted=benchmark.wanted,
        texts=tuple(answer.text for answer in answers),
        parses=benchmark.parses,
        splits=benchmark.splits,
        also=also if benchmark.mode == "answer" and any(also) else (),
        margins=None if None in margins else np.array(margins, dtype=float),
    )
    if benchmark.objects is None:
        return replace(result, wanted=tuple(w.strip().lower() for w in result.wanted)) if result.is_yes_no else result
    there = objects_described(benchmark.name, dict(zip(result.ids, result.wanted, strict=True)), benchmark.objects)
    captions = [Caption(id, answer) for id, answer in zip(result.ids, result.answers, strict=True)]
    return replace(result, chair=score_captions(captions, there, benchmark.objects))


def chosen(benchmark: Benchmark, choices: Sequence[Choice]) -> BenchmarkResult:
    """The ranked answers to a benchmark's questions, as its result."""
    sides = question_pairs(benchmark.examples)
    both = [tuple(benchmark.examples[side[0]] for side in pair) for pair in sides]
    return BenchmarkResult(
        name=benchmark.name,
        mode="choose",
        ids=tuple(right.id for right, _ in both),
        groups=tuple(right.group for right, _ in both),
        wanted=tuple(right.answer for right, _ in both),
        texts=tuple(pair[choice.margin <= 0].answer for pair, choice in zip(both, choices, strict=True)),
        parses=benchmark.parses,
        choices=tuple(choices),
    )
