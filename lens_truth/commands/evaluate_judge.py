"""`evaluate judge`, `halueval` and `choose`: is an answer hallucinated, and which answer is more likely?"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from lens_truth.commands.answering import Answering, answerer, tell

if TYPE_CHECKING:
    from lens_truth.commands.run import Run
    from lens_truth.evaluate.benchmark import Benchmark


@dataclass(frozen=True)
class Judge(Answering):
    """Is this answer hallucinated? Asked of a model for every row of a data set."""

    data: str = "zoo:text/test"
    """zoo:text, zoo:conflict, zoo:image, halueval:FILE, rlhfv:FILE, phd:FILE, or a .jsonl or .csv file of examples."""
    images: Path | None = None
    """Folder with the images that data from a file names."""
    out: Path = Path("runs/evaluate-judge")
    """Folder for the results."""

    def evaluate(self, run: Run) -> None:
        """Every row is judged."""
        from lens_truth.data.loading import load_examples
        from lens_truth.evaluate.benchmark import benchmark_of

        examples = load_examples(self.data, limit=self.limit, seed=self.seed, images=self.images)
        parses = ("strict", "truthprobe", "halueval")
        _judge(self, run, benchmark_of("judge", "judge", examples, parses=parses))


@dataclass(frozen=True)
class Choose(Answering):
    """Is the supported answer more likely than the hallucinated one? By log-likelihood, without generation."""

    data: str = "zoo:text/test"
    """zoo:text, zoo:conflict, zoo:image, halueval:FILE, or a .jsonl or .csv file of examples."""
    images: Path | None = None
    """Folder with the images that data from a file names."""
    batch_size: int = 32
    """Rows in one forward pass."""
    out: Path = Path("runs/evaluate-choose")
    """Folder for the results."""

    def evaluate(self, run: Run) -> None:
        """The answers to each question are ranked by their log-probability."""
        from lens_truth.data.examples import examples_hash
        from lens_truth.data.loading import describe, load_examples
        from lens_truth.evaluate.choose import choose

        examples = load_examples(self.data, limit=self.limit, seed=self.seed, images=self.images)
        with answerer(self, run) as asked:
            print(f"{self.model} chooses ({self.data}: {describe(examples)})")
            run.hashes["examples"] = examples_hash(examples)
            tell(run, choose(asked.asker, examples, asked.gate, self.seed))


@dataclass(frozen=True)
class HaluEval(Answering):
    """HaluEval: one answer of each pair is judged, with knowledge (TruthProbe) or few-shot without (--instruction)."""

    data: str = "zoo:text/test"
    """halueval:FILE, or other examples in pairs."""
    instruction: Path | None = None
    """HaluEval's instruction with its examples: the original protocol, which shows no knowledge."""
    out: Path = Path("runs/evaluate-halueval")
    """Folder for the results."""

    def evaluate(self, run: Run) -> None:
        """One answer of each pair is judged, in one of the two published protocols."""
        from lens_truth.data.loading import load_examples
        from lens_truth.evaluate.halueval import WITH_KNOWLEDGE, few_shot, judgement

        examples = load_examples(self.data, limit=self.limit, seed=self.seed)
        wording = few_shot(self.instruction) if self.instruction else WITH_KNOWLEDGE
        first = ("halueval", "truthprobe") if self.instruction else ("truthprobe", "halueval")
        _judge(self, run, judgement(examples, wording, self.seed, (*first, "strict")))


def _judge(config: Judge | HaluEval, run: Run, benchmark: Benchmark) -> None:
    from lens_truth.data.loading import describe

    with answerer(config, run) as asked:
        print(f"{config.model} judges answers of {config.data}: {describe(benchmark.examples)}")
        asked.ask_yes_no(run, benchmark, config.seed)
