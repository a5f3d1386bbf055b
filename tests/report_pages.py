"""Pages of made-up runs for the tests of reports, and ways to damage the runs."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import lens_truth
from lens_truth.errors import DataWarning
from lens_truth.page.reading import read_runs
from lens_truth.page.sections import view_of
from lens_truth.page.view import View


def viewed(*folders: Path) -> View:
    return view_of(*read_runs(folders))


def reported(out: Path, *folders: Path) -> tuple[str, list[str]]:
    """The page, and what was warned of."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", DataWarning)
        written = lens_truth.write_report(folders, out=out)
    assert written == out
    return out.read_text(encoding="utf-8"), [str(warning.message) for warning in caught]


class Elements(HTMLParser):
    """The elements of a page, and the texts of its scripts."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.scripts: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))
        if tag == "script":
            self.scripts.append("")

    def handle_data(self, data: str) -> None:
        if self.cdata_elem == "script":
            self.scripts[-1] += data


def damaged(folder: Path, change: Callable[[dict[str, Any]], object], file: str = "result.json") -> Path:
    """The run with something changed in one of its files."""
    record = json.loads((folder / file).read_text())
    change(record)
    (folder / file).write_text(json.dumps(record), encoding="utf-8")
    return folder


def drop(*keys: str) -> Callable[[dict[str, Any]], object]:
    """Takes a value out of nested objects."""

    def change(record: dict[str, Any]) -> None:
        *path, last = keys
        for key in path:
            record = record[key]
        del record[last]

    return change


def put(value: Any, *keys: str | int) -> Callable[[dict[str, Any]], object]:
    def change(record: Any) -> None:
        *path, last = keys
        for key in path:
            record = record[key]
        record[last] = value

    return change
