"""The API pages: what is public, as the stubs list it, and a page for each station of the package.

A public module, class, function or method anywhere in the package that has no docstring is a warning, and
`mkdocs build --strict` fails on warnings. Launchers (`python -m lens_truth.NAME`, two lines each) are left out.
"""

from __future__ import annotations

import ast
import logging
import tomllib
from collections.abc import Iterator
from pathlib import Path

import griffe
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from package import ROOT, first_sentence, lens_truth

PUBLIC = ("lens_truth", "lens_truth.plots", "lens_truth.data")
"""Where users import from; each lists its names in `__init__.pyi`."""
log = logging.getLogger("mkdocs.hooks.api")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Adds api/index.md and api/STATION.md."""
    package = lens_truth()
    for item in undocumented(package):
        log.warning(f"{item.relative_filepath}:{item.lineno}: {item.path} has no docstring")
    files.append(File.generated(config, "api/index.md", content=index(package)))
    for station in stations(package):
        found = package[station]
        parts = [f"# lens_truth.{station}\n", first_paragraphs(found)]
        parts += [reference(f"{station}.{name}", level=2) for name in modules(found)] or [reference(station, level=2)]
        files.append(File.generated(config, f"api/{station}.md", content="\n".join(parts)))
    return files


def index(package: griffe.Module) -> str:
    """The public names of the package, then its stations in the order of the data."""
    lines = ["# API\n", "Everything public is imported from one of three places, each name when it is first used."]
    for place in PUBLIC:
        lines += [f"\n## {place}\n", "| name | |", "|---|---|"]
        for name, home in public(place).items():
            station = home.removeprefix("lens_truth.").partition(".")[0]
            says = first_sentence(package[f"{home}.{name}".removeprefix("lens_truth.")])
            lines.append(f"| [`{name}`]({station}.md#{home}.{name}) | {says} |")
    lines += [
        "\n## Behind them\n",
        "Not for import; the order is that of the data, and each imports only what stands above",
    ]
    lines += ["it.\n", "| station | |", "|---|---|"]
    lines += [f"| [`{name}`]({name}.md) | {first_sentence(package[name])} |" for name in stations(package)]
    return "\n".join(lines) + "\n"


def public(place: str) -> dict[str, str]:
    """The names in a stub, each with the module that defines it."""
    stub = ROOT / Path(*place.split(".")) / "__init__.pyi"
    found: dict[str, str] = {}
    for line in ast.parse(stub.read_text()).body:
        if isinstance(line, ast.ImportFrom) and line.module:
            found |= dict.fromkeys((name.name for name in line.names), f"{place}.{line.module}")
    return dict(sorted(found.items(), key=lambda item: item[0].lower()))


def stations(package: griffe.Object | griffe.Alias) -> list[str]:
    """The modules of the first level with a docstring, which launchers have not, in the order of the data."""
    order = {name: number for number, name in enumerate(layers())}
    return sorted((name for name in modules(package) if package[name].docstring), key=lambda name: order[name])


def layers() -> list[str]:
    """The stations as `pyproject.toml` orders them for import-linter, the first one first."""
    (contract,) = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    return [layer.removeprefix("lens_truth.") for layer in reversed(contract["layers"])]


def first_paragraphs(item: griffe.Object | griffe.Alias) -> str:
    """What a folder says of itself; a module's page shows its docstring anyway."""
    return f"{item.docstring.value}\n" if item.docstring and modules(item) else ""


def reference(module: str, level: int = 1) -> str:
    """What mkdocstrings is to show."""
    return f"::: lens_truth.{module}\n    options:\n      heading_level: {level}\n"


def modules(room: griffe.Object | griffe.Alias) -> list[str]:
    """The modules of a package, by their names inside it."""
    found = (item for item in room.members.values() if not item.is_alias and item.is_module and is_public(item))
    return sorted(item.name for item in found)


def undocumented(item: griffe.Object | griffe.Alias) -> Iterator[griffe.Object | griffe.Alias]:
    """Public modules, classes, functions, methods and properties without a docstring, in and below `item`."""
    if not item.docstring and (not item.is_attribute or "property" in item.labels) and not is_launcher(item):
        yield item
    if item.is_module or item.is_class:
        for member in item.members.values():
            if not member.is_alias and is_public(member):
                yield from undocumented(member)


def is_launcher(item: griffe.Object | griffe.Alias) -> bool:
    """Whether a module only calls `launch`: it imports that and defines nothing."""
    return item.is_module and list(item.members) == ["launch"]


def is_public(item: griffe.Object | griffe.Alias) -> bool:
    """Whether a name has no underscore in front."""
    return not item.name.startswith("_")
