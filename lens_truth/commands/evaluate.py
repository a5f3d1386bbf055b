"""Benchmarks, scored as their authors score them: HaluEval, TruthfulQA (choose), POPE, CHAIR, and data of your own.

A model answers (under a gate, if --scores is given), or answers that exist already are scored. Every answer is appended
to answers.jsonl as it is given, so an interrupted run goes on where it stopped. Without a subcommand: judge."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

import lens_truth
from lens_truth.commands.answering import Answering, answerer, check_files_only, tell
from lens_truth.commands.evaluate_chair import Chair
from lens_truth.commands.evaluate_pope import Pope
from lens_truth.commands.flags import subcommands
from lens_truth.commands.run import ASKED, Run, hash_of_examples
from lens_truth.commands.score_sources import short_name
from lens_truth.errors import InputError
from lens_truth.io.files import hash_of


@dataclass(frozen=True)
class Judge(Answering):
    """Is this answer hallucinated? Asked of a model for every row of a data set."""

    data: str = "zoo:text/test"
    """zoo:text, zoo:conflict, zoo:image, facts:conflict, or a file of examples, or as HaluEval, RLHF-V, PhD, ...
    publish theirs; conflict:FILE exchanges the right answers of such a file in their contexts."""
    out: Path = Path("runs/evaluate-judge")
    """Folder for the results."""

    def evaluate(self, run: Run) -> None:
        """Every row is judged."""
        from lens_truth.zoo.benchmarks import JUDGE_AS_TRAINED

        examples = self.examples(self.data)
        wording = JUDGE_AS_TRAINED if self.data.startswith("zoo:") else None
        parses = ("strict", "truthprobe", "halueval")
        _judge(self, run, lens_truth.benchmark_of("judge", "judge", examples, wording, parses=parses))


@dataclass(frozen=True)
class Choose(Answering):
    """Is the supported answer more likely than the hallucinated one? By log-likelihood, without generation."""

    data: str = "zoo:text/test"
    """zoo:text, zoo:conflict, zoo:image, facts:conflict, or a file of examples, or as HaluEval, TruthfulQA, ... publish
    theirs; conflict:FILE exchanges the right answers of such a file in their contexts."""
    log: Path | None = None
    """Instead of --data: log-likelihoods that exist already, a row for each question with labels (1 true, 0 false) and
    ll of its choices, and for several runs id, run and alpha; they are scored as TruthfulQA's multiple choice."""
    out: Path = Path("runs/evaluate-choose")
    """Folder for the results."""

    def evaluate(self, run: Run) -> None:
        """The answers to each question are ranked by their log-probability."""
        from lens_truth.data.loading import describe
        from lens_truth.evaluate.choice_log import read_choice_log

        if self.log is not None:
            check_files_only(self)
            if self.limit is not None:
                raise InputError("--limit is for questions that a model is asked; all rows of --log are scored")
            tell(run, read_choice_log(self.log, self.seed))
            run.hashes[str(self.log)] = hash_of(self.log.read_bytes())
            return
        from lens_truth.evaluate.asker import choose

        examples = self.examples(self.data)
        with answerer(self, run) as asked:
            how = f"asked {ASKED[asked.asker.template]}"
            print(f"{self.called} chooses ({short_name(self.data)}: {describe(examples)}; {how})")
            run.hashes["examples"] = hash_of_examples(examples)
            tell(run, choose(asked.asker, examples, asked.gate, self.seed))


@dataclass(frozen=True)
class HaluEval(Answering):
    """HaluEval: one answer of each pair is judged, with knowledge (TruthProbe) or few-shot without (--instruction)."""

    data: str = "zoo:text/test"
    """halueval:FILE, or other examples in pairs, such as conflict:FILE or facts:conflict."""
    instruction: Path | None = None
    """HaluEval's instruction with its examples: the original protocol, which shows no knowledge."""
    out: Path = Path("runs/evaluate-halueval")
    """Folder for the results."""

    def evaluate(self, run: Run) -> None:
        """One answer of each pair is judged, in one of the two published protocols."""
        from lens_truth.evaluate.halueval import WITH_KNOWLEDGE, few_shot, judgement

        examples = self.examples(self.data)
        wording = few_shot(self.instruction) if self.instruction else WITH_KNOWLEDGE
        first = ("halueval", "truthprobe") if self.instruction else ("truthprobe", "halueval")
        _judge(self, run, judgement(examples, wording, self.seed, (*first, "strict")))


def _judge(config: Judge | HaluEval, run: Run, benchmark: lens_truth.Benchmark) -> None:
    from lens_truth.data.loading import describe

    with answerer(config, run) as asked:
        how = f"asked {ASKED[asked.asker.template]}"
        print(f"{config.called} judges answers of {short_name(config.data)}: {describe(benchmark.examples)}; {how}")
        asked.ask_yes_no(run, benchmark, config.seed)


Config = (  # a benchmark is one line here
    Annotated[Judge, tyro.conf.subcommand("judge")]
    | Annotated[Choose, tyro.conf.subcommand("choose")]
    | Annotated[HaluEval, tyro.conf.subcommand("halueval")]
    | Annotated[Pope, tyro.conf.subcommand("pope")]
    | Annotated[Chair, tyro.conf.subcommand("chair")]
)

DEFAULT_ARGUMENTS = ("judge",)


def run(config: Answering) -> None:
    """Runs one benchmark."""
    from lens_truth.data.loading import check_limit

    name = next(name for name, flags in subcommands(Config).items() if isinstance(config, flags))
    with Run(f"evaluate {name}", config) as run:
        check_limit(config.limit)
        config.evaluate(run)
