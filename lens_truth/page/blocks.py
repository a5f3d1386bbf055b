"""What a page is made of: a few kinds of block, which the template draws."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal


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
    """Of a table."""

    text: str
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


@dataclass(frozen=True)
class Heading:
    """Over what follows, with a smaller line beside it."""

    text: str
    level: Literal[3, 4] = 3
    more: str = ""
    kind: Literal["heading"] = "heading"


@dataclass(frozen=True)
class Text:
    """A paragraph."""

    text: str
    missing: bool = False
    """Says that something is not there."""
    kind: Literal["text"] = "text"


@dataclass(frozen=True)
class Sentences:
    """What a run says in words."""

    items: tuple[str, ...]
    kind: Literal["sentences"] = "sentences"


@dataclass(frozen=True)
class Details:
    """Folded until asked for."""

    summary: str
    blocks: tuple[Block, ...]
    kind: Literal["details"] = "details"


@dataclass(frozen=True)
class Side:
    """Blocks beside each other where there is room."""

    blocks: tuple[Block, ...]
    columns: int = 0
    """Of the widest heatmap among them."""
    kind: Literal["side"] = "side"


@dataclass(frozen=True)
class Drawing:
    """Something that the page's script draws from its data."""

    of: Literal["heatmap", "scatter"]
    id: str
    caption: str
    about: str
    notes: tuple[str, ...]
    """Said below, and by themselves a text in place of the picture."""
    kind: Literal["drawing"] = "drawing"


@dataclass(frozen=True)
class Line:
    """One line of a chart, through points in the chart's own units (pixels)."""

    name: str
    style: int
    """Which colour and mark."""
    points: tuple[tuple[float, float, str], ...]
    """x, y, and what is said of the point."""


@dataclass(frozen=True)
class Tick:
    """Of an axis: where it stands, in pixels, and what it says."""

    at: float
    text: str


@dataclass(frozen=True)
class Chart:
    """Lines over axes."""

    caption: str
    said: str
    """The chart in words."""
    x_label: str
    y_label: str
    x_ticks: tuple[Tick, ...]
    y_ticks: tuple[Tick, ...]
    lines: tuple[Line, ...]
    level: float
    """A horizontal line to compare with."""
    chosen: tuple[float, float]
    kind: Literal["chart"] = "chart"


Block = Table | Heading | Text | Sentences | Details | Side | Drawing | Chart


@dataclass(frozen=True)
class Section:
    """Of a page; its id is what links lead to."""

    id: str
    title: str
    blocks: tuple[Block, ...]


def row(head: str | Cell, *cells: str | Cell, below: bool = False) -> Row:
    """A row of cells or plain texts."""
    first, *rest = (cell if isinstance(cell, Cell) else Cell(cell) for cell in (head, *cells))
    return Row(first, tuple(rest), below)


def table(caption: str, header: Sequence[str], rows: Sequence[Row], note: str = "") -> Table:
    """A table of numbers."""
    return Table(caption, tuple(header), tuple(rows), note)
