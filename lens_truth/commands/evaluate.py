"""Benchmarks, scored as their authors score them: HaluEval, POPE, CHAIR, and data of your own.

A model answers (under a gate, if --scores is given), or answers that exist already are scored. Every answer is appended
to answers.jsonl as it is given, so an interrupted run goes on where it stopped. Without a subcommand: judge."""

from __future__ import annotations

from typing import Annotated

import tyro

from lens_truth.commands.evaluate_chair import Chair, run_chair
from lens_truth.commands.evaluate_judge import Choose, HaluEval, Judge, run_choose, run_halueval, run_judge
from lens_truth.commands.evaluate_pope import Pope, run_pope
from lens_truth.errors import InputError
from lens_truth.io.files import check_out

Config = (
    Annotated[Judge, tyro.conf.subcommand("judge")]
    | Annotated[Choose, tyro.conf.subcommand("choose")]
    | Annotated[HaluEval, tyro.conf.subcommand("halueval")]
    | Annotated[Pope, tyro.conf.subcommand("pope")]
    | Annotated[Chair, tyro.conf.subcommand("chair")]
)

DEFAULT_ARGUMENTS = ("judge",)


def run(config: Judge | Choose | HaluEval | Pope | Chair) -> None:
    """Runs one benchmark."""
    check_out(config.out)
    if config.limit is not None and config.limit < 1:
        raise InputError(f"the limit is {config.limit}; it must be at least 1")
    if isinstance(config, Judge):
        run_judge(config)
    elif isinstance(config, Choose):
        run_choose(config)
    elif isinstance(config, HaluEval):
        run_halueval(config)
    elif isinstance(config, Pope):
        run_pope(config)
    else:
        run_chair(config)
