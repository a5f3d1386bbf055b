"""Benchmarks, scored as their authors score them: HaluEval, POPE, CHAIR, and data of your own.

A model answers (under a gate, if --scores is given), or answers that exist already are scored. Every answer is appended
to answers.jsonl as it is given, so an interrupted run goes on where it stopped. Without a subcommand: judge."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from lens_truth.commands.answering import Answering
from lens_truth.commands.common import check_out


@dataclass(frozen=True)
class Judge(Answering):
    """Is this answer hallucinated? Asked of a model for every row of a data set."""

    data: str = "zoo:text/test"
    """zoo:text, zoo:conflict, halueval:FILE, or a .jsonl or .csv file of examples."""
    out: Path = Path("runs/evaluate-judge")
    """Folder for the results."""


@dataclass(frozen=True)
class Choose(Answering):
    """Is the supported answer more likely than the hallucinated one? By log-likelihood, without generation."""

    data: str = "zoo:text/test"
    """zoo:text, zoo:conflict, halueval:FILE, or a .jsonl or .csv file of examples."""
    batch_size: int = 32
    """Rows a forward pass."""
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


@dataclass(frozen=True)
class Pope(Answering):
    """POPE: answers that exist already (--questions with --answers), or a model asked about the zoo's scenes."""

    questions: tuple[Path, ...] = ()
    """Questions of one or more splits: JSON lines with question_id, image, text, label."""
    answers: tuple[Path, ...] = ()
    """Answers to each of them, in the same order: JSON lines with question_id, answer."""
    images: Path | None = None
    """Instead of --answers: the folder of the images that --model is to be asked about."""
    out: Path = Path("runs/evaluate-pope")
    """Folder for the results."""


@dataclass(frozen=True)
class Chair(Answering):
    """CHAIR: captions that exist already (--captions with --objects), or a model's summaries of the zoo's scenes."""

    model: str = "zoo:llama-base"
    """A Hugging Face id, a folder, or zoo:NAME."""
    captions: Path | None = None
    """JSON lines with image_id, caption."""
    objects: Path | None = None
    """What is in each image: .json or .json.gz, image id -> names."""
    synonyms: Path | None = None
    """The official list of synonyms (a class a line, names separated by commas) instead of our own."""
    out: Path = Path("runs/evaluate-chair")
    """Folder for the results."""


Config = (
    Annotated[Judge, tyro.conf.subcommand("judge")]
    | Annotated[Choose, tyro.conf.subcommand("choose")]
    | Annotated[HaluEval, tyro.conf.subcommand("halueval")]
    | Annotated[Pope, tyro.conf.subcommand("pope")]
    | Annotated[Chair, tyro.conf.subcommand("chair")]
)

DEFAULT_ARGUMENTS = ("judge",)


def run(config: Judge | Choose | HaluEval | Pope | Chair) -> None:
    """Runs one benchmark; to score files no model is needed, nor what runs one."""
    check_out(config.out)
    if isinstance(config, Pope):
        from lens_truth.commands.evaluate_pope import run_pope

        return run_pope(config)
    if isinstance(config, Chair):
        from lens_truth.commands.evaluate_chair import run_chair

        return run_chair(config)
    from lens_truth.commands import evaluate_judge

    if isinstance(config, Judge):
        return evaluate_judge.run_judge(config)
    if isinstance(config, HaluEval):
        return evaluate_judge.run_halueval(config)
    return evaluate_judge.run_choose(config)
