"""`Asker`: a model and how it is asked, for an answer under any number of gates or to choose among given answers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import cast

import numpy as np

from lens_truth.data.examples import Example, question_pairs
from lens_truth.decoding.decoder import Decoder
from lens_truth.evaluate.answer_log import AnswerLog
from lens_truth.evaluate.answers import Answer, Mode
from lens_truth.evaluate.benchmark import Benchmark, chosen, marked
from lens_truth.evaluate.choices import Choice, Choices, choices_of
from lens_truth.evaluate.decoded import Others, decoded
from lens_truth.evaluate.generate import Questions, answered, yes_no_tokens
from lens_truth.evaluate.result import MARGIN, BenchmarkResult
from lens_truth.gates.rows import UNGATED, Gates, Intervention, distinct
from lens_truth.io.files import hash_of
from lens_truth.io.stages import bar
from lens_truth.models.batches import check_lengths, tokenizer_of
from lens_truth.models.budget import Budget
from lens_truth.models.hooks import Hooked
from lens_truth.models.image_input import images_for
from lens_truth.models.prompts import QUESTION, Encoded, Template, encode_prompts, prompt_of
from lens_truth.scoring.causal import encode_answers

Ways = Mapping[str, Intervention | Decoder | None]
"""Gates, shifts and decoders by name; None leaves the model as it is."""
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
    benchmark: Benchmark | None = None
    """None of answers that are ranked."""


@dataclass(frozen=True)
class Asker:
    """A model and how it is asked. Wherever gates are given, decoders (`ContextAware`, `DoLa`, ...) can stand among
    them.

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

    def run(self, benchmark: Benchmark, gates: Ways = UNGATED, margins: bool = False) -> dict[str, BenchmarkResult]:
        """Marked answers under each gate (by name; None for none), with the log-odds of yes against no if `margins`, or
        if the benchmark is read by them.

        Raises:
            InputError: if a prompt does not fit the context limit, or a gate does not fit the model.
        """
        return self.run_all([benchmark], gates, margins)[benchmark.name]

    def run_all(
        self, benchmarks: Sequence[Benchmark], gates: Ways = UNGATED, margins: bool = False
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

    def ask(self, benchmark: Benchmark, gates: Ways = UNGATED, margins: bool = False) -> dict[str, list[Answer]]:
        """What the model writes to each example under each gate; arguments and errors as for `run`.

        >>> [answer.text for answer in asker.ask(benchmark)[""]]
        """
        return self._answers([self._written(benchmark, margins)], gates)[0]

    def rank(
        self, examples: Sequence[Example], gates: Ways = UNGATED, name: str = "choose"
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
        return _Set(benchmark.name, benchmark.examples, questions, contents, benchmark)

    def _ranked(self, name: str, examples: Sequence[Example]) -> _Set:
        examples = [examples[i] for i in sorted(i for pair in question_pairs(examples) for side in pair for i in side)]
        encoded = encode_answers(self.model, examples, self.template)
        contents = [f"{e.content} {e.continuation}" for e in encoded]
        return _Set(name, tuple(examples), Questions(encoded, 0), contents)

    def _answers(self, sets: Sequence[_Set], wanted: Ways) -> list[dict[str, list[Answer]]]:
        """Every answer, by set and name: gates together, decoders one after the other."""
        gates = {name: _without_decoder(its) for name, its in wanted.items() if not _decodes(its)}
        found = self._gated(sets, gates) if gates else [dict[str, list[Answer]]() for _ in sets]
        for name, decoder in wanted.items():
            if isinstance(decoder, Decoder) and name not in gates:
                for its, answers in zip(found, self._decoded(sets, name, decoder), strict=True):
                    its[name] = answers
        return [{name: its[name] for name in wanted} for its in found]

    def _gated(self, sets: Sequence[_Set], wanted: Gates) -> list[dict[str, list[Answer]]]:
        """From the log or made now; of gates that do the same one is asked."""
        first, gates = distinct(wanted, self.model)
        every = [(n, name, row) for n, its in enumerate(sets) for name in gates for row in range(len(its.contents))]
        keys = {
            (number, name): self._keys(gate, its.contents, its.questions)
            for (number, its), (name, gate) in product(enumerate(sets), gates.items())
        }
        answers = {at: known for at in every if (known := self._known(keys[at[:2]], at[2])) is not None}
        lack = {name for number, name, row in every if (number, name, row) not in answers}
        acting = {name: gate for name, gate in gates.items() if name in lack}
        budget = Budget.of(self.model, self.batch_size, rows=_ROWS)
        made = answered(self.model, [its.questions for its in sets], acting, budget=budget, known=frozenset(answers))
        desc, lacking = ", ".join(its.name for its in sets), len(every) - len(answers)
        with bar(None, desc, lacking, shown=self.progress) as done:
            for asked, answer in made:
                if asked not in answers:
                    number, name, row = asked
                    answers[asked] = self._kept(sets[number], row, name, keys[number, name], answer)
                    done.update()
        return [
            {name: [answers[number, first[name], row] for row in range(len(its.contents))] for name in wanted}
            for number, its in enumerate(sets)
        ]

    def _decoded(self, sets: Sequence[_Set], name: str, decoder: Decoder) -> list[list[Answer]]:
        """The same of one decoder."""
        decoder.check(self.model)
        asked, others = zip(*(self._under(its, decoder) for its in sets), strict=True)
        keys = list[list[str]]()
        for questions, seconds in zip(asked, others, strict=True):
            pairs = zip(questions.rows, seconds, strict=True)
            contents = [hash_of(row.content, other.content if other else "") for row, other in pairs]
            if not questions.n_new:
                contents = [
                    f"{its} {cast('Encoded', row).continuation}"
                    for its, row in zip(contents, questions.rows, strict=True)
                ]
            keys.append(self._keys(decoder, contents, questions))
        every = [(number, row) for number, its in enumerate(asked) for row in range(len(its.rows))]
        answers = {at: known for at in every if (known := self._known(keys[at[0]], at[1])) is not None}
        budget = Budget.of(self.model, self.batch_size)
        made = decoded(self.model, asked, others, decoder, budget=budget, known=frozenset(answers))
        desc = f"{name}: {', '.join(its.name for its in sets)}"
        with bar(None, desc, len(every) - len(answers), shown=self.progress) as done:
            for at, answer in made:
                if at not in answers:
                    answers[at] = self._kept(sets[at[0]], at[1], name, keys[at[0]], answer)
                    done.update()
        return [[answers[number, row] for row in range(len(its.rows))] for number, its in enumerate(asked)]

    def _under(self, its: _Set, decoder: Decoder) -> tuple[Questions, Others]:
        """A set's questions as a decoder puts them, and what its second pass is shown."""
        beside = [decoder.other(example) for example in its.examples]
        examples = [example for example in beside if example is not None]

        def put(some: Sequence[Example]) -> Questions:
            if its.benchmark is None:
                wording = decoder.worded(QUESTION)
                return Questions(encode_answers(self.model, some, self.template, wording) if some else [], 0)
            wording, n_new = decoder.worded(its.benchmark.wording), its.questions.n_new
            benchmark = replace(its.benchmark, examples=tuple(some), wording=wording, n_new=n_new)
            return questions_of(self.model, benchmark, self.template, its.questions.margins)

        rows = iter(put(examples).rows if examples else [])
        return put(its.examples), [None if example is None else next(rows) for example in beside]

    def _keys(self, way: Intervention | Decoder | None, contents: Sequence[str], asked: Questions) -> list[str]:
        return [] if self.log is None else self.log.keys(way, contents, asked.n_new, asked.margins)

    def _known(self, keys: Sequence[str], row: int) -> Answer | None:
        return None if self.log is None else self.log.get(keys[row])

    def _kept(self, its: _Set, row: int, name: str, keys: Sequence[str], answer: Answer) -> Answer:
        """An answer as it counts: with the text of a given one, as the log has it first."""
        example = its.examples[row]
        if not its.questions.n_new:
            answer = Answer(example.answer, answer.margin)
        return answer if self.log is None else self.log.add(keys[row], its.name, example.id, name, answer)


def _decodes(way: Intervention | Decoder | None) -> bool:
    return isinstance(way, Decoder) and way.does is not None


def _without_decoder(way: Intervention | Decoder | None) -> Intervention | None:
    return way.gate if isinstance(way, Decoder) else way


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
