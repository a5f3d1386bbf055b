"""The command reference: a page for each command, from the module that defines it and its flags."""

from __future__ import annotations

import ast
import re

import griffe
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from package import first_sentence, lens_truth

SUBCOMMAND = re.compile(r"Annotated\[(\w+), tyro\.conf\.subcommand\('([\w-]+)'\)\]")
POSITIONAL = re.compile(r"^Annotated\[(.*), tyro\.conf\.Positional\]$")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Adds commands/index.md and commands/NAME.md."""
    summaries = ast.literal_eval(str(lens_truth()["cli.COMMANDS"].value))
    index = [
        "# Commands\n",
        "Each runs as `lens-truth NAME` and as `python -m lens_truth.NAME`, on the zoo without flags.\n",
    ]
    index += ["| command | what it does |", "|---|---|"]
    for name, summary in summaries.items():
        index.append(f"| [`lens-truth {name}`]({name}.md) | {summary} |")
        files.append(File.generated(config, f"commands/{name}.md", content=command_page(name)))
    index.append("\nA user's mistake ends with exit code 2 and one sentence ([errors](../errors.md)).\n")
    files.append(File.generated(config, "commands/index.md", content="\n".join(index)))
    return files


def command_page(name: str) -> str:
    """Markdown of one command, with its subcommands if it has any."""
    module = lens_truth()[f"commands.{name}"]
    assert module.docstring is not None
    parts = [f"# lens-truth {name}", module.docstring.value]
    flags = plain(module["Config"])
    if isinstance(flags, griffe.Class):
        parts += [usage(name, flags), table_of(flags)]
    else:
        for class_name, subcommand in SUBCOMMAND.findall(str(flags.value)):
            chosen = plain(module[class_name])
            assert isinstance(chosen, griffe.Class)
            assert chosen.docstring is not None
            parts += [f"## lens-truth {name} {subcommand}", chosen.docstring.value]
            parts += [usage(f"{name} {subcommand}", chosen), table_of(chosen)]
    return "\n\n".join(part for part in parts if part) + "\n"


def plain(item: griffe.Object | griffe.Alias) -> griffe.Object:
    """What a name stands for, also if it was imported."""
    return item.final_target if isinstance(item, griffe.Alias) else item


def fields(flags: griffe.Class) -> list[griffe.Attribute]:
    """The command's own flags, then those that it shares with others."""
    found = {**flags.members, **{name: item for name, item in flags.all_members.items() if name not in flags.members}}
    return [
        item
        for item in map(plain, found.values())
        if isinstance(item, griffe.Attribute) and item.annotation is not None and "property" not in item.labels
    ]


def usage(name: str, flags: griffe.Class) -> str:
    """How the command is called."""
    positional = [field for field in fields(flags) if POSITIONAL.match(str(field.annotation))]
    words = [f"[{field.name.upper()}{' ...' if 'tuple' in str(field.annotation) else ''}]" for field in positional]
    return f"```sh\n{' '.join(['lens-truth', name, *words, '[flags]'])}\n```"


def table_of(flags: griffe.Class) -> str:
    """The flags with their values, defaults and docstrings."""
    rows = [f"| {called(field)} | {values(field)} | {default(field)} | {says(field)} |" for field in fields(flags)]
    return "\n".join(["| flag | value | default | |", "|---|---|---|---|", *rows]) if rows else ""


def called(field: griffe.Attribute) -> str:
    """A flag's names, or that of a positional argument."""
    flag = field.name.replace("_", "-")
    if POSITIONAL.match(str(field.annotation)):
        return f"`{flag.upper()}` or `--{flag}`"
    return f"`--{flag}` `--no-{flag}`" if str(field.annotation) == "bool" else f"`--{flag}`"


def values(field: griffe.Attribute) -> str:
    """What may be given, in a reader's words."""
    annotation = POSITIONAL.sub(r"\1", str(field.annotation)).removesuffix(" | None")
    several = annotation.startswith("tuple[")
    annotation = annotation.removeprefix("tuple[").removesuffix(", ...]")
    if annotation.startswith("Literal["):
        words = ", ".join(f"`{value}`" for value in ast.literal_eval(annotation.removeprefix("Literal")))
    else:
        words = {"str": "text", "Path": "path", "int": "whole number", "float": "number", "bool": ""}[annotation]
    return f"{words}, any number" if several else words


def default(field: griffe.Attribute) -> str:
    """The default as it would be typed; nothing where the docstring has to say what happens without the flag."""
    text = "" if field.value is None else str(field.value)
    if text.isidentifier() and field.module and text in field.module.members:  # a named constant
        text = str(field.module[text].value)
    value = ast.literal_eval(text.removeprefix("Path") or "None")
    if value is None or value == () or isinstance(value, bool):
        return "on" if value is True else ""
    return " ".join(f"`{item}`" for item in value) if isinstance(value, tuple) else f"`{value}`"


def says(field: griffe.Attribute) -> str:
    """The flag's docstring, in one line that a table can hold."""
    return first_sentence(field).replace("|", "\\|")
