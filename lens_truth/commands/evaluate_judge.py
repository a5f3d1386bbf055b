"""`evaluate judge`, `halueval` and `choose`: is an answer hallucinated, and which answer is more likely?"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lens_truth.commands.answering import Answering, ask_yes_no, finish, load_answerer
from lens_truth.commands.compute import LOG, on_terminal
from lens_truth.io.numbers import number
from lens_truth.io.tables import print_table, text_table

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lens_truth.evaluate.benchmark import Benchmark
    from lens_truth.io.runs import Run


@dataclass(frozen=True)
class Judge(Answering):
    """Is this answer hallucinated? Asked of a model for every row of a data set."""

    data: str = "zoo:text/test"
    """zoo:text, zoo:conflict, zoo:image, halueval:FILE, rlhfv:FILE, phd:FILE, or a .jsonl or .csv file of examples."""
    images: Path | None = None
    """Folder with the images that data from a file names."""
    out: Path = Path("runs/evaluate-judge")
    """Folder for the results."""


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


@dataclass(frozen=True)
class HaluEval(Answering):
    """HaluEval: one answer of each pair is judged, with knowledge (TruthProbe) or few-shot without (--instruction)."""

    data: str = "zoo:text/test"
    """halueval:FILE, or other examples in pairs."""
    instruction: Path | None = None
    """HaluEval's instruction with its examples: the original protocol, which shows no knowledge."""
    out: Path = Path("runs/evaluate-halueval")
    """Folder for the results."""


def run_judge(config: Judge) -> None:
    """Every row is judged."""
    from lens_truth.data.loading import load_examples
    from lens_truth.evaluate.benchmark import benchmark_of
    from lens_truth.io.runs import Run

    clock = Run("evaluate judge", config)
    examples = load_examples(config.data, limit=config.limit, seed=config.seed, images=config.images)
    _judge(config, clock, benchmark_of("judge", "judge", examples), ("strict", "truthprobe", "halueval"))


def run_halueval(config: HaluEval) -> None:
    """One answer of each pair is judged, in one of the two published protocols."""
    from lens_truth.data.loading import load_examples
    from lens_truth.evaluate.halueval import WITH_KNOWLEDGE, few_shot, judgement
    from lens_truth.io.runs import Run

    clock = Run("evaluate halueval", config)
    examples = load_examples(config.data, limit=config.limit, seed=config.seed)
    wording = few_shot(config.instruction) if config.instruction else WITH_KNOWLEDGE
    parses = ("halueval", "truthprobe", "strict") if config.instruction else ("truthprobe", "halueval", "strict")
    _judge(config, clock, judgement(examples, wording, config.seed), parses)


def _judge(config: Judge | HaluEval, clock: Run, benchmark: Benchmark, parses: Sequence[str]) -> None:
    from lens_truth.data.loading import describe

    answerer = load_answerer(config)
    print(f"{config.model} judges answers of {config.data}: {describe(benchmark.examples)}")
    ask_yes_no(config, clock, answerer, benchmark, parses)


def run_choose(config: Choose) -> None:
    """The answers to each question are ranked by their log-probability."""
    import numpy as np

    from lens_truth.data.examples import examples_hash
    from lens_truth.data.loading import describe, load_examples
    from lens_truth.evaluate.choose import choose
    from lens_truth.io.runs import Run
    from lens_truth.stats.paired import group_interval

    clock = Run("evaluate choose", config)
    examples = load_examples(config.data, limit=config.limit, seed=config.seed, images=config.images)
    answerer = load_answerer(config)
    print(f"{config.model} chooses ({config.data}: {describe(examples)})")
    settings: dict[str, Any] = {"batch_size": config.batch_size, "progress": on_terminal()}
    with answerer.log(config) as log:
        choices = choose(answerer.model, examples, gate=answerer.gate, template=answerer.template, log=log, **settings)
    measures = {
        "accuracy": ("more likely", [float(choice.margin > 0) for choice in choices]),
        "accuracy_per_token": ("more likely per token", [float(choice.margin_per_token > 0) for choice in choices]),
        "mass": ("share of the probability", [choice.mass for choice in choices]),
        "margin": ("margin of log-probabilities", [choice.margin for choice in choices]),
    }
    groups = [choice.group for choice in choices]
    results: dict[str, Any] = {"n": len(choices), "template": answerer.template}
    rows: list[list[str]] = []
    for name, (said, values) in measures.items():
        low, high = group_interval(np.array(values), groups, config.seed)
        results |= {name: float(np.mean(values)), f"{name}_ci": (low, high)}
        rows.append([said, number(results[name]), f"{low:.3f} to {high:.3f}"])
    print_table(text_table(["supported against hallucinated answer", f"n = {len(choices)}", "95% interval"], rows))
    finish(config, clock, results, answerer.hashes(examples_hash(examples)), [], LOG)
