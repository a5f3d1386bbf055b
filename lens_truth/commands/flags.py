"""The flags of a command, from its dataclass: what may be typed, and what help says of it."""

from __future__ import annotations

import shutil
import sys
import textwrap
from collections.abc import Sequence
from dataclasses import MISSING, field, fields, make_dataclass
from types import ModuleType, UnionType
from typing import Annotated, Any, Literal, Union, cast, get_args, get_origin, get_type_hints

import tyro
from docstring_parser import parse_from_object

from lens_truth.errors import InputError


def parse(command: ModuleType, prog: str, arguments: Sequence[str]) -> Any:
    """What was typed after a command, as an instance of its dataclass, or of that of its subcommand. Exits with help
    where it is asked for (code 0), and with what is wrong with a flag (code 2)."""
    config, about = command.Config, command.__doc__ or ""
    choices = subcommands(config)
    if choices:
        chosen, *arguments = arguments or command.DEFAULT_ARGUMENTS
        if chosen.startswith("--") and chosen != "--help":  # flags alone are those of the default
            chosen, *arguments = [*command.DEFAULT_ARGUMENTS, chosen, *arguments]
        if chosen in ("-h", "--help"):
            print(_overview(prog, about, choices))
            sys.exit(0)
        if chosen not in choices:
            raise InputError(f"after `{prog}` stands one of {', '.join(choices)}, and then the flags; not '{chosen}'")
        config, prog = choices[chosen], f"{prog} {chosen}"
        about = config.__doc__ or ""
    # Lines that are not indented would be joined to one.
    about = textwrap.indent(_filled(about), "  ")
    given = tyro.cli(
        _shown(config), prog=prog, description=about, args=_placed(config, arguments), config=(tyro.conf.DisallowNone,)
    )
    typed = cast("dict[str, Any]", vars(given))
    hints = get_type_hints(config, include_extras=True)
    defaults = {its.name for its in fields(config) if its.default is not MISSING}  # what has none says so itself
    empty = (name for name in typed if typed[name] == () and name in defaults and not _is_positional(hints[name]))
    if name := next(empty, None):
        raise InputError(f"--{name.replace('_', '-')} is given no value")
    return config(**{name: value for name, value in typed.items() if value is not None})


def subcommands(config: Any) -> dict[str, type[Any]]:
    """The dataclasses of a command that has several, each by its name; none of a command that has one."""
    return {about.name: flags for flags, about in map(get_args, get_args(config))}


def _overview(prog: str, about: str, choices: dict[str, type[Any]]) -> str:
    lines = [f"usage: {prog} {{{','.join(choices)}}} [--help] [flags]\n", textwrap.indent(_filled(about), "  "), ""]
    for name, config in choices.items():
        said = _filled(config.__doc__ or "", 2 + 10)
        lines.append(f"  {name:<10}{textwrap.indent(said, ' ' * 12).lstrip()}")
    return "\n".join(lines)


def _filled(text: str, indent: int = 2) -> str:
    """The paragraphs of a docstring, in lines that fit the terminal once they are indented."""
    width = min(shutil.get_terminal_size().columns, 120) - indent
    return "\n".join(textwrap.fill(" ".join(paragraph.split()), width) for paragraph in text.split("\n\n"))


def _shown(config: type[Any]) -> type[Any]:
    """The same flags as help should show them: a command's own before those that it shares, each text in one piece,
    and no default where it is None or nothing, since the text says what that means."""
    hints, texts = get_type_hints(config, include_extras=True), _texts(config)
    depth = {name: i for i, part in enumerate(config.__mro__) for name in vars(part).get("__annotations__", ())}
    shown: list[tuple[str, Any, Any]] = []
    for flag in sorted(fields(config), key=lambda flag: depth[flag.name]):
        hint, text, default = hints[flag.name], texts[flag.name], cast("Any", flag.default)
        metavar, said, marks = None, "" if default is None else None, ()
        if positional := _is_positional(hint):
            hint, *marks = get_args(hint)
            text += f" Also --{flag.name}."
            metavar = flag.name.upper() if default is MISSING else f"[{flag.name.upper()}]"
        if type(default) is tuple:
            many, _ = get_args(hint)
            word = f"{{{','.join(get_args(many))}}}" if get_origin(many) is Literal else many.__name__.upper()
            metavar = f"[{flag.name.upper() if positional else word} ...]"
            said = f"(default: {' '.join(map(str, cast('tuple[Any, ...]', default)))})" if default else ""
            hint, default = hint | None, None
        about = tyro.conf.arg(help=text, help_behavior_hint=said, metavar=metavar)
        shown.append((flag.name, Annotated[_quick(hint), about, *marks], field(default=default)))
    return make_dataclass(config.__name__, shown, frozen=True, kw_only=True)


def _texts(config: type[Any]) -> dict[str, str]:
    """The docstring of each flag in one piece, as tyro finds it; tyro would keep the line breaks of the source."""
    found = (said for part in reversed(config.__mro__[:-1]) for said in parse_from_object(part).params)
    return {said.arg_name: " ".join((said.description or "").split()) for said in found}


def _placed(config: type[Any], arguments: Sequence[str]) -> list[str]:
    """What a command takes without a flag it takes with its name too: `check --model NAME` is `check NAME`."""
    hints = get_type_hints(config, include_extras=True)
    named = {f"--{name}" for name, hint in hints.items() if _is_positional(hint)}
    placed: list[str] = []
    rest: list[str] = []
    into = rest
    for argument in arguments:
        flag, equals, value = argument.partition("=")
        if flag in named:
            into = placed
            placed += [value] if equals else []
        else:
            into = rest if argument.startswith("-") else into
            into.append(argument)
    return [*placed, *rest]


def _is_positional(hint: Any) -> bool:
    return tyro.conf.Positional in getattr(hint, "__metadata__", ())


def _quick(hint: Any) -> Any:
    """`X | None` in the form that tyro knows by itself, with None first: of others it asks typeguard whether the
    default is one, whose import takes nearly as long as all the rest of help (findings/tyro-typeguard.sh)."""
    if not isinstance(hint, UnionType):
        return hint
    return Union[*sorted(get_args(hint), key=lambda part: part is not type(None))]
