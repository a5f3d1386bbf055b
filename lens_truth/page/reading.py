"""Runs as their folders hold them, and the models they are of; what cannot be read is named and left out."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lens_truth.attention.record import AttentionRecord
from lens_truth.errors import InputError, one_line, shortened
from lens_truth.io.files import OF_WEIGHTS, same_kind
from lens_truth.io.readers import is_list, is_object, read_json
from lens_truth.io.results import structured
from lens_truth.io.runs import RESULT, Record, read_record
from lens_truth.io.stages import bar, stage
from lens_truth.scoring.scores import HeadScores

ATTENTION = "attention.json"
KNOWN = (
    *("probe", "inherit", "weights", "ablate", "evidence", "evaluate", "audit", "gate"),
    *("directions", "detect", "verify", "steer", "neurons", "compare", "heads", "learn"),
)

Model = tuple[str, str | None]
"""Name and hash of the weights."""

_BESIDE = {
    "warnings": list,
    "config": dict,
    "hashes": dict,
    "versions": dict,
    "seconds": float,
    "seconds_by_stage": dict,
    "command_line": str,
}
"""What a command's record has beside results; that of a script, by `Result.save`, has little of it."""
_FLAGS = ("model", "base", "child", "unrelated", "scores_from")
"""Those that name models."""


@dataclass(frozen=True)
class RunRecord:
    """One finished run of a command, or a result that a script saved."""

    name: str
    """Of its folder."""
    record: Record
    kind: str
    """The command without its subcommand."""
    maps: Mapping[str, HeadScores]
    """Scores of heads by title."""
    attention: AttentionRecord | None
    """What every head looked at in some examples, if the run kept it."""
    warnings: tuple[str, ...] = ()
    config: Mapping[str, Any] = field(default_factory=dict[str, Any])
    hashes: Mapping[str, Any] = field(default_factory=dict[str, Any])
    versions: Mapping[str, Any] = field(default_factory=dict[str, Any])
    seconds: float | None = None
    seconds_by_stage: Mapping[str, Any] = field(default_factory=dict[str, Any])
    command_line: str = ""
    """As it was typed."""

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

    def models(self) -> list[Model]:
        """Every model that the run names, each once; without a hash only those for which it gives none."""
        named = [(its.provenance.get("model"), its.provenance.get("weights")) for its in self.maps.values()]
        if self.attention is not None:
            named.append((self.attention.model, self.attention.weights))
        if self.kind != "evaluate" or "weights" in self.hashes:  # otherwise no model was asked: answers from a file
            for value in map(self.config.get, _FLAGS):
                its = value if is_list(value) else [value]
                named += [(name, self.hashes.get(str(name), self.hashes.get("weights"))) for name in its]
        models = dict.fromkeys(
            (name, weights if isinstance(weights, str) and weights else None)
            for name, weights in named
            if isinstance(name, str)
        )
        by_hash = {weights: name for name, weights in reversed(models) if weights}  # inherit has short names
        known = {name for name, weights in models if weights}
        return [
            (name, weights)
            for name, weights in models
            if (name not in known if weights is None else by_hash[weights] == name)
        ]


@dataclass(frozen=True)
class Problem:
    """Something wrong with a run, or, where it names none, with the runs together."""

    run: str
    text: str

    def __str__(self) -> str:
        return f"{self.run}: {self.text}" if self.run else self.text


@stage("reading")
def read_runs(paths: Sequence[Path]) -> tuple[list[RunRecord], list[Problem]]:
    """The runs that can be read, in the order given and each once; and what is wrong with these and the others."""
    files = {_result_file(path): path for path in paths}
    short = Counter(file.parent.name for file in files)
    runs: list[RunRecord] = []
    problems: list[Problem] = []
    for file, given in bar(files.items(), "reading runs"):
        name = file.parent.name if short[file.parent.name] == 1 else str(given)
        name = name.encode("utf-8", "replace").decode()
        folder = given if given.suffix != ".json" else given.parent
        wrong: list[object] = []
        try:
            runs.append(_read_run(name, read_record(given), wrong))
        except InputError as error:
            wrong.append(error)
        # Without the folder, which is named already.
        said = (str(one).removeprefix(f"{folder}: ").removeprefix(f"{folder}{os.sep}") for one in wrong)
        problems += [Problem(name, one_line(text)) for text in said]
    return runs, problems


