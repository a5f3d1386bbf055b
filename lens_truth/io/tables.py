"""One `Table` a result, and its three renderers: for a terminal, as Markdown, as HTML (notebooks and the report)."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from jinja2 import Environment, Template
    from pandas import DataFrame


@dataclass(frozen=True)
class Bar:
    """An interval with its point, as shares (0 to 1) of the width there is."""

    low: float
    high: float
    point: float
    mark: float | None = None
    """Something to compare with, as a line across."""

    def __post_init__(self) -> None:
        for name in ("low", "high", "point", "mark"):
            if (value := getattr(self, name)) is not None:
                object.__setattr__(self, name, min(1.0, max(0.0, value)))


@dataclass(frozen=True)
class Cell:
    """Of a table. A terminal and Markdown show its text alone; HTML the rest too."""

    text: str
    """Empty where nothing is defined."""
    more: tuple[str, ...] = ()
    """Smaller lines below."""
    bar: Bar | None = None
    tint: float | None = None
    """Colour from -1 (one way) over 0 (none) to 1 (the other way)."""
    tip: str = ""
    """Told on hover and focus, and read out."""
    strong: bool = False
    alarm: bool = False
    """Not to be missed."""


@dataclass(frozen=True)
class Row:
    """Of a table: what it is about, and its cells."""

    head: Cell
    cells: tuple[Cell, ...]
    below: bool = False
    """Belongs to the row above it: indented, smaller, paler."""


@dataclass(frozen=True)
class Table:
    """Rows under a header, with a caption and a note."""

    caption: str
    header: tuple[str, ...]
    """The first stands over the heads of the rows."""
    rows: tuple[Row, ...]
    note: str = ""
    form: Literal["numbers", "words", "bars", "matrix"] = "numbers"
    """What its cells hold; in a matrix the arrow keys move between cells, whose tips tell what they are."""
    kind: Literal["table"] = "table"

    def texts(self) -> list[list[str]]:
        """The text of every cell, a list a row."""
        return [[row.head.text, *(cell.text for cell in row.cells)] for row in self.rows]

    def to_frame(self) -> DataFrame:
        """The same as a pandas DataFrame, whose columns are numbers where the cells are: with all their digits where a
        cell holds one number or interval, with those in print where it holds both."""
        from lens_truth.io.frames import frame_of

        return frame_of(self)

    def _repr_html_(self) -> str:
        return html(self)


def row(head: str | Cell, *cells: str | Cell, below: bool = False) -> Row:
    """A row of cells or plain texts."""
    first, *rest = (cell if isinstance(cell, Cell) else Cell(cell) for cell in (head, *cells))
    return Row(first, tuple(rest), below)


def table(caption: str, header: Sequence[str], rows: Iterable[Row], note: str = "") -> Table:
    """A table of numbers."""
    return Table(caption, tuple(header), tuple(rows), note)


def text_table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> Table:
    """A table of plain texts without a caption; the first of each row is its head. A notebook shows it.

    >>> lens_truth.text_table(["model", "accuracy"], [["base", "0.655"], ["child", "0.575"]])
    """
    return table("", header, (row(*texts) for texts in rows))


def terminal(table: Table) -> str:
    """Columns as wide as their longest cell; neither caption nor note."""
    lines = [list(table.header), *table.texts()]
    widths = [max(len(line[i]) for line in lines) for i in range(len(table.header))]
    lines.insert(1, ["-" * width for width in widths])
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines
    )


def markdown(table: Table) -> str:
    """The table alone, without a line end after it."""
    lines = [list(table.header), *table.texts()]
    header, *rows = ("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)
    return "\n".join([header, "|" + "---|" * len(table.header), *rows])


def html(*tables: Table) -> str:
    """Figures with caption and note, everything escaped; true minus signs, and a dash where nothing is defined."""
    return "\n".join(_template().render(t=table) for table in tables)


@cache
def _template() -> Template:
    environment = html_environment("lens_truth.io", ".")
    environment.filters["written"] = written
    return environment.get_template("table.html.j2")


def html_environment(package: str, folder: str) -> Environment:
    """Templates of HTML in a folder of a package: everything is escaped, and a name that is missing is an error."""
    from jinja2 import Environment, PackageLoader, StrictUndefined  # takes longer than all the rest of help

    loader = PackageLoader(package, folder)
    return Environment(loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)


def written(text: str) -> str:
    """A cell's text as print has it: a true minus before a number, a dash where nothing is defined."""
    return re.sub(r"(?<![\w.)\]])-(?=[\d.])", "\u2212", text) or "\u2013"


def print_table(table: Table) -> None:
    """On the terminal."""
    print(terminal(table))


def print_warning(text: str, *, alarm: bool = True) -> None:
    """As it is, in red on a terminal if it is an alarm."""
    red, plain = ("\033[1;31m", "\033[0m") if alarm and sys.stdout.isatty() else ("", "")
    print(f"{red}{text}{plain}")


def print_warnings(warnings: Sequence[str]) -> None:
    """In red on a terminal: nobody is to miss them."""
    red, plain = ("\033[1;31m", "\033[0m") if sys.stdout.isatty() else ("", "")
    for warning in warnings:
        print(f"\n{red}WARNING  {warning}{plain}")
