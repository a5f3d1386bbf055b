"""The command line that repeats a run, from the configuration it recorded."""

from __future__ import annotations

import shlex
from dataclasses import MISSING, Field, fields
from importlib import import_module
from types import ModuleType
from typing import Any, get_type_hints

import tyro

from lens_truth.cli import COMMANDS
from lens_truth.commands.flags import subcommands
from lens_truth.readers import is_list
from lens_truth.runs import for_json


def command_line(command: str, config: dict[str, Any]) -> str | None:
    """`lens-truth ...` with the flags that are not at their defaults; None if this version of the command has no such
    flags."""
    name, _, subcommand = command.partition(" ")
    if name not in COMMANDS:
        return None
    flags = _flags_of(import_module(f"lens_truth.commands.{name}"), subcommand)
    if flags is None or not set(config) <= {field.name for field in fields(flags)}:
        return None
    hints = get_type_hints(flags, include_extras=True)
    positional: list[str] = []
    named: list[str] = []
    for field in fields(flags):
        value = config.get(field.name)
        if field.name not in config or value == _default(field):
            continue
        words = _words(value)
        if tyro.conf.Positional in getattr(hints[field.name], "__metadata__", ()):
            positional += words
        elif isinstance(value, bool):
            named.append(_flag(field.name) if value else _flag(f"no-{field.name}"))
        else:
            named += [_flag(field.name), *words]
    return shlex.join(["lens-truth", *command.split(), *positional, *named])


def _flags_of(module: ModuleType, subcommand: str) -> type[Any] | None:
    """The dataclass of a command's flags; where there are several, that of the subcommand."""
    if not subcommand:
        return module.Config if isinstance(module.Config, type) else None
    return subcommands(module.Config).get(subcommand)


def _default(field: Field[Any]) -> Any:
    """As `result.json` would say it."""
    return for_json(field.default if field.default is not MISSING else None)


def _words(value: Any) -> list[str]:
    return [str(item) for item in value] if is_list(value) else [str(value)]


def _flag(name: str) -> str:
    return "--" + name.replace("_", "-")