def _result_file(path: Path) -> Path:
    """The same for every way of naming a folder; a file may be a link into a store, which is not its folder."""
    folder, name = (path, RESULT) if path.is_dir() or path.suffix != ".json" else (path.parent, path.name)
    return Path(os.path.realpath(folder)) / name


def _read_run(name: str, record: Record, wrong: list[object]) -> RunRecord:
    """What is damaged in it is left out, and added to what is wrong."""
    said: dict[str, Any] = {}
    for key, its_type in _BESIDE.items():
        if isinstance(value := record.value.get(key), its_type):
            said[key] = value
        elif value is not None:
            wrong.append(record.wrong([key], "cannot be read"))
    said["warnings"] = tuple(map(str, said.get("warnings", ())))
    kind = next(iter(record.command.split()), "")
    if kind not in KNOWN:
        wrong.append(
            f"is of the command '{shortened(record.command)}', which is not known here; its results are listed as they "
            "are"
        )
    maps: dict[str, HeadScores] = {}
    held = record.results.get("head_scores", {})
    if not is_object(held):
        wrong.append(record.wrong(["results", "head_scores"], "is not an object"))
        held = {}
    for title, value in held.items():
        try:
            maps[title] = HeadScores.from_dict(value, f"{RESULT}: results.head_scores.{title}")
        except InputError as error:
            wrong.append(f"{error}; this map is left out")
    attention, file = None, record.file.with_name(ATTENTION)
    try:
        if file.is_file():
            attention = structured(AttentionRecord, read_json(file), ATTENTION)
        elif kind == "evidence" and said.get("config"):  # a script keeps its own
            raise InputError(f"has no {ATTENTION}")
    except InputError as error:
        wrong.append(f"{error}, so what its heads look at cannot be shown")
    return RunRecord(name, record, kind, maps, attention, **said)


def mixture(runs: Sequence[RunRecord]) -> list[Problem]:
    """What should not be overlooked where several runs are shown together: runs without a model in common, one name
    for different weights, different versions of lens_truth."""
    problems: list[str] = []
    of_runs = {run.name: models for run in runs if (models := run.models())}
    everything = dict.fromkeys(model for models in of_runs.values() for model in models)
    if of_runs and not any(
        all(any(_same(model, own) for own in its) for its in of_runs.values()) for model in everything
    ):
        said = _together({run: listed(models) for run, models in of_runs.items()})
        problems.append(f"the runs are not of one model ({said})")
    for name in dict.fromkeys(name for name, _ in everything):
        hashes = {weights: run for run, models in of_runs.items() for n, weights in models if n == name and weights}
        if len(hashes) > 1:
            said = ", ".join(f"{weights} in {run}" for weights, run in hashes.items())
            one, *others = hashes
            if all(same_kind(one, other) for other in others):
                problems.append(f"'{name}' stands for different weights: {said}")
            else:
                problems.append(
                    f"'{name}': whether its weights are the same is not known, since earlier builds hashed them "
                    f"otherwise ({said}); run again what has no '{OF_WEIGHTS}'"
                )
    versions = {run.name: str(run.versions.get("lens-truth", "unknown")) for run in runs}
    if len({*versions.values()}) > 1:
        problems.append(f"the runs were made by different versions of lens_truth ({_together(versions)})")
    return [Problem("", text) for text in problems]


def _same(one: Model, other: Model) -> bool:
    """By hash; by name where one of the two has none, or that of an earlier build."""
    told = one[1] is not None and other[1] is not None and same_kind(one[1], other[1])
    return one[1] == other[1] if told else one[0] == other[0]


def _together(said: Mapping[str, str]) -> str:
    """What is said of runs, each text once."""
    runs = {text: [run for run, its in said.items() if its == text] for text in said.values()}
    return "; ".join(f"{text}: {', '.join(names)}" for text, names in runs.items())


def listed(models: Sequence[Model]) -> str:
    """A few names, each with the beginning of its hash."""
    names = [name if weights is None else f"{name} ({weights[:8]})" for name, weights in models]
    return ", ".join(names if len(names) <= 4 else [*names[:3], f"{len(names) - 3} more"])
