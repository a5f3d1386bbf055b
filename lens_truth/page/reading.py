"""Runs as their folders hold them; one that cannot be read is named and left out."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from lens_truth.attention.record import AttentionRecord
from lens_truth.errors import InputError
from lens_truth.io.readers import read_json
from lens_truth.io.results import structured
from lens_truth.io.runs import RESULT, Record, read_record
from lens_truth.page.fields import Fields

ATTENTION = "attention.json"

SCORED = ("probe", "inherit", "weights", "ablate", "evidence")
"""Commands whose results hold maps of heads."""
KNOWN = (*SCORED, "evaluate", "audit", "gate")


@dataclass(frozen=True)
class RunRecord:
    """One finished run of a command."""

    name: str
    """Of its folder."""
    record: Record
    """For `Result.of_record`."""
    results: Fields
    warnings: tuple[str, ...]
    config: dict[str, Any]
    hashes: dict[str, Any]
    versions: dict[str, Any]
    seconds: float | None
    command_line: str = ""
    """As it was typed."""
    attention: AttentionRecord | None = None
    """What every head looked at in some examples, if the run kept it."""

    @property
    def command(self) -> str:
        """With its subcommand."""
        return self.record.command

    @property
    def kind(self) -> str:
        """The command without its subcommand."""
        return self.command.split()[0] if self.command.strip() else ""

    @property
    def has_heads(self) -> bool:
        """Whether its results hold maps of heads."""
        return "head_scores" in self.results


@dataclass(frozen=True)
class Problem:
    """Something wrong with a run, or with the runs together."""

    run: str
    """Empty for all of them."""
    text: str

    def __str__(self) -> str:
        return f"{self.run}: {self.text}" if self.run else self.text


def read_runs(paths: Sequence[Path]) -> tuple[list[RunRecord], list[Problem]]:
    """The runs that can be read, in the order given and each once; and what is wrong with these and the others."""
    files = {_result_file(path): path for path in paths}
    short = Counter(file.parent.name for file in files)
    runs: list[RunRecord] = []
    problems: list[Problem] = []
    for file, given in files.items():
        name = file.parent.name if short[file.parent.name] == 1 else str(given)
        name = name.encode("utf-8", "replace").decode()
        try:
            run, found = _read_run(name, file, given)
        except InputError as error:
            problems.append(Problem(name, str(error)))
            continue
        runs.append(run)
        problems += [Problem(name, text) for text in found]
    return runs, problems


def _result_file(path: Path) -> Path:
    """The same for every way of naming a folder; a file may be a link into a store, which is not its folder."""
    folder, name = (path, RESULT) if path.is_dir() or path.suffix != ".json" else (path.parent, path.name)
    return Path(os.path.realpath(folder)) / name


def _read_run(name: str, file: Path, given: Path) -> tuple[RunRecord, list[str]]:
    whole = read_record(file if given.exists() else given)
    record = Fields(whole.value, RESULT)
    problems: list[str] = []

    def part(key: str, kind: type[Any]) -> Any:
        if key in record and isinstance(record[key].value, kind):
            return record[key].value
        problems.append(f"{RESULT} has no readable {key}")
        return kind()

    warnings = part("warnings", list)
    run = RunRecord(
        name=name,
        record=whole,
        results=record["results"],
        warnings=tuple(warning if isinstance(warning, str) else str(warning) for warning in warnings),
        config=part("config", dict),
        hashes=part("hashes", dict),
        versions=part("versions", dict),
        seconds=_seconds(record, problems),
        command_line=record.maybe("command_line", Fields.text) or "",
    )
    run.results.members()  # says so if it has none
    if run.kind not in KNOWN:
        problems.append(
            f"is of the command '{run.command}', which is not known here; its results are listed as they are"
        )
    if run.kind in SCORED and not run.has_heads:
        problems.append("it holds no scores of heads")
    attention, found = _attention(run, file.parent / ATTENTION)
    problems += found
    return replace(run, attention=attention), problems


def _seconds(record: Fields, problems: list[str]) -> float | None:
    try:
        return record["seconds"].number()
    except InputError as error:
        problems.append(str(error))
        return None


def _attention(run: RunRecord, file: Path) -> tuple[AttentionRecord | None, list[str]]:
    if not file.is_file():
        lost = run.kind == "evidence"
        return None, [f"has no {ATTENTION}, so what its heads look at cannot be shown"] if lost else []
    try:
        return structured(AttentionRecord, _parsed(file), ATTENTION), []
    except InputError as error:
        return None, [f"{error}, so what its heads look at cannot be shown"]


def _parsed(file: Path) -> Any:
    """JSON; the message names the file without its folder, since the run is named already."""
    try:
        return read_json(file)
    except InputError as error:
        raise InputError(f"{file.name} is damaged: {str(error).removeprefix(str(file)).lstrip(':, ')}") from error
    except RecursionError as error:
        raise InputError(f"{file.name} is damaged: it is nested too deeply") from error
