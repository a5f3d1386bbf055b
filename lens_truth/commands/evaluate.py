"""Benchmarks, scored as their authors score them: HaluEval, POPE, CHAIR, and data of your own.

A model answers (under a gate, if --scores is given), or answers that exist already are scored. Every answer is appended
to answers.jsonl as it is given, so an interrupted run goes on where it stopped. Without a subcommand: judge."""

from __future__ import annotations

from typing import Annotated

import tyro

from lens_truth.commands.answering import Answering
from lens_truth.commands.evaluate_chair import Chair
from lens_truth.commands.evaluate_judge import Choose, HaluEval, Judge
from lens_truth.commands.evaluate_pope import Pope
from lens_truth.commands.flags import subcommands
from lens_truth.commands.run import Run
from lens_truth.errors import InputError

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
    name = next(name for name, flags in subcommands(Config).items() if isinstance(config, flags))
    with Run(f"evaluate {name}", config) as run:
        if config.limit is not None and config.limit < 1:
            raise InputError(f"the limit is {config.limit}; it must be at least 1")
        config.evaluate(run)
