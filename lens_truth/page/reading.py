"""Runs as their folders hold them; one that cannot be read is named and left out."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from lens_truth.attention.record import AttentionRecord
from lens_truth.errors import InputError
from lens_truth.io.readers import is_list, is_object, read_json
from lens_truth.io.results import structured
from lens_truth.io.runs import RESULT, Record, read_record
from lens_truth.scoring.scores import HeadScores

ATTENTION = "attention.json"

KNOWN = ("probe", "inherit", "weights", "ablate", "evidence", "evaluate", "audit", "gate")
_BESIDE = {
    "warnings": list,
    "config": dict,
    "hashes": dict,
    "versions": dict,
    "seconds": float,
    "command_line": str,
}
"""What a command's record has beside results; that of a script, by `Result.save`, has little of it."""


@dataclass(frozen=True)
class RunRecord:
    """One finished run of a command, or a result that a script saved."""

    name: str
    """Of its folder."""
    record: Record
    """For `Result.of_record`."""
    maps: Mapping[str, HeadScores]
    """Scores of heads by title."""
    warnings: tuple[str, ...] = ()
    config: Mapping[str, Any] = field(default_factory=dict[str, Any])
    hashes: Mapping[str, Any] = field(default_factory=dict[str, Any])
    versions: Mapping[str, Any] = field(default_factory=dict[str, Any])
    seconds: float | None = None
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

    def named(self, part: str) -> dict[str, Any]:
        """What stands by name under a part of the results; empty if nothing.

        Raises:
            InputError: if it has no names.
        """
        held: Any = self.record.results.get(part) or {}
        if not is_object(held):
            raise self.record.wrong(["results", part], "is not an object")
        return held

    def sentences(self, *path: str) -> tuple[str, ...]:
        """Those at a place in the results; none if it is absent.

        Raises:
            InputError: if something else stands there.
        """
        *outer, last = path
        held: Any = (self.named(*outer) if outer else self.record.results).get(last) or []
        if not is_list(held) or not all(isinstance(sentence, str) for sentence in held):
            raise self.record.wrong(["results", *path], "is not a list of texts")
        return tuple(held)


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
            run, found = _read_run(name, read_record(given))
        except InputError as error:
            problems.append(Problem(name, _in_folder(error, given if given.suffix != ".json" else given.parent)))
            continue
        runs.append(run)
        problems += [Problem(name, text) for text in found]
    return runs, problems


def _in_folder(error: InputError, folder: Path) -> str:
    """What it says, without the folder of the run, which is named already."""
    return str(error).removeprefix(f"{folder}: ").removeprefix(f"{folder}{os.sep}")


def _result_file(path: Path) -> Path:
    """The same for every way of naming a folder; a file may be a link into a store, which is not its folder."""
    folder, name = (path, RESULT) if path.is_dir() or path.suffix != ".json" else (path.parent, path.name)
    return Path(os.path.realpath(folder)) / name


def _read_run(name: str, record: Record) -> tuple[RunRecord, list[str]]:
    folder = record.file.parent
    said: dict[str, Any] = {}
    problems: list[str] = []
    for key, kind in _BESIDE.items():
        value = record.value.get(key)
        if isinstance(value, kind):
            said[key] = value
        elif value is not None:
            problems.append(_in_folder(record.wrong([key], "cannot be read"), folder))
    said["warnings"] = tuple(map(str, said.get("warnings", ())))
    maps, found = _maps(record)
    problems += found
    run = RunRecord(name, record, maps, **said)
    if run.kind not in KNOWN:
        problems.append(
            f"is of the command '{run.command}', which is not known here; its results are listed as they are"
        )
    attention, found = _attention(run, folder / ATTENTION)
    return replace(run, attention=attention), [*problems, *found]


def _maps(record: Record) -> tuple[dict[str, HeadScores], list[str]]:
    """Scores of heads by title; damaged ones are named and left out."""
    held = record.results.get("head_scores", {})
    if not is_object(held):
        return {}, [_in_folder(record.wrong(["results", "head_scores"], "is not an object"), record.file.parent)]
    maps: dict[str, HeadScores] = {}
    problems: list[str] = []
    for title, value in held.items():
        try:
            maps[title] = HeadScores.from_dict(value, f"{RESULT}: results.head_scores.{title}")
        except InputError as error:
            problems.append(f"{error}; this map is left out")
    return maps, problems


def _attention(run: RunRecord, file: Path) -> tuple[AttentionRecord | None, list[str]]:
    if not file.is_file():
        lost = run.kind == "evidence" and run.config  # a script keeps its own
        return None, [f"has no {ATTENTION}, so what its heads look at cannot be shown"] if lost else []
    try:
        return structured(AttentionRecord, read_json(file), ATTENTION), []
    except InputError as error:
        return None, [f"{_in_folder(error, file.parent)}, so what its heads look at cannot be shown"]
