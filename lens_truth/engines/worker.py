"""`Worker`: what a process on another core or machine does. It loads the model once, and runs one batch after the
other."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from socket import gethostname
from traceback import format_exc
from typing import Any

import torch

from lens_truth.engines.passes import Pass
from lens_truth.engines.shipping import unpacked
from lens_truth.errors import InputError, first_line, gathered_notices, lacks_memory
from lens_truth.models.hashing import weights_hash
from lens_truth.models.loading import load
from lens_truth.models.provenance import setup_hash


@dataclass(frozen=True)
class Job:
    """All that a worker is told."""

    loading: Mapping[str, Any]
    """What `lens_truth.load` is given."""
    weights: str
    """Hash of those of the model where the job comes from."""
    setup: str
    """Of what its numbers depend on beside weights (`lens_truth.models.provenance`)."""
    threads: int
    ends: list[int]
    """Of batches, as `Pass.ends` gives them."""
    folder: str
    """Where paths begin that are not whole."""
    its: bytes
    """The pass."""


@dataclass(frozen=True)
class Report:
    """What came out of one batch."""

    made: list[tuple[int, Any]]
    """How many units each part is of, and what it made."""
    notices: list[str]
    """Data warnings on the way."""
    error: str = ""
    """One sentence where it failed by what a user can change."""
    bug: str = ""
    """The traceback of whatever else was raised."""


class Worker:
    """A model, loaded once, and one pass over it."""

    def __init__(self, job: Job) -> None:
        torch.set_num_threads(job.threads)
        self._ends, self._refused = job.ends, Report([], [])
        if Path(job.folder).is_dir():
            os.chdir(job.folder)
        try:
            model = load(**job.loading)
            _check(model, job)
            self._pass: Pass[Any, Any] = unpacked(model, job.its)
        except InputError as error:
            self._refused = Report([], [], str(error))
        except Exception as error:
            lacks = f"the memory is too small for the model ({first_line(error)})" if lacks_memory(error) else ""
            self._refused = Report([], [], lacks, "" if lacks else format_exc())

    def report(self, number: int) -> Report:
        """Of one batch."""
        refused = self._refused.error or self._refused.bug
        report = self._refused if refused else self._run(number)
        return replace(report, error=f"a worker on {gethostname()}: {report.error}") if report.error else report

    def _run(self, number: int) -> Report:
        start = self._ends[number - 1] if number else 0
        with gathered_notices() as notices:
            try:
                made = list(self._pass.part(start, self._ends[number]))
            except InputError as error:
                return Report([], notices, str(error))
            except Exception:
                return Report([], notices, bug=format_exc())
        return Report(made, notices)


def _check(model: Any, job: Job) -> None:
    """Raises an InputError unless the model is the one that the job is about, to the last bit."""
    if weights_hash(model) != job.weights:
        raise InputError(
            f"'{job.loading['model']}' has other weights there than where the run was started: both must see the same "
            "files, unchanged after they are loaded"
        )
    if setup_hash(model) != job.setup:
        raise InputError(
            f"'{job.loading['model']}' would not give the same numbers there: its configuration, tokenizer, number "
            "format, kind of device, or the versions of lens_truth, torch, transformers, transformer-lens or "
            "tokenizers are others than where the run was started, or it was changed there after it was loaded"
        )
