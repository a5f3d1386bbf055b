"""`Asker`: a model and how it is asked; with it a benchmark is run under any number of gates."""

from __future__ import annotations

from dataclasses import dataclass

from tqdm import tqdm

from lens_truth.evaluate.answer_log import AnswerLog
from lens_truth.evaluate.answers import Answer
from lens_truth.evaluate.benchmark import Benchmark, marked
from lens_truth.evaluate.generate import generate
from lens_truth.evaluate.result import BenchmarkResult
from lens_truth.gates.row_gates import UNGATED, Gates
from lens_truth.models.batches import check_lengths, tokenizer_of
from lens_truth.models.hooks import Hooked
from lens_truth.models.image_input import images_for
from lens_truth.models.prompts import Template, encode_prompts, prompt_of


@dataclass(frozen=True)
class Asker:
    """A model and how it is asked.

    >>> asker = lens_truth.Asker(lens_truth.load("zoo:llama-memory-chat"), "chat", batch_size=64)
    >>> by_gate = asker.run(benchmark, {"vanilla": None, "gated": gate})
    >>> print(by_gate["gated"].accuracy - by_gate["vanilla"].accuracy)
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
        """The answers under each of several gates (by name; None for none), run together (see `generate`) and marked.

        Args:
            margins: also the log-odds of yes against no.

        Raises:
            InputError: if a prompt does not fit the context limit, or a gate does not fit the model.
        """
        answers = self.ask(benchmark, gates, margins)
        return {name: marked(benchmark, answers[name]) for name in gates}

    def ask(self, benchmark: Benchmark, gates: Gates = UNGATED, margins: bool = False) -> dict[str, list[Answer]]:
        """What the model writes to each example under each gate; arguments and errors as for `run`.

        >>> [answer.text for answer in asker.ask(benchmark)[""]]
        """
        tokenizer, examples, n_new = tokenizer_of(self.model), benchmark.examples, self._n_new(benchmark)
        images = images_for(self.model, examples)
        shown = [prompt_of(tokenizer, e, self.template, benchmark.wording, images) for e in examples]
        prompts = encode_prompts(tokenizer, shown, images)
        check_lengths([len(prompt.ids) + n_new for prompt in prompts], [e.id for e in examples], self.model)
        answers: dict[tuple[str, int], Answer] = {}
        keys: dict[tuple[str, int], str] = {}
        if self.log is not None:
            contents = [prompt.content for prompt in prompts]
            for name, gate in gates.items():
                for row, key in enumerate(self.log.keys(gate, contents, n_new, margins)):
                    keys[name, row] = key
                    if (known := self.log.get(key)) is not None:
                        answers[name, row] = known
        # What is missing is a rectangle, unless a run was killed inside a batch; then a few answers are made twice.
        names = [name for name in gates if any((name, row) not in answers for row in range(len(prompts)))]
        rows = [row for row in range(len(prompts)) if any((name, row) not in answers for name in names)]
        some, under = [prompts[row] for row in rows], {name: gates[name] for name in names}
        asked = generate(self.model, some, n_new, self.batch_size, under, margins=margins)
        total = len(names) * len(rows)
        for name, i, answer in tqdm(asked, desc=benchmark.name, total=total, disable=not self.progress, leave=False):
            # The answer that was written down counts, also where rounding would have made another.
            answers.setdefault((name, rows[i]), answer)
            if self.log is not None:
                self.log.add(keys[name, rows[i]], benchmark.name, examples[rows[i]].id, name, answer)
        return {name: [answers[name, row] for row in range(len(prompts))] for name in gates}

    def _n_new(self, benchmark: Benchmark) -> int:
        if benchmark.n_new is not None:
            return benchmark.n_new
        # One token more than the longest right answer shows whether the model stops there.
        wanted = [f" {answer}" for answer in benchmark.wanted]
        return 1 + max(map(len, tokenizer_of(self.model)(wanted, add_special_tokens=False)["input_ids"]))


def run_benchmark(model: Hooked, benchmark: Benchmark, template: Template, *, batch_size: int = 256) -> BenchmarkResult:
    """The model's answers, marked. Open the context of `gate.attach(model)` around it to evaluate a gate.

    >>> model = lens_truth.load("zoo:llama-memory-chat")
    >>> lens_truth.run_benchmark(model, lens_truth.zoo_benchmarks("test", 40, seed=0)[0], "chat").accuracy

    Raises:
        InputError: if a prompt does not fit the context limit.
    """
    return Asker(model, template, batch_size=batch_size).one(benchmark)
