"""`Asker`: a model and how it is asked, for an answer under any number of gates or to choose among given answers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from typing import cast

import numpy as np

from lens_truth.data.examples import Example, question_pairs
from lens_truth.evaluate.answer_log import AnswerLog
from lens_truth.evaluate.answers import Answer, Mode
from lens_truth.evaluate.benchmark import Benchmark, chosen, marked
from lens_truth.evaluate.choices import Choice, Choices, choices_of
from lens_truth.evaluate.generate import Asked, Questions, answered, yes_no_tokens
from lens_truth.evaluate.result import MARGIN, BenchmarkResult
from lens_truth.gates.rows import UNGATED, Gates, Intervention, distinct
from lens_truth.io.stages import bar
from lens_truth.models.batches import check_lengths, tokenizer_of
from lens_truth.models.budget import Budget
from lens_truth.models.hooks import Hooked
from lens_truth.models.image_input import images_for
from lens_truth.models.prompts import Encoded, Template, encode_prompts, prompt_of
from lens_truth.scoring.causal import encode_answers

_ROOM: dict[Mode, int] = {"answer": 16, "yes-no": 4, "judge": 4, "caption": 1}
"""Tokens beyond those of the longest right answer: a sentence around a short one, a line break before yes or no."""
_ROWS = 128
"""At once on a CPU, unless more are asked for: every token that is written costs a pass over all weights."""


@dataclass(frozen=True)
class _Set:
    """Some questions and by what their answers are known."""

    name: str
    """Of the benchmark."""
    examples: tuple[Example, ...]
    questions: Questions
    contents: list[str]
    """What the model is shown, as keys."""


@dataclass(frozen=True)
class Asker:
    """A model and how it is asked.

    >>> asker = lens_truth.Asker(lens_truth.load("zoo:llama-memory-chat"), "chat", batch_size=64)
    >>> accuracy = asker.run(benchmark, {"vanilla": None, "gated": gate})["gated"].accuracy
    """

    model: Hooked
    template: Template
    """`plain` for the benchmark's own wording, `chat` for the model's chat template."""
    name: str = "model"
    """Of the model, in results and messages."""
    batch_size: int | None = None
    """The most rows (gates x prompts) of up to 64 tokens in a forward pass, fewer of longer ones; by default what fits
    (`lens_truth.models.budget`)."""
    log: AnswerLog | None = None
    """What it holds is not computed again; new answers are added to it."""
    progress: bool = False
    """Whether a bar shows how far it is."""

    @property
    def has_margins(self) -> bool:
        """Whether the tokenizer tells yes from no by a token."""
        return all(yes_no_tokens(tokenizer_of(self.model)))

    def one(self, benchmark: Benchmark) -> BenchmarkResult:
        """The answers of the model as it is, marked; errors as for `run`.

        >>> asker.one(benchmark).accuracy
        """
        return self.run(benchmark)[""]

    def run(self, benchmark: Benchmark, gates: Gates = UNGATED, margins: bool = False) -> dict[str, BenchmarkResult]:
        """Marked answers under each gate (by name; None for none), with the log-odds of yes against no if `margins`, or
        if the benchmark is read by them.

        Raises:
            InputError: if a prompt does not fit the context limit, or a gate does not fit the model.
        """
        return self.run_all([benchmark], gates, margins)[benchmark.name]

    def run_all(
        self, benchmarks: Sequence[Benchmark], gates: Gates = UNGATED, margins: bool = False
    ) -> dict[str, dict[str, BenchmarkResult]]:
        """The same of several benchmarks (of different names), by benchmark and gate, asked together: questions that
        are put in several ways go through the model once a gate, as far as the ways begin alike.

        >>> results = asker.run_all(lens_truth.zoo_benchmarks("test", 40, seed=0), {"vanilla": None, "gated": gate})
        """
        wanted = [margins or MARGIN in benchmark.parses for benchmark in benchmarks]
        sets = [
            self._ranked(its.name, its.examples) if its.mode == "choose" else self._written(its, log_odds)
            for its, log_odds in zip(benchmarks, wanted, strict=True)
        ]
        found = self._answers(sets, gates)
        results: dict[str, dict[str, BenchmarkResult]] = {}
        for its, asked, by_gate in zip(benchmarks, sets, found, strict=True):
            of_gate = _choices(asked, by_gate) if its.mode == "choose" else {}
            results[its.name] = {
                gate: chosen(its, of_gate[gate]) if of_gate else marked(its, answers)
                for gate, answers in by_gate.items()
            }
        return results

    def ask(self, benchmark: Benchmark, gates: Gates = UNGATED, margins: bool = False) -> dict[str, list[Answer]]:
        """What the model writes to each example under each gate; arguments and errors as for `run`.

        >>> [answer.text for answer in asker.ask(benchmark)[""]]
        """
        return self._answers([self._written(benchmark, margins)], gates)[0]

    def rank(
        self, examples: Sequence[Example], gates: Gates = UNGATED, name: str = "choose"
    ) -> dict[str, tuple[Choice, ...]]:
        """How likely the answers of every question that has answers of both labels are, under each gate. In the log
        their log-probabilities stand as margins.

        >>> [choice.margin for choice in asker.rank(examples)[""]]

        Raises:
            InputError: if there is no such question, or an answer is empty or would be cut off.
        """
        asked = self._ranked(name, examples)
        return _choices(asked, self._answers([asked], gates)[0])

    def _written(self, benchmark: Benchmark, margins: bool) -> _Set:
        questions = questions_of(self.model, benchmark, self.template, margins)
        contents = [prompt.content for prompt in questions.rows]
        return _Set(benchmark.name, benchmark.examples, questions, contents)

    def _ranked(self, name: str, examples: Sequence[Example]) -> _Set:
        examples = [examples[i] for i in sorted(i for pair in question_pairs(examples) for side in pair for i in side)]
        encoded = encode_answers(self.model, examples, self.template)
        contents = [f"{e.content} {e.continuation}" for e in encoded]
        return _Set(name, tuple(examples), Questions(encoded, 0), contents)

    def _answers(self, sets: Sequence[_Set], wanted: Gates) -> list[dict[str, list[Answer]]]:
        """Every answer, by set and gate, from the log or made now; of gates that do the same one is asked."""
        first, gates = distinct(wanted, self.model)
        log, keys, answers = self.log, dict[tuple[int, str], list[str]](), dict[Asked, Answer]()
        for (number, its), (name, gate) in product(enumerate(sets), gates.items()):
            if log is not None:
                keys[number, name] = log.keys(gate, its.contents, its.questions.n_new, its.questions.margins)
                known = ((row, log.get(key)) for row, key in enumerate(keys[number, name]))
                answers |= {(number, name, row): answer for row, answer in known if answer is not None}
        every = [(n, name, row) for n, its in enumerate(sets) for name in gates for row in range(len(its.contents))]
        lack = {name for number, name, row in every if (number, name, row) not in answers}
        acting = {name: gate for name, gate in gates.items() if name in lack}
        budget = Budget.of(self.model, self.batch_size, rows=_ROWS)
        made = answered(self.model, [its.questions for its in sets], acting, budget=budget, known=frozenset(answers))
        desc, lacking = ", ".join(its.name for its in sets), len(every) - len(answers)
        with bar(None, desc, lacking, shown=self.progress) as done:
            for asked, answer in made:
                if asked in answers:
                    continue
                number, name, row = asked
                example = sets[number].examples[row]
                if not sets[number].questions.n_new:
                    answer = Answer(example.answer, answer.margin)
                if log is not None:
                    answer = log.add(keys[number, name][row], sets[number].name, example.id, name, answer)
                answers[asked] = answer
                done.update()
        return [
            {name: [answers[number, first[name], row] for row in range(len(its.contents))] for name in wanted}
            for number, its in enumerate(sets)
        ]


def questions_of(model: Hooked, benchmark: Benchmark, template: Template, margins: bool = False) -> Questions:
    """What a model is shown of a benchmark whose answers it writes, and how long they may be."""
    tokenizer, examples, n_new = tokenizer_of(model), benchmark.examples, benchmark.n_new
    if n_new is None:
        wanted = [f" {answer}" for answer in benchmark.wanted]
        longest = max(map(len, tokenizer(wanted, add_special_tokens=False)["input_ids"]))
        n_new = longest + _ROOM[benchmark.mode]
    images = images_for(model, examples)
    shown = [prompt_of(tokenizer, e, template, benchmark.wording, images) for e in examples]
    prompts = encode_prompts(tokenizer, shown, images)
    check_lengths([len(prompt.ids) + n_new for prompt in prompts], [e.id for e in examples], model)
    return Questions(prompts, n_new, margins)


def _choices(asked: _Set, answers: dict[str, list[Answer]]) -> dict[str, tuple[Choice, ...]]:
    tokens = [cast("Encoded", row).n_answer_tokens for row in asked.questions.rows]
    margins = {gate: np.array([answer.margin for answer in its], dtype=float) for gate, its in answers.items()}
    return {gate: choices_of(asked.examples, tokens, its) for gate, its in margins.items()}


def run_benchmark(
    model: Hooked, benchmark: Benchmark, template: Template, *, batch_size: int | None = None
) -> BenchmarkResult:
    """The model's answers, marked. Open the context of `gate.attach(model)` around it to evaluate a gate.

    >>> lens_truth.run_benchmark(model, lens_truth.zoo_benchmarks("test", 40, seed=0)[0], "chat").accuracy

    Raises:
        InputError: if a prompt does not fit the context limit.
    """
    return Asker(model, template, batch_size=batch_size).one(benchmark)


def choose(asker: Asker, examples: Sequence[Example], gate: Intervention | None = None, seed: int = 0) -> Choices:
    """Ranks the answers of every question that has answers of both labels, under a gate or as the model is."""
    name = "gate" if gate else "vanilla"
    return Choices(asker.rank(examples, {name: gate})[name], seed)
