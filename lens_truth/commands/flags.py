"""The flags of a command, from its dataclass: what may be typed, and what help says of it."""

from __future__ import annotations

import ast
import inspect
import shutil
import sys
import textwrap
from collections.abc import Sequence
from dataclasses import MISSING, field, fields, make_dataclass
from itertools import pairwise
from types import ModuleType, UnionType
from typing import Annotated, Any, Union, cast, get_args, get_type_hints

import tyro

from lens_truth.errors import InputError


def parse(command: ModuleType, prog: str, arguments: Sequence[str]) -> Any:
    """What was typed after a command, as an instance of its dataclass, or of that of its subcommand. Exits with help
    where it is asked for (code 0), and with what is wrong with a flag (code 2).

    Raises:
        InputError: if a subcommand is wanted and another word stands there.
    """
    config, about = command.Config, command.__doc__ or ""
    choices = subcommands(config)
    if choices:
        chosen, *arguments = arguments or command.DEFAULT_ARGUMENTS
        if chosen in ("-h", "--help"):
            print(_overview(prog, about, choices))
            sys.exit(0)
        if chosen not in choices:
            raise InputError(f"after `{prog}` stands one of {', '.join(choices)}, and then the flags; not '{chosen}'")
        config, prog = choices[chosen], f"{prog} {chosen}"
        about = config.__doc__ or ""
    # Lines that are not indented would be joined to one.
    about = textwrap.indent(_filled(about), "  ")
    given = tyro.cli(_shown(config), prog=prog, description=about, args=arguments, config=(tyro.conf.DisallowNone,))
    return config(**vars(given))


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
        hint, metavar, default = hints[flag.name], None, cast("Any", flag.default)
        if tyro.conf.Positional in getattr(hint, "__metadata__", ()):
            metavar = flag.name.upper() + (" ..." if type(flag.default) is tuple else "")
            metavar = metavar if default is MISSING else f"[{metavar}]"
        said = "" if default is None or default == () else None
        about = tyro.conf.arg(help=texts[flag.name], help_behavior_hint=said, metavar=metavar)
        shown.append((flag.name, Annotated[_quick(hint), about], field(default=default)))
    return make_dataclass(config.__name__, shown, frozen=True, kw_only=True)


def _texts(config: type[Any]) -> dict[str, str]:
    """The docstring of each flag. tyro would find them too, but keep the line breaks of the source."""
    texts: dict[str, str] = {}
    for part in reversed(config.__mro__[:-1]):
        (definition,) = ast.parse(textwrap.dedent(inspect.getsource(part))).body
        assert isinstance(definition, ast.ClassDef)
        for pair in pairwise(definition.body):
            match pair:
                case ast.AnnAssign(target=ast.Name(id=name)), ast.Expr(value=ast.Constant(value=str(text))):
                    texts[name] = " ".join(text.split())
                case _:
                    pass
    return texts


def _quick(hint: Any) -> Any:
    """`X | None` in the form that tyro knows by itself: of this one it asks typeguard whether the default is one, whose
    import takes nearly as long as all the rest of help."""
    return Union[get_args(hint)] if isinstance(hint, UnionType) else hint  # noqa: UP007 (said above)
