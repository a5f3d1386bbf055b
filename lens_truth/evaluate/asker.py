"""`Asker`: a model and how it is asked, for an answer under any number of gates or to choose among given answers."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass

import numpy as np
import torch
from tqdm import tqdm

from lens_truth.data.examples import Example, question_pairs
from lens_truth.evaluate.answer_log import AnswerLog
from lens_truth.evaluate.answers import Answer
from lens_truth.evaluate.benchmark import Benchmark, marked
from lens_truth.evaluate.generate import generate
from lens_truth.evaluate.result import BenchmarkResult, Choice, Choices
from lens_truth.gates.gate import UNGATED, Gates, HeadGate
from lens_truth.models.batches import check_lengths, length_batches, tokenizer_of
from lens_truth.models.hooks import Hooked
from lens_truth.models.image_input import images_for
from lens_truth.models.prompts import Template, encode_prompts, prompt_of
from lens_truth.scoring.causal import answer_log_probs, encode_answers


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
    batch_size: int = 256
    """The most rows (gates x prompts) of a forward pass."""
    log: AnswerLog | None = None
    """What it holds is not computed again; new answers are added to it."""
    progress: bool = False
    """Whether a bar shows how far it is."""

    def one(self, benchmark: Benchmark) -> BenchmarkResult:
        """The answers of the model as it is, marked; errors as for `run`.

        >>> asker.one(benchmark).accuracy
        """
        return self.run(benchmark)[""]

    def run(self, benchmark: Benchmark, gates: Gates = UNGATED, margins: bool = False) -> dict[str, BenchmarkResult]:
        """Marked answers under each gate (by name; None for none), with the log-odds of yes against no if `margins`.

        Raises:
            InputError: if a prompt does not fit the context limit, or a gate does not fit the model.
        """
        answers = self.ask(benchmark, gates, margins)
        return {name: marked(benchmark, answers[name]) for name in gates}

    def ask(self, benchmark: Benchmark, gates: Gates = UNGATED, margins: bool = False) -> dict[str, list[Answer]]:
        """What the model writes to each example under each gate; arguments and errors as for `run`.

        >>> [answer.text for answer in asker.ask(benchmark)[""]]
        """
        tokenizer, examples, n_new = tokenizer_of(self.model), benchmark.examples, benchmark.n_new
        if n_new is None:  # one token more than the longest right answer shows whether the model stops there
            wanted = [f" {answer}" for answer in benchmark.wanted]
            n_new = 1 + max(map(len, tokenizer(wanted, add_special_tokens=False)["input_ids"]))
        images = images_for(self.model, examples)
        shown = [prompt_of(tokenizer, e, self.template, benchmark.wording, images) for e in examples]
        prompts = encode_prompts(tokenizer, shown, images)
        check_lengths([len(prompt.ids) + n_new for prompt in prompts], [e.id for e in examples], self.model)
        answers: dict[tuple[str, int], Answer] = {}
        keys: dict[tuple[str, int], str] = {}
        if self.log is not None:
            contents = [prompt.content for prompt in prompts]
            by_gate = {name: self.log.keys(gate, contents, n_new, margins) for name, gate in gates.items()}
            keys = {(name, row): key for name, its in by_gate.items() for row, key in enumerate(its)}
            answers = {at: known for at, key in keys.items() if (known := self.log.get(key)) is not None}
        under = {
            name: gate for name, gate in gates.items() if any((name, row) not in answers for row in range(len(prompts)))
        }
        total = sum((name, row) not in answers for name in under for row in range(len(prompts)))
        asked = generate(self.model, prompts, n_new, self.batch_size, under, margins=margins, known=frozenset(answers))
        missing = ((name, row, answer) for name, row, answer in asked if (name, row) not in answers)
        for name, row, answer in tqdm(
            missing, desc=benchmark.name, total=total, disable=not self.progress, leave=False
        ):
            if self.log is not None:
                answer = self.log.add(keys[name, row], benchmark.name, examples[row].id, name, answer)
            answers[name, row] = answer
        return {name: [answers[name, row] for row in range(len(prompts))] for name in gates}


def run_benchmark(model: Hooked, benchmark: Benchmark, template: Template, *, batch_size: int = 256) -> BenchmarkResult:
    """The model's answers, marked. Open the context of `gate.attach(model)` around it to evaluate a gate.

    >>> lens_truth.run_benchmark(model, lens_truth.zoo_benchmarks("test", 40, seed=0)[0], "chat").accuracy

    Raises:
        InputError: if a prompt does not fit the context limit.
    """
    return Asker(model, template, batch_size=batch_size).one(benchmark)


def choose(asker: Asker, examples: Sequence[Example], gate: HeadGate | None = None, seed: int = 0) -> Choices:
    """Ranks the answers of every question that has answers of both labels; the gate acts while they are read. In the
    asker's log their log-probabilities stand as margins."""
    model, log = asker.model, asker.log
    pairs = question_pairs(examples)
    encoded = encode_answers(model, examples, asker.template)
    rows = sorted({i for pair in pairs for side in pair for i in side})
    log_prob = np.zeros(len(examples))
    keys = log.keys(gate, [f"{e.content} {e.continuation}" for e in encoded], 0, False) if log is not None else []
    found = {} if log is None else {i: answer.margin for i in rows if (answer := log.get(keys[i])) is not None}
    known = {i: margin for i, margin in found.items() if margin is not None}
    log_prob[list(known)] = list(known.values())
    batches = length_batches([len(encoded[i].ids) for i in rows], asker.batch_size)
    # a batch is left out whole, so that the others are as they would be if nothing were known
    batches = [batch for batch in batches if any(rows[i] not in known for i in batch)]
    for batch in tqdm(batches, desc="choose", disable=not asker.progress, leave=False):
        some = [rows[i] for i in batch]
        with torch.no_grad(), gate.attach(model) if gate else nullcontext():
            log_prob[some] = answer_log_probs(model, [encoded[i] for i in some]).double().cpu().numpy()
        if log is not None:
            for i in some:
                answer = Answer(examples[i].answer, float(log_prob[i]))
                counts = log.add(keys[i], "choose", examples[i].id, "gate" if gate else "vanilla", answer).margin
                log_prob[i] = log_prob[i] if counts is None else counts
    per_token = log_prob / np.array([e.answer[1] - e.continuation for e in encoded])
    choices: list[Choice] = []
    for right, wrong in pairs:
        first = examples[right[0]]
        margin, margin_per_token = (float(its[right].max() - its[wrong].max()) for its in (log_prob, per_token))
        mass = np.exp(log_prob[right] - np.logaddexp.reduce(log_prob[right + wrong])).sum()
        choices.append(Choice(first.group, first.question, margin, margin_per_token, float(mass)))
    return Choices(tuple(choices), seed)
