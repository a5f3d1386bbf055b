"""Published files in tests: rows of our own as their authors write them, in all ways in which rows stand in files."""

from __future__ import annotations

import csv
import gzip
import io
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from lens_truth.data.examples import Example
from lens_truth.data.formats import FORMATS
from lens_truth.data.loading import load_examples, read_data_set
from lens_truth.errors import InputError, gathered_notices

MOSS = "Moss grows on the roof."
"""What contexts say."""
Said = list[tuple[str, str, str, int]]
"""Context, question, answer, label."""
Case = tuple[str, Any, Said]
"""The name of a format, a row, and what is read from it."""


def lines(*rows: Any) -> str:
    """JSON lines."""
    return "".join(json.dumps(row) + "\n" for row in rows)


def table(*rows: dict[str, Any], between: str = ",") -> str:
    """A table with a header."""
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]), delimiter=between)
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def told(examples: list[Example]) -> Said:
    """What was read."""
    return [(e.context, e.question, e.answer, e.label) for e in examples]


def read(path: Path, *rows: Any) -> list[Example]:
    """The examples of rows that are written to a file."""
    path.write_text(lines(*rows))
    return load_examples(str(path))


def changed(case: Case, **fields: Any) -> str:
    """The case's row with other fields."""
    return lines({**case[1], **fields})


WAYS: dict[str, tuple[str, Callable[[Any], bytes]]] = {
    "lines": ("data.json", lambda row: lines(row).encode()),
    "a list": ("data.json", lambda row: json.dumps([row], indent=1).encode()),
    "packed": ("data", lambda row: gzip.compress(lines(row).encode(), mtime=0)),
    "a table": ("data.txt", lambda row: table(row).encode()),
    "tabs": ("data.tsv", lambda row: table(row, between="\t").encode()),
}
TABLES = ("a table", "tabs")


def in_all_ways(published: Mapping[str, Case]) -> pytest.MarkDecorator:
    """Parametrizes a test by `case` and `way`; rows that hold lists or objects stand in no table."""
    nested = {name for name, case in published.items() if any(isinstance(it, list | dict) for it in case[1].values())}
    pairs = [
        pytest.param(case, way, id=f"{name}-{way}")
        for way in WAYS
        for name, case in published.items()
        if not (way in TABLES and name in nested)
    ]
    return pytest.mark.parametrize(("case", "way"), pairs)


def check_recognised(folder: Path, case: Case, way: str) -> None:
    """Whatever the file is called and however its rows stand in it, with and without the name of its data set."""
    name, row, expected = case
    file, write = WAYS[way]
    (folder / file).write_bytes(write(row))
    with gathered_notices():
        found = read_data_set(str(folder / file))
    assert (found.format, told(found.examples)) == (name, expected)
    source = next(format.sources[0] for format in FORMATS if format.name == name)
    with gathered_notices():
        assert load_examples(f"{source}:{folder / file}") == found.examples


def check_refused(folder: Path, content: str, complaint: str) -> None:
    """What is not understood is named."""
    (folder / "data.json").write_text(content)
    with pytest.raises(InputError, match=f"data.json.*{complaint}"), gathered_notices():
        load_examples(str(folder / "data.json"), images_needed=False)
