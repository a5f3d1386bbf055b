"""The command line: `lens-truth NAME` and `python -m lens_truth.NAME`, which are the same. Commands are found by their
names, and nothing heavy is imported before one really runs, so help answers at once."""

from __future__ import annotations

import errno
import os
import shlex
import sys
from collections.abc import Sequence
from importlib import import_module
from typing import NoReturn

from lens_truth.errors import InputError, gathered_notices

COMMANDS = {
    "audit": "are labels fit to be probed? surface baseline, repeated rows, labels that contradict one another",
    "probe": "truth or causal scores of every head of a model",
    "inherit": "are head scores inherited? correlations between models, against null, ceiling and floor",
    "weights": "what a descendant keeps of each head's weights, and whether high-score heads keep more",
    "evidence": "what heads look at: attention to the evidence, retrieval and lookback, against head scores",
    "heads": "known lists of heads (retrieval, hallucination, ...) against truth and causal scores, and one another",
    "directions": "truth directions on several data sets: kept probes, and what they share",
    "detect": "which answers are hallucinated? kept probes of heads on labelled answers and on any text, by token",
    "neurons": "neurons that foretell hallucination (H-Neurons): their data, sets of them, scaling, origins",
    "gate": "scale a model's heads by scores and save it as a plain Hugging Face checkpoint",
    "learn": "gates learned by gradient: how many questions and heads it takes, roles of heads, children",
    "steer": "shift a model's heads along directions of truth (ITI) and save it as a plain Hugging Face checkpoint",
    "evaluate": "benchmarks: HaluEval, TruthfulQA, POPE, CHAIR, own data; of a model, or of answers that exist already",
    "ablate": "gates by scores against vanilla and control gates, with paired tests",
    "compare": "what helps against hallucination, at what cost: prompts, ways to decode, gates, in one table",
    "verify": "right answers told from wrong ones, and chosen among samples, by hidden states; controls of length",
    "plan": "bytes, FLOPs and hours of a run before it is started, on one device or many",
    "report": "one self-contained HTML page from the results of any runs",
    "hub": "scores, gates, probes and sets of neurons on the Hugging Face Hub: push one with a card, or fetch them",
    "check": "self-test of the hooks on any model",
    "zoo": "the tiny trained models that ship with lens_truth: list or retrain them; get real ones",
}

_DISK = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO, errno.EFBIG)
"""Errors of the system that no library's mistake makes: the disk is full, read only, broken, or the file too large."""


def main(argv: Sequence[str] | None = None) -> NoReturn:
    """Entry point of `lens-truth` and `python -m lens_truth`."""
    name, *arguments = (sys.argv[1:] if argv is None else argv) or ["--help"]
    if name in ("-h", "--help"):
        print("usage: lens-truth COMMAND [--help] [flags]\n")
        print("\n".join(f"  {name:<12}{line}" for name, line in COMMANDS.items()))
        print("\nWith no flags each command runs on the zoo.")
        print("Models: an id, a folder, a GGUF file, zoo:NAME, pypi:PACKAGE.")
        sys.exit(0)
    if name not in COMMANDS:
        _fail(f"there is no command '{name}'; the commands are {', '.join(COMMANDS)}")
    run_command(name, arguments)


def launch(module: str, name: str) -> None:
    """What `lens_truth/NAME.py` calls: runs the command where Python runs that file, not where something imports it."""
    if module == "__main__":
        run_command(name, sys.argv[1:])


def run_command(name: str, arguments: Sequence[str]) -> NoReturn:
    """Parses flags, runs the command and exits: 0, or 2 with one line for a user's mistake or what the system cannot
    do (a full disk), 130 where the user stops it."""
    try:
        _run(name, arguments)
        sys.stdout.flush()
    except InputError as error:
        _fail(str(error))
    except BrokenPipeError:  # whoever reads what is printed, `head` say, has enough of it
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except KeyboardInterrupt:
        after_the_key = "\n" if sys.stderr.isatty() else ""  # which a terminal shows as ^C
        said = "interrupted; what was finished lies in the output folder and is used by the next run"
        print(f"{after_the_key}{said}", file=sys.stderr)
        sys.exit(130)
    except Exception as error:
        from lens_truth.io.files import system_error

        cause = system_error(error)
        if cause is not None and cause.filename is not None:
            _fail(f"{cause.filename}: {cause.strerror}")
        if cause is None or cause.errno not in _DISK:
            raise
        _fail(f"a file, or what is printed, cannot be written: {cause.strerror}")
    sys.exit(0)


def _run(name: str, arguments: Sequence[str]) -> None:
    from lens_truth.io.runs import COMMAND_LINE
    from lens_truth.io.stages import clock
    from lens_truth.io.tables import print_warnings

    parse = import_module("lens_truth.commands.flags").parse
    COMMAND_LINE.set(shlex.join(["lens-truth", name, *arguments]))
    command = import_module(f"lens_truth.commands.{name}")
    quiet = {"TRANSFORMERS_VERBOSITY": "error", "HF_HUB_DISABLE_PROGRESS_BARS": "1", "TOKENIZERS_PARALLELISM": "false"}
    # products of few rows would differ in their last bits by the number of threads (findings/torch-threads.sh)
    os.environ.update(quiet | {"MKL_CBWR": "AUTO,STRICT"} | os.environ)
    config = parse(command, f"lens-truth {name}", arguments)
    if (getattr(config, "seed", None) or 0) < 0:
        raise InputError(f"the seed is {config.seed}; it must not be negative")
    given = import_module("lens_truth.commands.given")
    config = config if name == "hub" else given.from_the_hub(config)
    given.check_given(config)
    with clock() as running, gathered_notices() as notices:  # those that the command does not tell itself
        command.run(config)
    print_warnings(notices)
    if told := running.told():
        print(told)


def _fail(sentence: str) -> NoReturn:
    print(f"error: {sentence}", file=sys.stderr)
    sys.exit(2)
