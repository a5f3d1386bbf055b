"""`Asker`: a model and how it is asked, for an answer under any number of gates or to choose among given answers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from tqdm import tqdm

from lens_truth.data.examples import Example, question_pairs
from lens_truth.evaluate.answer_log import AnswerLog
from lens_truth.evaluate.answers import Answer, Mode
from lens_truth.evaluate.benchmark import Benchmark, chosen, marked
from lens_truth.evaluate.choices import Choice, Choices, choices_of
from lens_truth.evaluate.generate import generate, yes_no_tokens
from lens_truth.evaluate.rank import log_probs
from lens_truth.evaluate.result import MARGIN, BenchmarkResult
from lens_truth.evaluate.shared import Place
from lens_truth.gates.gate import UNGATED, Gates, HeadGate
from lens_truth.models.batches import check_lengths, tokenizer_of
from lens_truth.models.hooks import Hooked
from lens_truth.models.image_input import images_for
from lens_truth.models.prompts import Template, encode_prompts, prompt_of
from lens_truth.scoring.causal import encode_answers

_ROOM: dict[Mode, int] = {"answer": 16, "yes-no": 4, "judge": 4, "caption": 1}
"""Tokens beyond those of the longest right answer: a sentence around a short one, a line break before yes or no."""
_Made = Callable[[Gates, Collection[Place]], Iterable[tuple[str, int, Answer]]]
"""(gate, row, answer) of all rows under some gates, but for batches of which every answer is known."""


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
    batch_size: int = 128
    """The most rows (gates x prompts) of a forward pass; fewer where they have more than 64 tokens, or the vocabulary
    is large."""
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
        if benchmark.mode == "choose":
            ranked = self.rank(benchmark.examples, gates, benchmark.name)
            return {name: chosen(benchmark, ranked[name]) for name in gates}
        answers = self.ask(benchmark, gates, margins or MARGIN in benchmark.parses)
        return {name: marked(benchmark, answers[name]) for name in gates}

    def ask(self, benchmark: Benchmark, gates: Gates = UNGATED, margins: bool = False) -> dict[str, list[Answer]]:
        """What the model writes to each example under each gate; arguments and errors as for `run`.

        >>> [answer.text for answer in asker.ask(benchmark)[""]]
        """
        tokenizer, examples, n_new = tokenizer_of(self.model), benchmark.examples, benchmark.n_new
        if n_new is None:
            wanted = [f" {answer}" for answer in benchmark.wanted]
            longest = max(map(len, tokenizer(wanted, add_special_tokens=False)["input_ids"]))
            n_new = longest + _ROOM[benchmark.mode]
        images = images_for(self.model, examples)
        shown = [prompt_of(tokenizer, e, self.template, benchmark.wording, images) for e in examples]
        prompts = encode_prompts(tokenizer, shown, images)
        check_lengths([len(prompt.ids) + n_new for prompt in prompts], [e.id for e in examples], self.model)

        def made(under: Gates, known: Collection[Place]) -> Iterable[tuple[str, int, Answer]]:
            return generate(self.model, prompts, n_new, self.batch_size, under, margins=margins, known=known)

        keys = self._keys(gates, [prompt.content for prompt in prompts], n_new, margins)
        return self._answers(benchmark.name, [e.id for e in examples], gates, keys, made)

    def rank(
        self, examples: Sequence[Example], gates: Gates = UNGATED, name: str = "choose"
    ) -> dict[str, tuple[Choice, ...]]:
        """How likely the answers of every question that has answers of both labels are, under each gate. In the log
        their log-probabilities stand as margins.

        >>> [choice.margin for choice in asker.rank(examples)[""]]

        Raises:
            InputError: if there is no such question, or an answer is empty or would be cut off.
        """
        examples = [examples[i] for i in sorted(i for pair in question_pairs(examples) for side in pair for i in side)]
        encoded = encode_answers(self.model, examples, self.template)

        def made(under: Gates, known: Collection[Place]) -> Iterable[tuple[str, int, Answer]]:
            for gate, row, found in log_probs(self.model, encoded, self.batch_size, under, known):
                yield gate, row, Answer(examples[row].answer, found)

        keys = self._keys(gates, [f"{e.content} {e.continuation}" for e in encoded], 0, False)
        answers = self._answers(name, [e.id for e in examples], gates, keys, made)
        tokens = [e.n_answer_tokens for e in encoded]
        margins = {gate: np.array([answer.margin for answer in its], dtype=float) for gate, its in answers.items()}
        return {gate: choices_of(examples, tokens, its) for gate, its in margins.items()}

    def _keys(self, gates: Gates, contents: Sequence[str], n_new: int, margins: bool) -> dict[str, list[str]]:
        """Of each gate's answers in the log; none without a log."""
        log = self.log
        return {} if log is None else {name: log.keys(gate, contents, n_new, margins) for name, gate in gates.items()}

    def _answers(
        self, name: str, ids: Sequence[str], gates: Gates, keys: dict[str, list[str]], made: _Made
    ) -> dict[str, list[Answer]]:
        """Every answer, from the log or made now."""
        answers: dict[tuple[str, int], Answer] = {}
        if self.log is not None:
            at = {(gate, row): key for gate, its in keys.items() for row, key in enumerate(its)}
            answers = {place: known for place, key in at.items() if (known := self.log.get(key)) is not None}
        lacking = Counter(gate for gate in gates for row in range(len(ids)) if (gate, row) not in answers)
        asked = made({gate: gates[gate] for gate in lacking}, frozenset(answers))
        found = (one for one in asked if one[:2] not in answers)
        for gate, row, answer in tqdm(found, desc=name, total=lacking.total(), disable=not self.progress, leave=False):
            if self.log is not None:
                answer = self.log.add(keys[gate][row], name, ids[row], gate, answer)
            answers[gate, row] = answer
        return {gate: [answers[gate, row] for row in range(len(ids))] for gate in gates}


def run_benchmark(model: Hooked, benchmark: Benchmark, template: Template, *, batch_size: int = 128) -> BenchmarkResult:
    """The model's answers, marked. Open the context of `gate.attach(model)` around it to evaluate a gate.

    >>> lens_truth.run_benchmark(model, lens_truth.zoo_benchmarks("test", 40, seed=0)[0], "chat").accuracy

    Raises:
        InputError: if a prompt does not fit the context limit.
    """
    return Asker(model, template, batch_size=batch_size).one(benchmark)


def choose(asker: Asker, examples: Sequence[Example], gate: HeadGate | None = None, seed: int = 0) -> Choices:
    """Ranks the answers of every question that has answers of both labels, under a gate or as the model is."""
    name = "gate" if gate else "vanilla"
    return Choices(asker.rank(examples, {name: gate})[name], seed)
