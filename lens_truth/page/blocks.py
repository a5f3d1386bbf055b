"""What a page is made of: a few kinds of block, which the template draws."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from lens_truth.io.tables import Table


@dataclass(frozen=True)
class Heading:
    """Over what follows, with a smaller line beside it."""

    text: str
    more: str = ""
    kind = "heading"


@dataclass(frozen=True)
class Text:
    """A paragraph; `missing` if it says that something is not there."""

    text: str
    missing: bool = False
    kind = "text"


@dataclass(frozen=True)
class Sentences:
    """What a run says in words."""

    items: tuple[str, ...]
    kind = "sentences"


@dataclass(frozen=True)
class Details:
    """Folded until asked for."""

    summary: str
    blocks: tuple[Block, ...]
    kind = "details"


@dataclass(frozen=True)
class Side:
    """Blocks beside each other where there is room; `columns` are those of the widest heatmap among them."""

    blocks: tuple[Block, ...]
    columns: int = 0
    kind = "side"


@dataclass(frozen=True)
class Drawing:
    """What the page's script draws from its data; the notes below are by themselves a text in place of the picture."""

    of: Literal["heatmap", "scatter"]
    id: str
    caption: str
    notes: tuple[str, ...]
    about: str = ""
    kind = "drawing"


@dataclass(frozen=True)
class Shade:
    """A token in colour."""

    text: str
    t: int
    """From -100 (one way) over 0 (none) to 100 (the other way)."""
    doubted: bool
    """Underlined, for those who do not see the colour."""
    tip: str
    """Told on hover and focus, and read out."""


@dataclass(frozen=True)
class Shaded:
    """A text in colours, token by token; arrow keys move between tokens."""

    name: str
    about: str
    tokens: tuple[Shade, ...]
    kind = "shaded"


Block = Table | Heading | Text | Sentences | Details | Side | Drawing | Shaded


@dataclass(frozen=True)
class Section:
    """Of a page; its id is what links lead to."""

    id: str
    title: str
    blocks: tuple[Block, ...]


def missing(what: str) -> Text:
    """Says that something is not there, and why or how to get it."""
    return Text(f"missing: {what}", missing=True)
