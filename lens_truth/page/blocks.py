"""What a page is made of: a few kinds of block, which the template draws."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from lens_truth.io.tables import Table


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


Block = Table | Heading | Text | Sentences | Details | Side | Drawing


@dataclass(frozen=True)
class Section:
    """Of a page; its id is what links lead to."""

    id: str
    title: str
    blocks: tuple[Block, ...]
