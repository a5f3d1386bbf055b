"""The API pages: one for each module that holds public names, one for each room behind them.

A public module, class, function or method anywhere in the package that has no docstring is a warning, and
`mkdocs build --strict` fails on warnings.
"""

from __future__ import annotations

import ast
import logging
from collections.abc import Iterator

import griffe
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from package import first_sentence, lens_truth

ROOMS = ("datasets", "evaluate", "models", "plots", "probing")
log = logging.getLogger("mkdocs.hooks.api")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Adds api/index.md, api/MODULE.md and api/rooms/ROOM.md."""
    package = lens_truth()
    for item in undocumented(package):
        log.warning(f"{item.relative_filepath}:{item.lineno}: {item.path} has no docstring")
    homes = ast.literal_eval(str(package["_HOME"].value))
    index = ["# API\n", "What `import lens_truth` offers; everything is imported when it is first used.\n"]
    index += ["| name | |", "|---|---|"]
    for name, home in homes.items():
        path = f"lens_truth.{home}.{name}"
        index.append(f"| [`{name}`]({page(home)}#{path}) | {first_sentence(package[f'{home}.{name}'])} |")
    files.append(File.generated(config, "api/index.md", content="\n".join(index) + "\n"))
    for home in sorted(set(homes.values())):
        files.append(File.generated(config, f"api/{page(home)}", content=reference(home)))
    for room in ROOMS:
        names = [name for name in modules(package[room]) if name not in homes.values()]
        parts = [f"# lens_truth.{room}\n", *(reference(name, level=2) for name in names)]
        files.append(File.generated(config, f"api/rooms/{room}.md", content="\n".join(parts)))
    return files


def page(module: str) -> str:
    """The file name of a module's page."""
    return f"{module.replace('.', '-')}.md"


def reference(module: str, level: int = 1) -> str:
    """What mkdocstrings is to show."""
    return f"::: lens_truth.{module}\n    options:\n      heading_level: {level}\n"


def modules(room: griffe.Object | griffe.Alias) -> list[str]:
    """The modules of a package, by their names inside lens_truth."""
    found = (item for item in room.members.values() if not item.is_alias and item.is_module and is_public(item))
    return sorted(item.path.removeprefix("lens_truth.") for item in found)


def undocumented(item: griffe.Object | griffe.Alias) -> Iterator[griffe.Object | griffe.Alias]:
    """Public modules, classes, functions, methods and properties without a docstring, in and below `item`."""
    if not item.docstring and (not item.is_attribute or "property" in item.labels):
        yield item
    if item.is_module or item.is_class:
        for member in item.members.values():
            if not member.is_alias and is_public(member):
                yield from undocumented(member)


def is_public(item: griffe.Object | griffe.Alias) -> bool:
    """Whether a name has no underscore in front."""
    return not item.name.startswith("_")
