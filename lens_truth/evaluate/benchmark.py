"""A benchmark is questions with known answers; running one lets the model write, and marks what it wrote."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from jaxtyping import Float
from tqdm import tqdm

from lens_truth.data.examples import HALLUCINATED, SUPPORTED, Example
from lens_truth.errors import InputError
from lens_truth.evaluate.answer_log import AnswerLog
from lens_truth.evaluate.answers import first_line, normalized, token_f1, yes_or_no
from lens_truth.evaluate.binary import binary_metrics
from lens_truth.evaluate.chair import Caption, ChairScore, ObjectNames, objects_described, score_captions
from lens_truth.evaluate.generate import Answer, generate
from lens_truth.gates.row_gates import UNGATED, Gates
from lens_truth.models.batches import check_lengths, tokenizer_of
from lens_truth.models.image_input import images_for
from lens_truth.models.prompts import JUDGE, QUESTION, Template, Wording, encode_prompts, prompt_of

Mode = Literal["answer", "yes-no", "judge", "caption"]


@dataclass(frozen=True)
class Benchmark:
    """Questions of one kind."""

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

    @property
    def wanted(self) -> tuple[str, ...]:
        """The right answers."""
        if self.mode == "judge":
            return tuple("yes" if e.label == HALLUCINATED else "no" for e in self.examples)
        return tuple(e.answer for e in self.examples)


@dataclass(frozen=True)
class Outcome:
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


def benchmark_of(
    name: str, mode: Mode, examples: Sequence[Example], wording: Wording | None = None, n_new: int | None = None
) -> Benchmark:
    """A benchmark from labelled examples; unless it is to be judged, a question is asked once for its supported answer.

    Raises:
        InputError: if no example is left, or a yes-or-no question has another answer.
    """
    kept = tuple(e for e in examples if mode == "judge" or e.label == SUPPORTED)
    if not kept:
        raise InputError(f"benchmark '{name}' has no supported example")
    if mode == "yes-no":
        other = [e for e in kept if e.answer.strip().lower() not in ("yes", "no")]
        if other:
            raise InputError(
                f"benchmark '{name}': {len(other)} of {len(kept)} questions have an answer that is not yes or no "
                f"(first: example '{other[0].id}' with '{other[0].answer}')"
            )
    return Benchmark(name, mode, kept, wording or (JUDGE if mode == "judge" else QUESTION), n_new)


def caption_benchmark(
    name: str, examples: Sequence[Example], objects: ObjectNames, wording: Wording | None = None
) -> Benchmark:
    """Captions of images (or summaries of scenes); an example's answer mentions all that is there.

    Raises:
        InputError: if no supported example is left.
    """
    return replace(benchmark_of(name, "caption", examples, wording), objects=objects)


def run_benchmark(model: Any, benchmark: Benchmark, template: Template, *, batch_size: int = 256) -> Outcome:
    """The model's answers, marked. Open the context of `gate.attach(model)` around it to evaluate a gate.

    Raises:
        InputError: if a prompt does not fit the context limit.
    """
    return run_gates(model, benchmark, template, UNGATED, batch_size=batch_size)[""]


def run_gates(
    model: Any,
    benchmark: Benchmark,
    template: Template,
    gates: Gates,
    *,
    batch_size: int = 256,
    margins: bool = False,
    log: AnswerLog | None = None,
    progress: bool = False,
) -> dict[str, Outcome]:
    """The model's answers under each of several gates (run together, see `generate`), marked.

    Args:
        margins: also the log-odds of yes against no.
        log: what it holds is not computed again; new answers are added to it.

    Raises:
        InputError: if a prompt does not fit the context limit, or a gate does not fit the model.
    """
    # One token more than the longest right answer shows whether the model stops there.
    wanted = tokenizer_of(model)([f" {answer}" for answer in benchmark.wanted], add_special_tokens=False)["input_ids"]
    n_new = benchmark.n_new or 1 + max(map(len, wanted))
    answers = ask_examples(
        model,
        benchmark.name,
        benchmark.examples,
        benchmark.wording,
        n_new,
        template,
        gates,
        batch_size=batch_size,
        margins=margins,
        log=log,
        progress=progress,
    )
    return {name: _mark(benchmark, answers[name]) for name in gates}


def ask_examples(
    model: Any,
    benchmark: str,
    examples: Sequence[Example],
    wording: Wording,
    n_new: int,
    template: Template,
    gates: Gates,
    *,
    batch_size: int,
    margins: bool = False,
    log: AnswerLog | None = None,
    progress: bool = False,
) -> dict[str, list[Answer]]:
    """What the model writes to each example under each gate; arguments and errors as for `run_gates`."""
    tokenizer = tokenizer_of(model)
    images = images_for(model, examples)
    prompts = encode_prompts(tokenizer, [prompt_of(tokenizer, e, template, wording, images) for e in examples], images)
    check_lengths([len(prompt.ids) + n_new for prompt in prompts], [e.id for e in examples], model)
    answers: dict[tuple[str, int], Answer] = {}
    keys: dict[tuple[str, int], str] = {}
    if log is not None:
        contents = [prompt.content for prompt in prompts]
        for name, gate in gates.items():
            for row, key in enumerate(log.keys(gate, contents, n_new, margins)):
                keys[name, row] = key
                if (known := log.get(key)) is not None:
                    answers[name, row] = known
    # What is missing is a rectangle, unless a run was killed inside a batch; then a few answers are made twice.
    names = [name for name in gates if any((name, row) not in answers for row in range(len(prompts)))]
    rows = [row for row in range(len(prompts)) if any((name, row) not in answers for name in names)]
    asked = generate(
        model, [prompts[r] for r in rows], n_new, batch_size, {n: gates[n] for n in names}, margins=margins
    )
    for name, i, answer in tqdm(asked, desc=benchmark, total=len(names) * len(rows), disable=not progress, leave=False):
        # The answer that was written down counts, also where rounding would have made another.
        answers.setdefault((name, rows[i]), answer)
        if log is not None:
            log.add(keys[name, rows[i]], benchmark, examples[rows[i]].id, name, answer)
    return {name: [answers[name, row] for row in range(len(prompts))] for name in gates}


def _mark(benchmark: Benchmark, answers: Sequence[Answer]) -> Outcome:
    texts, gold = tuple(answer.text for answer in answers), benchmark.wanted
    groups = tuple(example.group for example in benchmark.examples)
    if benchmark.mode == "caption":
        return _mark_captions(benchmark, texts, groups)
    if benchmark.mode == "answer":
        lines = [first_line(text) for text in texts]
        correct = np.array([normalized(s) == normalized(g) for s, g in zip(lines, gold, strict=True)], dtype=float)
        f1 = float(np.mean([token_f1(s, g) for s, g in zip(lines, gold, strict=True)]))
        return Outcome(correct, groups, f1, None, float(np.mean([not line for line in lines])), texts)
    said, wanted = [yes_or_no(text) for text in texts], [answer.strip().lower() for answer in gold]
    metrics = binary_metrics(said, wanted)
    return Outcome(
        correct=np.array([s == w for s, w in zip(said, wanted, strict=True)], dtype=float),
        groups=groups,
        f1=metrics.f1 or 0.0,
        yes_ratio=metrics.yes_ratio,
        unparsed=metrics.unparsed,
        texts=texts,
        margins=np.array([answer.margin for answer in answers], dtype=float) if answers[0].margin is not None else None,
    )


def _mark_captions(benchmark: Benchmark, texts: tuple[str, ...], groups: tuple[str, ...]) -> Outcome:
    names = benchmark.objects
    assert names is not None  # `caption_benchmark` has seen to it
    lines = [first_line(text) for text in texts]
    there = objects_described(benchmark.name, {e.id: e.answer for e in benchmark.examples}, names)
    captions = [Caption(e.id, line) for e, line in zip(benchmark.examples, lines, strict=True)]
    score = score_captions(captions, there, names)
    precision, recall = score.precision or 0.0, score.recall or 0.0
    return Outcome(
        correct=np.array([not caption.hallucinated for caption in score.captions], dtype=float),
        groups=groups,
        f1=2 * precision * recall / (precision + recall) if precision + recall else 0.0,
        yes_ratio=None,
        unparsed=float(np.mean([not line for line in lines])),
        texts=texts,
        chair=score,
    )
