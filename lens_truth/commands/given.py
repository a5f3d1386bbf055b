"""What a command line names: files that are not there, and numbers that are no use, are told before anything that takes
time is imported."""

from __future__ import annotations

import sys
from dataclasses import fields, replace
from pathlib import Path
from typing import Any, cast

from lens_truth.commands.engine import EngineFlags, check_engine
from lens_truth.errors import InputError
from lens_truth.hub.addresses import PREFIX, parts_of
from lens_truth.models.names import model_source
from lens_truth.models.revisions import revision_of

SCORE_FILES = (".safetensors", ".npy", ".csv", ".parquet", ".json", ".json.gz")
"""How files of scores end; `scoring/score_files.py` reads them."""
_MADE = ("cache", "out", "save", "dry_run")
"""Flags whose paths a command makes."""
GENERATED = ("zoo:", "facts:")
"""What names of data begin with that are no files."""
_MODELS = ("model", "base", "child", "tuned", "other", "checkpoints", "unrelated", "scores_from", "sibling", "inputs")
"""Flags that may name models; inputs have a name in front or not."""
_SCORES = ("scores", "base_scores", "child_scores", "inputs", "repeat")
"""Flags that may name files of scores, with a name in front or not."""


def check_given(config: Any) -> None:
    """Raises an InputError for the first flag of a command that has no value, names a file or a model which is not
    there, or a number that no computer counts to; and for workers without an engine. Runs of `report` are left to it,
    which shows those that are there."""
    for flag in fields(config):
        if getattr(config, flag.name) == () != flag.default and isinstance(flag.default, tuple):
            raise InputError(f"--{flag.name.replace('_', '-')} is given no value")
    if isinstance(config, EngineFlags):
        check_engine(config)
    flags = {flag.name: getattr(config, flag.name) for flag in fields(config)}
    every = [(name, one) for name, value in flags.items() for one in _each(value)]
    for name, one in every:
        if type(one) is int and abs(one) > sys.maxsize:
            raise InputError(f"--{name.replace('_', '-')} {one:.3g} is beyond what can be counted")
        if isinstance(one, Path) and name not in (*_MADE, "runs"):
            _check_path(name, one)
        elif isinstance(one, str) and name in _SCORES:
            _check_scores(_unnamed(one))
        if isinstance(one, str) and name in _MODELS:
            _check_model(_unnamed(one))
    for name, one in every:  # after the folders of images
        if name == "data" and isinstance(one, str):
            _check_data(_unnamed(one))


def from_the_hub(config: Any) -> Any:
    """The same flags, in which `hub:ORG/NAME[@REVISION][/FILE]` is the file in huggingface_hub's cache, where it is
    fetched to."""
    found = {flag.name: _fetched(getattr(config, flag.name)) for flag in fields(config)}
    changed = {name: its for name, its in found.items() if its is not getattr(config, name)}
    return replace(config, **changed) if changed else config


def _fetched(value: Any) -> Any:
    """A flag's value, perhaps several, with a name in front or not."""
    if isinstance(value, tuple):
        its = _each(value)
        found = tuple(map(_fetched, its))
        return its if all(one is other for one, other in zip(found, its, strict=True)) else found
    if not isinstance(value, str | Path) or not (where := _unnamed(str(value))).startswith(PREFIX):
        return value
    from lens_truth.hub.fetching import fetched  # imports PyTorch

    file = fetched(*parts_of(where))
    print(f"{where}: read {file.address}", flush=True)
    return type(value)(str(value).removesuffix(where) + str(file.path))


def _each(value: Any) -> tuple[Any, ...]:
    return cast("tuple[Any, ...]", value) if isinstance(value, tuple) else (value,)


def _check_path(name: str, path: Path) -> None:
    if name == "images" and not path.is_dir():
        raise InputError(f"{path}: there is no such folder of images")
    if not path.exists():
        raise InputError(f"{path}: there is no such file")


def _unnamed(given: str) -> str:
    """What stands behind `NAME=`, if there is a name."""
    return given if Path(given).exists() else given.partition("=")[2] or given


def _check_scores(where: str) -> None:
    if where.endswith(SCORE_FILES) and not Path(where).exists():
        raise InputError(f"{where}: there is no such file")


def _check_model(where: str) -> None:
    if Path(where).is_file() or where.endswith(SCORE_FILES):  # what a file is, the command says
        return
    if revision_of(where) is None:  # which may have to be fetched
        model_source(where)


def _check_data(given: str) -> None:
    """Of a file, perhaps with its format in front, and `conflict:` in front of that, and with a part behind it; whether
    there is such a format or part is seen when it is read."""
    if Path(given).exists() or Path(given).parent.is_file() or given.startswith(GENERATED):
        return
    source, colon, rest = given.partition(":")
    if colon and source.replace("-", "").isalpha():
        _check_data(rest)
    elif "/" in given or Path(given).suffix:
        raise InputError(f"{given}: there is no such file")
